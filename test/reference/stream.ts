// Stream table lookup, STE fetch and STE legality: IHI 0070, sections 3.3, 5.1 and 5.2.

import { alignDown, exceeds, field, field64, flag, keepBits, regField, regFlag } from './bits.js';
import type { Step, Transaction } from './event.js';
import { configurationFault, end, EVENT, fetchFault, proceed, silentAbort } from './event.js';
import type { Ids } from './ids.js';

export interface Ste {
  valid: boolean;
  config: number;
  s1Fmt: number;
  s1ContextPtr: bigint;
  s1CdMax: number;
  s1Dss: number;
  s1Stalld: boolean;
  eats: number;
  strw: number;
  privCfg: number;
  instCfg: number;
  s2s: boolean;
}

/** Config=1x1. */
export function stage1Enabled(ste: Ste): boolean {
  return (ste.config & 0b101) === 0b101;
}

/** Config=11x. */
export function stage2Enabled(ste: Ste): boolean {
  return (ste.config & 0b110) === 0b110;
}

/** S1CDMax, which is ignored (as 0) when IDR1.SSIDSIZE=0. */
export function effectiveCdMax(ste: Ste, ids: Ids): number {
  return ids.ssidSize === 0 ? 0 : ste.s1CdMax;
}

/** `count` 64-bit words at `address`, or null on an external abort in any of them. */
export function readWords(tx: Transaction, address: bigint, count: number): bigint[] | null {
  const words: bigint[] = [];
  for (let index = 0; index < count; index++) {
    const word = tx.machine.memory.read64(address + BigInt(8 * index));
    if (word === null) return null;
    words.push(word);
  }
  return words;
}

/** C_BAD_STREAMID, recorded only when CR2.RECINVSID=1. */
function badStreamId(tx: Transaction, reason: string): { ended: true } & Step<never> {
  if (!regFlag(tx.machine.cr2, 1)) return end(silentAbort(reason));
  return end(configurationFault(tx, EVENT.C_BAD_STREAMID, reason));
}

function steFetchFault(
  tx: Transaction,
  address: bigint,
  reason: string,
): { ended: true } & Step<never> {
  return end(fetchFault(tx, EVENT.F_STE_FETCH, address, reason));
}

/** STRTAB_BASE_CFG.SPLIT: 6, 8 or 10, any other value behaves as 6. */
function effectiveSplit(strtabBaseCfg: number): number {
  const split = regField(strtabBaseCfg, 10, 6);
  return split === 8 || split === 10 ? split : 6;
}

/** STRTAB_BASE_CFG.FMT: 1 is 2-level, others behave as linear; RES0 when IDR0.ST_LEVEL=0. */
function isTwoLevel(ids: Ids, strtabBaseCfg: number): boolean {
  return ids.stLevel !== 0 && regField(strtabBaseCfg, 17, 16) === 1;
}

/** The address of the STE of the transaction's StreamID. */
function locateSte(tx: Transaction): Step<bigint> {
  const { machine, ids } = tx;
  const streamId = BigInt(tx.access.streamId);
  const log2Size = regField(machine.strtabBaseCfg, 5, 0);
  const base = keepBits(machine.strtabBase, 55, 6);

  if (exceeds(streamId, Math.min(log2Size, ids.sidSize))) {
    return badStreamId(tx, 'StreamID out of range');
  }

  if (!isTwoLevel(ids, machine.strtabBaseCfg)) {
    // Linear: the low LOG2SIZE+6 bits of the base are taken as 0.
    return proceed(alignDown(base, log2Size + 6) + 64n * streamId);
  }

  // 2-level: the low max(6, LOG2SIZE-SPLIT+3) bits of the base are taken as 0.
  const split = effectiveSplit(machine.strtabBaseCfg);
  const index1 = streamId >> BigInt(split);
  const index2 = streamId & ((1n << BigInt(split)) - 1n);
  const l1Base = alignDown(base, Math.max(6, log2Size - split + 3));
  return locateSteInL2(tx, l1Base + 8n * index1, index2, split);
}

function locateSteInL2(
  tx: Transaction,
  l1stdAddress: bigint,
  index2: bigint,
  split: number,
): Step<bigint> {
  if (exceeds(l1stdAddress, tx.ids.oas)) return steFetchFault(tx, l1stdAddress, 'L1STD above OAS');
  const l1std = tx.machine.memory.read64(l1stdAddress);
  if (l1std === null) return steFetchFault(tx, l1stdAddress, 'external abort on L1STD');

  const span = field(l1std, 4, 0);
  if (span === 0) return badStreamId(tx, 'L1STD.Span is 0');
  if (span >= 12) return badStreamId(tx, 'L1STD.Span is reserved');
  if (span > split + 1) return badStreamId(tx, 'L1STD.Span is larger than SPLIT+1');
  if (exceeds(index2, span - 1)) return badStreamId(tx, 'StreamID beyond L1STD.Span');

  // L2Ptr is aligned to the array of 2^(Span-1) STEs: bits [5+(Span-1):0] are taken as 0.
  const l2Ptr = alignDown(keepBits(l1std, 55, 6), 6 + (span - 1));
  return proceed(l2Ptr + 64n * index2);
}

