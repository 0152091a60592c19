// Decode of the ID registers: IHI 0070, section 6 (SMMU_IDR0, IDR1, IDR3, IDR5, AIDR).

import { regField, regFlag } from './bits.js';
import type { ReferenceMachine } from './types.js';

export interface Ids {
  // SMMU_IDR0
  s2p: boolean;
  s1p: boolean;
  ttf: number;
  httu: number;
  hyp: boolean;
  ats: boolean;
  ns1ats: boolean;
  asid16: boolean;
  cd2l: boolean;
  ttendian: number;
  stallModel: number;
  termModel: boolean;
  stLevel: number;
  // SMMU_IDR1
  sidSize: number;
  ssidSize: number;
  attrPermsOvr: boolean;
  // SMMU_IDR3
  had: boolean;
  stt: boolean;
  e0pd: boolean;
  dpt: boolean;
  epan: boolean;
  // SMMU_IDR5
  /** Output address size in bits. */
  oas: number;
  gran4k: boolean;
  gran16k: boolean;
  gran64k: boolean;
  ds: boolean;
  vax: number;
  // SMMU_AIDR
  /** 0..4 for SMMUv3.0..v3.4. */
  minor: number;
}

/** OAS and IPS encodings 0..7 in bits. */
export const ADDRESS_SIZES: readonly number[] = [32, 36, 40, 42, 44, 48, 52, 56];

export function addressSize(encoding: number): number {
  const size = ADDRESS_SIZES[encoding];
  if (size === undefined) throw new RangeError(`address size encoding ${encoding}`);
  return size;
}

export function decodeIds(machine: ReferenceMachine): Ids {
  const { idr0, idr1, idr3, idr5, aidr } = machine;
  const s2p = regFlag(idr0, 0);
  const s1p = regFlag(idr0, 1);
  if (s2p) throw new RangeError('the reference model has no stage 2: IDR0.S2P must be 0');
  return {
    s2p,
    s1p,
    ttf: regField(idr0, 3, 2),
    httu: regField(idr0, 7, 6),
    hyp: regFlag(idr0, 9) && s1p && s2p, // RES0 unless S1P and S2P
    ats: regFlag(idr0, 10),
    ns1ats: regFlag(idr0, 11),
    asid16: regFlag(idr0, 12),
    cd2l: regFlag(idr0, 19),
    ttendian: regField(idr0, 22, 21),
    stallModel: regField(idr0, 25, 24),
    termModel: regFlag(idr0, 26),
    stLevel: regField(idr0, 28, 27),

    sidSize: regField(idr1, 5, 0),
    ssidSize: regField(idr1, 10, 6),
    attrPermsOvr: regFlag(idr1, 26),

    had: regFlag(idr3, 2),
    stt: regFlag(idr3, 9),
    e0pd: regFlag(idr3, 13),
    dpt: regFlag(idr3, 15),
    epan: regFlag(idr3, 17),

    oas: Math.min(addressSize(regField(idr5, 2, 0)), 52), // 56 bits needs D128, not modelled
    gran4k: regFlag(idr5, 4),
    gran16k: regFlag(idr5, 5),
    gran64k: regFlag(idr5, 6),
    ds: regFlag(idr5, 7),
    vax: regField(idr5, 11, 10),

    minor: regField(aidr, 3, 0),
  };
}

/** Whether a granule of 2^granuleLog2 bytes is implemented (IDR5.GRAN*). */
export function granuleSupported(ids: Ids, granuleLog2: number): boolean {
  if (granuleLog2 === 12) return ids.gran4k;
  if (granuleLog2 === 14) return ids.gran16k;
  return ids.gran64k;
}

/** Effective IPS in bits: min(CD.IPS, OAS); IHI 0070, section 5.4 (CD.IPS). */
export function effectiveIps(ids: Ids, ips: number): number {
  // SMMUv3.0: encodings 6 and 7 behave as 5.
  const encoding = ids.minor === 0 ? Math.min(ips, 5) : ips;
  // SMMUv3.1 to v3.3: 7 behaves as 6. The OAS here is 52 at most, so the minimum does that.
  return Math.min(addressSize(encoding), ids.oas);
}
