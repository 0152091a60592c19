// From a valid STE to the CD of the transaction: IHI 0070, sections 3.3.2, 3.3.3 and 5.3.

import { alignDown, exceeds, flag, keepBits, regFlag } from './bits.js';
import type { Cd } from './context.js';
import { decodeCd, illegalCd } from './context.js';
import type { Step, Transaction } from './event.js';
import {
  badSubstream,
  bypassSizeFault,
  configurationFault,
  end,
  EVENT,
  fetchFault,
  proceed,
  silentAbort,
  streamDisabled,
} from './event.js';
import { decodeIds } from './ids.js';
import type { Ste } from './stream.js';
import { applyOverrides, effectiveCdMax, fetchSte, readWords, stage1Enabled } from './stream.js';
import type { ReferenceAccess, ReferenceMachine, ReferenceOutcome } from './types.js';

/** A transaction that stage 1 translates, with the CD to use. */
export interface Translated {
  tx: Transaction;
  cd: Cd;
}

/** Bypass with an STE: an address of more than OAS bits is F_ADDR_SIZE. */
function bypass(tx: Transaction): ReferenceOutcome {
  const { iova } = tx.access;
  if (exceeds(iova, tx.ids.oas)) return bypassSizeFault(tx, 'bypass address above OAS');
  return { kind: 'ok', pa: iova, leaf: null };
}

/** SMMUEN=0: GBPA decides; IHI 0070, section 6 (SMMU_GBPA). */
function globalBypass(tx: Transaction): ReferenceOutcome {
  const { iova } = tx.access;
  if (regFlag(tx.machine.gbpa, 20)) return silentAbort('GBPA.ABORT is 1');
  if (exceeds(iova, tx.ids.oas)) return silentAbort('GBPA bypass address above OAS');
  return { kind: 'ok', pa: iova, leaf: null };
}

/** The SubstreamID to select the CD with, or the end of the transaction. */
function selectSubstream(tx: Transaction, ste: Ste): Step<number> {
  const { substreamId } = tx.access;
  const cdMax = effectiveCdMax(ste, tx.ids);

  if (!stage1Enabled(ste)) {
    if (substreamId !== undefined) {
      return end(badSubstream(tx, 'SubstreamID with stage 1 bypass')); // 2
    }
    return end(bypass(tx));
  }

  if (substreamId !== undefined) {
    if (cdMax === 0) return end(badSubstream(tx, 'substreams are not enabled')); // 3
    if (exceeds(BigInt(substreamId), cdMax)) {
      return end(badSubstream(tx, 'SubstreamID beyond S1CDMax')); // 4
    }
    if (substreamId === 0 && ste.s1Dss === 2) {
      return end(streamDisabled(tx, 'SubstreamID 0 with S1DSS=2')); // 5
    }
    return proceed(substreamId); // 6
  }

  if (cdMax === 0) return proceed(0); // 7
  if (ste.s1Dss === 0 || ste.s1Dss === 3) {
    return end(streamDisabled(tx, 'no SubstreamID with S1DSS=0')); // 8
  }
  if (ste.s1Dss === 1) return end(bypass(tx)); // 9
  return proceed(0); // 10
}

/** The address of the CD: IHI 0070, section 5.3 and STE.{S1Fmt, S1ContextPtr, S1CDMax}. */
function locateCd(tx: Transaction, ste: Ste, substreamId: number): Step<bigint> {
  const cdMax = effectiveCdMax(ste, tx.ids);
  const index = BigInt(substreamId);
  const pointer = ste.s1ContextPtr;

  if (cdMax === 0) return proceed(pointer); // one CD, S1Fmt is ignored
  if (ste.s1Fmt === 1) return locateCdInL2(tx, pointer, cdMax, index, 6);
  if (ste.s1Fmt === 2) return locateCdInL2(tx, pointer, cdMax, index, 10);
  // Linear (S1Fmt 0, and 3 behaves as 0): S1ContextPtr[S1CDMax+5:6] is taken as 0.
  return proceed(alignDown(pointer, cdMax + 6) + 64n * index);
}

/** 2-level: `split` is log2 of the CDs in one L2 table (64 CDs in 4 KB, 1024 CDs in 64 KB). */
function locateCdInL2(
  tx: Transaction,
  pointer: bigint,
  cdMax: number,
  index: bigint,
  split: number,
): Step<bigint> {
  // The L1 table has 2^(S1CDMax-split) entries of 8 bytes and is aligned to max(size, 64 bytes).
  const l1Base = alignDown(pointer, Math.max(6, cdMax - split + 3));
  const l1cdAddress = l1Base + 8n * (index >> BigInt(split));
  if (exceeds(l1cdAddress, tx.ids.oas)) {
    return end(fetchFault(tx, EVENT.F_CD_FETCH, l1cdAddress, 'L1CD above OAS'));
  }
  const l1cd = tx.machine.memory.read64(l1cdAddress);
  if (l1cd === null) {
    return end(fetchFault(tx, EVENT.F_CD_FETCH, l1cdAddress, 'external abort on L1CD'));
  }
  if (!flag(l1cd, 0)) return end(badSubstream(tx, 'L1CD.V is 0'));
  // L2Ptr [55:12]; aligned to the L2 table, so [15:12] is RES0 for the 64 KB format.
  const l2Ptr = alignDown(keepBits(l1cd, 55, 12), split + 6);
  if (exceeds(l2Ptr, tx.ids.oas)) return end(badSubstream(tx, 'L1CD.L2Ptr above OAS'));
  return proceed(l2Ptr + 64n * (index & ((1n << BigInt(split)) - 1n)));
}

/** The CD, valid and legal. */
function fetchCd(tx: Transaction, ste: Ste, substreamId: number): Step<Cd> {
  const location = locateCd(tx, ste, substreamId);
  if (location.ended) return location;
  const address = location.value;

  // Only on SMMUv3.0; later versions have refused such an STE.
  if (exceeds(address, tx.ids.oas)) {
    return end(fetchFault(tx, EVENT.F_CD_FETCH, address, 'CD above OAS'));
  }
  const words = readWords(tx, address, 8);
  if (words === null) {
    return end(fetchFault(tx, EVENT.F_CD_FETCH, address, 'external abort on CD'));
  }
  const cd = decodeCd(words);
  const illegal = illegalCd(cd, ste, tx.ids);
  if (illegal !== null) return end(configurationFault(tx, EVENT.C_BAD_CD, illegal));
  return proceed(cd);
}

/** Everything that comes before the walk, in the order of IHI 0070, section 7.3. */
export function configure(machine: ReferenceMachine, access: ReferenceAccess): Step<Translated> {
  const incoming: Transaction = {
    machine,
    ids: decodeIds(machine),
    access,
    privileged: access.privileged,
    instruction: access.instruction && !access.write,
  };
  if (!regFlag(machine.cr0, 0)) return end(globalBypass(incoming));

  const ste = fetchSte(incoming);
  if (ste.ended) return ste;
  const tx = applyOverrides(incoming, ste.value);

  const substream = selectSubstream(tx, ste.value);
  if (substream.ended) return substream;

  const cd = fetchCd(tx, ste.value, substream.value);
  if (cd.ended) return cd;
  return proceed({ tx, cd: cd.value });
}
