import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyOf, rowOf } from '../../src/tlb/keys.js';
import { halvesOf, leaves, spanLog2Of, spanOf, tagged } from './tlb-model.js';

const slot = fc.integer({ min: 1, max: 4096 });

function key(slotNumber: number, address: bigint, spanLog2: number): number {
  const { high, low } = halvesOf(address);
  return keyOf(slotNumber, high, low, spanLog2);
}

describe('the key of a span', () => {
  test('is the same for all of its addresses, tagged ones too, and has 30 bits', () => {
    fc.assert(
      fc.property(leaves, slot, fc.bigInt(0n, (1n << 42n) - 1n), fc.nat(255), (leaf, s, f, tag) => {
        const span = spanLog2Of(leaf);
        const own = key(s, leaf.first, span);
        const address = leaf.first + ((f * spanOf(leaf)) >> 42n);
        expect(key(s, address, span)).toBe(own);
        expect(key(s, tagged(address, tag), span)).toBe(own);
        expect(own >= 0 && own < 2 ** 30).toBe(true);
      }),
    );
  });

  test('is the span number, for pages below 4 GiB in the first 1024 slots: no two are equal', () => {
    const seen = new Set<number>();
    const slots = [1, 2, 3, 511, 512, 1023];
    for (const s of slots) {
      for (let page = 0n; page < 1n << 20n; page += 61n) seen.add(key(s, page << 12n, 12));
    }
    expect(seen.size).toBe(slots.length * Math.ceil(2 ** 20 / 61));
  });

  test.each([
    ['another span', key(1, 0n, 12), key(1, 0n, 16)],
    ['another slot', key(1, 0n, 12), key(2, 0n, 12)],
    ['another slot beyond 1024', key(1, 0n, 12), key(1025, 0n, 12)],
    ['another half', key(1, 0n, 12), key(1, 0xffff_8000_0000_0000n, 12)],
    ['another 4 GiB', key(1, 0n, 12), key(1, 1n << 32n, 12)],
    ['another span of 8 GiB', key(1, 0n, 33), key(1, 1n << 33n, 33)],
  ])('is another one for %s', (_, one, other) => {
    expect(one).not.toBe(other);
  });
});

describe('the row of a page', () => {
  test('neighbouring pages have neighbouring rows: no two of 1024 meet', () => {
    for (const first of [0n, 0x1234_5000n << 10n, 0xffff_8000_0000_0000n]) {
      const rows = new Set<number>();
      for (let page = 0n; page < 1024n; page++) {
        const { high, low } = halvesOf(first + (page << 12n));
        rows.add(rowOf(3, high, low) & 1023);
      }
      expect(rows.size).toBe(1024);
    }
  });

  test('pages 4 GiB apart, and those of other slots, are spread', () => {
    const rows = new Set<number>();
    for (let i = 1; i <= 1024; i++) rows.add(rowOf(3, i, 0x1000) & 0xffff);
    expect(rows.size).toBeGreaterThan(900);
    rows.clear();
    for (let i = 1; i <= 1024; i++) rows.add(rowOf(i, 0, 0x1000) & 0xffff);
    expect(rows.size).toBeGreaterThan(900);
  });

  test('is the same for all addresses of a page', () => {
    expect(rowOf(3, 7, 0x1234_5fff)).toBe(rowOf(3, 7, 0x1234_5000));
    expect(rowOf(3, 7, 0x8234_5fff | 0)).toBe(rowOf(3, 7, 0x8234_5000));
  });
});
