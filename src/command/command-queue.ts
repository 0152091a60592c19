import { Cerror, COMMAND_BYTES, CommandOpcode } from '../arch/command.js';
import { get, set } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GlobalErrors } from '../event/global-error.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { QueueGeometry } from '../registers/queue-geometry.js';
import { hasIllegalFields, legalOpcodes } from './legality.js';

const { CR0, CMDQ_BASE, CMDQ_CONS, GERROR } = Register;
const prod = wordOf(Register.CMDQ_PROD);
const cons = wordOf(CMDQ_CONS);

/** The command cannot be done yet: the queue stays on it until it is resumed. */
export const WAITS = -1;

/** Executes one command whose opcode and common fields are legal. */
export interface CommandExecutor {
  /**
   * @param words the command, 4 words.
   * @returns a {@link Cerror}: NONE when it is done; or {@link WAITS}.
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
  private readonly geometry: QueueGeometry;
  /** Index of the command that is being executed; -1 for none. */
  private executing = -1;
  /** The command at CONS waits for what is under way. */
  private isWaiting = false;

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
    const { CMDQS, OAS } = features;
    this.geometry = new QueueGeometry(frame, CMDQ_BASE, COMMAND_BYTES, CMDQS, OAS);
  }

  /** Takes over CMDQ_BASE; index bits of CONS beyond the queue's size read as 0. */
  configure(): void {
    // The guest must not see the queue off before the command that is being executed is consumed.
    if (get(this.frame, wordOf(CR0), CR0.fields.CMDQEN) === 0) {
      this.consume();
      this.isWaiting = false;
    }
    this.geometry.configure();
    set(this.frame, cons, CMDQ_CONS.fields.RD, this.frame[cons]! & this.geometry.wrap);
  }

  /** What the command at CONS waited for is done. */
  resume(): void {
    this.isWaiting = false;
  }

  /** Whether a command waits that could be executed now. */
  get isPending(): boolean {
    return (
      !this.isWaiting &&
      this.isRunning &&
      ((this.frame[prod]! ^ this.frame[cons]!) & this.geometry.wrap) !== 0
    );
  }

  /**
   * Executes commands until the queue is empty, off or stopped, or `budget` of them were tried. What
   * they reach may write registers, as a guest does that handles an interrupt at once.
   */
  drain(budget: number): void {
    const { frame, words, geometry } = this;
    for (let left = budget; left > 0 && this.isPending; left--) {
      const read = frame[cons]! & geometry.wrap;
      if (!this.memory.load(geometry.entry(read), words, 0, COMMAND_BYTES / 4)) {
        this.fail(Cerror.ABT);
        continue;
      }
      const opcode = get(words, 0, CommandOpcode);
      const illegal = this.legal[opcode] === 0 || hasIllegalFields(words, opcode);
      this.executing = read;
      const error = illegal ? Cerror.ILL : this.executor.execute(words, opcode);
      if (error === WAITS) {
        this.executing = -1;
        this.isWaiting = true;
        return;
      }
      if (error !== Cerror.NONE) {
        this.executing = -1;
        this.fail(error);
        continue;
      }
      this.counts[opcode] = this.counts[opcode]! + 1;
      this.consume();
    }
  }

  /** CONS moves past the command that is being executed, if it has not yet. */
  private consume(): void {
    if (this.executing < 0) return;
    this.frame[cons] = (this.executing + 1) & this.geometry.wrap;
    this.executing = -1;
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
