import { address, bit, bits } from './field.js';

/** Level-1 Stream Table Descriptor, 8 bytes (IHI 0070, section 5.1). */
export const L1std = {
  /** 0: no level-2 table. 1 to 11: it has 2^(Span-1) STEs. 12 and above: reserved, behaves as 0. */
  Span: bits(4, 0),
  /** Base of the level-2 table, aligned by the SMMU to the size of that table. */
  L2Ptr: address(55, 6),
} as const;

/** Bytes of a level-1 stream table descriptor. */
export const L1STD_BYTES = 8;

/** Stream Table Entry, 64 bytes (IHI 0070, section 5.2). */
export const Ste = {
  /** 1 when the rest of the entry is meaningful. */
  V: bit(0),
  /** Which stages translate; a {@link SteConfig}. */
  Config: bits(3, 1),
  /** Format of the CD table; an {@link S1Fmt}. */
  S1Fmt: bits(5, 4),
  /** The CD, the CD table or the level-1 CD table. */
  S1ContextPtr: address(55, 6),
  /** log2 of the number of CDs; 0 switches substreams off. */
  S1CDMax: bits(63, 59),
  /** What a transaction without SubstreamID does when substreams are on; an {@link S1Dss}. */
  S1DSS: bits(65, 64),
  S1CIR: bits(67, 66),
  S1COR: bits(69, 68),
  S1CSH: bits(71, 70),
  S2HWU59: bit(72),
  S2HWU60: bit(73),
  S2HWU61: bit(74),
  S2HWU62: bit(75),
  DRE: bit(76),
  /** 2^CONT identical neighbours: a hint. */
  CONT: bits(80, 77),
  DCP: bit(81),
  PPAR: bit(82),
  /** 1 allows event records of this stream to be merged. */
  MEV: bit(83),
  S1PIE: bit(88),
  S2FWB: bit(89),
  S1MPAM: bit(90),
  /** 1 makes CD.S=1 illegal. */
  S1STALLD: bit(91),
  EATS: bits(93, 92),
  /** Exception level of the stream; a {@link Strw}. */
  STRW: bits(95, 94),
  MemAttr: bits(99, 96),
  MTCFG: bit(100),
  ALLOCCFG: bits(104, 101),
  SHCFG: bits(109, 108),
  NSCFG: bits(111, 110),
  /** Overrides privilege, if IDR1.ATTR_PERMS_OVR: 2 unprivileged, 3 privileged. */
  PRIVCFG: bits(113, 112),
  /** Overrides data or instruction, if IDR1.ATTR_PERMS_OVR: 2 data, 3 instruction (reads only). */
  INSTCFG: bits(115, 114),
  S2VMID: bits(143, 128),
  S2T0SZ: bits(165, 160),
  S2SL0: bits(167, 166),
  S2IR0: bits(169, 168),
  S2OR0: bits(171, 170),
  S2SH0: bits(173, 172),
  /** Granule of stage 2, coded as {@link Tg0}. */
  S2TG: bits(175, 174),
  S2PS: bits(178, 176),
  S2AA64: bit(179),
  S2ENDI: bit(180),
  S2AFFD: bit(181),
  S2PTW: bit(182),
  S2HD: bit(183),
  S2HA: bit(184),
  S2S: bit(185),
  S2R: bit(186),
  S2HAFT: bit(187),
  S2PIE: bit(188),
  S2POE: bit(189),
  DPT_VMATCH: bits(191, 190),
  S2NSW: bit(192),
  S2NSA: bit(193),
  S2SL0_2: bit(194),
  S2DS: bit(195),
  S2TTB: address(243, 196),
  S2SKL: bits(254, 253),
  PARTID: bits(287, 272),
  S_S2T0SZ: bits(293, 288),
  S_S2SL0: bits(295, 294),
  S_S2TG: bits(303, 302),
  MECID: bits(319, 304),
  PMG: bits(327, 320),
  MPAM_NS: bit(328),
  AssuredOnly: bit(329),
  TL0: bit(330),
  TL1: bit(331),
  VMSPtr: address(375, 332),
  S2SW: bit(384),
  S2SA: bit(385),
  S_S2SL0_2: bit(386),
  S_S2TTB: address(439, 388),
  S_S2SKL: bits(446, 445),
  S2POI0: bits(451, 448),
  S2POI1: bits(455, 452),
  S2POI2: bits(459, 456),
  S2POI3: bits(463, 460),
  S2POI4: bits(467, 464),
  S2POI5: bits(471, 468),
  S2POI6: bits(475, 472),
  S2POI7: bits(479, 476),
  S2POI8: bits(483, 480),
  S2POI9: bits(487, 484),
  S2POI10: bits(491, 488),
  S2POI11: bits(495, 492),
  S2POI12: bits(499, 496),
  S2POI13: bits(503, 500),
  S2POI14: bits(507, 504),
  S2POI15: bits(511, 508),
} as const;

/** Bytes of a stream table entry. */
export const STE_BYTES = 64;

/** STE.Config: which stages translate. Every value below `bypass` aborts silently, as `abort` does. */
export const SteConfig = {
  abort: 0b000,
  bypass: 0b100,
  s1: 0b101,
  s2: 0b110,
  nested: 0b111,
} as const;

/** STE.S1Fmt: format of the CD table. The fourth value behaves as `linear`. */
export const S1Fmt = { linear: 0, twoLevel4K: 1, twoLevel64K: 2 } as const;

/** STE.S1DSS: a transaction without SubstreamID ends, bypasses stage 1, or uses CD 0. 3 behaves as `terminate`. */
export const S1Dss = { terminate: 0, bypass: 1, substream0: 2 } as const;

/** STE.STRW: exception level of the stream. The odd values are illegal. */
export const Strw = { el1: 0, el2: 2 } as const;
