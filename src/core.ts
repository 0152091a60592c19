import { get } from './arch/field.js';
import { Register, wordOf } from './arch/registers.js';
import { CommandQueue } from './command/command-queue.js';
import { CommandEmulator, StallAction, type CommandTargets } from './command/emulate.js';
import type { TranslationKeeper } from './command/invalidations.js';
import { EventQueue, Recorded } from './event/event-queue.js';
import { GlobalErrors } from './event/global-error.js';
import { InterruptSender, type Interrupts } from './event/interrupts.js';
import type { GuestLog } from './log.js';
import type { GuestMemory } from './memory/guest-memory.js';
import type { Features } from './registers/features.js';
import { Effect, RegisterFrame } from './registers/frame.js';
import { ConfigurationCache } from './transaction/configuration-cache.js';
import { eventOf, writeEvent } from './transaction/fault.js';
import { nobody, StalledAccess, StallTable, type StallListener } from './transaction/stall.js';
import { Transactions } from './transaction/translate.js';
import { Outcome, Translation } from './transaction/translation.js';

const { CR0, IRQ_CTRL, GERROR, CMDQ_CONS } = Register;

/** What a {@link SmmuCore} needs of its surroundings. */
export interface CoreOptions {
  readonly memory: GuestMemory;
  readonly interrupts: Interrupts;
  readonly budget: number;
  readonly commandsPending: () => void;
  readonly deviceCommand: (words: Uint32Array) => void;
  readonly log: GuestLog;
  /** Who keeps translations; the list may change. */
  readonly keepers: readonly TranslationKeeper[];
}

/** Streams, and CDs, whose configuration is kept at most. */
const CONFIGURATION_LIMIT = 4096;

/**
 * The vSMMU once its features are chosen: builds the parts and says who calls whom. What a register
 * write sets in motion, what becomes of a fault, and what commands reach, is here; how each is done is
 * in the parts.
 */
export class SmmuCore implements CommandTargets {
  readonly frame: RegisterFrame;
  readonly configurations: ConfigurationCache;
  readonly transactions: Transactions;
  readonly stalls: StallTable;
  readonly commands: CommandQueue;
  readonly events: EventQueue;
  /** Accesses translated. */
  translations = 0;
  /** Faults by event number and by what became of the record: index `8*event + Recorded`. */
  readonly eventCounts = new Float64Array(256 * 8);
  /** Something was invalidated since the last CMD_SYNC. */
  invalidated = false;
  /** The guest has enabled something: the features stay as they are. */
  frozen = false;

  private readonly options: CoreOptions;
  private readonly errors: GlobalErrors;
  private readonly record = new Uint32Array(8);
  private draining = false;

  constructor(features: Features, options: CoreOptions) {
    const { memory } = options;
    this.options = options;
    this.frame = new RegisterFrame(features);
    const { words } = this.frame;
    const sender = new InterruptSender(memory, words, options.interrupts, features.OAS);
    this.errors = new GlobalErrors(words, sender);
    this.configurations = new ConfigurationCache(memory, features, CONFIGURATION_LIMIT);
    this.transactions = new Transactions(memory, features, this.configurations);
    this.stalls = new StallTable(features.STALL_MAX);
    this.events = new EventQueue(memory, words, features, this.errors, sender);
    const emulator = new CommandEmulator(this, this.errors, sender, features);
    this.commands = new CommandQueue(memory, words, features, this.errors, emulator);
  }

  /** What follows from a register write. */
  react(effect: number): void {
    switch (effect) {
      case Effect.CR0:
        this.enable();
        break;
      case Effect.IRQ_CTRL:
        this.frame.words[wordOf(Register.IRQ_CTRLACK)] = this.frame.words[wordOf(IRQ_CTRL)]!;
        break;
      case Effect.GERRORN:
        if (!this.errors.isActive(GERROR.fields.CMDQ_ERR)) {
          this.frame.set('CMDQ_CONS', CMDQ_CONS.fields.ERR, 0);
        }
        this.recordHeldStalls();
        this.kick();
        break;
      case Effect.CMDQ_PROD:
        this.kick();
        break;
      case Effect.CMDQ_BASE:
        this.commands.configure();
        break;
      case Effect.EVENTQ_BASE:
        this.events.configure();
        break;
      case Effect.EVENTQ:
        this.recordHeldStalls();
        break;
      default:
        this.transactions.configure(this.frame.words);
        break;
    }
  }

  /** Executes up to `budget` commands; a callback of one of them cannot start another drain. */
  drain(budget: number): boolean {
    if (this.draining) return this.commands.isPending;
    this.draining = true;
    try {
      this.commands.drain(budget);
    } finally {
      this.draining = false;
    }
    return this.commands.isPending;
  }

