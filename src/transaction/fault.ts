import { Event, EventID } from '../arch/event.js';
import { get, set, setAddress } from '../arch/field.js';
import { Access } from './permissions.js';
import { Outcome, type Translation } from './translation.js';

/** Fields that records have in common, at the same place wherever they are defined. */
const { SSV, SubstreamID, StreamID, PnU, InD, RnW, CLASS, InputAddr, FetchAddr } = {
  ...Event.F_WALK_EABT.fields,
};

/** What a record has besides its number and StreamID; bits to be combined with `|`. */
const Has = { substream: 1, substreamOnly: 2, access: 4, class: 8, fetch: 16 } as const;

const contents = new Uint8Array(256);
contents[Event.C_BAD_STREAMID.id] = Has.substream;
contents[Event.F_STE_FETCH.id] = Has.substream | Has.fetch;
contents[Event.C_BAD_STE.id] = Has.substream;
contents[Event.F_STREAM_DISABLED.id] = 0;
contents[Event.C_BAD_SUBSTREAMID.id] = Has.substreamOnly;
contents[Event.F_CD_FETCH.id] = Has.substream | Has.fetch;
contents[Event.C_BAD_CD.id] = Has.substream;
contents[Event.F_WALK_EABT.id] = Has.substream | Has.access | Has.class | Has.fetch;
contents[Event.F_TRANSLATION.id] = Has.substream | Has.access | Has.class;
contents[Event.F_ADDR_SIZE.id] = Has.substream | Has.access | Has.class;
contents[Event.F_ACCESS.id] = Has.substream | Has.access | Has.class;
contents[Event.F_PERMISSION.id] = Has.substream | Has.access | Has.class;

/**
 * Writes the event record of a fault as 8 words from `words[at]` (IHI 0070, section 7.3); Stall and
 * STAG when the access stalls.
 * @param oas bits of an output address: FetchAddr has no others.
 */
export function writeEvent(words: Uint32Array, at: number, fault: Translation, oas: number): void {
  words.fill(0, at, at + 8);
  const has = contents[fault.event]!;
  set(words, at, EventID, fault.event);
  set(words, at, StreamID, fault.streamId);
  if (fault.substreamId >= 0) {
    if ((has & Has.substream) !== 0) set(words, at, SSV, 1);
    if ((has & (Has.substream | Has.substreamOnly)) !== 0) {
      set(words, at, SubstreamID, fault.substreamId);
    }
  }
  if ((has & Has.access) !== 0) {
    const isWrite = (fault.access & Access.write) !== 0;
    set(words, at, RnW, isWrite ? 0 : 1);
    set(words, at, InD, !isWrite && (fault.access & Access.instruction) !== 0 ? 1 : 0);
    set(words, at, PnU, (fault.access & Access.privileged) !== 0 ? 1 : 0);
    setAddress(words, at, InputAddr, fault.inputHigh, fault.inputLow);
  }
  if (fault.outcome === Outcome.stalled) {
    set(words, at, Event.F_TRANSLATION.fields.Stall, 1);
    set(words, at, Event.F_TRANSLATION.fields.STAG, fault.stag);
  }
  if ((has & Has.class) !== 0) set(words, at, CLASS, fault.class);
  if ((has & Has.fetch) !== 0) {
    const address = fault.fetchAddress % 2 ** oas;
    setAddress(words, at, FetchAddr, Math.floor(address / 0x1_0000_0000), address >>> 0);
  }
}

/** Number of the event in the record at `words[at]`. */
export function eventOf(words: Uint32Array, at: number): number {
  return get(words, at, EventID);
}
