import { at, type Random } from './random.js';

/** ID registers (IHI 0070, section 6.3), and what they say in the units of the generator. */
export interface RandomFeatures {
  idr0: number;
  idr1: number;
  idr3: number;
  idr5: number;
  aidr: number;
  ttf: number;
  httu: number;
  ats: boolean;
  asid16: boolean;
  cd2l: boolean;
  ttendian: number;
  stallModel: number;
  termModel: boolean;
  twoLevelStreams: boolean;
  sidSize: number;
  ssidSize: number;
  stt: boolean;
  ds: boolean;
  wideInput: boolean;
  /** Bits of an output address. */
  oas: number;
  /** log2 of the granules there are. */
  granules: number[];
  minor: number;
}

/** OAS and IPS codes in bits. */
export const SIZES = [32, 36, 40, 42, 44, 48, 52, 56] as const;

function word(...parts: bigint[]): number {
  return Number(parts.reduce((all, part) => all | part, 0n));
}

export function randomFeatures(random: Random): RandomFeatures {
  const features = {
    s1p: random.bit(0.985),
    ttf: [2, 3, 1, 0][random.weighted([94, 3, 2, 1])]!,
    httu: random.weighted([2, 2, 5]),
    ats: random.chance(0.5),
    asid16: random.chance(0.7),
    cd2l: random.chance(0.75),
    ttendian: [0, 2, 3][random.weighted([7, 2, 1])]!,
    stallModel: random.weighted([5, 3, 2]),
    termModel: random.chance(0.25),
    twoLevelStreams: random.chance(0.7),
    sidSize: random.pick([0, 1, 4, 6, 7, 8, 10, 12, 16, 16, 20, 24, 32]),
    ssidSize: random.chance(0.2) ? 0 : random.between(1, 20),
    stt: random.chance(0.6),
    ds: random.chance(0.5),
    minor: random.below(5),
  };
  const granules = [12, 14, 16].filter(() => random.chance(0.75));
  if (granules.length === 0) granules.push(random.pick([12, 14, 16]));
  const vax = random.weighted([3, 5, 1]);
  const oasCode = random.weighted([1, 1, 1, 1, 2, 4, 8, 0.5]);
  const noise = (mask: number) => BigInt(random.u32() & mask) & 0xffff_ffffn;

  return {
    ...features,
    granules,
    wideInput: vax >= 1,
    oas: Math.min(SIZES[oasCode]!, 52), // 56 bits are for VMSAv9-128 tables
    idr0: word(
      at(1, features.s1p),
      at(2, features.ttf),
      at(6, features.httu),
      at(10, features.ats ? 1 : 0),
      at(12, features.asid16 ? 1 : 0),
      at(19, features.cd2l ? 1 : 0),
      at(21, features.ttendian),
      at(24, features.stallModel),
      at(26, features.termModel ? 1 : 0),
      at(27, features.twoLevelStreams ? 1 : 0),
      // COHACC, BTM, DORMHINT, NS1ATS, MSI, SEV, ATOS, PRI, VMID16, ATSRECERR
      noise(0x0085_e930),
    ),
    idr1: word(
      at(0, features.sidSize),
      at(6, features.ssidSize),
      at(26, random.bit()), // ATTR_PERMS_OVR
      noise(0x0bff_f800), // PRIQS, EVENTQS, CMDQS, ATTR_TYPES_OVR
    ),
    idr3: word(
      at(2, random.bit(0.75)), // HAD
      at(9, features.stt ? 1 : 0),
      at(13, random.bit(0.7)), // E0PD
      at(17, random.bit(0.7)), // EPAN
      // PBHA, XNX, PPS, FWB, RIL, BBML, PTWNNC, DPT, PASIDTT, MTEPERM
      noise(0x0041_dd38),
    ),
    idr5: word(
      at(0, oasCode),
      ...granules.map((granuleLog2) => at(granuleLog2 / 2 - 2, 1)),
      at(7, features.ds ? 1 : 0),
      at(10, vax),
      noise(0xffff_0000), // STALL_MAX
    ),
    aidr: features.minor,
  };
}

/** Bits of the effective IPS for a code: OAS at most, codes 6 and 7 behave as 5 in SMMUv3.0. */
export function effectiveIps(features: RandomFeatures, code: number): number {
  const size = SIZES[features.minor === 0 ? Math.min(code, 5) : code]!;
  return Math.min(size, features.oas);
}
