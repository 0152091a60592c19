/**
 * What the vSMMU does when it is called in some order, each order tried out once.
 *
 * The vSMMU is deterministic, and sees the guest's memory only where it reads it. Two sequences that
 * call it in the same order and let it read the same values are one **run**: it cannot tell them
 * apart, whatever was stored elsewhere, or stored and stored over. Runs form a tree; a step of it is a
 * call with the values that were read.
 */
import { type Action, Kind } from './actions.js';
import type { World } from './world.js';

/** A run after its last call, and what that call gave. */
export class Run {
  readonly before: Run | undefined;
  /** Or a store, where each is a step of its own. */
  readonly call: Action | undefined;
  /** The memory state at the last call, or after the store. */
  readonly state: number;
  /** The bits of a memory state that the last call has read, and what they were. */
  readonly mask: number;
  readonly values: number;
  /** Answer to the last call, if it is an access. */
  readonly answer: number;
  /** What the same access gets by the other path right afterwards. */
  readonly otherwise: number;
  /** The output address that `Smmu.translate`, one of the two, says may be written to; else -1. */
  readonly writable: number;
  /** What comes next: by number of the call, for the values read so far. */
  next: (Run[] | undefined)[] | undefined;

  constructor(
    before?: Run,
    call?: Action,
    state = 0,
    mask = 0,
    answer = 0,
    otherwise = 0,
    writable = -1,
  ) {
    this.before = before;
    this.call = call;
    this.state = state;
    this.mask = mask;
    this.values = state & mask;
    this.answer = answer;
    this.otherwise = otherwise;
    this.writable = writable;
    this.next = undefined;
  }
}

export class Runs {
  /** Nothing was called yet. */
  readonly root = new Run();
  /** Runs tried out. */
  count = 0;
  private readonly make: () => World;
  private readonly calls: number;
  private readonly isFresh: boolean;
  private world: World;
  private readonly path: Run[] = [];

  /**
   * @param calls different calls that there are.
   * @param isFresh a new vSMMU for each run, instead of one that is made to start over.
   */
  constructor(make: () => World, calls: number, isFresh: boolean) {
    this.make = make;
    this.calls = calls;
    this.isFresh = isFresh;
    this.world = make();
  }

  /** The run that goes on with a call in a memory state. `index` is the number of the call. */
  after(run: Run, call: Action, index: number, state: number): Run {
    const next = (run.next ??= new Array<Run[] | undefined>(this.calls));
    const known = (next[index] ??= []);
    for (const one of known) {
      if ((state & one.mask) === one.values) return one;
    }
    if (this.isFresh) this.world = this.make();
    else this.world.startOver();
    const found = this.tryOut(this.world, run, call, state);
    known.push(found);
    return found;
  }

  /** A run, tried out on a vSMMU that has done nothing yet. */
  tryOut(world: World, run: Run, call: Action, state: number): Run {
    this.count++;
    const { path } = this;
    path.length = 0;
    for (let one = run; one.before !== undefined; one = one.before) path.push(one);
    for (let i = path.length - 1; i >= 0; i--) {
      const { state: then, call: done } = path[i]!;
      world.setMemory(then);
      if (done!.kind !== Kind.store) world.call(done!);
    }
    world.setMemory(state);
    world.read = 0;
    const answer = world.call(call);
    if (call.query < 0) return new Run(run, call, state, world.read);
    const otherwise = world.accessOtherwise(call.query);
    return new Run(run, call, state, world.read, answer, otherwise, world.writable);
  }
}
