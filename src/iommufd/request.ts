import {
  readFields,
  writeFields,
  type ByteFields,
  type ByteLayout,
  type ByteValues,
} from '../memory/byte-layout.js';

/** A request of the kernel's iommufd: its number, and the structure that goes with it. */
export interface IommufdRequest<L extends ByteLayout = ByteLayout> {
  /** Name in `linux/iommufd.h`. */
  readonly name: string;
  /** The ioctl number. */
  readonly number: number;
  /** Bytes of the structure: what its `size` field says. */
  readonly byteLength: number;
  /** Fields of the structure; the first is `size`. */
  readonly layout: L;
}

/**
 * The structure of `request` as bytes, its `size` filled in and fields without a value 0.
 * @param into where to write it, at least {@link IommufdRequest.byteLength} bytes; a new array by
 * default.
 * @returns `into`.
 * @throws RangeError when a value does not fit its field.
 */
export function encodeRequest<L extends ByteLayout>(
  request: IommufdRequest<L>,
  values: ByteValues<Omit<L, 'size'>>,
  into: Uint8Array = new Uint8Array(request.byteLength),
): Uint8Array {
  const all: ByteValues<ByteLayout> = { ...values, size: request.byteLength };
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
  return readFields(bytes, 0, request.layout);
}
