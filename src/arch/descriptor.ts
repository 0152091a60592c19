import { address, bit, bits } from './field.js';

/** What all VMSAv8-64 descriptors have in common (DDI 0487, section D8.3). */
export const Descriptor = {
  /** 0: the descriptor is invalid. */
  Valid: bit(0),
  /** Above level 3: 1 table, 0 block. At level 3: 1 page, 0 reserved. */
  Table: bit(1),
} as const;

/** Stage-1 table descriptor, 8 bytes (DDI 0487, section D8.3). */
export const TableDescriptor = {
  /** Next-level table; with 16K and 64K granules the low bits are ignored. */
  NLTA: address(47, 12),
  /** 52-bit addresses with 4K and 16K granules (DS). */
  'NLTA[51:50]': bits(9, 8),
  /** 52-bit addresses with the 64K granule. */
  'NLTA[51:48]': bits(15, 12),
  /** 52-bit addresses with 4K and 16K granules (DS). */
  'NLTA[49:48]': bits(49, 48),
  AF: bit(10),
  PXNTable: bit(59),
  XNTable: bit(60),
  /** Bit 0: no unprivileged access below. Bit 1: no write below. */
  APTable: bits(62, 61),
  NSTable: bit(63),
} as const;

/** Stage-1 page or block descriptor, 8 bytes (DDI 0487, section D8.3). */
export const LeafDescriptor = {
  /** Selects a byte of MAIR. */
  AttrIndx: bits(4, 2),
  NS: bit(5),
  /** AP[2:1]. Bit 0 (AP[1]): unprivileged access. Bit 1 (AP[2]): read-only. */
  AP: bits(7, 6),
  SH: bits(9, 8),
  /** Instead of SH with 4K and 16K granules and DS. */
  'OA[51:50]': bits(9, 8),
  /** Access flag. */
  AF: bit(10),
  /** 1: cached under the ASID; 0: global. */
  nG: bit(11),
  /** Output address; with larger granules and blocks the low bits are not part of it. */
  OA: address(47, 12),
  /** 52-bit addresses with the 64K granule. */
  'OA[51:48]': bits(15, 12),
  nT: bit(16),
  /** 52-bit addresses with 4K and 16K granules (DS). */
  'OA[49:48]': bits(49, 48),
  GP: bit(50),
  /** Dirty bit modifier: with HD, AP[2] says clean instead of read-only. */
  DBM: bit(51),
  Contiguous: bit(52),
  PXN: bit(53),
  UXN: bit(54),
} as const;

/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 8;
