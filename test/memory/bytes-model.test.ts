/** Words and bytes, loaded and stored in any order, against a map from address to byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { byteAt, DRIVERS, RANGES } from './drivers.js';

/** Bytes that were written, by address. All others are what they were made as. */
type Model = Map<number, number>;
type Kind = 'loadBytes' | 'storeBytes' | 'load' | 'store';

interface Access {
  kind: Kind;
  address: number;
  at: number;
  count: number;
  /** What the array is filled from. */
  value: number;
}

/** Addresses crowd around the edges of ranges, of a page and of the 4 GiB window. */
const address = fc
  .tuple(
    fc.constantFrom(
      ...RANGES.flatMap(({ base, byteLength }) => [base, base + byteLength]),
      ...[0x4000_1000, 0x1_0000_0000],
    ),
    fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -4200, max: 4200 })),
  )
  .map(([edge, offset]) => edge + offset);

/** An access in bytes. One of words is for the words that begin at multiples of 4 below. */
const access: fc.Arbitrary<Access> = fc
  .record({
    kind: fc.constantFrom<Kind>('loadBytes', 'storeBytes', 'load', 'store'),
    address,
    at: fc.nat(9),
    count: fc.oneof(
      fc.constantFrom(0, 1, 2, 4, 8),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 4096 }),
    ),
    value: fc.nat(255),
  })
  .map((bytes) => {
    if (bytes.kind === 'loadBytes' || bytes.kind === 'storeBytes') return bytes;
    const { address, at, count } = bytes;
    return {
      ...bytes,
      address: address - (address % 4),
      at: at - (at % 4),
      count: Math.max(count - (count % 4), 4),
    };
  });

/** The bytes from `first`, or `false` if one of them is a hole. */
function bytesOf(written: Model, first: number, count: number): Uint8Array | false {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const address = first + i;
    if (!RANGES.some(({ base, byteLength }) => address >= base && address < base + byteLength)) {
      return false;
    }
    bytes[i] = written.get(address) ?? byteAt(address);
  }
  return bytes;
}

/** Lets the memory do the access on `bytes`; words are little-endian, whatever the host is. */
function run(memory: GuestMemory, access: Access, bytes: Uint8Array): boolean {
  const { kind, address, at, count } = access;
  if (kind === 'loadBytes') return memory.loadBytes(address, bytes, at, count);
  if (kind === 'storeBytes') return memory.storeBytes(address, bytes, at, count);
  const view = new DataView(bytes.buffer);
  const words = Uint32Array.from({ length: bytes.length >> 2 }, (_, i) =>
    view.getUint32(4 * i, true),
  );
  if (kind === 'store') return memory.store(address, words, at / 4, count / 4);
  const backed = memory.load(address, words, at / 4, count / 4);
  words.forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
  return backed;
}

/** Does the access to both, which have to agree. */
function step(memory: GuestMemory, model: Model, access: Access): void {
  const { kind, address, at, count, value } = access;
  const given = new Uint8Array(at + count + 4).map((_, i) => value + 7 * i);
  const bytes = given.slice();
  const held = bytesOf(model, address, count);
  expect(run(memory, access, bytes)).toBe(held !== false);
  if (held === false) return;
  if (kind === 'store' || kind === 'storeBytes') {
    for (let i = 0; i < count; i++) model.set(address + i, given[at + i]!);
  } else given.set(held, at);
  expect(Buffer.compare(bytes, given)).toBe(0);
}

describe.each(DRIVERS)('$name', ({ make }) => {
  test('holds what a map from address to byte holds, and aborts where that has a hole', () => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 30 }), (accesses) => {
        const memory = make();
        const model: Model = new Map();
        for (const access of accesses) step(memory, model, access);
        for (const { base, byteLength } of RANGES) {
          const bytes = new Uint8Array(byteLength);
          expect(memory.loadBytes(base, bytes, 0, byteLength)).toBe(true);
          expect(Buffer.compare(bytes, bytesOf(model, base, byteLength) as Uint8Array)).toBe(0);
        }
      }),
      { numRuns: 100 },
    );
  });
});
