import { exceeds, get } from '../arch/field.js';
import { bitsPerLevel, levelShift, TG0_GRANULE_LOG2 } from '../arch/granule.js';
import { S1Fmt, Ste } from '../arch/ste.js';
import { effectiveAddressBits, hasGranule, type Features } from '../registers/features.js';

/**
 * The conditions that make an STE ILLEGAL (IHI 0070, section 5.2.2), by number. The order is
 * that of {@link illegalSte}.
 */
export const STE_RULES: Readonly<Record<number, string>> = {
  1: 'Config enables stage 1, which IDR0.S1P says is not implemented',
  2: 'Config enables stage 2, which IDR0.S2P says is not implemented',
  3: 'EATS=2 (split-stage ATS) without nested translation, with S2S=1, or with IDR0.NS1ATS=1',
  4: 'EATS=1 (full ATS) with stage 2 and S2S=1',
  5: 'EATS=3 (full ATS with DPT) with STRW other than EL1, or with stage 2 and S2S=1',
  6: 'STRW is a reserved value',
  7: 'S1STALLD=1, but IDR0.STALL_MODEL leaves no choice',
  8: 'S1CDMax is larger than IDR1.SSIDSIZE',
  9: 'S1Fmt is a two-level CD table, which IDR0.CD2L says is not implemented',
  10: 'S1ContextPtr lies beyond the output address size (IDR5.OAS)',
  11: 'S2FWB=1 with VMSAv8-32 stage-2 tables',
  12: 'S2S=1, but IDR0.STALL_MODEL=1 says there are no stalls',
  13: 'S2S=0, but IDR0.STALL_MODEL=2 forces stalls',
  14: 'S2AA64 selects a table format that IDR0.TTF says is not implemented',
  15: 'S2HA, S2HD or S2HAFT asks for hardware updates that IDR0.HTTU says are not implemented',
  16: 'S2TG is reserved or a granule that IDR5 says is not implemented',
  17: 'S2TTB lies beyond the effective output size of stage 2',
  18: 'S2T0SZ is out of range',
  19: 'S2SL0 does not fit S2T0SZ and S2TG',
  20: 'S2ENDI is an endianness that IDR0.TTENDIAN says is not implemented',
  21: 'S2PIE, S2POE or S2POI is inconsistent',
  22: 'S2VMID has more than 8 bits, which IDR0.VMID16 says is not implemented',
  23: 'VMSPtr lies beyond the output address size (IDR5.OAS)',
};

/**
 * Number of the first of {@link STE_RULES} that the STE at `words[at]` breaks on an SMMU with
 * `features`; 0 when it is legal. V is not looked at; an STE with Config=0xx is always legal.
 */
export function illegalSte(words: Uint32Array, at: number, features: Features): number {
  const config = get(words, at, Ste.Config);
  if ((config & 0b100) === 0) return 0;
  const stage1 = (config & 0b001) !== 0;
  const stage2 = (config & 0b010) !== 0;
  if (stage1 && features.S1P === 0) return 1;
  if (stage2 && features.S2P === 0) return 2;
  const strw = stage1 && !stage2 && features.Hyp === 1 ? get(words, at, Ste.STRW) : 0;
  if (features.ATS === 1 && (stage1 || stage2)) {
    const broken = illegalAts(words, at, features, stage1, stage2, strw);
    if (broken !== 0) return broken;
  }
  if ((strw & 1) !== 0) return 6;
  if (stage1) {
    const broken = illegalStage1(words, at, features, stage2);
    if (broken !== 0) return broken;
  }
  if (stage2) {
    const broken = illegalStage2(words, at, features);
    if (broken !== 0) return broken;
  }
  const vmidIgnored = features.S2P === 0 || !(stage1 || stage2) || strw !== 0;
  if (!vmidIgnored && features.VMID16 === 0 && get(words, at, Ste.S2VMID) > 0xff) return 22;
  if (stage1 && stage2 && features.MPAM === 1 && get(words, at, Ste.S1MPAM) === 1) {
    if (exceeds(words, at, Ste.VMSPtr, features.OAS)) return 23;
  }
  return 0;
}

function illegalAts(
  words: Uint32Array,
  at: number,
  features: Features,
  stage1: boolean,
  stage2: boolean,
  strw: number,
): number {
  const eats = get(words, at, Ste.EATS);
  const stall2 = get(words, at, Ste.S2S) === 1;
  if (eats === 2 && (!(stage1 && stage2) || stall2 || features.NS1ATS === 1)) return 3;
  if (eats === 1 && stall2 && stage2) return 4;
  if (eats === 3 && features.DPT === 1 && (strw !== 0 || (stall2 && stage2))) return 5;
  return 0;
}

