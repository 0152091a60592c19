import { beforeEach, describe, expect, test } from 'vitest';
import { GuestBuilder } from '../../src/fixtures/guest-builder.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { enumerate, forEachLeaf, UNPRIVILEGED_DATA } from '../../src/ioas/enumerate.js';
import type { Runs } from '../../src/ioas/runs.js';
import { RecordingMemory } from '../../src/memory/recording-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { Context } from '../../src/transaction/context.js';
import { HoledMemory } from './holed-memory.js';

const ALL = { tables: 1000, runs: 1000 };

/** The CD of a space, as the library decodes it. */
function contextOf(guest: GuestBuilder, space: AddressSpaceBuilder): Context {
  const words = new Uint32Array(16);
  guest.load(space.cdAddress, words);
  const context = new Context();
  context.decode(words, 0, guest.features);
  return context;
}

function listOf(runs: Runs): number[][] {
  return Array.from({ length: runs.count }, (_, i) => [
    runs.iova(i),
    runs.length(i),
    runs.address(i),
    runs.permissions(i),
  ]);
}

describe('limits of an enumeration', () => {
  let guest: GuestBuilder;
  let space: AddressSpaceBuilder;

  beforeEach(() => {
    guest = new GuestBuilder();
    space = guest.addressSpace({ cd: { EPD1: 1 } });
    // Six tables: level 0, then 1, 2 and 3 for the first three pages, 2 and 3 for the last.
    for (const iova of [0x1000, 0x3000, 0x5000]) space.map(iova, 0x8000_0000 + iova, 0x1000);
    space.map(0x4000_0000, 0x9000_0000, 0x2000, { level: 3 });
  });

  const RUNS = [
    [0x1000, 0x1000, 0x8000_1000, 3],
    [0x3000, 0x1000, 0x8000_3000, 3],
    [0x5000, 0x1000, 0x8000_5000, 3],
    [0x4000_0000, 0x2000, 0x9000_0000, 3],
  ];

  function enumerated(tables: number, runs: number) {
    const found = enumerate(guest.memory, contextOf(guest, space), UNPRIVILEGED_DATA, {
      tables,
      runs,
    });
    return { end: found.end, tables: found.tables, runs: listOf(found.runs) };
  }

  test('that are just enough are not reached', () => {
    expect(enumerated(6, 4)).toEqual({ end: 'complete', tables: 6, runs: RUNS });
  });

  test.each([
    [5, 3],
    [4, 3],
    [3, 0],
    [1, 0],
  ])('%d tables leave %d runs', (tables, count) => {
    expect(enumerated(tables, 4)).toEqual({ end: 'tables', tables, runs: RUNS.slice(0, count) });
  });

  test.each([3, 2, 1])('%d runs', (runs) => {
    const found = enumerated(1000, runs);
    expect([found.end, found.runs]).toEqual(['runs', RUNS.slice(0, runs)]);
  });

  test('the limit of runs is told when both are reached', () => {
    expect(enumerated(4, 2)).toEqual({ end: 'runs', tables: 4, runs: RUNS.slice(0, 2) });
  });

  test.each([0, -1, 1.5, NaN, Infinity])('%d is refused for either', (limit) => {
    const context = contextOf(guest, space);
    const call = (tables: number, runs: number) => () =>
      enumerate(guest.memory, context, UNPRIVILEGED_DATA, { tables, runs });
    expect(call(1, limit)).toThrow(RangeError);
    expect(call(1, limit)).toThrow(/runs is/);
    expect(call(limit, 1)).toThrow(RangeError);
    expect(call(limit, 1)).toThrow(/ableLimit is|tables is/);
  });

  test('more runs than one stretch of the list holds are all kept, in order', () => {
    for (let i = 0; i < 5000; i++) space.map(0x8000_0000 + 0x2000 * i, 0x1000 * i, 0x1000);
    const { runs, end } = enumerate(guest.memory, contextOf(guest, space), UNPRIVILEGED_DATA, {
      tables: 1000,
      runs: 5004,
    });
    expect([end, runs.count]).toEqual(['complete', 5004]);
    const expected = Array.from({ length: 5000 }, (_, i) => [
      0x8000_0000 + 0x2000 * i,
      0x1000,
      0x1000 * i,
      3,
    ]);
    expect(listOf(runs)).toEqual([...RUNS, ...expected]);
    expect(() => runs.iova(5004)).toThrow(RangeError);
    expect(() => runs.permissions(-1)).toThrow(RangeError);
  });
});

