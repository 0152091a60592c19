import type { AddressRange } from '../memory/sparse-memory.js';
import type { IoasSink } from './sink.js';
import { sorted } from './sink-limits.js';
import type { Refusal } from './sink-writer.js';
import type { StreamMirror } from './stream-mirror.js';
import type { TablePageListener } from './table-pages.js';

/**
 * When a stream's sinks learn of a new mapping; SMMUv3 tells nobody. `demand`: when the device misses it.
 * `invalidate`: when the guest invalidates anything there, and at `sync()`. `tracked`: when the VMM,
 * which watches the pages that hold tables, says that one was written.
 */
export type SyncPolicy = 'demand' | 'invalidate' | 'tracked';

/** What a stream is mirrored to, and how. */
export interface StreamMirrorOptions {
  /** Where the IOAS is written to; each sink belongs to this stream alone. */
  readonly sinks: readonly IoasSink[];
  readonly policy: SyncPolicy;
  /** SubstreamID (PASID) of the accesses. Default -1: accesses without one. */
  readonly substreamId?: number;
  /** The device's accesses are privileged, as far as the STE does not say otherwise. Default `false`. */
  readonly privileged?: boolean;
}

/** What a mirror may use. */
export interface MirrorLimits {
  /** Tables kept of an address space, of 4 KiB with that granule. Default 8,192: 16 GiB of 4 KiB pages. */
  readonly tables?: number;
  /** Areas in a sink. Default 2^21. */
  readonly areas?: number;
  /**
   * Work that a command of the guest may cause at a time, in tables read, of about a microsecond each: one
   * that is new counts as 16, and a batch of up to 8,192 runs as 256. Default 8,192.
   */
  readonly work?: number;
}

/** Something that the embedder should know; told once, until it is over and happens again. */
export interface MirrorReport {
  readonly stream: StreamMirror;
  /**
   * `refused`: a sink has refused an operation, which is tried again at each sync. `tables`, `areas`: a
   * limit is reached, and the stream is served on demand until its policy is set again or the guest
   * gives it other tables.
   */
  readonly problem: 'refused' | 'tables' | 'areas';
  /** The sink; of `tables` there is none. */
  readonly sink?: IoasSink;
  /** The operation, for `refused`. */
  readonly refusal?: Refusal;
}

/** How a mirror is embedded. */
export interface MirrorOptions {
  /** Guest RAM: what a stream that bypasses the SMMU reaches. */
  readonly ram: readonly AddressRange[];
  /** What the mirror may use. */
  readonly limits?: MirrorLimits;
  /** Who watches the tables of `tracked` streams. */
  readonly tablePages?: TablePageListener;
  /** Told of what goes wrong. */
  readonly report?: (report: MirrorReport) => void;
  /** Calls `work` some time later, from the embedder's event loop. Default `setTimeout(work)`. */
  readonly schedule?: (work: () => void) => void;
}

/** {@link MirrorOptions}, checked and complete. */
export interface CompleteOptions {
  readonly ram: readonly AddressRange[];
  readonly tables: number;
  readonly areas: number;
  readonly work: number;
  readonly tablePages: TablePageListener | undefined;
  readonly report: (report: MirrorReport) => void;
  readonly schedule: (work: () => void) => void;
}

/** @throws RangeError or TypeError when an option is none. */
export function completeOptions(options: MirrorOptions): CompleteOptions {
  if (!Array.isArray(options.ram)) {
    throw new TypeError('options.ram is missing: pass the ranges of guest RAM');
  }
  const limits = options.limits ?? {};
  return {
    ram: sorted('options.ram', options.ram, 2 ** 52),
    tables: limit('tables', limits.tables ?? 8192),
    areas: limit('areas', limits.areas ?? 2 ** 21),
    work: limit('work', limits.work ?? 8192),
    tablePages: options.tablePages,
    report: options.report ?? (() => undefined),
    schedule: options.schedule ?? ((work) => void setTimeout(work)),
  };
}

/** @throws RangeError when `policy` is none. */
export function checkPolicy(policy: SyncPolicy): void {
  if (['demand', 'invalidate', 'tracked'].includes(policy)) return;
  throw new RangeError(`policy is ${policy}: it must be demand, invalidate or tracked`);
}

function limit(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`options.limits.${name} is ${value}: it must be a whole number, 1 or more`);
}
