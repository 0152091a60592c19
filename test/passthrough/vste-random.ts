import fc from 'fast-check';

/** 64 bits, sparse or dense. */
const word = fc.oneof(
  fc.constant(0n),
  fc.constant((1n << 64n) - 1n),
  fc.bigInt(0n, (1n << 64n) - 1n),
  fc.integer({ min: 0, max: 63 }).map((bit) => 1n << BigInt(bit)),
);

/** A value of `bits` bits, small ones and all ones more often than others. */
function value(bits: number): fc.Arbitrary<bigint> {
  const most = (1n << BigInt(bits)) - 1n;
  return fc.oneof(fc.constant(0n), fc.constant(1n), fc.constant(most), fc.bigInt(0n, most));
}

const config = fc.constantFrom(
  0b101n,
  0b101n,
  0b101n,
  0b101n,
  0b100n,
  0b000n,
  0b011n,
  0b110n,
  0b111n,
);
const pointer = fc.oneof(
  value(26).map((page) => page << 12n),
  value(50).map((unit) => unit << 6n),
  fc.constantFrom(...[32n, 40n, 44n, 48n, 51n, 52n, 55n].map((bit) => 1n << bit)),
);

/** STEs of 8 words of 64 bits: fields that matter drawn by themselves, noise or nothing in the others. */
export const randomStes: fc.Arbitrary<bigint[]> = fc
  .record({
    valid: fc.constantFrom(1n, 1n, 1n, 1n, 1n, 0n),
    config,
    format: value(2),
    pointer,
    cdMax: fc.oneof(fc.constant(0n), value(5), fc.bigInt(0n, 20n)),
    low: value(8),
    stalld: fc.constantFrom(0n, 0n, 0n, 1n),
    eats: fc.constantFrom(0n, 0n, 1n, 1n, 2n, 3n),
    noise: fc.array(fc.oneof(fc.constant(0n), word), { minLength: 8, maxLength: 8 }),
  })
  .map(({ valid, config: c, format, pointer: p, cdMax, low, stalld, eats, noise }) => [
    valid | (c << 1n) | (format << 4n) | p | (cdMax << 59n) | (noise[0]! & (0x7n << 56n)),
    low | (stalld << 27n) | (eats << 28n) | (noise[1]! & 0xffff_ffff_c7ff_ff00n),
    ...noise.slice(2),
  ]);
