import { effectiveIps, type RandomFeatures } from './random-features.js';
import { at, type Random } from './random.js';

/** One half of an address space, as the tables of {@link RandomContext} are made for it. */
export interface RandomHalf {
  upper: boolean;
  /** EPD=0 and a usable granule and TxSZ: tables can be made. */
  walkable: boolean;
  granuleLog2: number;
  inputBits: number;
  startLevel: number;
  /** 52-bit addresses: DS with 4K and 16K. */
  lpa2: boolean;
  /** 52-bit addresses: 64K with OAS 52. */
  wide64K: boolean;
  /** Bits that an address may have: the effective IPS, 48 without 52-bit formats. */
  addressBits: number;
  bigEndian: boolean;
  /** The first table, aligned. */
  table: bigint;
}

/** A CD and what its tables need. */
export interface RandomContext {
  words: bigint[];
  halves: RandomHalf[];
}

/** Codes of TG0 and TG1 for 12, 14, 16, and the reserved code. */
const TG0: Readonly<Record<number, number>> = { 12: 0, 14: 2, 16: 1, 0: 3 };
const TG1: Readonly<Record<number, number>> = { 12: 2, 14: 1, 16: 3, 0: 0 };

/** log2 of the bytes that a descriptor of `level` describes. */
export function shiftOf(granuleLog2: number, level: number): number {
  return granuleLog2 + (granuleLog2 - 3) * (3 - level);
}

/** The first level: up from 3 until a table covers the input range. */
function startLevelOf(granuleLog2: number, inputBits: number): number {
  let level = 3;
  while (shiftOf(granuleLog2, level - 1) < inputBits) level--;
  return level;
}

function randomTxsz(random: Random, features: RandomFeatures, wide: boolean, granuleLog2: number) {
  const smallest = features.wideInput && wide ? 12 : 16;
  const largest = !features.stt ? 39 : granuleLog2 === 16 ? 47 : 48;
  if (random.chance(0.04)) return random.below(64); // often illegal: rule 11
  if (random.chance(0.2)) return random.pick([smallest, largest]);
  if (smallest < 16 && random.chance(0.2)) return random.between(smallest, 15);
  return random.between(smallest, random.chance(0.4) ? smallest + 10 : largest);
}

function randomHalf(
  random: Random,
  features: RandomFeatures,
  ips: number,
  cdDs: boolean,
  bigEndian: boolean,
  upper: boolean,
  epd: number,
  usedTables: bigint[],
): RandomHalf & { txsz: number; granuleCode: number; ttb: bigint; epd: number } {
  // With EPD=1 nothing of the half is looked at: then anything will do.
  const junk = epd === 1 && random.chance(0.5);
  const illegalGranule = junk || random.chance(0.015);
  const granuleLog2 = illegalGranule
    ? random.pick([0, 12, 14, 16])
    : random.pick(features.granules);
  const lpa2 = features.ds && cdDs && granuleLog2 !== 16;
  const txsz = junk
    ? random.below(64)
    : randomTxsz(random, features, lpa2 || granuleLog2 === 16, granuleLog2);
  const inputBits = 64 - txsz;
  const walkable = epd === 0 && granuleLog2 !== 0 && inputBits > granuleLog2 && inputBits <= 52;
  const addressBits = Math.min(ips, lpa2 || granuleLog2 === 16 ? 52 : 48);

  let startLevel = 3;
  let tableLog2 = 3;
  if (walkable) {
    startLevel = startLevelOf(granuleLog2, inputBits);
    tableLog2 = 3 + inputBits - shiftOf(granuleLog2, startLevel);
  }
  if (ips === 52) tableLog2 = Math.max(6, tableLog2);
  let table = random.address(addressBits, Math.max(4, tableLog2));
  if (usedTables.length > 0 && random.chance(0.05)) {
    table = (random.pick(usedTables) >> BigInt(tableLog2)) << BigInt(tableLog2);
    if (table >= 1n << BigInt(addressBits)) table = 0n;
  }
  usedTables.push(table);

  let ttb = table;
  // Bits below the alignment are ignored; TTB has none below bit 4.
  if (tableLog2 > 4 && random.chance(0.3)) ttb |= random.bits(tableLog2) & ~0xfn;
  // Out of range: rule 13
  if (random.chance(junk ? 0.5 : 0.012) && addressBits < 52)
    ttb |= at(random.between(addressBits, 51), 1);
  return {
    upper,
    walkable,
    granuleLog2,
    inputBits,
    startLevel,
    lpa2,
    wide64K: granuleLog2 === 16 && features.oas === 52,
    addressBits,
    bigEndian,
    table,
    txsz,
    granuleCode: (upper ? TG1 : TG0)[granuleLog2]!,
    ttb,
    epd,
  };
}

