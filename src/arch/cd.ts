import { address, bit, bits } from './field.js';

/** Level-1 Context Descriptor, 8 bytes (IHI 0070, section 5.3). */
export const L1cd = {
  V: bit(0),
  /** Level-2 CD table: 64 CDs (4 KiB) or 1,024 CDs (64 KiB). */
  L2Ptr: address(55, 12),
} as const;

/** Bytes of a level-1 context descriptor. */
export const L1CD_BYTES = 8;

/** Context Descriptor, 64 bytes (IHI 0070, section 5.4). */
export const Cd = {
  /** The input range of TTB0 is 64 - T0SZ bits. */
  T0SZ: bits(5, 0),
  /** Granule of TTB0; a {@link Tg0}. */
  TG0: bits(7, 6),
  IR0: bits(9, 8),
  OR0: bits(11, 10),
  SH0: bits(13, 12),
  /** 1: no walks through TTB0. */
  EPD0: bit(14),
  /** 1: descriptors are big-endian. */
  ENDI: bit(15),
  /** The input range of TTB1 is 64 - T1SZ bits. */
  T1SZ: bits(21, 16),
  /** Granule of TTB1; a {@link Tg1}, coded differently from TG0. */
  TG1: bits(23, 22),
  IR1: bits(25, 24),
  OR1: bits(27, 26),
  SH1: bits(29, 28),
  /** 1: no walks through TTB1. */
  EPD1: bit(30),
  V: bit(31),
  /** Size of intermediate addresses, coded as IDR5.OAS. */
  IPS: bits(34, 32),
  /** 1: a clear access flag does not fault. */
  AFFD: bit(35),
  /** 1: what is writable is not executable. */
  WXN: bit(36),
  /** Not used by VMSAv8-64. */
  UWXN: bit(37),
  /** 1: bits 63:56 of an input address of the lower half are ignored. */
  TBI0: bit(38),
  /** 1: bits 63:56 of an input address of the upper half are ignored. */
  TBI1: bit(39),
  /** 1: privileged data accesses to unprivileged pages fault. */
  PAN: bit(40),
  AA64: bit(41),
  /** With HA: hardware update of dirty state. */
  HD: bit(42),
  /** Hardware update of the access flag. */
  HA: bit(43),
  /** Stall on a fault. */
  S: bit(44),
  /** Record a fault. */
  R: bit(45),
  /** Abort on a fault (else read-as-zero, writes-ignored). */
  A: bit(46),
  ASET: bit(47),
  ASID: bits(63, 48),
  NSCFG0: bit(64),
  /** 1: APTable, PXNTable and XNTable are ignored below TTB0. */
  HAD0: bit(65),
  /** 1: unprivileged accesses through TTB0 fault. */
  E0PD0: bit(66),
  HAFT: bit(67),
  TTB0: address(115, 68),
  PnCH: bit(122),
  /** With PAN: pages that unprivileged code may execute count as unprivileged. */
  EPAN: bit(123),
  HWU059: bit(124),
  HWU060: bit(125),
  HWU061: bit(126),
  HWU062: bit(127),
  NSCFG1: bit(128),
  /** 1: APTable, PXNTable and XNTable are ignored below TTB1. */
  HAD1: bit(129),
  /** 1: unprivileged accesses through TTB1 fault. */
  E0PD1: bit(130),
  AIE: bit(131),
  TTB1: address(179, 132),
  /** 52-bit addresses with the 4K and 16K granules (LPA2). */
  DS: bit(186),
  PIE: bit(187),
  HWU159: bit(188),
  HWU160: bit(189),
  HWU161: bit(190),
  HWU162: bit(191),
  /** Memory attributes 0 to 3, a byte each. */
  MAIR0: bits(223, 192),
  /** Memory attributes 4 to 7, a byte each. */
  MAIR1: bits(255, 224),
  AMAIR0: bits(287, 256),
  AMAIR1: bits(319, 288),
  PARTID: bits(367, 352),
  PMG: bits(375, 368),
  /** Sixteen unprivileged indirect permissions of 3 bits; number p at bits [3p+2:3p]. */
  PIIU: address(431, 384),
  /** Sixteen privileged indirect permissions of 3 bits; number p at bits [3p+2:3p]. */
  PIIP: address(495, 448),
} as const;

/** Bytes of a context descriptor. */
export const CD_BYTES = 64;

/** CD.TG0 (and STE.S2TG): granule of the tables below TTB0. 3 is reserved. */
export const Tg0 = { granule4K: 0, granule64K: 1, granule16K: 2 } as const;

/** CD.TG1: granule of the tables below TTB1. 0 is reserved. */
export const Tg1 = { granule16K: 1, granule4K: 2, granule64K: 3 } as const;
