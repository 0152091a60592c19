/**
 * How the architecture's layouts are written down: a field is the pair of bit positions that Arm's
 * tables print, counted from bit 0 of the whole structure, packed into one small integer.
 * Structures are arrays of little-endian 32-bit words.
 */

declare const fieldKind: unique symbol;

/** A field that lies in one 32-bit word. Made by {@link bits} and {@link bit}. */
export type Field = number & { readonly [fieldKind]: 'field' };

/**
 * A field of one 64-bit word whose bits keep their place: an address, or a full 64-bit value.
 * Made by {@link address}.
 */
export type AddressField = number & { readonly [fieldKind]: 'address' };

/** The named fields of one structure, in the manual's spelling. */
export type Layout = Readonly<Record<string, Field | AddressField>>;

/** Marks the packed form of an {@link AddressField}; fields of up to 2^20 bits fit below it. */
const ADDRESS = 1 << 30;

/**
 * The field at bits `[msb:lsb]`, counted from bit 0 of the structure.
 * @throws RangeError when the bits do not lie in one 32-bit word.
 */
export function bits(msb: number, lsb: number): Field {
  if (lsb < 0 || msb < lsb || msb >> 5 !== lsb >> 5) {
    throw new RangeError(`bits [${msb}:${lsb}] do not lie in one 32-bit word`);
  }
  return (((lsb >> 5) << 10) | ((lsb & 31) << 5) | (msb - lsb)) as Field;
}

/** The one-bit field at bit `position`, counted from bit 0 of the structure. */
export function bit(position: number): Field {
  return bits(position, position);
}

/**
 * The address (or 64-bit value) at bits `[msb:lsb]`, counted from bit 0 of the structure. Its value
 * is the 64-bit word with every other bit cleared: address bits are not shifted down.
 * @throws RangeError when the bits do not lie in one 64-bit word.
 */
export function address(msb: number, lsb: number): AddressField {
  if (lsb < 0 || msb < lsb || msb >> 6 !== lsb >> 6) {
    throw new RangeError(`bits [${msb}:${lsb}] do not lie in one 64-bit word`);
  }
  return (ADDRESS | ((lsb >> 6) << 12) | ((msb & 63) << 6) | (lsb & 63)) as AddressField;
}

/** Whether `field` was made by {@link address}. */
export function isAddress(field: Field | AddressField): field is AddressField {
  return (field & ADDRESS) !== 0;
}

/** Highest bit of `field`, counted from bit 0 of the structure. */
export function msbOf(field: Field | AddressField): number {
  if (isAddress(field)) return ((field & ~ADDRESS) >> 12) * 64 + ((field >> 6) & 63);
  return lsbOf(field) + (field & 31);
}

/** Lowest bit of `field`, counted from bit 0 of the structure. */
export function lsbOf(field: Field | AddressField): number {
  if (isAddress(field)) return ((field & ~ADDRESS) >> 12) * 64 + (field & 63);
  return (field >> 10) * 32 + ((field >> 5) & 31);
}

/** Value of `field` in the structure whose first word is `words[at]`, shifted down to bit 0. */
export function get(words: Uint32Array, at: number, field: Field): number {
  return (
    ((words[at + (field >> 10)]! >>> ((field >> 5) & 31)) &
      (0xffff_ffff >>> (31 - (field & 31)))) >>>
    0
  );
}

/**
 * Writes `value` into `field` of the structure whose first word is `words[at]`; bits of `value`
 * above the field are dropped.
 */
export function set(words: Uint32Array, at: number, field: Field, value: number): void {
  const index = at + (field >> 10);
  const shift = (field >> 5) & 31;
  const mask = (0xffff_ffff >>> (31 - (field & 31))) << shift;
  words[index] = (words[index]! & ~mask) | ((value << shift) & mask);
}

/** Bits 31:0 of the value of an address field, the bits outside the field cleared. */
export function low(words: Uint32Array, at: number, field: AddressField): number {
  return (words[at + 2 * ((field & ~ADDRESS) >> 12)]! & lowMask(field)) >>> 0;
}

/** Bits 63:32 of the value of an address field, the bits outside the field cleared. */
export function high(words: Uint32Array, at: number, field: AddressField): number {
  return (words[at + 2 * ((field & ~ADDRESS) >> 12) + 1]! & highMask(field)) >>> 0;
}

/** An address in bytes, exact up to bit 52 (and beyond, when its low bits are not part of the field). */
export function getAddress(words: Uint32Array, at: number, field: AddressField): number {
  return high(words, at, field) * 0x1_0000_0000 + low(words, at, field);
}

/**
 * An address in bytes, aligned down to `alignment`: a power of two of 2^31 bytes at most.
 */
export function getAligned(
  words: Uint32Array,
  at: number,
  field: AddressField,
  alignment: number,
): number {
  const aligned = (low(words, at, field) & -alignment) >>> 0;
  return high(words, at, field) * 0x1_0000_0000 + aligned;
}

/** Whether the address in `field` has more than `addressBits` bits (32 to 63). */
export function exceeds(
  words: Uint32Array,
  at: number,
  field: AddressField,
  addressBits: number,
): boolean {
  return high(words, at, field) >>> (addressBits - 32) !== 0;
}

/** Writes the 64-bit value `highWord:lowWord` into an address field; bits outside the field are dropped. */
export function setAddress(
  words: Uint32Array,
  at: number,
  field: AddressField,
  highWord: number,
  lowWord: number,
): void {
  const index = at + 2 * ((field & ~ADDRESS) >> 12);
  const lowBits = lowMask(field);
  const highBits = highMask(field);
  words[index] = (words[index]! & ~lowBits) | (lowWord & lowBits);
  words[index + 1] = (words[index + 1]! & ~highBits) | (highWord & highBits);
}

function lowMask(field: AddressField): number {
  const msb = (field >> 6) & 63;
  const lsb = field & 63;
  if (lsb >= 32) return 0;
  return ((0xffff_ffff << lsb) & (msb >= 31 ? 0xffff_ffff : 0xffff_ffff >>> (31 - msb))) >>> 0;
}

function highMask(field: AddressField): number {
  const msb = (field >> 6) & 63;
  const lsb = field & 63;
  if (msb < 32) return 0;
  return (
    ((0xffff_ffff >>> (63 - msb)) & (lsb <= 32 ? 0xffff_ffff : 0xffff_ffff << (lsb - 32))) >>> 0
  );
}
