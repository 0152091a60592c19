import { Event } from './arch/event.js';
import { Register } from './arch/registers.js';
import type { SmmuCore } from './core.js';
import type { GuestMemory } from './memory/guest-memory.js';
import type { PassthroughHost } from './passthrough/passthrough-host.js';
import type { Features } from './registers/features.js';
import { StreamTable } from './transaction/stream.js';
import { Outcome, type Translation } from './transaction/translation.js';

const { CR2 } = Register;

/** What passthrough sees of a {@link SmmuCore}: its registers, STEs, and its event queue. */
export class HardwareHost implements PassthroughHost {
  private readonly core: SmmuCore;
  /** By itself: what the emulated side keeps of STEs is none of its business. */
  private readonly table: StreamTable;

  constructor(core: SmmuCore, memory: GuestMemory) {
    this.core = core;
    this.table = new StreamTable(memory, core.frame.features);
  }

  get features(): Features {
    return this.core.frame.features;
  }

  get isEnabled(): boolean {
    return this.core.transactions.isEnabled;
  }

  get globalAbort(): boolean {
    return this.core.transactions.globalAbort;
  }

  get ste(): Uint32Array {
    return this.table.ste;
  }

  fetchSte(streamId: number, fault: Translation): number {
    this.table.configure(this.core.frame.words);
    fault.streamId = streamId;
    fault.substreamId = -1;
    return this.table.fetch(streamId, fault);
  }

  recordFault(fault: Translation, event: number): void {
    const isMissing = event === Event.C_BAD_STREAMID.id;
    fault.event = event;
    fault.outcome = Outcome.aborted;
    fault.stall = false;
    fault.recorded = !isMissing || this.core.frame.get('CR2', CR2.fields.RECINVSID) === 1;
    this.core.faults.take(fault, 0);
  }

  recordEvent(words: Uint32Array): void {
    this.core.faults.forward(words);
  }

  overflow(): void {
    this.core.events.overflow();
  }

  proceed(): void {
    this.core.proceed();
  }

  answer(cerror: number): void {
    this.core.answer(cerror);
  }

  followed(): void {
    this.core.followed();
  }

  failed(error: unknown): void {
    this.core.log.warn('passthrough has failed', { error: String(error) });
  }
}
