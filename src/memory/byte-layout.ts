import { hex } from './hex.js';
import type { Halves } from './u64.js';

/**
 * How the structures of the host's interfaces are written down: kernel requests and protocol messages
 * whose fields are whole little-endian bytes.
 */

/** Where a value lies in a structure: its first byte, and how many bytes it has. */
export type ByteField = readonly [offset: number, bytes: 1 | 2 | 4 | 8];

/** The named fields of one structure, in the spelling of its header or specification. */
export type ByteLayout = Readonly<Record<string, ByteField>>;

/** A value to write: a number from 0 to 2^64 that a double holds exactly, or the halves of it. */
export type ByteValue = number | Readonly<Halves>;

/** Values by field name; a field that is left out is written as 0. */
export type ByteValues<L extends ByteLayout> = { readonly [Name in keyof L]?: ByteValue };

/** What was read, by field name: halves for fields of 8 bytes, numbers for the others. */
export type ByteFields<L extends ByteLayout> = {
  readonly [Name in keyof L]: L[Name] extends readonly [number, 8] ? Halves : number;
};

/**
 * Writes every field of the structure that begins at byte `at` of `into`; bytes between them are left
 * alone.
 * @throws RangeError when a value is not an integer that fits its field.
 */
export function writeFields<L extends ByteLayout>(
  into: Uint8Array,
  at: number,
  layout: L,
  values: ByteValues<L>,
): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  for (const name in layout) {
    const [offset, bytes] = layout[name]!;
    const value: ByteValue = values[name] ?? 0;
    if (typeof value === 'number') checkFits(name, value, bytes);
    const low = typeof value === 'number' ? value >>> 0 : value.low;
    const high = typeof value === 'number' ? Math.floor(value / 0x1_0000_0000) : value.high;
    if (bytes === 1) view.setUint8(at + offset, low);
    else if (bytes === 2) view.setUint16(at + offset, low, true);
    else view.setUint32(at + offset, low, true);
    if (bytes === 8) view.setUint32(at + offset + 4, high, true);
  }
}

/**
 * Reads every field of the structure that begins at byte `at` of `from`.
 * @throws RangeError when `from` ends before a field does.
 */
export function readFields<L extends ByteLayout>(
  from: Uint8Array,
  at: number,
  layout: L,
): ByteFields<L> {
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
  const read: Record<string, number | Halves> = {};
  for (const name in layout) {
    const [offset, bytes] = layout[name]!;
    if (bytes === 1) read[name] = view.getUint8(at + offset);
    else if (bytes === 2) read[name] = view.getUint16(at + offset, true);
    else if (bytes === 4) read[name] = view.getUint32(at + offset, true);
    else {
      read[name] = {
        high: view.getUint32(at + offset + 4, true),
        low: view.getUint32(at + offset, true),
      };
    }
  }
  return read as ByteFields<L>;
}

function checkFits(name: string, value: number, bytes: number): void {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** (8 * bytes)) return;
  throw new RangeError(
    `${name} is ${hex(value)}: it must be an integer that fits ${bytes} bytes, not negative`,
  );
}
