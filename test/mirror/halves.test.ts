import { describe, expect, test } from 'vitest';
import type { Edit } from '../transaction/machine.js';
import { AreaSink } from './area-sink.js';
import {
  ASID,
  DEVICE,
  expectKnown,
  GLOBAL,
  machineWithSpace,
  MirrorMachine,
  RW,
  tlbiAsid,
  tlbiPages,
  tlbiVa,
  tlbiVaa,
  type Space,
} from './machine.js';

const PA = 0x8000_0000;
/** T1SZ=16, TG1=4K, IR1, OR1, SH1, EPD1=0. */
function upperHalf(root: number): Edit[] {
  return [
    [0, 21, 16, 16],
    [0, 23, 22, 2],
    [0, 30, 30, 0],
    [2, 51, 4, root / 16],
  ];
}
const TBI0: Edit = [0, 38, 38, 1];
const TBI1: Edit = [0, 39, 39, 1];

/** An address space with two halves; the builder sees the upper one as a space of its own. */
function twoHalves(...edits: Edit[]): { machine: MirrorMachine; lower: Space; upper: Space } {
  const machine = new MirrorMachine();
  const root = machine.table();
  const lower = machine.space(ASID, undefined, ...upperHalf(root), ...edits);
  machine.setSte(DEVICE, lower.cd);
  return { machine, lower, upper: { ...lower, root } };
}

describe('the half of TTB1', () => {
  test('is mapped at its canonical addresses', () => {
    const { machine, lower, upper } = twoHalves();
    machine.map(lower, 0x1000, PA).map(upper, 0x1000, PA + 0x10_0000);
    machine.map(upper, 0xffff_ffff_f000, PA + 0x20_0000);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect(sink.texts).toEqual([
      '1000+1000>80000000 rw',
      'ffff000000001000+1000>80100000 rw',
      'fffffffffffff000+1000>80200000 rw',
    ]);
    expectKnown(stream, sink);
  });

  test('is named by TLBI commands with its addresses, and with no others', () => {
    const { machine, lower, upper } = twoHalves();
    machine.map(lower, 0x1000, PA).map(upper, 0x1000, PA + 0x10_0000, 4);
    machine.map(upper, 0xffff_ffff_f000, PA + 0x20_0000);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.unmap(upper, 0x1000, 4).unmap(upper, 0xffff_ffff_f000);
    machine.issue(tlbiVa(0x1000), tlbiVa(0xffff_8000_0000_1000n));
    expect(sink.take()).toEqual([]);
    machine.issue(tlbiVa(0xffff_0000_0000_1000n));
    expect(sink.take()).toEqual(['unmap ffff000000001000+1000']);
    machine.issue(tlbiPages(0xffff_0000_0000_2000n, 3));
    expect(sink.take()).toEqual(['unmap ffff000000002000+3000']);
    machine.issue(tlbiVaa(0xffff_ffff_ffff_f000n));
    expect(sink.take()).toEqual(['unmap fffffffffffff000+1000']);
  });

  test('a range that goes beyond 2^64 ends there', () => {
    const { machine, lower, upper } = twoHalves();
    machine.map(lower, 0, PA).map(upper, 0xffff_ffff_f000, PA);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.unmap(lower, 0).unmap(upper, 0xffff_ffff_f000);
    machine.issue(tlbiPages(0xffff_ffff_ffff_f000n, 4));
    expect(sink.texts).toEqual(['0+1000>80000000 rw']);
  });
});

describe('tagged addresses: TBI', () => {
  test('TLBI with a tag names the page without it, in both halves', () => {
    const { machine, lower, upper } = twoHalves(TBI0, TBI1);
    machine.map(lower, 0x1000, PA).map(upper, 0x1000, PA + 0x10_0000);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.unmap(lower, 0x1000).issue(tlbiVa(0xab00_0000_0000_1000n));
    expect(sink.take()).toEqual(['unmap 1000+1000']);
    machine.unmap(upper, 0x1000).issue(tlbiVa(0x12ff_0000_0000_1000n));
    expect(sink.take()).toEqual(['unmap ffff000000001000+1000']);
  });

  test('a miss, and sync, with a tag serve the page without it', () => {
    const { machine, lower, upper } = twoHalves(TBI0, TBI1);
    machine.map(lower, 0x1000, PA).map(upper, 0x1000, PA + 0x10_0000);
    const sink = new AreaSink();
    const stream = machine.attach('demand', sink);
    expect(stream.miss(0xab00_0000_0000_1234n, 3)).toBe(true);
    expect(stream.miss(0x12ff_0000_0000_1234n, 1)).toBe(true);
    expect(sink.take()).toEqual([
      'map 1000+1000>80000000 rw',
      'map ffff000000001000+1000>80100000 rw',
    ]);
    machine.unmap(upper, 0x1000).unmap(lower, 0x1000);
    stream.sync(0x34ff_0000_0000_1000n, 4096);
    expect(sink.take()).toEqual(['unmap ffff000000001000+1000']);
  });
});