describe('tables that lead back to themselves', () => {
  function build(entries: (page: number) => (index: number) => bigint): [SparseMemory, Context] {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ cd: { EPD1: 1, TTB0: 0x8000_0000 } });
    const memory = new SparseMemory();
    for (const page of [0x8000_0000, 0x8000_1000]) {
      const values = BigUint64Array.from({ length: 512 }, (_, i) => entries(page)(i));
      memory.addPage(page, new Uint8Array(values.buffer));
    }
    return [memory, contextOf(guest, space)];
  }

  const LEAF = 0x743n; // type 3, AF, SH 3, AP[1]

  test.each([
    ['one page that is its own child in every entry', 4096, () => () => 0x8000_0000n | LEAF],
    [
      'two pages that point at each other',
      4096,
      (page: number) => () => BigInt(page === 0x8000_0000 ? 0x8000_1000 : 0x8000_0000) | LEAF,
    ],
    [
      'one page that names itself and the other in turn',
      8192,
      () => (index: number) => 0x8000_0000n | (BigInt(index % 2) << 12n) | LEAF,
    ],
  ])('%s end at the limit of tables, within a second', (_, length, entries) => {
    const [memory, context] = build(entries);
    const start = performance.now();
    const found = enumerate(memory, context, UNPRIVILEGED_DATA, { tables: 5000, runs: 2 ** 22 });
    expect(performance.now() - start).toBeLessThan(1000);
    expect([found.end, found.tables]).toEqual(['tables', 5000]);
    // All but the first and one in 513 of the rest are level 3, of 512 pages each.
    expect(found.runs.count).toBeGreaterThan((4980 * 512 * 4096) / length);
    expect([found.runs.iova(0), found.runs.length(0), found.runs.permissions(0)]).toEqual([
      0,
      length,
      3,
    ]);
  });

  test('end at the limit of runs', () => {
    const [memory, context] = build(() => () => 0x8000_0000n | LEAF);
    const found = enumerate(memory, context, UNPRIVILEGED_DATA, { tables: 2 ** 20, runs: 1000 });
    expect([found.end, found.tables, found.runs.count]).toEqual(['runs', 5, 1000]);
    expect(found.runs.iova(999)).toBe(999 * 4096);
  });

  test('one entry that names its own page gives the last table four ways, as Linux-like maps do', () => {
    // Entry 511 leads back; entry 0 is a page at level 3 and a table that is not there above.
    const [memory, context] = build(() => (index) => (index === 511 ? 0x8000_0000n | LEAF : 0n));
    const found = enumerate(memory, context, UNPRIVILEGED_DATA, ALL);
    expect(found.end).toBe('complete');
    expect(found.tables).toBe(4);
    expect(listOf(found.runs)).toEqual([[0xffff_ffff_f000, 0x1000, 0x8000_0000, 3]]);
  });
});

describe('tables that are not in memory', () => {
  test('a 4K table counts 512 descriptors, and what it would map is left out', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ cd: { EPD1: 1 } });
    space.map(0x1000, 0x8000_1000, 0x1000);
    space.map(0x20_0000, 0x9000_0000, 0x1000);
    const table = space.descriptorAddress(0x1000, 3) - 8;
    const memory = new HoledMemory(guest.memory, table, table + 0x1000);
    const found = enumerate(memory, contextOf(guest, space), UNPRIVILEGED_DATA, ALL);
    expect(listOf(found.runs)).toEqual([[0x20_0000, 0x1000, 0x9000_0000, 3]]);
    expect([found.end, found.tables, found.aborted, found.firstAborted]).toEqual([
      'complete',
      5,
      512,
      table,
    ]);
  });

  test('a 64K table of which half is missing keeps its other half', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ granuleLog2: 16, cd: { EPD1: 1 } });
    // Level 3 maps 512 MiB; its second half begins at 256 MiB.
    space.map(0x0ff0_0000, 0x8000_0000, 0x20_0000, { level: 3 });
    const table = space.descriptorAddress(0, 3);
    const upper = enumerate(
      new HoledMemory(guest.memory, table, table + 0x8000),
      contextOf(guest, space),
      UNPRIVILEGED_DATA,
      ALL,
    );
    expect(listOf(upper.runs)).toEqual([[0x1000_0000, 0x10_0000, 0x8010_0000, 3]]);
    expect([upper.aborted, upper.firstAborted]).toEqual([4096, table]);
    const lower = enumerate(
      new HoledMemory(guest.memory, table + 0x8000, table + 0x1_0000),
      contextOf(guest, space),
      UNPRIVILEGED_DATA,
      ALL,
    );
    expect(listOf(lower.runs)).toEqual([[0x0ff0_0000, 0x10_0000, 0x8000_0000, 3]]);
    expect([lower.aborted, lower.firstAborted]).toEqual([4096, table + 0x8000]);
  });

  test('nothing missing is 0, and -1', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace();
    const found = enumerate(guest.memory, contextOf(guest, space), UNPRIVILEGED_DATA, ALL);
    expect([found.aborted, found.firstAborted, found.tables]).toEqual([0, -1, 2]);
  });
});

describe('an enumeration', () => {
  test('only reads, though pages lack access flag and dirty state', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ cd: { HA: 1, HD: 1 } });
    space.map(0x1000, 0x8000_1000, 0x1000, { leaf: { AF: 0, DBM: 1 }, write: false });
    const memory = new RecordingMemory(guest.memory);
    const context = contextOf(guest, space);
    const { runs } = enumerate(memory, context, UNPRIVILEGED_DATA, ALL);
    forEachLeaf(memory, context, 1000, () => true);
    expect(listOf(runs)).toEqual([[0x1000, 0x1000, 0x8000_1000, 3]]);
    expect(memory.fetches.length).toBeGreaterThan(0);
    expect(memory.fetches.filter((fetch) => fetch.update)).toEqual([]);
    const words = new Uint32Array(2);
    guest.load(space.descriptorAddress(0x1000, 3), words);
    // AttrIndx 1, AP 3, SH 3, nG, page; AF is still clear. DBM is bit 51.
    expect([...words]).toEqual([0x8000_1bc7, 0x0008_0000]);
  });
});
