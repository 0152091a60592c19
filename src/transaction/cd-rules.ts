import { Cd } from '../arch/cd.js';
import { exceeds, get, type AddressField } from '../arch/field.js';
import { TG0_GRANULE_LOG2, TG1_GRANULE_LOG2 } from '../arch/granule.js';
import { Ste } from '../arch/ste.js';
import { effectiveAddressBits, hasGranule, type Features } from '../registers/features.js';

/**
 * The conditions that make a CD ILLEGAL (IHI 0070, section 5.4.1), by number. The order is that of
 * {@link illegalCd}. Numbers 14 and 15 belong to features that this library does not advertise
 * (VMSAv9-128 and indirect permissions).
 */
export const CD_RULES: Readonly<Record<number, string>> = {
  1: 'V=0: the CD is not valid',
  2: 'S=1, but STE.S1STALLD forbids stalls',
  3: 'A=0, but IDR0.TERM_MODEL says that faults can only abort',
  4: 'S=1, but IDR0.STALL_MODEL=1 says there are no stalls',
  5: 'S=0, but IDR0.STALL_MODEL=2 forces stalls',
  6: 'ENDI is an endianness that IDR0.TTENDIAN says is not implemented',
  7: 'AA64=0: VMSAv8-32 tables are not implemented',
  8: 'AA64=1, but IDR0.TTF says that VMSAv8-64 tables are not implemented',
  9: 'HA or HD asks for hardware updates that IDR0.HTTU says are not implemented',
  10: 'ASID has more than 8 bits, which IDR0.ASID16 says is not implemented',
  11: 'T0SZ or T1SZ is out of range',
  12: 'TG0 or TG1 is reserved or a granule that IDR5 says is not implemented',
  13: 'TTB0 or TTB1 lies beyond the effective intermediate address size',
};

/**
 * Number of the first of {@link CD_RULES} that the CD at `words[at]` breaks on an SMMU with
 * `features`, below the STE at `ste[steAt]`; 0 when it is legal.
 */
export function illegalCd(
  words: Uint32Array,
  at: number,
  ste: Uint32Array,
  steAt: number,
  features: Features,
): number {
  if (get(words, at, Cd.V) === 0) return 1;
  const stall = get(words, at, Cd.S) === 1;
  if (stall && get(ste, steAt, Ste.S1STALLD) === 1) return 2;
  if (get(words, at, Cd.A) === 0 && features.TERM_MODEL === 1) return 3;
  if (stall && features.STALL_MODEL === 1) return 4;
  if (!stall && features.STALL_MODEL === 2) return 5;
  const lower = get(words, at, Cd.EPD0) === 0;
  const upper = get(words, at, Cd.EPD1) === 0;
  if (lower || upper) {
    const bigEndian = get(words, at, Cd.ENDI) === 1;
    if (bigEndian ? features.TTENDIAN === 2 : features.TTENDIAN === 3) return 6;
  }
  if (get(words, at, Cd.AA64) === 0) return 7;
  if ((features.TTF & 0b10) === 0) return 8;
  const hd = get(words, at, Cd.HD) === 1;
  if ((hd || get(words, at, Cd.HA) === 1) && features.HTTU === 0) return 9;
  if (hd && features.HTTU === 1) return 9;
  if (features.ASID16 === 0 && get(words, at, Cd.ASID) > 0xff) return 10;
  if (lower) {
    const granuleLog2 = TG0_GRANULE_LOG2[get(words, at, Cd.TG0)]!;
    const broken = illegalHalf(words, at, features, granuleLog2, get(words, at, Cd.T0SZ), Cd.TTB0);
    if (broken !== 0) return broken;
  }
  if (upper) {
    const granuleLog2 = TG1_GRANULE_LOG2[get(words, at, Cd.TG1)]!;
    const broken = illegalHalf(words, at, features, granuleLog2, get(words, at, Cd.T1SZ), Cd.TTB1);
    if (broken !== 0) return broken;
  }
  return 0;
}

/** Rules 11 to 13 for one half of the address space. */
function illegalHalf(
  words: Uint32Array,
  at: number,
  features: Features,
  granuleLog2: number,
  txsz: number,
  ttb: AddressField,
): number {
  const ds = features.DS === 1 && get(words, at, Cd.DS) === 1;
  const largest = features.STT === 0 ? 39 : granuleLog2 === 16 ? 47 : 48;
  const smallest = features.VAX >= 1 && (granuleLog2 === 16 || ds) ? 12 : 16;
  if (txsz < smallest || txsz > largest) return 11;
  if (!hasGranule(features, granuleLog2)) return 12;
  const addressBits = effectiveAddressBits(features, get(words, at, Cd.IPS));
  const representable = granuleLog2 < 16 && !ds ? 48 : 52;
  return exceeds(words, at, ttb, Math.min(addressBits, representable)) ? 13 : 0;
}
