// Geometry of a VMSAv8-64 stage 1 walk and meaning of one descriptor: DDI 0487 D8 (D8.2, D8.3),
// with the limits of IHI 0070, section 3.4.

import { alignDown, exceeds, field, flag, keepBits } from './bits.js';
import type { Cd, Half } from './context.js';
import { effectiveDs } from './context.js';
import type { Ids } from './ids.js';
import { effectiveIps } from './ids.js';

/** What a walk of one half needs to know. The half is enabled and legal. */
export interface Regime {
  /** Page shift: 12, 14 or 16. */
  granuleLog2: number;
  /** Index bits per level: 9, 11 or 13. */
  stride: number;
  /** Input address bits n = 64-TxSZ. */
  inputSize: number;
  startLevel: number;
  /** IDR5.DS and CD.DS and a 4K or 16K granule. */
  ds: boolean;
  /** OAS is 52 bits: 64K descriptors have OA[51:48]. */
  oas52: boolean;
  /** min(CD.IPS, OAS) in bits. */
  ips: number;
  /** Hierarchical permissions are off. */
  had: boolean;
  /** The start table, aligned. */
  base: bigint;
}

/** log2 of the bytes one entry of this level maps. */
export function levelShift(regime: Regime, level: number): number {
  return regime.granuleLog2 + regime.stride * (3 - level);
}

/** start = 4 - ceil((n-p)/b). */
function startLevelOf(inputSize: number, granuleLog2: number, stride: number): number {
  return 4 - Math.ceil((inputSize - granuleLog2) / stride);
}

/** Start table: 8 bytes an entry, aligned to its size, and to 64 bytes for 52-bit output. */
function alignBase(ttb: bigint, entriesLog2: number, ips: number): bigint {
  const sizeLog2 = entriesLog2 + 3;
  return alignDown(ttb, ips === 52 ? Math.max(6, sizeLog2) : sizeLog2);
}

export function regimeOf(cd: Cd, half: Half, ids: Ids): Regime {
  const granuleLog2 = half.granuleLog2;
  if (granuleLog2 === null) throw new RangeError('a legal CD has no reserved granule');
  const stride = granuleLog2 - 3;
  const inputSize = 64 - half.txsz;
  const startLevel = startLevelOf(inputSize, granuleLog2, stride);
  const ips = effectiveIps(ids, cd.ips);
  const startShift = granuleLog2 + stride * (3 - startLevel);
  return {
    granuleLog2,
    stride,
    inputSize,
    startLevel,
    ds: effectiveDs(cd, ids, granuleLog2),
    oas52: ids.oas === 52,
    ips,
    had: half.had && ids.had,
    base: alignBase(half.ttb, inputSize - startShift, ips),
  };
}

/** Number of index bits of a level: the start level has what is left of the input address. */
export function indexBits(regime: Regime, level: number): number {
  if (level !== regime.startLevel) return regime.stride;
  return regime.inputSize - levelShift(regime, level);
}

/** Whether a Block is possible at this level. */
function blockAllowed(regime: Regime, level: number): boolean {
  if (level === 2) return true; // 2 MB, 32 MB, 512 MB
  if (regime.granuleLog2 === 12 && level === 1) return true; // 1 GB
  if (regime.granuleLog2 === 12 && level === 0) return regime.ds; // 512 GB
  if (regime.granuleLog2 === 14 && level === 1) return regime.ds; // 64 GB
  if (regime.granuleLog2 === 16 && level === 1) return regime.oas52; // 4 TB
  return false;
}

export type DescriptorKind = 'invalid' | 'table' | 'leaf';

export function kindOf(regime: Regime, level: number, descriptor: bigint): DescriptorKind {
  const type = field(descriptor, 1, 0);
  if ((type & 0b01) === 0) return 'invalid';
  if (level === 3) return type === 0b11 ? 'leaf' : 'invalid'; // page, or reserved
  if (type === 0b11) return 'table';
  return blockAllowed(regime, level) ? 'leaf' : 'invalid';
}

/**
 * The address in a descriptor: next-level table (low = page shift) or output address
 * (low = shift of the level). null: the descriptor holds an address that cannot be represented.
 */
function addressIn(regime: Regime, descriptor: bigint, low: number): bigint | null {
  if (regime.granuleLog2 === 16) {
    const high = field(descriptor, 15, 12);
    if (regime.oas52) return keepBits(descriptor, 47, low) | (BigInt(high) << 48n);
    return high === 0 ? keepBits(descriptor, 47, low) : null;
  }
  if (regime.ds) {
    return keepBits(descriptor, 49, low) | (BigInt(field(descriptor, 9, 8)) << 50n);
  }
  return keepBits(descriptor, 47, low);
}

/** The next table, or null for an Address Size fault. */
export function nextTable(regime: Regime, descriptor: bigint): bigint | null {
  const address = addressIn(regime, descriptor, regime.granuleLog2);
  return address === null || exceeds(address, regime.ips) ? null : address;
}

/** The output address of a Block or Page, or null for an Address Size fault. */
export function outputBase(regime: Regime, level: number, descriptor: bigint): bigint | null {
  const address = addressIn(regime, descriptor, levelShift(regime, level));
  return address === null || exceeds(address, regime.ips) ? null : address;
}

/** Contiguous [52]; RES0 in 4K level 0, 16K level 1 and 64K level 1 Blocks. */
export function contiguousBit(regime: Regime, level: number, descriptor: bigint): boolean {
  const reserved = level <= (regime.granuleLog2 === 12 ? 0 : 1);
  return !reserved && flag(descriptor, 52);
}
