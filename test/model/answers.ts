/** What the slow reference says of accesses, in tables of small numbers and bits. */
import type { ReferenceOutcome } from '../reference/index.js';
import type { TlbScope } from './actions.js';
import {
  ASID,
  Cd,
  IOVA,
  OTHER_ASID,
  type ReferenceGuest,
  type Shape,
  STATES,
  Ste,
  Structure,
  valueIn,
  withValue,
} from './guest.js';

export const DEVICES = 2;
/** Values of an STE. */
export const STES = 4;
/** What a CD may hold: the values of CD A, then CD B, then the CD of device 1. */
export const CONTEXTS = 6;
const CD_B = 4;
const CD_OF_DEVICE_1 = 5;
/** Memory states that occur: those of a table descriptor are 0 and 1. */
const isState = (state: number): boolean => valueIn(state, Structure.table) < 2;

/** An answer as a number: the output address; or, negative, what ends an access: `4*event + outcome`. */
export function answerOf(outcome: ReferenceOutcome): number {
  if (outcome.kind === 'ok') return Number(outcome.pa);
  if (outcome.kind === 'abort') return -1;
  return -(4 * outcome.event + (outcome.response === 'abort' ? 1 : 2));
}

const F_PERMISSION = -(4 * 0x13 + 1);

export function printAnswer(answer: number): string {
  if (answer >= 0) return answer === IOVA ? 'bypass' : `output 0x${answer.toString(16)}`;
  return answer === -1 ? 'abort' : `event 0x${(-answer >> 2).toString(16)}`;
}

/** What a TLB may hold of a leaf. */
interface CachedLeaf {
  /** The context that it was found through, or the equal one of device 0. */
  readonly context: number;
  readonly asid: number;
  readonly global: boolean;
  /** First input address, and bytes. */
  readonly base: number;
  readonly bytes: number;
  /** Answers to a read and to a write, as bits. */
  readonly read: number;
  readonly write: number;
}

/** Different values, each of which is a bit of a set. */
class Bits<T> {
  readonly values: T[] = [];
  private readonly bits = new Map<unknown, number>();
  private readonly keyOf: (value: T) => unknown;

  /** @param keyOf equal for equal values only. */
  constructor(keyOf: (value: T) => unknown) {
    this.keyOf = keyOf;
  }

  /** The bit of a value; 0 for one that was never added. */
  of(value: T): number {
    return this.bits.get(this.keyOf(value)) ?? 0;
  }

  add(value: T): number {
    const known = this.of(value);
    if (known !== 0) return known;
    const bit = 1 << this.values.length;
    if (this.values.push(value) > 31) throw new Error('more values than a set has bits');
    this.bits.set(this.keyOf(value), bit);
    return bit;
  }
}

/**
 * All answers that the reference gives, for one shape of guest. Walks from a CD that is stale are those
 * of a memory state that has it in place.
 */
export class Answers {
  private readonly shape: Shape;
  private readonly answers = new Bits<number>((answer) => answer);
  private readonly leaves = new Bits<CachedLeaf>((leaf) => JSON.stringify(leaf));
  /** By device and STE: the answer that needs no CD, as a bit; 0 when stage 1 translates. */
  private readonly plain = new Int32Array(DEVICES * STES);
  // By device, context and memory state.
  private readonly reads = new Int32Array(DEVICES * CONTEXTS * STATES);
  private readonly writes = new Int32Array(DEVICES * CONTEXTS * STATES);
  private readonly cacheable = new Int32Array(DEVICES * CONTEXTS * STATES);
  private readonly scopes = new Map<TlbScope, number>();

  constructor(shape: Shape, guest: ReferenceGuest) {
    this.shape = shape;
    for (const ste of [Ste.abort, Ste.bypass]) {
      const outcome = guest.translate(withValue(0, Structure.STE, ste), 0, false);
      this.plain[ste] = this.answers.add(answerOf(outcome));
    }
    for (let state = 0; state < STATES; state++) {
      if (!isState(state)) continue;
      for (let value = 0; value < STES; value++) this.learn(guest, 0, value, state);
      this.learn(guest, 0, CD_B, state);
      if (shape.other !== 'sameCd') this.learn(guest, 1, CD_OF_DEVICE_1, state);
      else for (let value = 0; value < STES; value++) this.learn(guest, 1, value, state);
    }
  }

  /** The answer of a device whose STE has this value, as a bit; 0 when stage 1 translates. */
  withoutStage1(device: number, ste: number): number {
    return this.plain[device * STES + ste]!;
  }

