// Bit field helpers. Positions are written as in the architecture: [high:low], inclusive.

/** value[high:low] of a 64-bit value. */
export function field64(value: bigint, high: number, low: number): bigint {
  return (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
}

/** value[high:low] of a 64-bit value, for fields narrow enough to be a number. */
export function field(value: bigint, high: number, low: number): number {
  return Number(field64(value, high, low));
}

/** value[position] of a 64-bit value. */
export function flag(value: bigint, position: number): boolean {
  return ((value >> BigInt(position)) & 1n) === 1n;
}

/** value[high:low] of a 32-bit register. */
export function regField(value: number, high: number, low: number): number {
  return Number((BigInt(value >>> 0) >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
}

/** value[position] of a 32-bit register. */
export function regFlag(value: number, position: number): boolean {
  return regField(value, position, position) === 1;
}

/** The bits [high:low] of `value` kept in place, everything else 0. */
export function keepBits(value: bigint, high: number, low: number): bigint {
  return field64(value, high, low) << BigInt(low);
}

/** `value` with its low `count` bits 0. */
export function alignDown(value: bigint, count: number): bigint {
  return (value >> BigInt(count)) << BigInt(count);
}

/** Whether `address` needs more than `size` bits. */
export function exceeds(address: bigint, size: number): boolean {
  return address >= 1n << BigInt(size);
}

/** Byte order of a 64-bit value reversed. */
export function swap64(value: bigint): bigint {
  let result = 0n;
  for (let byte = 0; byte < 8; byte++) {
    result = (result << 8n) | field64(value, 8 * byte + 7, 8 * byte);
  }
  return result;
}
