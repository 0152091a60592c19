/**
 * The search: every sequence of actions up to a depth that ends in an access, checked by the rule.
 *
 * **Reductions.** Each leaves sequences out of which another one, not longer, calls the vSMMU in the
 * same way over the same memory, and is allowed no more:
 *
 * 1. A run of stores with nothing between them stores to each structure once at most, in the order of
 *    `Structure`. Nobody looks before its end: by point 4 of the rule neither sets nor vSMMU differ.
 * 2. No CMD_SYNC while nothing was invalidated since the last: it does nothing in either.
 * 3. No CMD_SYNC right after a store: the same sequence with the CMD_SYNC before the stores is there.
 *    It reads no structure; what it makes valid holds the memory before the stores, seen by the
 *    invalidation, and the memory after them comes in with the next call.
 * 4. No command before the first access, when nothing is cached at the start: it finds nothing to
 *    end, and has no effect on the vSMMU but to let the rule allow what was in memory then.
 *
 * And the vSMMU is not asked twice where it cannot tell the difference: see {@link Runs}. Without
 * reductions every sequence is there, and each is tried out on a vSMMU and a memory of its own.
 */
import { type Action, Kind } from './actions.js';
import { Answers, printAnswer } from './answers.js';
import { Rule, SETS } from './allowed.js';
import { type IdRegisters, ReferenceGuest } from './guest.js';
import { Run, Runs } from './runs.js';
import { World, type WorldOptions } from './world.js';

export interface SearchOptions extends WorldOptions {
  readonly alphabet: readonly Action[];
  /** `false`: without reductions. */
  readonly reduced?: boolean;
  /** Breaks the vSMMU. */
  readonly mutate?: (world: World) => void;
  /** A new vSMMU for each run: for mutants that would not start over. */
  readonly fresh?: boolean;
  /** Told of each check. */
  readonly observe?: (state: number, query: number, answer: number, allowed: number) => void;
}

/** A sequence that ends in an answer that is not allowed. */
export interface Failure {
  readonly sequence: readonly Action[];
  /** `dead`: it was allowed, and ended by an invalidation that is complete; `never`: it never was. */
  readonly kind: 'dead' | 'never';
  /** The sequence and what is wrong with its answer, line by line. */
  readonly text: string;
  /** A new vSMMU gives the same answer. */
  readonly isRepeatable: boolean;
}

export class Search {
  /** Sequences checked. */
  sequences = 0;
  /** Those that had one allowed answer. */
  exact = 0;
  /** The first failure that was found. */
  failure: Failure | undefined;

  private readonly options: SearchOptions;
  private readonly answers: Answers;
  private readonly rule: Rule;
  private readonly make: () => World;
  private readonly runs: Runs;
  private readonly reduced: boolean;
  /** The sequence, and the memory state after each of its prefixes. */
  private readonly sequence: Action[] = [];
  private states = new Int32Array(0);
  /** For each prefix the sets of the rule, then the same with the SMMU being called after it. */
  private sets = new Int32Array(0);
  private depth = 0;
  /** Different memory states with their sets. */
  private readonly seen = new Set<number>();

  constructor(options: SearchOptions) {
    const { alphabet } = options;
    this.options = options;
    this.reduced = options.reduced ?? true;
    this.make = () => new World(options, options.mutate);
    this.runs = new Runs(this.make, alphabet.length, options.fresh ?? false);
    this.answers = answersFor(options);
    this.rule = new Rule(this.answers);
  }

  /** Runs of the vSMMU that were tried out. */
  get runCount(): number {
    return this.runs.count;
  }

  /** Different states of memory and rule in which an access was checked. */
  get stateCount(): number {
    return this.seen.size;
  }

  /** Checks all sequences of at most `depth` actions. */
  check(depth: number): this {
    this.depth = depth;
    this.sequences = 0;
    this.exact = 0;
    this.seen.clear();
    this.states = new Int32Array(depth);
    this.sets = new Int32Array(2 * SETS * depth);
    const isWarm = this.options.warmUp.length > 0;
    if (isWarm) this.rule.observe(this.sets, 0, 0);
    this.visit(0, this.runs.root, false, isWarm);
    return this;
  }

  /** Checks sequences of at most 1, 2 ... `depth` actions until one fails: it is one of the shortest. */
  checkUpTo(depth: number): this {
    for (let i = 1; i <= depth && this.failure === undefined; i++) this.check(i);
    return this;
  }

  /**
   * Goes on from a prefix of the sequence.
   * @param isPending something was invalidated since the last CMD_SYNC.
   * @param isWarm something may be cached.
   */
  private visit(length: number, run: Run, isPending: boolean, isWarm: boolean): void {
    const { sequence, reduced, sets, rule } = this;
    const { alphabet } = this.options;
    const state = this.states[length]!;
    const at = 2 * SETS * length;
    const called = at + SETS;
    sets.copyWithin(called, at, called);
    rule.observe(sets, called, state);
    this.seen.add(hashOf(sets, called, state));
    const isLast = length + 1 === this.depth;
    const last = sequence[length - 1];
    for (let i = 0; i < alphabet.length; i++) {
      const action = alphabet[i]!;
      const { kind } = action;
      const isAccess = kind === Kind.access;
      if (isLast && !isAccess) continue;
      if (reduced && isLeftOut(action, last, isPending, isWarm)) continue;
      sequence[length] = action;
      const next = this.after(run, action, i, state);
      if (isAccess && this.isWrong(action, next, called, state)) return;
      if (isLast) continue;
      this.advance(length, action, state);
      const willBePending = kind === Kind.command || (isPending && kind !== Kind.sync);
      this.visit(length + 1, next, willBePending, isWarm || isAccess);
      if (this.failure !== undefined) return;
    }
    sequence.length = length;
  }

