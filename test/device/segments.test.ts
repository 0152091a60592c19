import { describe, expect, test } from 'vitest';
import { Segments } from '../../src/device/segments.js';

function listOf(segments: Segments): number[][] {
  return Array.from({ length: segments.count }, (_, i) => [
    segments.addresses[i]!,
    segments.lengths[i]!,
  ]);
}

describe('Segments', () => {
  test('is empty at first', () => {
    expect(listOf(new Segments())).toEqual([]);
  });

  test('joins a piece that continues the last one', () => {
    const segments = new Segments();
    segments.add(0x1000, 0x800);
    segments.add(0x1800, 0x10);
    segments.add(0x1810, 1);
    expect(listOf(segments)).toEqual([[0x1000, 0x811]]);
  });

  test('keeps apart what overlaps, leaves a gap, goes backwards, or continues an earlier one', () => {
    const segments = new Segments();
    const pieces = [
      [0x1000, 0x1000],
      [0x1fff, 1],
      [0x2001, 0xfff],
      [0x1000, 0x1000],
      [0x0000, 0x1000],
    ];
    for (const [address, length] of pieces) segments.add(address!, length!);
    expect(listOf(segments)).toEqual(pieces);
  });

  test('a piece at address 0 is one of its own', () => {
    const segments = new Segments();
    segments.add(0, 16);
    segments.add(16, 16);
    segments.add(0, 16);
    expect(listOf(segments)).toEqual([
      [0, 32],
      [0, 16],
    ]);
  });

  test('after clear() the first piece joins nothing that was there before', () => {
    const segments = new Segments();
    segments.add(0x1000, 0x1000);
    segments.clear();
    expect(listOf(segments)).toEqual([]);
    segments.add(0x2000, 0x1000);
    expect(listOf(segments)).toEqual([[0x2000, 0x1000]]);
  });

  test('addresses and lengths beyond 32 bits are exact', () => {
    const segments = new Segments();
    segments.add(2 ** 52 - 2 ** 40, 2 ** 40 - 1);
    segments.add(2 ** 52 - 1, 1);
    expect(listOf(segments)).toEqual([[2 ** 52 - 2 ** 40, 2 ** 40]]);
  });

  test.each([7, 8, 9, 16, 17, 1000])('grows to %d pieces, and keeps its room', (count) => {
    const segments = new Segments();
    const pieces = Array.from({ length: count }, (_, i) => [0x3000 * i, 0x1000 + i]);
    for (let round = 0; round < 2; round++) {
      for (const [address, length] of pieces) segments.add(address!, length!);
      expect(listOf(segments)).toEqual(pieces);
      const { addresses, lengths } = segments;
      segments.clear();
      expect([segments.addresses, segments.lengths]).toEqual([addresses, lengths]);
    }
  });

  test('joins where it has just grown, or is full', () => {
    const segments = new Segments();
    for (let i = 0; i < 8; i++) segments.add(0x2000 * i, 0x1000);
    segments.add(0xf000, 0x100);
    expect([segments.count, segments.addresses.length]).toEqual([8, 8]);
    segments.add(0, 0x10);
    segments.add(0x10, 0x10);
    expect(listOf(segments).slice(7)).toEqual([
      [0xe000, 0x1100],
      [0, 0x20],
    ]);
  });
});