  /** As {@link Smmu.translate}. */
  translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
    answered?: StallListener,
  ): number {
    this.translations++;
    const outcome = this.transactions.translate(
      streamId,
      substreamId,
      inputHigh,
      inputLow,
      access,
      result,
    );
    return result.event === 0 ? outcome : this.faulted(result, access, answered);
  }

  /** Ends the life of this core: what still runs stops, and stalled accesses abort. */
  retire(): void {
    this.frame.reset();
    this.terminateStalls();
  }

  resume(streamId: number, stag: number, action: number): void {
    const access = this.stalls.take(streamId, stag);
    if (access === undefined) return;
    if (action === StallAction.retry) this.retry(access);
    else access.answer(action === StallAction.zero ? Outcome.zeroed : Outcome.aborted);
  }

  terminateStalls(streamId?: number): void {
    for (const access of this.stalls.takeAll(streamId)) access.answer(Outcome.aborted);
  }

  /** A stall that the guest was not told of yet may be based on what was invalidated: it is retried. */
  synchronize(): void {
    if (!this.invalidated) return;
    this.invalidated = false;
    for (const access of [...this.stalls.accesses.values()]) {
      // Who gets an answer may end other stalls.
      const waits = this.stalls.accesses.get(access.stag) === access;
      if (access.recorded || !waits) continue;
      this.stalls.accesses.delete(access.stag);
      this.retry(access);
    }
  }

  deviceCommand(words: Uint32Array): void {
    // Both are consumed without effect while SMMUEN is 0 (IHI 0070, section 4.5).
    if (this.frame.get('CR0', CR0.fields.SMMUEN) === 1) this.options.deviceCommand(words);
  }

  invalidateAll(): void {
    this.invalidated = true;
    for (const keeper of this.options.keepers) keeper.invalidateAll();
  }

  invalidateAsid(asid: number): void {
    this.invalidated = true;
    for (const keeper of this.options.keepers) keeper.invalidateAsid(asid);
  }

  invalidateRange(range: Parameters<TranslationKeeper['invalidateRange']>[0]): void {
    this.invalidated = true;
    for (const keeper of this.options.keepers) keeper.invalidateRange(range);
  }

  invalidateStreams(first: number, last: number): void {
    this.invalidated = true;
    this.configurations.invalidateStreams(first, last);
    for (const keeper of this.options.keepers) keeper.invalidateStreams(first, last);
  }

  invalidateContext(streamId: number, substreamId: number): void {
    this.invalidated = true;
    this.configurations.invalidateContext(streamId, substreamId);
    for (const keeper of this.options.keepers) keeper.invalidateContext(streamId, substreamId);
  }

  /** CR0 was written: its side effects, then CR0ACK (IHI 0070, section 6.3.9). */
  private enable(): void {
    const { words } = this.frame;
    const acknowledged = wordOf(Register.CR0ACK);
    const before = words[acknowledged]!;
    const wasEnabled = get(words, acknowledged, CR0.fields.SMMUEN) === 1;
    const now = words[wordOf(CR0)]!;
    if (now !== 0) this.frozen = true;
    this.transactions.configure(words);
    this.commands.configure();
    words[acknowledged] = now;
    if (before !== now) this.options.log.debug('CR0 written', { before, now });
    if (wasEnabled && get(words, wordOf(CR0), CR0.fields.SMMUEN) === 0) this.terminateStalls();
    this.recordHeldStalls();
    this.kick();
  }

  private kick(): void {
    if (this.draining) return;
    if (this.drain(this.options.budget)) this.options.commandsPending();
    else if (this.errors.isActive(GERROR.fields.CMDQ_ERR) && this.options.log.isOn) {
      const error = this.frame.get('CMDQ_CONS', CMDQ_CONS.fields.ERR);
      this.options.log.warn('the command queue has stopped', { error });
    }
  }

  private faulted(result: Translation, access: number, answered?: StallListener): number {
    if (result.outcome === Outcome.stalled) {
      if (answered !== undefined && !this.stalls.isFull)
        return this.stall(result, access, answered);
      result.outcome = Outcome.aborted;
      result.stall = false;
    }
    if (this.options.log.isOn) this.logFault(result);
    if (!result.recorded) return result.outcome;
    writeEvent(this.record, 0, result, this.frame.features.OAS);
    this.send(this.record, this.configurations.mergesEvents(result.streamId));
    return result.outcome;
  }

  private stall(result: Translation, access: number, answered: StallListener): number {
    result.stag = this.stalls.nextStag();
    const record = new Uint32Array(8);
    writeEvent(record, 0, result, this.frame.features.OAS);
    const stalled = new StalledAccess(result.stag, result, access, record, answered);
    this.stalls.accesses.set(stalled.stag, stalled);
    this.recordHeldStalls();
    return result.outcome;
  }

  /** Tells the guest of stalls that it was not told of yet, in order, as far as the queue takes them. */
  private recordHeldStalls(): void {
    for (const access of this.stalls.accesses.values()) {
      if (access.recorded) continue;
      if (!this.events.isWritable) return;
      // Before the interrupt: its handler may make room, and what is held would be sent again.
      access.recorded = true;
      if (this.send(access.record, false) !== Recorded.written) access.recorded = false;
    }
  }

  private send(record: Uint32Array, mergeable: boolean): number {
    // Before the record is sent: an interrupt may bring the next one into the same words.
    const event = eventOf(record, 0);
    const became = this.events.record(record, mergeable);
    const index = 8 * event + became;
    this.eventCounts[index] = this.eventCounts[index]! + 1;
    return became;
  }

  private retry(access: StalledAccess): void {
    const result = new Translation();
    const { streamId, substreamId, inputHigh, inputLow, answered } = access;
    const outcome = this.translate(
      streamId,
      substreamId,
      inputHigh,
      inputLow,
      access.access,
      result,
      answered ?? nobody,
    );
    if (outcome !== Outcome.stalled) answered?.(result);
  }

  private logFault(result: Translation): void {
    const { streamId, substreamId, event, inputHigh, inputLow, access, reason } = result;
    const details = { streamId, substreamId, event, inputHigh, inputLow, access, reason };
    this.options.log.warn('a device access faulted', details);
  }
}
