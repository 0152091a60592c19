import { Command, type CommandFormat } from './arch/command.js';
import { Event, type EventFormat } from './arch/event.js';
import type { SmmuCore } from './core.js';
import { Recorded } from './event/event-queue.js';

/** What became of the records of one event. */
export interface EventStats {
  /** Records in the event queue. */
  readonly written: number;
  /** Equal to the record before, and not written again. */
  readonly merged: number;
  /** Lost to a full queue. */
  readonly overflowed: number;
  /** Lost to a queue that is off or waits for an acknowledgement. */
  readonly discarded: number;
  /** Lost to a queue that is not backed by memory. */
  readonly aborted: number;
}

/** What the cache of translations has done. */
export interface CacheStats {
  /** Entries that there are, dead ones whose room nobody has needed included. */
  readonly entries: number;
  /** Accesses answered by the micro-TLB. */
  readonly microHits: number;
  /** Accesses answered by the shadow cache after the micro-TLB had no answer. */
  readonly shadowHits: number;
  /** Accesses that were answered by neither: each is a walk. */
  readonly misses: number;
  /** Entries that had to go to make room for others. */
  readonly evictions: number;
}

/** What a vSMMU has done; plain numbers. */
export interface SmmuStats {
  /** Commands consumed, by name; those that never came are left out. */
  readonly commands: Readonly<Record<string, number>>;
  /** Commands that stopped the queue. */
  readonly failedCommands: number;
  /** Event records by name; those that never came are left out. */
  readonly events: Readonly<Record<string, EventStats>>;
  /** Accesses translated, bypassed and faulting ones included. */
  readonly translations: number;
  /** Translations kept, and what came of keeping them. */
  readonly cache: CacheStats;
  /** Accesses of devices that take time and are under way now. */
  readonly underWay: number;
  /** Table walks. */
  readonly walks: number;
  /** STEs read from memory. */
  readonly steFetches: number;
  /** CDs read from memory. */
  readonly cdFetches: number;
  /** Accesses that wait for the guest now. */
  readonly stalled: number;
}

/** The counters of a vSMMU, by name. */
export function statsOf(core: SmmuCore): SmmuStats {
  const commands: Record<string, number> = {};
  for (const [name, { opcode }] of Object.entries(Command) as [string, CommandFormat][]) {
    const count = core.commands.counts[opcode]!;
    if (count > 0) commands[name] = count;
  }
  const events: Record<string, EventStats> = {};
  for (const [name, { id }] of Object.entries(Event) as [string, EventFormat][]) {
    const of = (became: number): number => core.faults.counts[8 * id + became]!;
    const stats: EventStats = {
      written: of(Recorded.written),
      merged: of(Recorded.merged),
      overflowed: of(Recorded.overflowed),
      discarded: of(Recorded.discarded),
      aborted: of(Recorded.aborted),
    };
    if (Object.values(stats).some((count) => count > 0)) events[name] = stats;
  }
  return {
    commands,
    failedCommands: core.commands.counts[256]!,
    events,
    // Hits of handles in the micro-TLB do not come by the core.
    translations: core.translations + core.tlb.hits[0]! - core.transactions.microHits,
    cache: {
      entries: core.tlb.size,
      microHits: core.tlb.hits[0]!,
      shadowHits: core.tlb.shadowHits,
      misses: core.transactions.walks - core.repeatedWalks,
      evictions: core.tlb.evictions,
    },
    underWay: core.accessesUnderWay.count,
    walks: core.transactions.walks,
    steFetches: core.configurations.steFetches,
    cdFetches: core.configurations.cdFetches,
    stalled: core.stalls.accesses.size,
  };
}
