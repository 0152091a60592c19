import { Event } from '../arch/event.js';
import { get } from '../arch/field.js';
import { STE_BYTES, Ste, SteConfig } from '../arch/ste.js';
import { ABORT } from './configuration.js';
import { Reason } from './reason.js';
import type { StreamTable } from './stream.js';
import { BYPASS } from './substream.js';
import type { Translator } from './translator.js';
import { Translation } from './translation.js';

/** STEs in a page of 4 KiB. */
const STES_PER_PAGE = 4096 / STE_BYTES;
/** CDs in a page of 4 KiB. */
const CDS_PER_PAGE = 64;

/** What a stream table holds besides valid STEs. */
export interface StreamCounts {
  /** STEs with V=0. */
  invalid: number;
  /** Places where an STE or L1STD is not backed by memory: a page at a time. */
  missing: number;
  /** Physical address of the first of {@link missing}; -1 when there is none. */
  firstMissing: number;
}

/** StreamIDs whose STE has V=1, legal or not, ascending. What is passed over is added to `counts`. */
export function* validStreams(streams: StreamTable, counts: StreamCounts): Generator<number> {
  const result = new Translation();
  const last = 2 ** streams.log2Size;
  const perLevel1 = 2 ** streams.split;
  for (let streamId = 0; streamId < last;) {
    const event = streams.fetch(streamId, result);
    if (event === 0) {
      yield streamId++;
      continue;
    }
    let next = streamId + 1;
    if (event === Event.C_BAD_STE.id) {
      if (result.reason === Reason.steInvalid) counts.invalid++;
      else yield streamId;
    } else if (result.reason === Reason.steFetch) {
      missed(counts, result.fetchAddress);
      next = (Math.floor(streamId / STES_PER_PAGE) + 1) * STES_PER_PAGE;
      if (streams.split !== 0) next = Math.min(next, beyond(streamId, perLevel1));
    } else {
      if (result.reason === Reason.l1stdFetch) missed(counts, result.fetchAddress);
      next = beyond(streamId, perLevel1);
    }
    streamId = next;
  }
}

/** One address space of a stream, as {@link spacesOf} finds it. */
export interface Space {
  /** SubstreamID of the accesses; -1 for those without one. */
  readonly substreamId: number;
  /** `stage1`: the translator's context is that of the space, until the next is asked for. */
  readonly kind: 'stage1' | 'bypass' | 'abort' | 'fault';
  /** Number of the event of a fault. */
  readonly event: number;
  /** A {@link Reason}. */
  readonly reason: number;
  /** Physical address of what is not backed by memory; -1 when nothing is missing. */
  readonly missing: number;
}

/**
 * The address spaces of a stream: the one without SubstreamID first, then those of all SubstreamIDs
 * that have a valid CD, legal or not.
 * @param only the one SubstreamID that matters.
 */
export function* spacesOf(
  translator: Translator,
  streamId: number,
  only?: number,
): Generator<Space> {
  const result = new Translation();
  const { streams, substreams, features } = translator;
  if (only !== undefined) {
    yield spaceOf(translator, streamId, only, result);
    return;
  }
  const first = spaceOf(translator, streamId, -1, result);
  yield first;
  const event = streams.fetch(streamId, result);
  if (event !== 0 || get(streams.ste, 0, Ste.Config) !== SteConfig.s1) return;
  const cdMax = features.SSIDSIZE === 0 ? 0 : get(streams.ste, 0, Ste.S1CDMax);
  const end = cdMax === 0 ? 0 : 2 ** cdMax;
  for (let substreamId = 0; substreamId < end;) {
    const space = spaceOf(translator, streamId, substreamId, result);
    const perLevel1 = 2 ** substreams.table.split;
    const level1 =
      space.reason === Reason.l1cdInvalid ||
      space.reason === Reason.l1cdFetch ||
      space.reason === Reason.l1cdAddress;
    const reserved = space.reason === Reason.substream0;
    if (!reserved && space.reason !== Reason.l1cdInvalid && !isCdInvalid(space)) yield space;
    substreamId = level1
      ? beyond(substreamId, perLevel1)
      : space.reason === Reason.cdFetch
        ? beyond(substreamId, CDS_PER_PAGE)
        : substreamId + 1;
  }
}

/** Whether a space is none because its CD has V=0. */
export function isCdInvalid(space: Space): boolean {
  return space.reason === Reason.illegalCd + 1;
}

function spaceOf(
  translator: Translator,
  streamId: number,
  substreamId: number,
  result: Translation,
): Space {
  result.fetchAddress = -1;
  const event = translator.resolve(streamId, substreamId, result);
  const { reason } = result;
  const kind =
    event === BYPASS ? 'bypass' : event === ABORT ? 'abort' : event === 0 ? 'stage1' : 'fault';
  const fetch = event === Event.F_STE_FETCH.id || event === Event.F_CD_FETCH.id;
  const missing = fetch ? result.fetchAddress : -1;
  return { substreamId, kind, event: kind === 'fault' ? event : 0, reason, missing };
}

/** First number after `value` that is a multiple of `size`. */
function beyond(value: number, size: number): number {
  return (Math.floor(value / size) + 1) * size;
}

function missed(counts: StreamCounts, address: number): void {
  if (counts.missing++ === 0) counts.firstMissing = address;
}
