// Event records and ways to end a transaction: IHI 0070, sections 7.2 to 7.4 and 3.12.

import { alignDown, field64 } from './bits.js';
import type { Ids } from './ids.js';
import type { ReferenceAccess, ReferenceMachine, ReferenceOutcome } from './types.js';

export const EVENT = {
  C_BAD_STREAMID: 0x02,
  F_STE_FETCH: 0x03,
  C_BAD_STE: 0x04,
  F_STREAM_DISABLED: 0x06,
  C_BAD_SUBSTREAMID: 0x08,
  F_CD_FETCH: 0x09,
  C_BAD_CD: 0x0a,
  F_WALK_EABT: 0x0b,
  F_TRANSLATION: 0x10,
  F_ADDR_SIZE: 0x11,
  F_ACCESS: 0x12,
  F_PERMISSION: 0x13,
} as const;

const CLASS_TT = 1n;
const CLASS_IN = 2n;

/** One incoming transaction on its way through the SMMU. */
export interface Transaction {
  machine: ReferenceMachine;
  ids: Ids;
  access: ReferenceAccess;
  /** PnU, after STE.PRIVCFG once the STE is known. */
  privileged: boolean;
  /** InD, after STE.INSTCFG once the STE is known. A write is always data. */
  instruction: boolean;
}

/** CD.{A,R,S}: what a stage 1 translation-related fault does. */
export interface FaultBehaviour {
  abort: boolean;
  record: boolean;
  stall: boolean;
}

/** A step either gives a value for the next step or ends the transaction. */
export type Step<T> = { ended: false; value: T } | { ended: true; outcome: ReferenceOutcome };

export function proceed<T>(value: T): Step<T> {
  return { ended: false, value };
}

export function end(outcome: ReferenceOutcome): { ended: true; outcome: ReferenceOutcome } {
  return { ended: true, outcome };
}

export function silentAbort(reason: string): ReferenceOutcome {
  return { kind: 'abort', reason };
}

// Word 0

/** EventID [7:0] and StreamID [63:32]. */
function idWord(tx: Transaction, event: number): bigint {
  return BigInt(event) | (BigInt(tx.access.streamId) << 32n);
}

/** SSV [11] and SubstreamID [31:12]; SubstreamID is 0 when SSV=0. */
function substreamBits(tx: Transaction): bigint {
  if (tx.access.substreamId === undefined) return 0n;
  return (1n << 11n) | (BigInt(tx.access.substreamId) << 12n);
}

// Word 1

/** PnU [33], InD [34], RnW [35]. S2 [39] is 0 and there is no TTRnW, as there is no stage 2. */
function accessBits(tx: Transaction): bigint {
  const pnu = tx.privileged ? 1n << 33n : 0n;
  const ind = tx.instruction ? 1n << 34n : 0n;
  const rnw = tx.access.write ? 0n : 1n << 35n;
  return pnu | ind | rnw;
}

// Word 3

/** FetchAddr [55:3], bits >= OAS are 0. */
function fetchAddress(tx: Transaction, address: bigint): bigint {
  return alignDown(field64(address, Math.min(55, tx.ids.oas - 1), 0), 3);
}

// Events that always abort and are always offered to the Event queue

function aborted(
  event: number,
  record: [bigint, bigint, bigint, bigint],
  level: number | null,
  reason: string,
): ReferenceOutcome {
  return { kind: 'fault', event, recorded: true, response: 'abort', record, level, reason };
}

/** C_BAD_STREAMID, C_BAD_STE, C_BAD_CD: StreamID, SSV, SubstreamID. */
export function configurationFault(
  tx: Transaction,
  event: number,
  reason: string,
): ReferenceOutcome {
  return aborted(event, [idWord(tx, event) | substreamBits(tx), 0n, 0n, 0n], null, reason);
}

/** F_STREAM_DISABLED: StreamID only. */
export function streamDisabled(tx: Transaction, reason: string): ReferenceOutcome {
  const event = EVENT.F_STREAM_DISABLED;
  return aborted(event, [idWord(tx, event), 0n, 0n, 0n], null, reason);
}

/** C_BAD_SUBSTREAMID: StreamID and an always valid SubstreamID (0 without one), no SSV. */
export function badSubstream(tx: Transaction, reason: string): ReferenceOutcome {
  const event = EVENT.C_BAD_SUBSTREAMID;
  const substreamId = BigInt(tx.access.substreamId ?? 0) << 12n;
  return aborted(event, [idWord(tx, event) | substreamId, 0n, 0n, 0n], null, reason);
}

/** F_STE_FETCH, F_CD_FETCH: StreamID, SSV, SubstreamID, FetchAddr. */
export function fetchFault(
  tx: Transaction,
  event: number,
  address: bigint,
  reason: string,
): ReferenceOutcome {
  const word0 = idWord(tx, event) | substreamBits(tx);
  return aborted(event, [word0, 0n, 0n, fetchAddress(tx, address)], null, reason);
}

/** F_WALK_EABT on a stage 1 descriptor: CLASS=TT, S2=0, FetchAddr the descriptor. */
export function walkAbort(
  tx: Transaction,
  address: bigint,
  level: number,
  reason: string,
): ReferenceOutcome {
  const event = EVENT.F_WALK_EABT;
  const word0 = idWord(tx, event) | substreamBits(tx);
  const word1 = accessBits(tx) | (CLASS_TT << 40n);
  const word3 = fetchAddress(tx, address);
  return aborted(event, [word0, word1, tx.access.iova, word3], level, reason);
}

// F_TRANSLATION, F_ADDR_SIZE, F_ACCESS, F_PERMISSION

/** Always CLASS=IN at stage 1; Stall is bit [31] of word 1. */
function translationRecord(
  tx: Transaction,
  event: number,
  stall: boolean,
): [bigint, bigint, bigint, bigint] {
  const word0 = idWord(tx, event) | substreamBits(tx);
  const word1 = accessBits(tx) | (CLASS_IN << 40n) | (stall ? 1n << 31n : 0n);
  return [word0, word1, tx.access.iova, 0n];
}

/** Stage 1 bypass of an address that is too large: F_ADDR_SIZE, always abort, never stall. */
export function bypassSizeFault(tx: Transaction, reason: string): ReferenceOutcome {
  const event = EVENT.F_ADDR_SIZE;
  return aborted(event, translationRecord(tx, event, false), null, reason);
}

/** A fault of the stage 1 walk under CD.{A,R,S}; IHI 0070, sections 3.12 and 5.5. */
export function translationFault(
  tx: Transaction,
  behaviour: FaultBehaviour,
  event: number,
  level: number | null,
  reason: string,
): ReferenceOutcome {
  const { abort, record, stall } = behaviour;
  return {
    kind: 'fault',
    event,
    recorded: stall || record, // S=1: always recorded
    response: stall ? 'stall' : abort ? 'abort' : 'raz-wi',
    record: translationRecord(tx, event, stall),
    level,
    reason,
  };
}
