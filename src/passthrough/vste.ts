import { get, low, high } from '../arch/field.js';
import { S1Dss, S1Fmt, Ste, SteConfig } from '../arch/ste.js';
import type { Features } from '../registers/features.js';

/** What a device's DMA meets. */
export const Disposition = {
  /** Every access aborts. */
  abort: 0,
  /** Addresses are guest-physical. */
  bypass: 1,
  /** Stage 1 of the guest: a nested HWPT made from its STE. */
  nested: 2,
} as const;

/** Words of a vSTE: the first 128 bits of an STE. */
export const VSTE_WORDS = 4;
/** The vSTE of {@link Disposition.abort}: V, Config=0. */
export const ABORT_VSTE = Uint32Array.of(0x1, 0, 0, 0);
/** The vSTE of {@link Disposition.bypass}: V, Config=4. */
export const BYPASS_VSTE = Uint32Array.of(0x9, 0, 0, 0);

/** S1CIR and S1COR: how CDs are cached. */
const CACHEABILITY = 0x3c;
/** S1ContextPtr[51:32], in the second word. */
const POINTER_HIGH = 0x000f_ffff;

/**
 * The disposition that a valid and legal STE gives a device, and for a nested one its canonical vSTE: no
 * more than the bits that the kernel accepts and the vSMMU advertises, and those that mean nothing 0, so
 * that STEs which mean the same are equal (IHI 0070, section 5.2).
 * @param into takes the vSTE, {@link VSTE_WORDS} words, of {@link Disposition.nested}.
 * @returns a {@link Disposition}.
 */
export function dispositionOf(ste: Uint32Array, features: Features, into: Uint32Array): number {
  const config = get(ste, 0, Ste.Config);
  if (config === SteConfig.bypass) return Disposition.bypass;
  if (config !== SteConfig.s1) return Disposition.abort;
  const cdMax = features.SSIDSIZE === 0 ? 0 : get(ste, 0, Ste.S1CDMax);
  const format = cdMax === 0 ? S1Fmt.linear : get(ste, 0, Ste.S1Fmt) % 3;
  const withoutSubstream = cdMax === 0 ? S1Dss.terminate : get(ste, 0, Ste.S1DSS) % 3;
  const stalls = features.STALL_MODEL === 0 ? get(ste, 0, Ste.S1STALLD) : 0;
  const ats = features.ATS === 1 && get(ste, 0, Ste.EATS) === 1 ? 1 : 0;
  const pointerHigh = high(ste, 0, Ste.S1ContextPtr) % 2 ** (features.OAS - 32);
  into[0] = 1 | (SteConfig.s1 << 1) | (format << 4) | low(ste, 0, Ste.S1ContextPtr);
  into[1] = (pointerHigh & POINTER_HIGH) | (cdMax << 27);
  // 1 is reserved, and behaves as 0: non-shareable.
  const shared = get(ste, 0, Ste.S1CSH) === 1 ? 0 : get(ste, 0, Ste.S1CSH);
  into[2] =
    withoutSubstream | (ste[2]! & CACHEABILITY) | (shared << 6) | (stalls << 27) | (ats << 28);
  into[3] = 0;
  return Disposition.nested;
}

/** Whether a vSTE of {@link Disposition.nested} lets the device use ATS (EATS=1). */
export function usesAts(vste: Uint32Array): boolean {
  return ((vste[2]! >>> 28) & 3) === 1;
}
