import { address, bit, bits, type Layout } from './field.js';

/** One record of the event queue: its number and its fields. */
export interface EventFormat {
  /** Value of bits 7:0. */
  readonly id: number;
  /** Fields other than the number. */
  readonly fields: Layout;
}

/** Bytes of an event record. */
export const EVENT_BYTES = 32;

/** Bits 7:0 of every event record. */
export const EventID = bits(7, 0);

const SSV = bit(11);
const SubstreamID = bits(31, 12);
const StreamID = bits(63, 32);
/** Why; IMPLEMENTATION DEFINED. */
const Reason = bits(79, 64);
const GPCF = bit(80);
/** 1: the access was privileged. */
const PnU = bit(97);
/** 1: the access was an instruction fetch. */
const InD = bit(98);
/** 1: the access was a read. */
const RnW = bit(99);
const NSIPA = bit(102);
/** 1: a stage-2 fault. */
const S2 = bit(103);
/** What was being done; an {@link EventClass}. */
const CLASS = bits(105, 104);
/** The address as the device presented it. */
const InputAddr = address(191, 128);
const Ipa = address(247, 204);
/** Physical address of the structure that could not be fetched. */
const FetchAddr = address(247, 195);

const stream = { SSV, SubstreamID, StreamID } as const;
const fetch = { ...stream, Reason, GPCF, FetchAddr } as const;
const translation = {
  ...stream,
  /** Names a stalled transaction. */
  STAG: bits(79, 64),
  /** 1: the transaction waits for CMD_RESUME. */
  Stall: bit(95),
  PnU,
  InD,
  RnW,
  NSIPA,
  S2,
  CLASS,
  InputAddr,
  IPA: Ipa,
} as const;

/** Every record of the event queue (IHI 0070, section 7.3). */
export const Event = {
  F_UUT: { id: 0x01, fields: { ...stream, Reason, PnU, InD, RnW, InputAddr } },
  C_BAD_STREAMID: { id: 0x02, fields: stream },
  F_STE_FETCH: { id: 0x03, fields: fetch },
  C_BAD_STE: { id: 0x04, fields: stream },
  F_BAD_ATS_TREQ: {
    id: 0x05,
    fields: {
      ...stream,
      Span: bits(67, 64),
      P: bit(92),
      X: bit(93),
      W: bit(94),
      R: bit(95),
      InputAddr: address(191, 140),
    },
  },
  F_STREAM_DISABLED: { id: 0x06, fields: { StreamID } },
  F_TRANSL_FORBIDDEN: { id: 0x07, fields: { StreamID, RnW, InputAddr } },
  /** SubstreamID is always valid. */
  C_BAD_SUBSTREAMID: { id: 0x08, fields: { SubstreamID, StreamID } },
  F_CD_FETCH: { id: 0x09, fields: fetch },
  C_BAD_CD: { id: 0x0a, fields: stream },
  F_WALK_EABT: {
    id: 0x0b,
    fields: { ...stream, Reason, GPCF, PnU, InD, RnW, S2, CLASS, InputAddr, FetchAddr },
  },
  F_TRANSLATION: { id: 0x10, fields: translation },
  F_ADDR_SIZE: { id: 0x11, fields: translation },
  F_ACCESS: { id: 0x12, fields: translation },
  F_PERMISSION: {
    id: 0x13,
    fields: {
      ...translation,
      /** With CLASS TT: the table access was a read. */
      TTRnW: bit(108),
    },
  },
  F_TLB_CONFLICT: {
    id: 0x20,
    fields: { ...stream, Reason, PnU, InD, RnW, S2, CLASS, InputAddr, IPA: Ipa },
  },
  F_CFG_CONFLICT: { id: 0x21, fields: { ...stream, Reason } },
  E_PAGE_REQUEST: {
    id: 0x24,
    fields: {
      ...stream,
      uX: bit(97),
      uW: bit(98),
      uR: bit(99),
      pX: bit(100),
      pW: bit(101),
      pR: bit(102),
      Span: bits(115, 108),
      InputAddr: address(191, 140),
    },
  },
  F_VMS_FETCH: { id: 0x25, fields: fetch },
} as const satisfies Readonly<Record<string, EventFormat>>;

/** Name of an event record. */
export type EventName = keyof typeof Event;

/** CLASS of an event record: what the faulting access was part of (IHI 0070, section 7.3). */
export const EventClass = {
  /** The fetch of a CD. */
  CD: 0,
  /** A table walk. */
  TT: 1,
  /** The input address itself. */
  IN: 2,
} as const;
