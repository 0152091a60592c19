import { describe, expect, test } from 'vitest';
import { AreaSink } from './area-sink.js';
import {
  ASID,
  cfgiCd,
  DEVICE,
  expectKnown,
  MirrorMachine,
  TABLES,
  TLBI_NH_ALL,
  tlbiPages,
  tlbiVa,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { WatchedMemory } from './watched-memory.js';

const IOVA = 0x7f_1234_5000;
const PA = 0x8000_0000;
const END = TABLES + 0x100_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
  memory: WatchedMemory;
  /** Tables of {@link IOVA}, level 0 to 3. */
  tables: number[];
}

/** 1024 pages are mapped, over three tables of level 3. */
function mapped(compares: boolean): World {
  const memory = new WatchedMemory(compares);
  const machine = new MirrorMachine({ watched: memory });
  const space = machine.space();
  machine.setSte(DEVICE, space.cd).map(space, IOVA, PA, 1024);
  const tables = [0, 1, 2, 3].map((level) => {
    const at = machine.descriptor(space, IOVA, level);
    return at - (at % 4096);
  });
  const sink = new AreaSink();
  const stream = machine.attach('invalidate', sink);
  sink.take();
  memory.clear();
  return { machine, space, sink, stream, memory, tables };
}

/** Bytes of tables that were read. */
function tableBytes(memory: WatchedMemory): number {
  return memory.bytesIn(TABLES, END);
}

describe.each([
  ['that copies words', false],
  ['that compares words in place', true],
])('tables in memory %s', (_, compares) => {
  test('TLBI of one page reads one descriptor of each level', () => {
    const { machine, space, sink, memory } = mapped(compares);
    machine.map(space, IOVA + 0x3000, 0x9000_0000);
    memory.clear();
    machine.issue(tlbiVa(IOVA + 0x3000));
    expect(tableBytes(memory)).toBe(4 * 8);
    expect(sink.log).toHaveLength(2);
  });

  test('TLBI of one page that has not changed reads as much, and asks the sink nothing', () => {
    const { machine, sink, memory } = mapped(compares);
    machine.issue(tlbiVa(IOVA));
    expect(tableBytes(memory)).toBe(4 * 8);
    expect(sink.log).toEqual([]);
  });

  test('TLBI of one page where nothing is mapped reads no more', () => {
    const { machine, memory } = mapped(compares);
    machine.issue(tlbiVa(0x12_0000_0000));
    expect(tableBytes(memory)).toBeLessThanOrEqual(4 * 8);
  });

  test('TLBI of 16 pages reads no more than their descriptors, and one of each level above', () => {
    const { machine, memory } = mapped(compares);
    machine.issue(tlbiPages(IOVA, 16));
    expect(tableBytes(memory)).toBeLessThanOrEqual((16 + 3) * 8);
  });

  test('a whole sync of what has not changed reads each of the tables once', () => {
    const { stream, sink, memory } = mapped(compares);
    stream.sync();
    // Level 0, 1, 2, and three of level 3.
    expect(tableBytes(memory)).toBe(6 * 4096);
    expect(sink.log).toEqual([]);
  });

  test('a table that was replaced is read, and its neighbours are not', () => {
    const { machine, space, sink, stream, memory, tables } = mapped(compares);
    const table = machine.table();
    for (let i = 0; i < 512; i++) machine.put(table + 8 * i, machine.peek(tables[3]! + 8 * i));
    machine.put(table + 8 * 0x145, BigInt(0x9000_0000) | 0xf47n);
    machine.put(machine.descriptor(space, IOVA, 2), BigInt(table) | 3n);
    memory.clear();
    machine.issue(tlbiVa(IOVA));
    expect(memory.bytesIn(table, table + 4096)).toBe(4096);
    expect(tableBytes(memory) - 4096).toBeLessThanOrEqual(4 * 8);
    expect(sink.take()).toEqual(['unmap 7f12345000+1000', 'map 7f12345000+1000>90000000 rw']);
    expectKnown(stream, sink);
  });

  test('a table that was replaced is read in a whole sync as well, and the old one is not', () => {
    const { machine, space, sink, stream, memory, tables } = mapped(compares);
    const table = machine.table();
    machine.put(machine.descriptor(space, IOVA, 2), BigInt(table) | 3n);
    memory.clear();
    machine.issue(TLBI_NH_ALL);
    expect(memory.bytesIn(tables[3]!, tables[3]! + 4096)).toBe(0);
    expect(memory.bytesIn(table, table + 4096)).toBe(4096);
    expect(sink.content).toEqual(['7f12400000+345000>800bb000 rw']);
    expectKnown(stream, sink);
  });

  test('one descriptor that changes in a whole sync is 1 unmap and 1 map', () => {
    const { machine, space, sink, memory } = mapped(compares);
    machine.map(space, IOVA + 0x7000, 0x9000_0000);
    memory.clear();
    machine.issue(TLBI_NH_ALL);
    expect(sink.take()).toEqual(['unmap 7f1234c000+1000', 'map 7f1234c000+1000>90000000 rw']);
    // A table that differs may be read a second time, after the comparison.
    expect(tableBytes(memory)).toBeLessThanOrEqual(7 * 4096);
  });

  test('stats count the bytes that were read', () => {
    const { machine, memory } = mapped(compares);
    const before = machine.mirror.stats().bytesRead;
    expect(before).toBe(6 * 4096);
    memory.clear();
    machine.issue(tlbiVa(IOVA));
    expect(machine.mirror.stats().bytesRead - before).toBe(tableBytes(memory));
  });

  test('streams with equal CDs share the tables: a second one costs no more to invalidate', () => {
    const { machine, space, sink, memory } = mapped(compares);
    machine.setSte(DEVICE + 1, space.cd);
    const other = new AreaSink();
    const second = machine.attach('invalidate', other, { streamId: DEVICE + 1 });
    expect(other.content).toEqual(['7f12345000+400000>80000000 rw']);
    expect(machine.mirror.stats()).toMatchObject({ streams: 2, spaces: 1, tables: 6 });
    machine.map(space, IOVA + 0x3000, 0x9000_0000);
    memory.clear();
    machine.issue(tlbiVa(IOVA + 0x3000));
    expect(tableBytes(memory)).toBe(4 * 8);
    expect(other.content).toEqual(sink.content);
    expectKnown(second, other);
  });

  test('streams whose CDs differ in nothing but the ASID share nothing', () => {
    const { machine, space, memory } = mapped(compares);
    const copy = machine.table();
    for (let i = 0; i < 8; i++) machine.put(copy + 8 * i, machine.peek(space.cd + 8 * i));
    machine.changeCd({ ...space, cd: copy }, [0, 63, 48, ASID + 1]);
    machine.setSte(DEVICE + 1, copy);
    machine.attach('invalidate', new AreaSink(), { streamId: DEVICE + 1 });
    expect(machine.mirror.stats()).toMatchObject({ spaces: 2, tables: 12 });
    memory.clear();
    machine.issue(tlbiVa(IOVA, ASID + 1));
    expect(tableBytes(memory)).toBe(4 * 8);
  });

  test('CFGI_CD of a CD that has not changed reads each of the tables once', () => {
    const { machine, sink, memory, tables } = mapped(compares);
    machine.issue(cfgiCd());
    for (const table of tables) expect(memory.bytesIn(table, table + 4096)).toBe(4096);
    expect(sink.log).toEqual([]);
  });
});
