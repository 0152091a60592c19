import { Entry } from './entry.js';

/** Index of the floor under every entry. */
const ALL = 0;
/** Index of the floor under the global entries. */
const GLOBAL = 1;
const ASIDS = 2;
const SLOTS = ASIDS + 0x1_0000;
/** Above every generation: nothing is alive. */
const CLOSED = 0x7fff_ffff;

/**
 * Which entries are alive: those born in a generation at or above three floors, one for all, one for
 * their ASID (or the global ones) and one for their context slot. To raise a floor ends everything that
 * stands on it in one step.
 */
export class Generations {
  /** The generation that entries are born in now; 1 or more. */
  now = 1;
  private readonly slotCount: number;
  private readonly exhausted: () => void;
  /** The floors; another array once entries are born. */
  floors = new Int32Array(1);
  private all = 1;
  private isOpen = false;

  /**
   * @param slots largest context slot.
   * @param exhausted called after 2^31 generations, which begin anew: it removes all entries.
   */
  constructor(slots: number, exhausted: () => void) {
    this.slotCount = slots + 1;
    this.exhausted = exhausted;
  }

  /** Index of the floor of entries with `asid`. */
  floorOf(asid: number, nonGlobal: number): number {
    return nonGlobal === 1 ? ASIDS + asid : GLOBAL;
  }

  /** Whether the entry at `words[at]`, alive or not, is known to be of the context that its slot has now. */
  isOfContext(words: Int32Array, at: number): boolean {
    return words[at + Entry.born]! >= this.floors[SLOTS + words[at]!]!;
  }

  /** Before the first entry is born: makes the floors. */
  prepare(): void {
    if (this.floors.length > 1) return;
    this.floors = new Int32Array(SLOTS + this.slotCount);
    this.setAll();
  }

  /** While closed nothing is alive; what was is again when it is opened. */
  setOpen(isOpen: boolean): void {
    this.isOpen = isOpen;
    this.setAll();
  }

  /** Ends all entries. */
  endAll(): void {
    this.advance();
    this.all = this.now;
    this.setAll();
  }

  /** Ends the non-global entries of an ASID. */
  endAsid(asid: number): void {
    this.raise(ASIDS + asid);
  }

  /** Ends the global entries. */
  endGlobal(): void {
    this.raise(GLOBAL);
  }

  /** Ends the entries of a context slot. */
  endSlot(slot: number): void {
    this.raise(SLOTS + slot);
  }

  private raise(floor: number): void {
    this.advance();
    if (this.floors.length > 1) this.floors[floor] = this.now;
  }

  private advance(): void {
    if (++this.now < CLOSED) return;
    this.now = 1;
    this.all = 1;
    this.floors.fill(0);
    this.setAll();
    this.exhausted();
  }

  private setAll(): void {
    this.floors[ALL] = this.isOpen ? this.all : CLOSED;
  }
}

/** Whether the entry at `words[at]`, which belongs to a slot, is alive above `floors`. */
export function isAlive(words: Int32Array, at: number, floors: Int32Array): boolean {
  const born = words[at + Entry.born]!;
  return (
    born >= floors[ALL]! &&
    born >= floors[words[at + Entry.floor]!]! &&
    born >= floors[SLOTS + words[at]!]!
  );
}
