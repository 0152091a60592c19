import { Cerror, COMMAND_BYTES } from '../arch/command.js';
import { get, getAddress, set } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GlobalErrors } from '../event/global-error.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { hasIllegalFields, legalOpcodes } from './legality.js';

const { CR0, CMDQ_BASE, CMDQ_CONS, GERROR } = Register;
const prod = wordOf(Register.CMDQ_PROD);
const cons = wordOf(CMDQ_CONS);

/** Executes one command whose opcode and common fields are legal. */
export interface CommandExecutor {
  /**
   * @param words the command, 4 words.
   * @returns a {@link Cerror}: NONE when it is done.
   */
  execute(words: Uint32Array, opcode: number): number;
}

/**
 * The command queue (IHI 0070, sections 3.5 and 4): commands in order, each consumed when it is done.
 * A command that fails stops the queue, with CONS on it, until the guest acknowledges CMDQ_ERR.
 */
export class CommandQueue {
  /** Commands consumed, by opcode; index 256 counts those that failed. */
  readonly counts = new Float64Array(257);

  private readonly memory: GuestMemory;
  private readonly frame: Uint32Array;
  private readonly errors: GlobalErrors;
  private readonly executor: CommandExecutor;
  private readonly words = new Uint32Array(COMMAND_BYTES / 4);
  private readonly legal: Uint8Array;
  private readonly maxLog2: number;
  private readonly oas: number;
  private base = 0;
  private wrap = 1;

  constructor(
    memory: GuestMemory,
    frame: Uint32Array,
    features: Features,
    errors: GlobalErrors,
    executor: CommandExecutor,
  ) {
    this.memory = memory;
    this.frame = frame;
    this.errors = errors;
    this.executor = executor;
    this.legal = legalOpcodes(features);
    this.maxLog2 = features.CMDQS;
    this.oas = features.OAS;
    this.configure();
  }

  /** Takes over CMDQ_BASE; index bits of CONS beyond the queue's size read as 0. */
  configure(): void {
    const at = wordOf(CMDQ_BASE);
    const log2 = Math.min(get(this.frame, at, CMDQ_BASE.fields.LOG2SIZE), this.maxLog2);
    const address = getAddress(this.frame, at, CMDQ_BASE.fields.ADDR) % 2 ** this.oas;
    this.base = address - (address % Math.max(32, COMMAND_BYTES * 2 ** log2));
    this.wrap = 2 ** (log2 + 1) - 1;
    set(this.frame, cons, CMDQ_CONS.fields.RD, this.frame[cons]! & this.wrap);
  }

  /** Whether a command waits that could be executed now. */
  get isPending(): boolean {
    return this.isRunning && ((this.frame[prod]! ^ this.frame[cons]!) & this.wrap) !== 0;
  }

  /**
   * Executes commands until the queue is empty, off or stopped, or `budget` of them are done.
   * @returns how many were consumed.
   */
  drain(budget: number): number {
    const { frame, words } = this;
    let done = 0;
    while (done < budget && this.isPending) {
      // What a command calls may change the queue: nothing of it is kept over a command.
      const { wrap } = this;
      const read = frame[cons]! & wrap;
      const address = this.base + COMMAND_BYTES * (read & (wrap >>> 1));
      if (!this.memory.load(address, words, 0, COMMAND_BYTES / 4)) {
        this.fail(Cerror.ABT);
        break;
      }
      const opcode = words[0]! & 0xff;
      const illegal = this.legal[opcode] === 0 || hasIllegalFields(words, opcode);
      const error = illegal ? Cerror.ILL : this.executor.execute(words, opcode);
      if (error !== Cerror.NONE) {
        this.fail(error);
        break;
      }
      frame[cons] = (read + 1) & wrap;
      this.counts[opcode] = this.counts[opcode]! + 1;
      done++;
    }
    return done;
  }

  private get isRunning(): boolean {
    return (
      get(this.frame, wordOf(CR0), CR0.fields.CMDQEN) === 1 &&
      !this.errors.isActive(GERROR.fields.CMDQ_ERR)
    );
  }

  /** CONS stays on the command; its ERR is visible before the error is. */
  private fail(error: number): void {
    set(this.frame, cons, CMDQ_CONS.fields.ERR, error);
    this.counts[256] = this.counts[256]! + 1;
    this.errors.activate(GERROR.fields.CMDQ_ERR);
  }
}
