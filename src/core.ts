import { get } from './arch/field.js';
import { Register, wordOf } from './arch/registers.js';
import { CommandQueue } from './command/command-queue.js';
import { CommandEmulator } from './command/emulate.js';
import type { HandleHost } from './device/translating-handle.js';
import { AccessesUnderWay } from './device/under-way.js';
import { EventQueue } from './event/event-queue.js';
import { FaultRecorder } from './event/fault-recorder.js';
import { GlobalErrors } from './event/global-error.js';
import { InterruptSender } from './event/interrupts.js';
import { CommandRouter } from './command/route.js';
import { EmulatedTargets } from './emulated-targets.js';
import type { CoreOptions } from './core-options.js';
import { HardwareHost } from './hardware-host.js';
import { Invalidations } from './invalidations.js';
import type { GuestLog } from './log.js';
import type { GuestMemory } from './memory/guest-memory.js';
import type { MirrorHost } from './mirror/mirror-host.js';
import type { Passthrough } from './passthrough/passthrough.js';
import type { Features } from './registers/features.js';
import { Effect, RegisterFrame } from './registers/frame.js';
import { CachedContext, ConfigurationCache } from './transaction/configuration-cache.js';
import { StallTable, type StallListener } from './transaction/stall.js';
import { CachedTransactions } from './transaction/cached-translate.js';
import { BYPASS } from './transaction/substream.js';
import { Translation } from './transaction/translation.js';
import { Tlb } from './tlb/tlb.js';

const { CR0, IRQ_CTRL, GERROR, CMDQ_CONS } = Register;

const NO_CONTEXT = new CachedContext();
/** Streams, and CDs, whose configuration is kept at most. */
const CONFIGURATION_LIMIT = 4096;

/**
 * The vSMMU once its features are chosen: builds the parts and says who calls whom. What a register
 * write sets in motion, and what becomes of a fault, is here; how each is done is in the parts.
 */
export class SmmuCore implements HandleHost, MirrorHost {
  readonly frame: RegisterFrame;
  readonly tlb: Tlb;
  readonly accessesUnderWay: AccessesUnderWay;
  readonly configurations: ConfigurationCache;
  readonly transactions: CachedTransactions;
  readonly stalls: StallTable;
  readonly commands: CommandQueue;
  readonly events: EventQueue;
  readonly faults: FaultRecorder;
  readonly invalidations: Invalidations;
  readonly targets: EmulatedTargets;
  /** Accesses translated. */
  translations = 0;
  /** Walks for handles that faulted, or whose answer was not kept: they are done once more. */
  repeatedWalks = 0;
  /** The guest has enabled something: the features stay as they are. */
  frozen = false;

  private readonly options: CoreOptions;
  private readonly errors: GlobalErrors;
  private readonly emulator: CommandEmulator;
  private passthrough: Passthrough | undefined;
  /** SMMUEN, as passthrough devices were last told. */
  private wasEnabled = false;
  private readonly ignored = new Translation();
  private draining = false;

  constructor(features: Features, options: CoreOptions) {
    const { memory } = options;
    this.options = options;
    this.frame = new RegisterFrame(features);
    const { words } = this.frame;
    this.accessesUnderWay = new AccessesUnderWay(() => {
      this.proceed();
    });
    const sender = new InterruptSender(memory, words, options.interrupts, features.OAS);
    this.errors = new GlobalErrors(words, sender);
    this.tlb = new Tlb(options.cache, CONFIGURATION_LIMIT);
    this.configurations = new ConfigurationCache(memory, features, this.tlb, CONFIGURATION_LIMIT);
    this.invalidations = new Invalidations(
      this.tlb,
      this.configurations,
      this.accessesUnderWay,
      options.keepers,
    );
    this.transactions = new CachedTransactions(memory, features, this.configurations, this.tlb);
    this.stalls = new StallTable(features.STALL_MAX);
    this.events = new EventQueue(memory, words, features, this.errors, sender);
    this.faults = new FaultRecorder(
      features,
      this.configurations,
      this.events,
      this.stalls,
      options.log,
    );
    this.targets = new EmulatedTargets(this, {
      frame: this.frame,
      stalls: this.stalls,
      accessesUnderWay: this.accessesUnderWay,
      invalidations: this.invalidations,
      mirrors: options.mirrors,
      deviceCommand: options.deviceCommand,
    });
    const { targets, invalidations, errors } = this;
    this.emulator = new CommandEmulator(targets, invalidations, errors, sender, features);
    this.commands = new CommandQueue(memory, words, features, this.errors, this.emulator);
  }

