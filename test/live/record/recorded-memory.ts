import { Exchange, type GuestMemory } from 'vsmmu';
import { digits, hex, type CommandName, type Journal } from './journal.js';
import type { EventName } from './recorder.js';

/** What in guest memory is more than words. */
export interface Queues {
  /** The name of the command at an address, if the vSMMU reads commands there. */
  readonly command: CommandName;
  /** The event record at an address, if the vSMMU writes records there. */
  readonly event: EventName;
}

/** Guest memory with a journal of what the vSMMU reads and writes, and where devices' bytes go. */
export class RecordedGuestMemory implements GuestMemory {
  private readonly memory: GuestMemory;
  private readonly journal: Journal;
  private readonly queues: Queues;

  constructor(memory: GuestMemory, journal: Journal, queues: Queues) {
    this.memory = memory;
    this.journal = journal;
    this.queues = queues;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    const isBacked = this.memory.load(address, into, at, count);
    const name = isBacked && count === 4 ? this.queues.command(address, into, at) : undefined;
    this.journal.read(address, isBacked ? into : undefined, at, count, name);
    return isBacked;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    const isBacked = this.memory.load64(high, low, into);
    const address = (high >>> 0) * 2 ** 32 + (low >>> 0);
    this.journal.read(address, isBacked ? into : undefined, 0, 2);
    return isBacked;
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    const { journal } = this;
    const words = from.slice(at, at + count);
    const event = this.queues.event(address, words);
    const kind = event === undefined ? { kind: 'store' } : { kind: 'event', ...event };
    return journal.outcome(
      { ...kind, at: hex(address), bytes: digits(words) },
      () => {
        const isStored = this.memory.store(address, from, at, count);
        if (isStored) journal.wrote(address, words, 0, count);
        return isStored;
      },
      (line, isStored) => {
        if (!isStored) line.aborted = 1;
      },
    );
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.moved(address, count, this.memory.loadBytes(address, into, at, count));
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.moved(address, count, this.memory.storeBytes(address, from, at, count));
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    const { journal } = this;
    const expected = words.slice(at, at + 4);
    return journal.outcome(
      { kind: 'exchange', at: hex(address), bytes: digits(expected) },
      () => {
        const result = this.memory.compareExchange(address, words, at);
        if (result === Exchange.swapped) journal.wrote(address, expected, 2, 2);
        return result;
      },
      (line, result) => {
        line.result = result;
      },
    );
  }

  private moved(address: number, count: number, isBacked: boolean): boolean {
    const { device } = this.journal;
    if (device !== undefined) {
      const before = typeof device.to === 'string' ? `${device.to} ` : '';
      device.to = `${before}${hex(address)}+${count}${isBacked ? '' : '!'}`;
    }
    return isBacked;
  }
}
