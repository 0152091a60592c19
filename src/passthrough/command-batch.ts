import { Command } from '../arch/command.js';
import type { HostAnswer } from './backend.js';
import type { Refusal } from './host-refusal.js';

/** Commands that a batch can have: as many as the queue looks ahead. */
export const BATCH_LIMIT = 4096;
const FIRST_ROOM = 64;

const { TLBI_NH_ALL, TLBI_NSNH_ALL, CFGI_CD, CFGI_CD_ALL, ATC_INV } = Command;

/** Commands of the guest that wait to be sent to one physical SMMU, in order. */
export class CommandBatch {
  /** 4 words each. */
  commands = new Uint32Array(4 * FIRST_ROOM);
  /** Which of the commands that the queue holds each of them is, ascending. */
  ordinals = new Uint32Array(FIRST_ROOM);
  count = 0;
  /** What the call that it was sent with comes to; `undefined` before it, or when it is done. */
  begun: HostAnswer<Refusal | undefined>;
  /** There is an ATC_INV among them. */
  hasAtc = false;
  /** Everything in the TLBs goes already, and no configuration has changed after that. */
  private coversTlb = false;

  /**
   * Adds a command.
   * @param words its 4 words.
   * @returns `false` when one that waits already does what it does: all of them are executed after the
   * guest has issued it.
   */
  add(words: Uint32Array, opcode: number, ordinal: number): boolean {
    if (this.isCovered(words, opcode)) return false;
    const { count } = this;
    if (count === this.ordinals.length) this.grow();
    const { commands } = this;
    const at = 4 * count;
    commands[at] = words[0]!;
    commands[at + 1] = words[1]!;
    commands[at + 2] = words[2]!;
    commands[at + 3] = words[3]!;
    this.ordinals[count] = ordinal;
    this.count = count + 1;
    if (opcode === TLBI_NH_ALL.opcode || opcode === TLBI_NSNH_ALL.opcode) this.coversTlb = true;
    // A CD that changes may be followed by translations under the CD before it.
    else if (opcode === CFGI_CD.opcode || opcode === CFGI_CD_ALL.opcode) this.coversTlb = false;
    else if (opcode === ATC_INV.opcode) this.hasAtc = true;
    return true;
  }

  clear(): void {
    this.count = 0;
    this.begun = undefined;
    this.hasAtc = false;
    this.coversTlb = false;
  }

  /** Opcode of command `i`. */
  opcode(i: number): number {
    return this.commands[4 * i]! & 0xff;
  }

  private isCovered(words: Uint32Array, opcode: number): boolean {
    if (this.coversTlb && (opcode & 0xf0) === (TLBI_NH_ALL.opcode & 0xf0)) return true;
    const { commands, count } = this;
    if (count === 0 || opcode === ATC_INV.opcode) return false;
    const at = 4 * (count - 1);
    return (
      commands[at] === words[0] &&
      commands[at + 1] === words[1] &&
      commands[at + 2] === words[2] &&
      commands[at + 3] === words[3]
    );
  }

  private grow(): void {
    const commands = new Uint32Array(2 * this.commands.length);
    const ordinals = new Uint32Array(2 * this.ordinals.length);
    commands.set(this.commands);
    ordinals.set(this.ordinals);
    this.commands = commands;
    this.ordinals = ordinals;
  }
}