  /** Commands reach passthrough devices from now on. @returns what these see of the vSMMU. */
  pair(passthrough: Passthrough): HardwareHost {
    this.passthrough = passthrough;
    this.wasEnabled = this.transactions.isEnabled;
    this.commands.route(new CommandRouter(this.emulator, passthrough.forwarder));
    return new HardwareHost(this, this.options.memory);
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
        this.faults.recordHeldStalls();
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
        this.faults.recordHeldStalls();
        break;
      default:
        this.transactions.configure(this.frame.words);
        this.reconfigureMirrors();
        if (effect === Effect.GBPA && !this.transactions.isEnabled) {
          this.passthrough?.reconfigure();
        }
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
    // A guest need not ever issue a CMD_SYNC.
    for (const mirror of this.options.mirrors) mirror.flush(false, false);
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
    return result.event === 0 ? outcome : this.faults.take(result, access, answered);
  }

  get memory(): GuestMemory {
    return this.options.memory;
  }

  get outputBits(): number {
    return this.frame.features.OAS;
  }

  fill(cached: CachedContext, streamId: number, high: number, low: number, access: number): number {
    const { slot, context } = cached;
    if (slot < 0 || this.tlb.limit === 0 || !this.transactions.isEnabled) return -1;
    const effective = cached.effective[access];
    if (effective === undefined) return -1;
    const { ignored } = this;
    const at = this.transactions.fill(slot, context, streamId, high, low, effective, ignored);
    if (at >= 0) this.translations++;
    else this.repeatedWalks++;
    return at;
  }

  contextOf(streamId: number, substreamId: number): CachedContext {
    const found = this.configurations.find(streamId, substreamId, this.ignored);
    return found === 0 ? this.configurations.cached : NO_CONTEXT;
  }

  configurationOf(streamId: number, substreamId: number): CachedContext | 'bypass' | 'none' {
    const { transactions, configurations } = this;
    if (!transactions.isEnabled) return transactions.globalAbort ? 'none' : 'bypass';
    const found = configurations.find(streamId, substreamId, this.ignored);
    if (found === 0) return configurations.cached;
    return found === BYPASS ? 'bypass' : 'none';
  }

  /** A CMD_SYNC that had to wait may go on. */
  proceed(): void {
    this.commands.resume();
    this.kick();
    this.options.registersChanged();
  }

  /** Passthrough devices meet what CR0 says. */
  followed(): void {
    this.confirm();
    this.options.registersChanged();
  }

  get log(): GuestLog {
    return this.options.log;
  }

  /** What the command queue has asked of hardware has come to `cerror`. */
  answer(cerror: number): void {
    this.commands.answer(cerror);
    this.kick();
    this.options.registersChanged();
  }

  message(address: number, data: number): boolean {
    return this.options.interrupts.message?.(address, data) ?? false;
  }

  /** Ends the life of this core: what still runs stops, and stalled accesses abort. */
  retire(): void {
    this.frame.reset();
    this.commands.configure();
    this.targets.terminateStalls();
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
    this.reconfigureMirrors();
    this.commands.configure();
    this.acknowledge();
    if (before !== now) this.options.log.debug('CR0 written', { before, now });
    const isOff = get(words, wordOf(CR0), CR0.fields.SMMUEN) === 0;
    if (wasEnabled && isOff) this.targets.terminateStalls();
    this.faults.recordHeldStalls();
    this.kick();
  }

  /** CR0ACK follows CR0 when passthrough devices meet what SMMUEN says. */
  private acknowledge(): void {
    const { passthrough } = this;
    const { isEnabled } = this.transactions;
    const isKnown = isEnabled === this.wasEnabled;
    this.wasEnabled = isEnabled;
    if (passthrough === undefined || (isKnown && passthrough.registers === 'followed')) {
      this.confirm();
    } else if (!isKnown || passthrough.registers === 'refused') {
      passthrough.reconfigure();
    }
  }

  /** What CR0 says has taken effect. */
  private confirm(): void {
    this.frame.words[wordOf(Register.CR0ACK)] = this.frame.words[wordOf(CR0)]!;
  }

  private reconfigureMirrors(): void {
    for (const mirror of this.options.mirrors) mirror.reconfigure(this);
  }

  private kick(): void {
    if (this.draining) return;
    if (this.drain(this.options.budget)) this.options.commandsPending();
    else if (this.errors.isActive(GERROR.fields.CMDQ_ERR) && this.options.log.isOn) {
      const error = this.frame.get('CMDQ_CONS', CMDQ_CONS.fields.ERR);
      this.options.log.warn('the command queue has stopped', { error });
    }
  }
}
