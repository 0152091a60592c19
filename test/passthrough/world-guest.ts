/** The driver of a guest: knows which of its commands are done, and goes on after errors as Linux does. */
import { CMDQ, R, type Entry } from '../smmu/smmu-machine.js';
import { CMD_SYNC, type Rig } from './device-rig.js';
import type { Words } from './world-hardware.js';

const QUEUE_LOG2 = 6;
const INDEX = 2 ** (QUEUE_LOG2 + 1) - 1;

export const wordsOf = ([low, high]: Entry): Words => [
  Number(low & 0xffff_ffffn),
  Number(low >> 32n),
  Number(high & 0xffff_ffffn),
  Number(high >> 32n),
];

export class Driver {
  /** Commands that an error has kept from being done, and that the driver has given up. */
  givenUp: Words[] = [];
  private readonly rig: Rig;
  private readonly consumed: (words: Words) => void;
  private readonly waiting: Words[] = [];
  private cons = 0;

  /** @param consumed is told of each command that CONS has passed, in order. */
  constructor(rig: Rig, consumed: (words: Words) => void) {
    this.rig = rig;
    this.consumed = consumed;
  }

  /** Issues commands with a CMD_SYNC, and waits until that is done. @returns how many errors there were. */
  issue(...entries: readonly Entry[]): number {
    const { machine } = this.rig;
    this.waiting.push(...[...entries, CMD_SYNC].map(wordsOf));
    machine.command(...entries, CMD_SYNC);
    return this.wait();
  }

  /** The queue begins anew. */
  restart(): void {
    this.cons = 0;
    this.waiting.length = 0;
  }

  private wait(): number {
    let errors = 0;
    this.look();
    for (; this.rig.isStopped; errors++) {
      if (errors === 40) throw new Error('the command queue does not go on');
      const { machine } = this.rig;
      if (machine.cerror === 1) {
        // Linux puts a CMD_SYNC in its place.
        this.givenUp.push(this.waiting[0]!);
        this.waiting[0] = [0x46, 0, 0, 0];
        machine.put(CMDQ + 16 * (this.cons & (INDEX >> 1)), ...CMD_SYNC);
      }
      this.rig.acknowledge();
      this.look();
    }
    if (this.waiting.length > 0) throw new Error('the command queue stands still');
    return errors;
  }

  private look(): void {
    const now = this.rig.machine.read(R.CMDQ_CONS) & INDEX;
    while (this.cons !== now) {
      this.cons = (this.cons + 1) & INDEX;
      this.consumed(this.waiting.shift()!);
    }
  }
}