function illegalStage1(
  words: Uint32Array,
  at: number,
  features: Features,
  stage2: boolean,
): number {
  if (get(words, at, Ste.S1STALLD) === 1 && features.STALL_MODEL !== 0) return 7;
  if (features.SSIDSIZE !== 0) {
    const cdMax = get(words, at, Ste.S1CDMax);
    if (cdMax > features.SSIDSIZE) return 8;
    const format = get(words, at, Ste.S1Fmt);
    const twoLevel = format === S1Fmt.twoLevel4K || format === S1Fmt.twoLevel64K;
    if (twoLevel && features.CD2L === 0 && cdMax !== 0) return 9;
  }
  if (!stage2 && features.ArchMinor >= 1) {
    if (exceeds(words, at, Ste.S1ContextPtr, features.OAS)) return 10;
  }
  return 0;
}

function illegalStage2(words: Uint32Array, at: number, features: Features): number {
  const aarch64 = get(words, at, Ste.S2AA64) === 1;
  if (features.FWB === 1 && get(words, at, Ste.S2FWB) === 1 && !aarch64) return 11;
  const stall = get(words, at, Ste.S2S) === 1;
  if (stall && features.STALL_MODEL === 1) return 12;
  if (!stall && features.STALL_MODEL === 2) return 13;
  if ((features.TTF & (aarch64 ? 0b10 : 0b01)) === 0) return 14;
  const ha = get(words, at, Ste.S2HA) === 1;
  const hd = get(words, at, Ste.S2HD) === 1;
  if ((ha || hd) && (features.HTTU === 0 || !aarch64)) return 15;
  if (hd && features.HTTU === 1) return 15;
  if (features.HTTU === 3 && get(words, at, Ste.S2HAFT) === 1 && !ha) return 15;
  if (aarch64) {
    const broken = illegalStage2Tables(words, at, features);
    if (broken !== 0) return broken;
  }
  const bigEndian = get(words, at, Ste.S2ENDI) === 1;
  if ((features.TTENDIAN === 2 && bigEndian) || (features.TTENDIAN === 3 && !bigEndian)) return 20;
  return illegalIndirection(words, at, features, aarch64) ? 21 : 0;
}

/** Rules 16 to 19: the geometry of VMSAv8-64 stage-2 tables. */
function illegalStage2Tables(words: Uint32Array, at: number, features: Features): number {
  const granuleLog2 = TG0_GRANULE_LOG2[get(words, at, Ste.S2TG)]!;
  if (!hasGranule(features, granuleLog2)) return 16;
  const ds = features.DS === 1 && get(words, at, Ste.S2DS) === 1;
  const outputBits = effectiveAddressBits(features, get(words, at, Ste.S2PS));
  const representable = granuleLog2 < 16 && !ds ? 48 : 52;
  if (exceeds(words, at, Ste.S2TTB, Math.min(outputBits, representable))) return 17;
  const t0sz = get(words, at, Ste.S2T0SZ);
  const largest = features.STT === 0 ? 39 : granuleLog2 === 16 ? 47 : 48;
  const smallest = Math.max(granuleLog2 === 16 || ds ? 12 : 16, 64 - features.OAS);
  if (t0sz > largest || (t0sz < smallest && features.ArchMinor >= 1)) return 18;
  const level = stage2StartLevel(words, at, features, granuleLog2, ds);
  if (level === undefined) return 19;
  // Up to 16 tables may be concatenated at the start level: 4 more bits than one table resolves.
  const shift = levelShift(granuleLog2, level);
  const inputBits = 64 - t0sz;
  return inputBits <= shift || inputBits > shift + bitsPerLevel(granuleLog2) + 4 ? 19 : 0;
}

function stage2StartLevel(
  words: Uint32Array,
  at: number,
  features: Features,
  granuleLog2: number,
  ds: boolean,
): number | undefined {
  const sl0 = get(words, at, Ste.S2SL0);
  if (granuleLog2 === 12) {
    if (ds && get(words, at, Ste.S2SL0_2) === 1) return sl0 === 0 ? -1 : undefined;
    return sl0 === 3 ? (features.STT === 1 ? 3 : undefined) : 2 - sl0;
  }
  if (granuleLog2 === 14) return sl0 === 3 && !ds ? undefined : 3 - sl0;
  return sl0 === 3 ? undefined : 3 - sl0;
}

function illegalIndirection(
  words: Uint32Array,
  at: number,
  features: Features,
  aarch64: boolean,
): boolean {
  const indirect = features.S2PI === 1 && get(words, at, Ste.S2PIE) === 1;
  if (indirect && !aarch64) return true;
  if (features.S2PO === 0 || get(words, at, Ste.S2POE) === 0) return false;
  const { S2HWU59, S2HWU60, S2HWU61, S2HWU62 } = Ste;
  if (!indirect) return true;
  if ([S2HWU59, S2HWU60, S2HWU61, S2HWU62].some((field) => get(words, at, field) === 1))
    return true;
  for (let entry = 0; entry < 16; entry++) {
    const overlay = (words[at + 14 + (entry >> 3)]! >>> (4 * (entry & 7))) & 0xf;
    if (overlay === 1 || overlay === 5) return true;
  }
  return false;
}
