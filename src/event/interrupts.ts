import { getAddress } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { GuestMemory } from '../memory/guest-memory.js';

/** Wired interrupts of an SMMU; each is an edge. */
export type InterruptLine = 'eventq' | 'gerror' | 'priq' | 'cmdSync';

/** Where the interrupts of a vSMMU go. A method that is left out means that there is no such thing. */
export interface Interrupts {
  /** One edge on a wired line. */
  wired?(line: InterruptLine): void;
  /**
   * A message-signalled interrupt to an address that is not RAM, for example an ITS: a 32-bit
   * write of `data`.
   * @returns `false` when nobody is there: the write aborts.
   */
  message?(address: number, data: number): boolean;
  /** CMD_SYNC with SIG_SEV: an event for processors that wait for one. */
  event?(): void;
}

/** Sends interrupts by wire or as messages, as the IRQ_CFG registers say (IHI 0070, section 3.18). */
export class InterruptSender {
  private readonly memory: GuestMemory;
  private readonly frame: Uint32Array;
  private readonly interrupts: Interrupts;
  private readonly addressLimit: number;
  private readonly data = new Uint32Array(1);

  /** @param oas bits of a physical address: an address of a message has no others. */
  constructor(memory: GuestMemory, frame: Uint32Array, interrupts: Interrupts, oas: number) {
    this.addressLimit = 2 ** oas;
    this.memory = memory;
    this.frame = frame;
    this.interrupts = interrupts;
  }

  /**
   * One occurrence of a source that has IRQ_CFG registers: a message when an address is configured,
   * else an edge on its wire.
   * @returns `false` when the message aborted.
   */
  raise(source: 'eventq' | 'gerror' | 'priq'): boolean {
    const { config, payload } = SOURCES[source];
    const address = getAddress(this.frame, wordOf(config), config.fields.ADDR);
    if (address !== 0) {
      return this.message(address % this.addressLimit, this.frame[wordOf(payload)]!);
    }
    this.interrupts.wired?.(source);
    return true;
  }

  /** One edge on the wire of CMD_SYNC. */
  completed(): void {
    this.interrupts.wired?.('cmdSync');
  }

  /** Wakes processors that wait for an event. */
  sendEvent(): void {
    this.interrupts.event?.();
  }

  /** A 32-bit write of `data`: to RAM, where Linux polls for it, or to the embedder. */
  message(address: number, data: number): boolean {
    this.data[0] = data;
    if (this.memory.store(address, this.data, 0, 1)) return true;
    return this.interrupts.message?.(address, data) ?? false;
  }
}

const SOURCES = {
  eventq: { config: Register.EVENTQ_IRQ_CFG0, payload: Register.EVENTQ_IRQ_CFG1 },
  gerror: { config: Register.GERROR_IRQ_CFG0, payload: Register.GERROR_IRQ_CFG1 },
  priq: { config: Register.PRIQ_IRQ_CFG0, payload: Register.PRIQ_IRQ_CFG1 },
} as const;
