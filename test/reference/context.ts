// CD decode and CD legality: IHI 0070, sections 5.4 and 5.5.

import { exceeds, field, flag, keepBits } from './bits.js';
import type { FaultBehaviour } from './event.js';
import type { Ids } from './ids.js';
import { effectiveIps, granuleSupported } from './ids.js';
import type { Ste } from './stream.js';

/** One half of the address space: the CD fields of TTB0 or of TTB1. */
export interface Half {
  upper: boolean;
  txsz: number;
  /** 12, 14, 16, or null when TGx is reserved. */
  granuleLog2: number | null;
  epd: boolean;
  tbi: boolean;
  had: boolean;
  e0pd: boolean;
  sh: number;
  ttb: bigint;
}

export interface Cd {
  valid: boolean;
  aa64: boolean;
  lower: Half;
  upper: Half;
  bigEndian: boolean;
  ips: number;
  affd: boolean;
  wxn: boolean;
  pan: boolean;
  epan: boolean;
  ha: boolean;
  hd: boolean;
  haft: boolean;
  ds: boolean;
  faults: FaultBehaviour;
  asid: number;
  mair: bigint;
}

/** TG0: 0 4K, 1 64K, 2 16K, 3 reserved. */
const TG0: readonly (number | null)[] = [12, 16, 14, null];
/** TG1: 0 reserved, 1 16K, 2 4K, 3 64K. */
const TG1: readonly (number | null)[] = [null, 14, 12, 16];

export function decodeCd(words: readonly bigint[]): Cd {
  const [w0 = 0n, w1 = 0n, w2 = 0n, w3 = 0n] = words;
  return {
    valid: flag(w0, 31),
    aa64: flag(w0, 41),
    lower: {
      upper: false,
      txsz: field(w0, 5, 0),
      granuleLog2: TG0[field(w0, 7, 6)] ?? null,
      sh: field(w0, 13, 12),
      epd: flag(w0, 14),
      tbi: flag(w0, 38),
      had: flag(w1, 1),
      e0pd: flag(w1, 2),
      ttb: keepBits(w1, 51, 4),
    },
    upper: {
      upper: true,
      txsz: field(w0, 21, 16),
      granuleLog2: TG1[field(w0, 23, 22)] ?? null,
      sh: field(w0, 29, 28),
      epd: flag(w0, 30),
      tbi: flag(w0, 39),
      had: flag(w2, 1),
      e0pd: flag(w2, 2),
      ttb: keepBits(w2, 51, 4),
    },
    bigEndian: flag(w0, 15),
    ips: field(w0, 34, 32),
    affd: flag(w0, 35),
    wxn: flag(w0, 36),
    pan: flag(w0, 40),
    hd: flag(w0, 42),
    ha: flag(w0, 43),
    faults: { stall: flag(w0, 44), record: flag(w0, 45), abort: flag(w0, 46) },
    asid: field(w0, 63, 48),
    haft: flag(w1, 3),
    epan: flag(w1, 59),
    ds: flag(w2, 58),
    mair: w3,
  };
}

/** DS, which is RES0 when IDR5.DS=0. It changes the 4K and 16K granules only. */
export function effectiveDs(cd: Cd, ids: Ids, granuleLog2: number): boolean {
  return ids.ds && cd.ds && granuleLog2 !== 16;
}

/** Smallest TxSZ: 16, or 12 with IDR5.VAX>=1 and a granule that reaches 52 bits. */
function minimumTxsz(cd: Cd, ids: Ids, granuleLog2: number): number {
  const reaches52 = granuleLog2 === 16 || effectiveDs(cd, ids, granuleLog2);
  return ids.vax >= 1 && reaches52 ? 12 : 16;
}

/** Largest TxSZ: 39, or with IDR3.STT 48 (4K, 16K) and 47 (64K). */
function maximumTxsz(ids: Ids, granuleLog2: number): number {
  if (!ids.stt) return 39;
  return granuleLog2 === 16 ? 47 : 48;
}

/** Conditions 11 to 13, for one half. A half with EPD=1 is not looked at. */
function illegalHalf(cd: Cd, half: Half, ids: Ids): string | null {
  if (half.epd) return null;
  const name = half.upper ? '1' : '0';
  const granule = half.granuleLog2;
  // 12
  if (granule === null) return `TG${name} is reserved`;
  if (!granuleSupported(ids, granule)) return `TG${name} is not implemented`;
  // 11
  if (half.txsz < minimumTxsz(cd, ids, granule)) return `T${name}SZ is too small`;
  if (half.txsz > maximumTxsz(ids, granule)) return `T${name}SZ is too large`;
  // 13
  if (exceeds(half.ttb, effectiveIps(ids, cd.ips))) return `TTB${name} above the effective IPS`;
  if (granule !== 16 && !effectiveDs(cd, ids, granule) && exceeds(half.ttb, 48)) {
    return `TTB${name} above 48 bits`;
  }
  return null;
}

/**
 * CD ILLEGAL conditions; IHI 0070, section 5.5 (validity of CD), for an EL1 StreamWorld without
 * stage 2. Returns the condition hit, or null.
 */
export function illegalCd(cd: Cd, ste: Ste, ids: Ids): string | null {
  const bothDisabled = cd.lower.epd && cd.upper.epd;
  const { abort, stall } = cd.faults;

  // 1
  if (!cd.valid) return 'CD.V is 0';
  // 2
  if (ste.s1Stalld && stall) return 'S=1 with STE.S1STALLD=1';
  // 3
  if (ids.termModel && !abort) return 'A=0 with TERM_MODEL=1';
  // 4
  if (ids.stallModel === 1 && stall) return 'S=1 with STALL_MODEL=1';
  // 5
  if (ids.stallModel === 2 && !stall) return 'S=0 with STALL_MODEL=2';
  // 6
  if (!bothDisabled && ids.ttendian === 2 && cd.bigEndian) return 'ENDI=1 with TTENDIAN=2';
  if (!bothDisabled && ids.ttendian === 3 && !cd.bigEndian) return 'ENDI=0 with TTENDIAN=3';
  // 7
  if (!cd.aa64 && (ids.ttf & 0b01) === 0) return 'VMSAv8-32 LPAE is not implemented';
  if (!cd.aa64) throw new RangeError('the reference model has no VMSAv8-32 LPAE walk');
  // 8 (AA64 is 1 from here on)
  if ((ids.ttf & 0b10) === 0) return 'VMSAv8-64 is not implemented';
  // 9
  if (ids.httu === 0 && (cd.ha || cd.hd)) return 'HA or HD with HTTU=0';
  if (ids.httu === 1 && cd.hd) return 'HD with HTTU=1';
  if (ids.httu === 3 && cd.haft && !cd.ha) return 'HAFT=1 with HA=0';
  // 10
  if (!ids.asid16 && cd.asid > 0xff) return 'ASID above 8 bits';
  // 11 to 13; 14 (D128) and 15 (PIE) are about features that are not modelled.
  return illegalHalf(cd, cd.lower, ids) ?? illegalHalf(cd, cd.upper, ids);
}
