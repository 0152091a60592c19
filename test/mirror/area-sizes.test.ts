import { describe, expect, test } from 'vitest';
import { AreaSizes } from '../../src/mirror/area-sizes.js';
import { AreaSink } from './area-sink.js';
import { expectKnown, machineWithSpace, TLBI_NH_ALL, tlbiVa, type Space } from './machine.js';
import type { MirrorMachine } from './machine.js';

const RW = 3;
/** Bits 2 and 3 of permissions: what is left before, and after, a part that changed. */
const BEFORE = 4;
const AFTER = 8;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** The pieces of `[from, to)`, as their first bytes. */
function pieces(sizes: AreaSizes, from: number, to: number, permissions: number): number[] {
  const starts: number[] = [];
  for (let at = from; at < to; at += sizes.first(at, to, permissions)) starts.push(at);
  return starts;
}

describe('sizes of areas', () => {
  test('a run is one area at first, however large', () => {
    const sizes = new AreaSizes();
    expect(sizes.first(0, 2 ** 64, RW)).toBe(2 ** 64);
    expect(sizes.first(0x1000, 0x2000, 1)).toBe(0x1000);
  });

  test('what is left before a change ends at 256M, 16M, 1M, 64K and 4K bounds', () => {
    expect(pieces(new AreaSizes(), 0, 0x2345_6000, RW | BEFORE)).toEqual([
      0, 0x2000_0000, 0x2300_0000, 0x2340_0000, 0x2345_0000,
    ]);
  });

  test('what is left after a change begins with 4K, 64K, 1M, 16M and 256M', () => {
    expect(pieces(new AreaSizes(), 0x2345_7000, 0x4000_0000, RW | AFTER)).toEqual([
      0x2345_7000, 0x2346_0000, 0x2350_0000, 0x2400_0000, 0x3000_0000,
    ]);
  });

  test('what is left is one area when it is a page, or lies between bounds', () => {
    const sizes = new AreaSizes();
    expect(pieces(sizes, 0x1000, 0x2000, RW | BEFORE)).toEqual([0x1000]);
    expect(pieces(sizes, 0x1000, 0x5000, RW | BEFORE)).toEqual([0x1000]);
    expect(pieces(sizes, 0x1000, 0x5000, RW | AFTER)).toEqual([0x1000]);
    expect(pieces(sizes, 0x20_0000, 0x40_0000, RW | AFTER)).toEqual([0x20_0000]);
  });

  test('areas near 2^64 have the same bounds', () => {
    const top = 2 ** 64 - 0x1000_0000;
    expect(pieces(new AreaSizes(), top, top + 0x12_3000, RW | BEFORE)).toEqual([
      top,
      top + 0x10_0000,
      top + 0x12_0000,
    ]);
  });

  test.each([
    ['a page', 4 * KIB, 4 * KIB],
    ['60 KiB', 60 * KIB, 4 * KIB],
    ['64 KiB', 64 * KIB, 64 * KIB],
    ['1 MiB', MIB, MIB],
    ['15 MiB', 15 * MIB, MIB],
    ['16 MiB', 16 * MIB, 16 * MIB],
    ['1 GiB', GIB, 256 * MIB],
  ])('where %s was changed, areas are as large at most', (_, changed, size) => {
    const sizes = new AreaSizes();
    sizes.divided(0x4000_0000, 0x4000_0000 + changed);
    expect(sizes.first(0x4000_0000, 0x8000_0000, RW)).toBe(size);
  });

  test('areas of a divided region end at multiples of their size, and the region does not matter elsewhere', () => {
    const sizes = new AreaSizes();
    sizes.divided(0x4000_0000, 0x4001_0000);
    expect(sizes.first(0x4001_3000, 0x4010_0000, RW)).toBe(0xd000);
    expect(sizes.first(0x4001_3000, 0x4001_5000, RW)).toBe(0x2000);
    expect(sizes.first(0x4020_0000, 0x5000_0000, RW)).toBe(0xe0_0000 + 0xf00_0000);
    // A run that comes from below stops where the region begins: 0x40000000.
    expect(sizes.first(0x3ff0_0000, 0x5000_0000, RW)).toBe(0x10_0000);
  });

  test('a region remembers the smallest change', () => {
    const sizes = new AreaSizes();
    sizes.divided(0, 4 * KIB);
    sizes.divided(0x8_0000, 0x9_0000);
    expect(sizes.first(0, MIB, RW)).toBe(4 * KIB);
  });

  test('neighbours that go together make them 16 times as large, up to no limit', () => {
    const sizes = new AreaSizes();
    sizes.divided(0, 4 * KIB);
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      seen.push(sizes.first(0, GIB, RW));
      sizes.joined(0x1000);
    }
    expect(seen).toEqual([4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB]);
  });

  test('neighbours that go together elsewhere change nothing', () => {
    const sizes = new AreaSizes();
    sizes.divided(0, 4 * KIB);
    sizes.joined(2 * MIB);
    expect(sizes.first(0, GIB, RW)).toBe(4 * KIB);
  });

  test('1024 regions are remembered; the one that changed first is forgotten first', () => {
    const sizes = new AreaSizes();
    for (let i = 0; i < 1024; i++) sizes.divided(2 * MIB * i, 2 * MIB * i + 4 * KIB);
    // Changed again: it is not the first any more.
    sizes.divided(0, 4 * KIB);
    sizes.divided(4 * GIB, 4 * GIB + 4 * KIB);
    expect(sizes.first(2 * MIB, 2 * MIB + 64 * KIB, RW)).toBe(64 * KIB);
    expect(sizes.first(0, 64 * KIB, RW)).toBe(4 * KIB);
    expect(sizes.first(4 * MIB, 4 * MIB + 64 * KIB, RW)).toBe(4 * KIB);
    expect(sizes.first(4 * GIB, 4 * GIB + 64 * KIB, RW)).toBe(4 * KIB);
  });
});

