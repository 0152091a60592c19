/**
 * Small numbers for the contexts that entries belong to: CDs of equal words, of whatever streams, share
 * one, and with it their entries; all others are kept apart, also when their ASIDs are the same.
 */
export class ContextSlots {
  private readonly limit: number;
  private readonly users: number[] = [0];
  private readonly asids: number[] = [0];
  private readonly words: (Uint32Array | undefined)[] = [undefined];
  /** Where in its list of {@link byAsid} a slot stands. */
  private readonly positions: number[] = [0];
  private readonly byAsid = new Map<number, number[]>();
  private readonly free: number[] = [];

  /** @param limit slots in use at a time, at most; the caller keeps within it. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Slots in use. */
  get count(): number {
    return this.users.length - 1 - this.free.length;
  }

  /** The slots in use, those of one ASID in a list. The lists are the live ones. */
  get lists(): Iterable<readonly number[]> {
    return this.byAsid.values();
  }

  /** The slots in use whose CDs have `asid`. The array is the live one. */
  withAsid(asid: number): readonly number[] {
    return this.byAsid.get(asid) ?? NONE;
  }

  /** ASID of the CDs of `slot`. */
  asidOf(slot: number): number {
    return this.asids[slot]!;
  }

  /**
   * The slot of a CD, which counts one more user.
   * @param words of the CD; they must not change.
   */
  take(words: Uint32Array, asid: number): number {
    let slots = this.byAsid.get(asid);
    if (slots === undefined) this.byAsid.set(asid, (slots = []));
    // Not all, when a guest gives one ASID to many address spaces: sharing saves work, no more.
    for (let i = 0; i < slots.length && i < COMPARED; i++) {
      const slot = slots[i]!;
      if (!areEqual(this.words[slot]!, words)) continue;
      this.users[slot] = this.users[slot]! + 1;
      return slot;
    }
    const slot = this.free.pop() ?? this.users.length;
    if (slot > this.limit) throw new Error(`context slot ${slot} is one too many`);
    this.users[slot] = 1;
    this.asids[slot] = asid;
    this.words[slot] = words;
    this.positions[slot] = slots.length;
    slots.push(slot);
    return slot;
  }

  /** One user of `slot` less. */
  release(slot: number): void {
    const users = this.users[slot]! - 1;
    this.users[slot] = users;
    if (users > 0) return;
    const asid = this.asids[slot]!;
    const slots = this.byAsid.get(asid)!;
    const last = slots.pop()!;
    if (last !== slot) {
      const position = this.positions[slot]!;
      slots[position] = last;
      this.positions[last] = position;
    }
    if (slots.length === 0) this.byAsid.delete(asid);
    this.words[slot] = undefined;
    this.free.push(slot);
  }
}

const NONE: readonly number[] = [];
/** Slots of one ASID that a new CD is compared with. */
const COMPARED = 16;

function areEqual(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