  private after(run: Run, call: Action, index: number, state: number): Run {
    const isStore = call.kind === Kind.store;
    if (this.reduced) return isStore ? run : this.runs.after(run, call, index, state);
    if (call.kind === Kind.access) return this.runs.tryOut(this.make(), run, call, state);
    return new Run(run, call, isStore ? call.after(state) : state);
  }

  /** Memory and sets after one action more. */
  private advance(length: number, action: Action, state: number): void {
    const { sets, rule } = this;
    const at = 2 * SETS * length;
    const next = at + 2 * SETS;
    const isStore = action.kind === Kind.store;
    this.states[length + 1] = isStore ? action.after(state) : state;
    sets.copyWithin(next, isStore ? at : at + SETS, isStore ? at + SETS : next);
    if (action.kind === Kind.command) rule.invalidate(sets, next, state, action);
    else if (action.kind === Kind.sync) rule.synchronize(sets, next);
  }

  /** Checks the answers to the access that the sequence ends with now. */
  private isWrong(access: Action, run: Run, at: number, state: number): boolean {
    const { rule, sets } = this;
    const { query } = access;
    const { answer, otherwise, writable } = run;
    const allowed = rule.allowed(sets, at, state, query);
    this.sequences++;
    if ((allowed & (allowed - 1)) === 0) this.exact++;
    this.options.observe?.(state, query, answer, allowed);
    if (!this.isIn(answer, allowed)) return this.fail(run, at, state, query, answer, '');
    if (!this.isIn(otherwise, allowed)) {
      return this.fail(run, at, state, query, otherwise, ' when asked again by another path');
    }
    if (writable < 0) return false;
    const write = query | 1;
    if (this.isIn(writable, rule.allowed(sets, at, state, write))) return false;
    return this.fail(run, at, state, write, writable, ', said to be writable');
  }

  private isIn(answer: number, set: number): boolean {
    return (this.answers.bitOf(answer) & set) !== 0;
  }

  private fail(
    run: Run,
    at: number,
    state: number,
    query: number,
    answer: number,
    how: string,
  ): true {
    const { rule, sets, options } = this;
    const sequence = [...this.sequence];
    const isDead = this.isIn(answer, rule.everAllowed(sets, at, state, query));
    const isRepeatable = this.isRepeatable(run);
    const why = isDead ? 'which has been invalidated' : 'which nothing ever permitted';
    const allowed = this.answers.print(rule.allowed(sets, at, state, query));
    const lines = sequence.map(({ name }, i) => `${i + 1}. ${name}`);
    if (options.warmUp.length > 0) lines.unshift(`0. accesses ${options.warmUp.join(' and ')}`);
    lines.push(`   gets ${printAnswer(answer)}${how}, ${why}; allowed: ${allowed}`);
    if (!isRepeatable)
      lines.push('   from a new vSMMU it does not: earlier sequences left a trace');
    this.failure = {
      sequence,
      kind: isDead ? 'dead' : 'never',
      text: lines.join('\n'),
      isRepeatable,
    };
    return true;
  }

  /** Whether the sequence ends on a new vSMMU with the answers of `run`. */
  private isRepeatable({ answer, otherwise, writable }: Run): boolean {
    const world = this.make();
    let last = 0;
    for (const [i, action] of this.sequence.entries()) {
      world.setMemory(this.states[i]!);
      if (action.kind !== Kind.store) last = world.call(action);
    }
    const { query } = this.sequence.at(-1)!;
    const then = world.accessOtherwise(query);
    return last === answer && then === otherwise && world.writable === writable;
  }
}

/** Whether a reduction leaves the sequences out that go on with `action` after `last`. */
function isLeftOut(
  action: Action,
  last: Action | undefined,
  isPending: boolean,
  isWarm: boolean,
): boolean {
  const isAfterStore = last?.kind === Kind.store;
  switch (action.kind) {
    case Kind.store:
      return isAfterStore && action.structure <= last.structure;
    case Kind.command:
      return !isWarm;
    case Kind.sync:
      return !isPending || isAfterStore;
    default:
      return false;
  }
}

const known = new Map<string, Answers>();

/** What the reference says; asked once for each shape. */
export function answersFor(options: WorldOptions): Answers {
  const { shape } = options;
  const key = JSON.stringify(shape);
  let answers = known.get(key);
  if (answers === undefined) {
    const ids: IdRegisters = new World({ ...options, warmUp: [] }).ids;
    answers = new Answers(shape, new ReferenceGuest(shape, ids));
    known.set(key, answers);
  }
  return answers;
}

/** A number of 53 bits; two states that have the same one are counted as one. */
function hashOf(sets: Int32Array, at: number, state: number): number {
  let low = state;
  let high = state;
  for (let i = at; i < at + SETS; i++) {
    low = Math.imul(low ^ sets[i]!, 0x9e37_79b1);
    low ^= low >>> 15;
    high = Math.imul(high + sets[i]!, 0x85eb_ca6b) ^ (high >>> 13);
  }
  return (high & 0x1f_ffff) * 0x1_0000_0000 + (low >>> 0);
}
