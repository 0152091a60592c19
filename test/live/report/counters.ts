import type { MachineListener } from '../machine/transport.js';
import { CommandCounts } from './command-counts.js';

/** Counts what passes between the guest and the machine. */
export class Counters implements MachineListener {
  /** Register writes that were seen, by block. */
  readonly writes = new Map<string, number>();
  readonly published = new Map<string, number>();
  readonly interrupts = new Map<string, number>();
  readonly commands = new CommandCounts();

  registerWritten(block: string): void {
    count(this.writes, block);
  }

  registerPublished(block: string): void {
    count(this.published, block);
  }

  interrupt(name: string): void {
    count(this.interrupts, name);
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