/** {S, R, A} and {HD, HA}: legal ones mostly. */
function randomControls(random: Random, features: RandomFeatures) {
  let stall = features.stallModel === 0 ? random.bit(0.3) : features.stallModel === 2 ? 1 : 0;
  if (random.chance(0.015)) stall ^= 1; // rules 4 and 5
  const abort = features.termModel && random.chance(0.97) ? 1 : random.bit(0.6); // rule 3
  let ha = features.httu >= 1 ? random.bit(0.7) : 0;
  let hd = features.httu >= 2 ? random.bit(0.7) : 0;
  if (random.chance(0.015)) {
    ha = random.bit(); // rule 9
    hd = random.bit();
  }
  let bigEndian = features.ttendian === 0 ? random.chance(0.3) : features.ttendian === 3;
  if (random.chance(0.02)) bigEndian = !bigEndian; // rule 6
  return { stall, abort, record: random.bit(0.75), ha, hd, bigEndian };
}

/** A CD (IHI 0070, section 5.4), legal on an SMMU with `features` nine times out of ten. */
export function randomContext(
  random: Random,
  features: RandomFeatures,
  usedTables: bigint[],
): RandomContext {
  const ipsCode = random.weighted([1, 1, 1, 1, 2, 4, 6, 2]);
  const ips = effectiveIps(features, ipsCode);
  const cdDs = random.chance(0.6);
  const { stall, abort, record, ha, hd, ...controls } = randomControls(random, features);
  // Without any walks ENDI is not looked at either (rule 6).
  const noWalks = random.bit(0.03);
  const bigEndian = noWalks === 1 ? random.chance(0.5) : controls.bigEndian;
  const half = (upper: boolean) =>
    randomHalf(
      random,
      features,
      ips,
      cdDs,
      bigEndian,
      upper,
      noWalks | random.bit(0.05),
      usedTables,
    );
  const lower = half(false);
  const upper = half(true);
  const wideAsid = features.asid16 || random.chance(0.02); // rule 10
  const word0 =
    at(0, lower.txsz) |
    at(6, lower.granuleCode) |
    at(8, random.bits(6)) | // IR0, OR0, SH0
    at(14, lower.epd) |
    at(15, bigEndian ? 1 : 0) |
    at(16, upper.txsz) |
    at(22, upper.granuleCode) |
    at(24, random.bits(6)) | // IR1, OR1, SH1
    at(30, upper.epd) |
    at(31, random.bit(0.98)) | // V: rule 1
    at(32, ipsCode) |
    at(35, random.bit(0.3)) | // AFFD
    at(36, random.bit(0.25)) | // WXN
    at(37, random.bit()) | // UWXN
    at(38, random.bit(0.4)) | // TBI0
    at(39, random.bit(0.4)) | // TBI1
    at(40, random.bit(0.3)) | // PAN
    at(41, random.bit(0.99)) | // AA64: rule 7
    at(42, hd) |
    at(43, ha) |
    at(44, stall) |
    at(45, record) |
    at(46, abort) |
    at(47, random.bit()) | // ASET
    at(48, random.bits(wideAsid ? 16 : 8));
  // NSCFG0, HAD0, E0PD0; EPAN and HWU059 to HWU062
  const word1 =
    random.bits(2) |
    at(2, random.bit(0.12)) |
    lower.ttb |
    at(59, random.bit()) |
    at(60, random.bits(4));
  // NSCFG1, HAD1, E0PD1; DS and HWU159 to HWU162
  const word2 =
    random.bits(2) |
    at(2, random.bit(0.12)) |
    upper.ttb |
    at(58, cdDs ? 1 : 0) |
    at(60, random.bits(4));
  return {
    words: [word0, word1, word2, randomMair(random), random.bits(64), random.bits(56), 0n, 0n],
    halves: [lower, upper],
  };
}

/** MAIR, with the attributes that decide shareability among the others. */
function randomMair(random: Random): bigint {
  let mair = 0n;
  for (let i = 0; i < 8; i++) {
    mair |= at(
      8 * i,
      random.chance(0.4) ? random.pick([0x00, 0x04, 0x0c, 0x44, 0xff]) : random.bits(8),
    );
  }
  return mair;
}