  /** The STE of a device in memory. */
  steIn(device: number, state: number): number {
    return device === 0 ? valueIn(state, Structure.STE) : 0;
  }

  /** The context where an STE points; -1 when it points nowhere. */
  contextIn(device: number, ste: number, state: number): number {
    if (device === 1 && this.shape.other !== 'sameCd') return CD_OF_DEVICE_1;
    if (ste === 0) return valueIn(state, Structure.CD);
    return ste === Ste.otherCd ? CD_B : -1;
  }

  /** What a walk from a context gives now, as a bit. */
  walk(device: number, context: number, state: number, write: number): number {
    const index = (device * CONTEXTS + context) * STATES + state;
    return (write === 1 ? this.writes : this.reads)[index]!;
  }

  /** The leaf that such a walk lets a TLB keep, as a bit; 0 for none. */
  leafOf(device: number, context: number, state: number): number {
    return this.cacheable[(device * CONTEXTS + context) * STATES + state]!;
  }

  /** What leaves of a set that have the ASID of a context, or are global, answer to an access. */
  hits(leaves: number, context: number, write: number): number {
    let answers = 0;
    for (let left = leaves; left !== 0; left &= left - 1) {
      const leaf = this.leaves.values[31 - Math.clz32(left & -left)]!;
      if (!leaf.global && leaf.asid !== asidOf(context)) continue;
      answers |= write === 1 ? leaf.write : leaf.read;
    }
    return answers;
  }

  /** As {@link hits}, of those that were found through an equal context. */
  hitsOfEqual(leaves: number, context: number, write: number): number {
    let answers = 0;
    const wanted = this.likeOf(context);
    for (let left = leaves; left !== 0; left &= left - 1) {
      const leaf = this.leaves.values[31 - Math.clz32(left & -left)]!;
      if (leaf.context === wanted) answers |= write === 1 ? leaf.write : leaf.read;
    }
    return answers;
  }

  /** The leaves that a TLBI ends. */
  named(scope: TlbScope): number {
    let named = this.scopes.get(scope);
    if (named === undefined) {
      named = 0;
      for (const leaf of this.leaves.values) {
        if (isNamed(leaf, scope)) named |= this.leaves.of(leaf);
      }
      this.scopes.set(scope, named);
    }
    return named;
  }

  /** The bit of an answer; 0 for one that the reference never gives. */
  bitOf(answer: number): number {
    return this.answers.of(answer);
  }

  /** The answers of a set. */
  print(answers: number): string {
    const some = this.answers.values.filter((answer) => (answers & this.bitOf(answer)) !== 0);
    return some.map(printAnswer).join(', ');
  }

  /** The context of device 0 that has the same words, if there is one. */
  private likeOf(context: number): number {
    return context === CD_OF_DEVICE_1 && this.shape.other === 'equalCd' ? 0 : context;
  }

  /** Asks for the walks from one context in one memory state. */
  private learn(guest: ReferenceGuest, device: number, context: number, state: number): void {
    const ste = context === CD_B ? Ste.otherCd : 0;
    const cd = context < CD_B ? context : valueIn(state, Structure.CD);
    const stand = withValue(withValue(state, Structure.STE, ste), Structure.CD, cd);
    const index = (device * CONTEXTS + context) * STATES + state;
    const read = guest.translate(stand, device, false);
    this.reads[index] = this.answers.add(answerOf(read));
    this.writes[index] = this.answers.add(answerOf(guest.translate(stand, device, true)));
    if (read.kind !== 'ok' || read.leaf === null) return;
    const { asid, nG, sizeLog2, unprivileged } = read.leaf;
    if (asid !== asidOf(context)) throw new Error('the reference sees another ASID in the CD');
    const bytes = 2 ** sizeLog2;
    const answer = answerOf(read);
    this.cacheable[index] = this.leaves.add({
      context: this.likeOf(context),
      asid,
      global: !nG,
      base: IOVA - (IOVA % bytes),
      bytes,
      read: this.answers.add(answer),
      write: this.answers.add(unprivileged.write ? answer : F_PERMISSION),
    });
  }
}

function asidOf(context: number): number {
  return context === Cd.otherAsid || context === CD_B ? OTHER_ASID : ASID;
}

function isNamed(leaf: CachedLeaf, scope: TlbScope): boolean {
  if (scope.of === 'all') return true;
  if (scope.of === 'asid') return !leaf.global && leaf.asid === scope.asid;
  const isWithin = scope.address >= leaf.base && scope.address < leaf.base + leaf.bytes;
  return isWithin && (leaf.global || leaf.asid === scope.asid);
}
