import { Cerror, Command, COMMAND_BYTES, CommandOpcode } from '../arch/command.js';
import { get, set } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GlobalErrors } from '../event/global-error.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { QueueGeometry } from '../registers/queue-geometry.js';
import { HELD, PENDING, WAITS } from './hardware-side.js';
import { hasIllegalFields, legalOpcodes } from './legality.js';

const { CR0, CMDQ_BASE, CMDQ_CONS, GERROR } = Register;
const prod = wordOf(Register.CMDQ_PROD);
const cons = wordOf(CMDQ_CONS);

/** What the queue waits for: to execute the command at CONS again, or for what that, or a flush, comes to. */
const Waits = { nothing: 0, resume: 1, command: 2, flush: 3 } as const;

/** Commands that are held at most before they are flushed. */
const HELD_LIMIT = 4096;
const SYNC = Command.SYNC.opcode;

/** Executes commands. */
export interface CommandExecutor {
  /** Of the held commands, the one that a flush ended at that failed; counted from 0. */
  readonly stoppedAt: number;
  /** Whether held commands are to be flushed before a command with this opcode is executed. */
  endsRun(opcode: number): boolean;
  /**
   * Executes one command whose opcode and common fields are legal.
   * @param words the command, 4 words.
   * @param ordinal how many commands are held before it.
   * @returns a {@link Cerror}: NONE when it is done; {@link WAITS}, {@link HELD} or {@link PENDING}.
   */
  execute(words: Uint32Array, opcode: number, ordinal: number): number;
  /** Has the held commands done. @returns a {@link Cerror}, {@link PENDING} or {@link WAITS}. */
  flush(): number;
  /** The held commands are given up, and so is what is pending: they are fetched again. */
  cancel(): void;
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
  private executor: CommandExecutor;
  private readonly words = new Uint32Array(COMMAND_BYTES / 4);
  private readonly legal: Uint8Array;
  private readonly geometry: QueueGeometry;
  /** Index of the command that is being executed; -1 for none, or when the queue was turned off meanwhile. */
  private executing = -1;
  /** Opcode of that command, or of the one that waits. */
  private opcode = 0;
  /** A {@link Waits}. */
  private waits: number = Waits.nothing;
  /** Times that the queue was turned off. */
  private turns = 0;
  /** Commands executed that must not be consumed yet: those from CONS on. */
  private held = 0;
  private readonly heldOpcodes = new Uint8Array(HELD_LIMIT);

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

  /** Executes commands in another way from now on. */
  route(executor: CommandExecutor): void {
    this.executor = executor;
  }

  /** Takes over CMDQ_BASE; index bits of CONS beyond the queue's size read as 0. */
  configure(): void {
    // The guest must not see the queue off before the command that is being executed is consumed.
    if (get(this.frame, wordOf(CR0), CR0.fields.CMDQEN) === 0) {
      if (this.held === 0) this.consume();
      this.giveUp();
    }
    this.geometry.configure();
    set(this.frame, cons, CMDQ_CONS.fields.RD, this.frame[cons]! & this.geometry.wrap);
  }

  /** What the command at CONS waited for is done: it is executed again. */
  resume(): void {
    if (this.waits === Waits.resume) this.waits = Waits.nothing;
  }

  /** What was {@link PENDING} has come to `cerror`. */
  answer(cerror: number): void {
    const { waits } = this;
    this.waits = Waits.nothing;
    if (waits === Waits.flush) {
      this.flushed(cerror);
    } else if (cerror !== Cerror.NONE) {
      this.fail(cerror);
    } else if (this.opcode !== SYNC) {
      // A CMD_SYNC has more to do: it is executed again.
      this.executing = this.frame[cons]! & this.geometry.wrap;
      this.consume();
    }
  }

  /** Whether a command waits that could be executed now. */
  get isPending(): boolean {
    return (
      this.waits === Waits.nothing &&
      this.isRunning &&
      ((this.frame[prod]! ^ (this.frame[cons]! + this.held)) & this.geometry.wrap) !== 0
    );
  }

  /**
   * Executes commands until the queue is empty, off or stopped, or `budget` of them were tried. What
   * they reach may write registers, as a guest does that handles an interrupt at once.
   */
  drain(budget: number): void {
    const { frame, words, geometry } = this;
    for (let left = budget; left > 0 && this.isPending; left--) {
      const read = (frame[cons]! + this.held) & geometry.wrap;
      if (!this.memory.load(geometry.entry(read), words, 0, COMMAND_BYTES / 4)) {
        this.stop(Cerror.ABT);
        continue;
      }
      const opcode = get(words, 0, CommandOpcode);
      if (this.legal[opcode] === 0 || hasIllegalFields(words, opcode)) {
        this.stop(Cerror.ILL);
        continue;
      }
      if (this.mustFlush(opcode) && !this.flush()) continue;
      this.executing = read;
      this.opcode = opcode;
      this.take(this.executor.execute(words, opcode, this.held));
    }
    if (this.held > 0 && this.waits === Waits.nothing) this.flush();
  }

  /** Whether held commands are to be done before one with this opcode is executed. */
  private mustFlush(opcode: number): boolean {
    return this.held > 0 && (this.held === HELD_LIMIT || this.executor.endsRun(opcode));
  }

  /** Goes on after a command was executed, with what that came to. */
  private take(result: number): void {
    if (result === Cerror.NONE && this.held === 0) {
      this.consume();
    } else if (this.executing < 0) {
      this.executor.cancel();
    } else if (result === Cerror.NONE || result === HELD) {
      this.executing = -1;
      this.heldOpcodes[this.held++] = this.opcode;
    } else if (result === WAITS || result === PENDING) {
      this.executing = -1;
      this.waits = result === WAITS ? Waits.resume : Waits.command;
    } else {
      this.executing = -1;
      this.stop(result);
    }
  }

  /** The command behind the held ones fails, when those have not failed. */
  private stop(cerror: number): void {
    if (this.held === 0 || this.flush()) this.fail(cerror);
  }

  /** Has the held commands done. @returns whether they are, and the queue goes on. */
  private flush(): boolean {
    const { turns } = this;
    const result = this.executor.flush();
    if (turns !== this.turns) return false;
    if (result === WAITS) this.waits = Waits.resume;
    else if (result === PENDING) this.waits = Waits.flush;
    else this.flushed(result);
    return result === Cerror.NONE;
  }

  /** The held commands are done, or those before the one that failed. */
  private flushed(cerror: number): void {
    const done = cerror === Cerror.NONE ? this.held : this.executor.stoppedAt;
    for (let i = 0; i < done; i++) this.count(this.heldOpcodes[i]!);
    this.held = 0;
    this.frame[cons] = (this.frame[cons]! + done) & this.geometry.wrap;
    if (cerror !== Cerror.NONE) this.fail(cerror);
  }

  /** CONS moves past the command that is being executed, if it has not yet. */
  private consume(): void {
    if (this.executing < 0) return;
    this.count(this.opcode);
    this.frame[cons] = (this.executing + 1) & this.geometry.wrap;
    this.executing = -1;
  }

  private count(opcode: number): void {
    this.counts[opcode] = this.counts[opcode]! + 1;
  }

  /** The queue is off: what is held, or waits, is fetched again. */
  private giveUp(): void {
    this.turns++;
    this.waits = Waits.nothing;
    this.executing = -1;
    this.held = 0;
    this.executor.cancel();
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
