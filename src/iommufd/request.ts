import {
  readFields,
  writeFields,
  type ByteFields,
  type ByteLayout,
  type ByteValue,
  type ByteValues,
} from '../memory/byte-layout.js';
import type { Halves } from '../memory/u64.js';

/** A request of the kernel's iommufd or VFIO: its number, and the structure that goes with it. */
export interface IommufdRequest<L extends ByteLayout = ByteLayout> {
  /** Name in `linux/iommufd.h` or `linux/vfio.h`. */
  readonly name: string;
  /** The ioctl number. */
  readonly number: number;
  /** Bytes of the structure: what its `size` or `argsz` field says. */
  readonly byteLength: number;
  /** Fields of the structure; the first is `size` in iommufd, `argsz` in VFIO. */
  readonly layout: L;
  /** Fields of 4 bytes that are signed: file descriptors. Default: none. */
  readonly signed?: readonly string[];
}

/**
 * Fields that a request is made with: all but the one that says how long the structure is (an `argsz`
 * that is given does not count).
 */
export type RequestValues<L extends ByteLayout> = ByteValues<Omit<L, 'size'>>;

/**
 * The structure of `request` as bytes, its `size` or `argsz` filled in and fields without a value 0.
 * @param into where to write it, at least {@link IommufdRequest.byteLength} bytes; a new array by
 * default.
 * @returns `into`.
 * @throws RangeError when a value does not fit its field.
 */
export function encodeRequest<L extends ByteLayout>(
  request: IommufdRequest<L>,
  values: RequestValues<L>,
  into: Uint8Array = new Uint8Array(request.byteLength),
): Uint8Array {
  const { byteLength, signed } = request;
  // What the layout does not name is not written.
  const all = { ...values, size: byteLength, argsz: byteLength } as Record<string, ByteValue>;
  for (const name of signed ?? []) {
    const value = all[name];
    if (typeof value === 'number') all[name] = unsigned(name, value);
  }
  writeFields(into, 0, request.layout, all as ByteValues<L>);
  return into;
}

/**
 * The fields of a structure of `request`: what was asked, or what the kernel answered.
 * @throws RangeError when `bytes` are fewer than the structure has.
 */
export function decodeRequest<L extends ByteLayout>(
  request: IommufdRequest<L>,
  bytes: Uint8Array,
): ByteFields<L> {
  if (bytes.length < request.byteLength) {
    throw new RangeError(
      `bytes has ${bytes.length} bytes: ${request.name} has ${request.byteLength}`,
    );
  }
  const fields = readFields(bytes, 0, request.layout);
  if (request.signed === undefined) return fields;
  const all: Record<string, number | Readonly<Halves>> = { ...fields };
  for (const name of request.signed) all[name] = Number(all[name]) | 0;
  return all as ByteFields<L>;
}

function unsigned(name: string, value: number): number {
  if (Number.isInteger(value) && value === (value | 0)) return value >>> 0;
  throw new RangeError(`${name} is ${value}: it must be an integer from -2^31 to 2^31-1`);
}