describe.each([
  ['16K', { granuleLog2: 14, start: 0, inputBits: 48 }, 2],
  ['64K', { granuleLog2: 16, start: 1, inputBits: 48 }, 2],
])('the %s granule', (_, shape, blockLevel) => {
  const page = 2 ** shape.granuleLog2;
  const block = 2 ** (2 * shape.granuleLog2 - 3);
  const hex = (value: number): string => value.toString(16);

  test('pages and blocks are mapped, and one page that changes is changed', () => {
    const { machine, space } = machineWithSpace({}, shape);
    const base = 4 * block;
    machine.block(space, base, 2 * block, blockLevel);
    machine.map(space, base + block, 3 * block, 3);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    const length = block + 3 * page;
    expect(sink.take()).toEqual([`map ${hex(base)}+${hex(length)}>${hex(2 * block)} rw`]);
    const iova = base + block + page;
    machine.map(space, iova, 8 * block).issue(tlbiVa(iova));
    expect(sink.take()).toEqual([
      `unmap ${hex(iova)}+${hex(page)}`,
      `map ${hex(iova)}+${hex(page)}>${hex(8 * block)} rw`,
    ]);
    expectKnown(stream, sink);
  });

  test('a TLBI that names 4 KiB inside a page, or a range of its granule, brings the whole page', () => {
    const { machine, space } = machineWithSpace({}, shape);
    machine.map(space, 0, 4 * block, 8);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.unmap(space, 2 * page).issue(tlbiVa(2 * page + 0x3000));
    expect(sink.take()).toEqual([`unmap ${hex(2 * page)}+${hex(page)}`]);
    // TG, TTL=3 and NUM: two pages.
    const tg = BigInt((shape.granuleLog2 - 10) / 2) << 10n;
    const low = 0x12n | (1n << 12n) | (BigInt(ASID) << 48n);
    machine.unmap(space, 4 * page, 2).issue([low, BigInt(4 * page) | tg | (3n << 8n) | 1n]);
    expect(sink.take()).toEqual([`unmap ${hex(4 * page)}+${hex(2 * page)}`]);
  });

  test('a block becomes a table, and a block again', () => {
    const { machine, space } = machineWithSpace({}, shape);
    machine.block(space, block, 2 * block, blockLevel);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.take();
    const entries = page / 8;
    machine.put(machine.descriptor(space, block, blockLevel), 0n);
    machine.map(space, block, 2 * block, entries).unmap(space, 2 * block - page);
    machine.issue(tlbiVa(block));
    expect(sink.take()).toEqual([`unmap ${hex(2 * block - page)}+${hex(page)}`]);
    machine.block(space, block, 2 * block, blockLevel).issue(tlbiVa(block));
    expect(sink.content).toEqual([`${hex(block)}+${hex(block)}>${hex(2 * block)} rw`]);
    expectKnown(stream, sink);
  });
});

describe('global mappings: nG=0', () => {
  test('TLBI_NH_VA with another ASID names them', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, 0x1000, PA, 1, GLOBAL).map(space, 0x2000, PA, 1, RW);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.unmap(space, 0x1000).issue(tlbiAsid(ASID + 1));
    expect(sink.take()).toEqual([]);
    machine.issue(tlbiVa(0x1000, ASID + 1));
    expect(sink.take()).toEqual(['unmap 1000+1000']);
  });

  test('on demand as well', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, 0x1000, PA, 1, GLOBAL);
    const sink = new AreaSink();
    const stream = machine.attach('demand', sink);
    stream.miss(0x1000, 3);
    sink.take();
    machine.unmap(space, 0x1000).issue(tlbiVa(0x1000, ASID + 1));
    expect(sink.take()).toEqual(['unmap 1000+1000']);
  });

  test('one that becomes global later is named from then on', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, 0x1000, PA, 1, RW);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.map(space, 0x1000, PA, 1, GLOBAL).issue(tlbiVa(0x1000));
    expect(sink.take()).toEqual([]);
    machine.unmap(space, 0x1000).issue(tlbiVa(0x1000, ASID + 1));
    expect(sink.take()).toEqual(['unmap 1000+1000']);
  });
});

describe('big-endian tables: ENDI', () => {
  test('are read as such, blocks, tables and pages', () => {
    const { machine, space } = machineWithSpace({}, undefined, [0, 15, 15, 1]);
    machine.map(space, 0x1000, PA, 2).block(space, 0x20_0000, 0x9000_0000);
    const swap = (value: bigint): bigint => {
      let swapped = 0n;
      for (let i = 0n; i < 8n; i++) swapped |= ((value >> (8n * i)) & 0xffn) << (56n - 8n * i);
      return swapped;
    };
    // From the lowest table up, so that the builder can still find them.
    const at = [3, 3, 2, 2, 1, 0].map((level, i) =>
      machine.descriptor(space, [0x1000, 0x2000, 0x20_0000, 0x1000, 0x1000, 0x1000][i]!, level),
    );
    for (const address of at) machine.put(address, swap(machine.peek(address)));
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    expect(sink.texts).toEqual(['1000+2000>80000000 rw', '200000+200000>90000000 rw']);
    machine.put(at[1]!, 0n).issue(tlbiVa(0x2000));
    expect(sink.texts).toEqual(['1000+1000>80000000 rw', '200000+200000>90000000 rw']);
  });
});
