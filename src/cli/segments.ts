import type { Capture } from '../fixtures/capture.js';
import type { Translator } from '../transaction/translator.js';
import { Outcome, Translation } from '../transaction/translation.js';
import type { Halves } from '../memory/u64.js';

/** Bytes that lie behind each other on both sides of a translation. */
export interface Segment {
  readonly iova: Halves;
  /** Physical address of the first byte. */
  address: number;
  /** Bytes. */
  length: number;
  /** Leaves that the bytes lie in; 0 when the stream bypasses. */
  leaves: number;
  /** The answer for the first byte. */
  readonly result: Readonly<Translation>;
}

/** An access of a device. */
export interface DeviceAccess {
  readonly streamId: number;
  readonly substreamId: number;
  readonly iova: Halves;
  /** Access bits. */
  readonly access: number;
  /** Bytes. */
  readonly length: number;
}

/**
 * Translates an access leaf by leaf; leaves that continue each other physically are one segment.
 * @returns the fault that ended it, with the bytes before it.
 */
export function* segmentsOf(
  translator: Translator,
  capture: Capture,
  access: DeviceAccess,
): Generator<Segment, { fault: Translation; done: number } | undefined> {
  const { streamId, substreamId, length } = access;
  const at: Halves = { ...access.iova };
  let open: Segment | undefined;
  for (let done = 0; done < length;) {
    const result = new Translation();
    const outcome = translator.translate(
      streamId,
      substreamId,
      at.high,
      at.low,
      access.access,
      result,
    );
    if (outcome !== Outcome.translated) {
      if (open !== undefined) yield open;
      return { fault: result, done };
    }
    const address = result.outputAddress;
    const end = result.bypassed ? 2 ** capture.features.OAS : leafEnd(address, result.leafLog2);
    const bytes = Math.min(length - done, end - address);
    if (open !== undefined && address === open.address + open.length) {
      open.length += bytes;
      open.leaves++;
    } else {
      if (open !== undefined) yield open;
      const leaves = result.bypassed ? 0 : 1;
      open = { iova: { ...at }, address, length: bytes, leaves, result };
    }
    done += bytes;
    advance(at, bytes);
  }
  if (open !== undefined) yield open;
  return undefined;
}

/** Whether the bytes from `iova` on go beyond 2^64. */
export function wraps(iova: Halves, length: number): boolean {
  const last = iova.low + ((length - 1) % 0x1_0000_0000);
  const carry = last >= 0x1_0000_0000 ? 1 : 0;
  return iova.high + Math.floor((length - 1) / 0x1_0000_0000) + carry > 0xffff_ffff;
}

/** `iova` plus `bytes`, modulo 2^64. */
export function advance(iova: Halves, bytes: number): void {
  const sum = iova.low + (bytes % 0x1_0000_0000);
  const carry = sum >= 0x1_0000_0000 ? 1 : 0;
  iova.high = (iova.high + Math.floor(bytes / 0x1_0000_0000) + carry) >>> 0;
  iova.low = sum >>> 0;
}

function leafEnd(address: number, leafLog2: number): number {
  const size = 2 ** leafLog2;
  return address - (address % size) + size;
}