/** 1 GiB of blocks as one area, then a table in the place of the block at `iova`. */
function largeArea(sink: AreaSink): { machine: MirrorMachine; space: Space } {
  const { machine, space } = machineWithSpace();
  for (let i = 0; i < 512; i++) machine.block(space, GIB + 2 * MIB * i, 2 * GIB + 2 * MIB * i);
  machine.attach('invalidate', sink);
  expect(sink.take()).toEqual(['map 40000000+40000000>80000000 rw']);
  return { machine, space };
}

describe.each(['areas', 'area'] as const)('a sink that unmaps whole areas: %s', (unmaps) => {
  test('one page out of an area of 1 GiB costs 1 unmap and 10 maps', () => {
    const sink = new AreaSink({ unmaps });
    const { machine, space } = largeArea(sink);
    const iova = 0x6345_6000;
    const block = 0x6340_0000;
    machine.put(machine.descriptor(space, iova, 2), 0n);
    machine.map(space, block, 0xa340_0000, 512).unmap(space, iova).issue(tlbiVa(iova));
    expect(sink.take()).toEqual([
      'unmap 40000000+40000000',
      'map 40000000+20000000>80000000 rw',
      'map 60000000+3000000>a0000000 rw',
      'map 63000000+400000>a3000000 rw',
      'map 63400000+50000>a3400000 rw',
      'map 63450000+6000>a3450000 rw',
      // What is named is the block; the part of it behind the page is as it was.
      'map 63457000+1a9000>a3457000 rw',
      'map 63600000+a00000>a3600000 rw',
      'map 64000000+c000000>a4000000 rw',
      'map 70000000+10000000>b0000000 rw',
    ]);
    expect(sink.wrongs).toEqual([]);
  });
});

/** 2 MiB that were one area: a page goes, then all, then all are mapped again. @returns the areas then. */
function mappedAgain(sink: AreaSink): number {
  const { machine, space } = machineWithSpace();
  const base = 0x4000_0000;
  machine.map(space, base, 0x8000_0000, 512);
  const stream = machine.attach('invalidate', sink);
  machine.unmap(space, base + 0x5000).issue(tlbiVa(base + 0x5000));
  machine.map(space, base + 0x5000, 0x9000_0000).issue(tlbiVa(base + 0x5000));
  machine.unmap(space, base, 512).issue(TLBI_NH_ALL);
  expect(sink.texts).toEqual([]);
  machine.map(space, base, 0x8000_0000, 512).issue(TLBI_NH_ALL);
  expectKnown(stream, sink);
  return sink.areas.length;
}

describe('2 MiB of which a page was changed alone', () => {
  test('are one area again when neighbours have gone together', () => {
    expect(mappedAgain(new AreaSink({ unmaps: 'areas' }))).toBe(1);
  });

  // Comparison.unmap tells of neighbours only where one unmap names several areas.
  test('are few areas again, too, where each goes by itself', () => {
    expect(mappedAgain(new AreaSink({ unmaps: 'area' }))).toBeLessThanOrEqual(32);
  });
});

/** Unmaps the 512 pages of 2 MiB one by one, each with its TLBI and CMD_SYNC. */
function unmapOneByOne(sink: AreaSink, order: (i: number) => number): number {
  const { machine, space } = machineWithSpace();
  const base = 0x4000_0000;
  machine.map(space, base, 0x8000_0000, 512);
  const stream = machine.attach('invalidate', sink);
  expect(sink.take()).toEqual(['map 40000000+200000>80000000 rw']);
  for (let i = 0; i < 512; i++) {
    const iova = base + 4096 * order(i);
    machine.unmap(space, iova).issue(tlbiVa(iova));
  }
  expectKnown(stream, sink);
  expect(sink.texts).toEqual([]);
  return sink.operations - 1;
}

describe('512 pages that were one area, unmapped one by one', () => {
  test.each([
    ['upwards', (i: number) => i],
    ['downwards', (i: number) => 511 - i],
  ])('%s cost 2.2 operations a page at most', (_, order) => {
    expect(unmapOneByOne(new AreaSink({ unmaps: 'areas' }), order)).toBeLessThanOrEqual(2.2 * 512);
  });

  test('in any order cost 3.3 operations a page at most', () => {
    const operations = unmapOneByOne(new AreaSink({ unmaps: 'areas' }), (i) => (i * 205) % 512);
    expect(operations).toBeLessThanOrEqual(3.3 * 512);
  });

  test('cost one operation a page where parts of areas can go', () => {
    expect(unmapOneByOne(new AreaSink(), (i) => (i * 205) % 512)).toBe(512);
  });
});