function decodeSte(words: readonly bigint[]): Ste {
  const [w0 = 0n, w1 = 0n, w2 = 0n] = words;
  return {
    valid: flag(w0, 0),
    config: field(w0, 3, 1),
    s1Fmt: field(w0, 5, 4),
    s1ContextPtr: field64(w0, 55, 6) << 6n,
    s1CdMax: field(w0, 63, 59),
    s1Dss: field(w1, 1, 0),
    s1Stalld: flag(w1, 27),
    eats: field(w1, 29, 28),
    strw: field(w1, 31, 30),
    privCfg: field(w1, 49, 48),
    instCfg: field(w1, 51, 50),
    s2s: flag(w2, 57),
  };
}

/**
 * STE ILLEGAL conditions; IHI 0070, section 5.2 (validity of STE). Not asked for V=0 or
 * Config=0xx. Returns the condition hit, or null. The numbers count the conditions in the
 * order: S1P, S2P, EATS (3), STRW, S1STALLD, S1CDMax, S1Fmt, S1ContextPtr, stage 2 (13).
 */
function illegalSte(ste: Ste, ids: Ids): string | null {
  const s1 = stage1Enabled(ste);
  const s2 = stage2Enabled(ste);
  const eatsUsed = ids.ats && ste.config !== 0b100;
  const strwUsed = ids.s1p && ids.hyp && !s2 && ste.config !== 0b100;
  const substreams = s1 && ids.ssidSize !== 0;

  // 1
  if (s1 && !ids.s1p) return 'stage 1 is not implemented';
  // 2
  if (s2 && !ids.s2p) return 'stage 2 is not implemented';
  // 3
  if (eatsUsed && ste.eats === 2 && (ste.config !== 0b111 || ste.s2s || ids.ns1ats)) {
    return 'EATS=2 is not possible';
  }
  // 4
  if (eatsUsed && ste.eats === 1 && ste.s2s && s2) return 'EATS=1 with S2S=1';
  // 5
  if (eatsUsed && ste.eats === 3 && ids.dpt && strwUsed && ste.strw !== 0) {
    return 'EATS=3 with STRW other than EL1';
  }
  if (eatsUsed && ste.eats === 3 && ste.s2s && s2) return 'EATS=3 with S2S=1';
  // 6
  if (strwUsed && (ste.strw & 1) === 1) return 'STRW is reserved';
  // 7
  if (s1 && ste.s1Stalld && ids.stallModel !== 0) return 'S1STALLD=1 with STALL_MODEL not 0';
  // 8
  if (substreams && ste.s1CdMax > ids.ssidSize) return 'S1CDMax is larger than SSIDSIZE';
  // 9
  if (substreams && (ste.s1Fmt === 1 || ste.s1Fmt === 2) && !ids.cd2l && ste.s1CdMax !== 0) {
    return '2-level CD tables are not implemented';
  }
  // 10: SMMUv3.1 and later
  if (s1 && ids.minor >= 1 && exceeds(ste.s1ContextPtr, ids.oas)) return 'S1ContextPtr above OAS';
  // 11 to 21 and 23 need Config=11x, which is illegal by 2 as S2P=0 here.
  // 22: S2VMID is ignored when S2P=0.
  return null;
}

/** The STE of the transaction, valid and with Config=1xx. */
export function fetchSte(tx: Transaction): Step<Ste> {
  const location = locateSte(tx);
  if (location.ended) return location;
  const address = location.value;

  if (exceeds(address, tx.ids.oas)) return steFetchFault(tx, address, 'STE above OAS');
  const words = readWords(tx, address, 8);
  if (words === null) return steFetchFault(tx, address, 'external abort on STE');

  const ste = decodeSte(words);
  if (!ste.valid) return end(configurationFault(tx, EVENT.C_BAD_STE, 'STE.V is 0'));
  if ((ste.config & 0b100) === 0) return end(silentAbort('STE.Config is abort'));
  const illegal = illegalSte(ste, tx.ids);
  if (illegal !== null) return end(configurationFault(tx, EVENT.C_BAD_STE, illegal));
  return proceed(ste);
}

/** STE.PRIVCFG and STE.INSTCFG, used only with IDR1.ATTR_PERMS_OVR=1. */
export function applyOverrides(tx: Transaction, ste: Ste): Transaction {
  if (!tx.ids.attrPermsOvr) return tx;
  let { privileged, instruction } = tx;
  if (ste.privCfg === 2) privileged = false;
  if (ste.privCfg === 3) privileged = true;
  if (ste.instCfg === 2) instruction = false;
  if (ste.instCfg === 3) instruction = !tx.access.write; // reads only: writes are always data
  return { ...tx, privileged, instruction };
}
