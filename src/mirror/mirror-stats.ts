import type { MirrorWork } from './mirror-work.js';

/** What a mirror has done, and what it holds; plain numbers. */
export interface MirrorStats {
  /** Streams that are mirrored. */
  readonly streams: number;
  /** Address spaces that they use. */
  readonly spaces: number;
  /** Tables kept. */
  readonly tables: number;
  /** Guest pages (4 KiB) that hold tables of `tracked` streams. */
  readonly tablePages: number;
  /** Areas in all sinks. */
  readonly areas: number;
  /** Operations that sinks were asked for. */
  readonly maps: number;
  readonly unmaps: number;
  /** Operations that they refused. */
  readonly refusals: number;
  /** Times that a limit was reached, and a stream served on demand from there on. */
  readonly fallBacks: number;
  /** Bytes of tables read. */
  readonly bytesRead: number;
  /** Bytes that were to be mapped where a sink cannot: counted each time. */
  readonly bytesLeftOut: number;
}

/** The counters of a mirror; those of sinks that were detached included. */
export function mirrorStatsOf(work: MirrorWork): MirrorStats {
  const { gone } = work;
  const stats = {
    streams: work.streams.size,
    spaces: work.spaces.size,
    tables: 0,
    tablePages: work.pages.size,
    areas: 0,
    maps: gone.maps,
    unmaps: gone.unmaps,
    refusals: gone.refusals,
    fallBacks: work.fallBacks,
    bytesRead: work.spaces.bytesReadBefore + work.updates.wanted.bytesRead,
    bytesLeftOut: work.updates.leftOut,
  };
  for (const { tree, bytesRead } of work.spaces.all) {
    stats.tables += tree?.tables ?? 0;
    stats.bytesRead += bytesRead;
  }
  for (const { writers } of work.streams) {
    for (const { held, maps, unmaps, refusals } of writers) {
      stats.areas += held.size;
      stats.maps += maps;
      stats.unmaps += unmaps;
      stats.refusals += refusals;
    }
  }
  return stats;
}
