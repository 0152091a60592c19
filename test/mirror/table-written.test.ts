import { describe, expect, test } from 'vitest';
import { expectKnown, TABLES, TLBI_NH_ALL, tlbiVa } from './machine.js';
import { attach, IOVA, PA, tableOf, watched } from './tracked-world.js';

describe('tableWritten', () => {
  test('of one descriptor reads it alone, and is one operation', () => {
    const world = watched();
    const { machine, space, memory } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink, stream } = attach(world);
    const at = machine.descriptor(space, IOVA + 0x4000);
    machine.map(space, IOVA + 0x4000, PA + 0x4000);
    memory.clear();
    machine.mirror.tableWritten(at, 8);
    expect(memory.reads).toEqual([{ address: at, bytes: 8 }]);
    expect(sink.take()).toEqual(['map 7f12204000+1000>80004000 rw']);
    machine.unmap(space, IOVA + 0x4000);
    // Half of a descriptor, as a guest may write it.
    machine.mirror.tableWritten(at + 4, 4);
    expect(sink.take()).toEqual(['unmap 7f12204000+1000']);
    machine.map(space, IOVA, 0x9000_0000, 2).mirror.tableWritten(at - 32, 16);
    expect(sink.take()).toEqual(['unmap 7f12200000+2000', 'map 7f12200000+2000>90000000 rw']);
    expectKnown(stream, sink);
  });

  test('of a descriptor that has not changed is nothing', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink } = attach(world);
    machine.mirror.tableWritten(machine.descriptor(space, IOVA), 4096);
    expect(sink.take()).toEqual([]);
  });

  test('of a descriptor of a table reads the new table, and no other', () => {
    const world = watched();
    const { machine, space, memory } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink, stream } = attach(world);
    const table = machine.table();
    for (let i = 0; i < 512; i++) machine.put(table + 8 * i, BigInt(PA + 4096 * i) | 0xf47n);
    const at = machine.descriptor(space, IOVA + 2 ** 21, 2);
    machine.put(at, BigInt(table) | 3n);
    memory.clear();
    machine.mirror.tableWritten(at, 8);
    expect(sink.take()).toEqual(['map 7f12400000+200000>80000000 rw']);
    expect(memory.bytesIn(table, table + 4096)).toBe(4096);
    const rest = memory.bytesIn(TABLES, table) + memory.bytesIn(table + 4096, TABLES + 2 ** 24);
    expect(rest).toBeLessThanOrEqual(6 * 8);
    expectKnown(stream, sink);
  });

  test('of a page that holds no table, or no memory, is nothing', () => {
    const world = watched();
    const { machine, space, memory } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink } = attach(world);
    machine.map(space, IOVA + 0x4000, PA + 0x4000);
    memory.clear();
    for (const address of [0, 0x4000_0000, space.cd, 0x2000_0000, 2 ** 52 - 4096]) {
      machine.mirror.tableWritten(address, 4096);
    }
    machine.mirror.tableWritten(space.root, 0);
    expect([sink.take(), memory.reads]).toEqual([[], []]);
  });

  test('of all memory reads all tables', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink, stream } = attach(world);
    machine.unmap(space, IOVA, 2).map(space, IOVA + 2 ** 21, PA);
    machine.mirror.tableWritten(0, 2 ** 52);
    expect(sink.content).toEqual(['7f12202000+2000>80002000 rw', '7f12400000+1000>80000000 rw']);
    expectKnown(stream, sink);
  });

  // MirrorWork.tableWritten takes for granted that the second page still holds tables.
  test('of a page of an upper table and of one that it takes out', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink } = attach(world);
    // Level 2 and level 3 lie on pages that follow each other.
    const [above, below] = [tableOf(world, 2), tableOf(world, 3)];
    expect(below).toBe(above + 4096);
    machine.put(machine.descriptor(space, IOVA, 2), 0n);
    machine.mirror.tableWritten(above, 8192);
    expect(sink.content).toEqual([]);
  });

  test('of a table in several places changes all of them', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA);
    const shared = tableOf(world, 3);
    machine.put(machine.descriptor(space, IOVA + 2 ** 21, 2), BigInt(shared) | 3n);
    const { sink } = attach(world);
    machine.put(shared + 8, BigInt(PA + 0x1000) | 0xf47n).mirror.tableWritten(shared + 8, 8);
    expect(sink.take()).toEqual([
      'map 7f12201000+1000>80001000 rw',
      'map 7f12401000+1000>80001000 rw',
    ]);
  });

  test('reaches the sinks in step with TLBI: nothing is done twice', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink } = attach(world);
    machine.unmap(space, IOVA).mirror.tableWritten(machine.descriptor(space, IOVA), 8);
    expect(sink.take()).toEqual(['unmap 7f12200000+1000']);
    machine.issue(tlbiVa(IOVA), TLBI_NH_ALL);
    expect(sink.take()).toEqual([]);
  });

  test('after a TLBI that has found a change by itself is not lost', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA, 4);
    const { sink, stream } = attach(world);
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(['unmap 7f12200000+1000']);
    machine.unmap(space, IOVA + 0x2000);
    machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x2000), 8);
    expect(sink.take()).toEqual(['unmap 7f12202000+1000']);
    expectKnown(stream, sink);
  });

  test.each([
    [-8, 8, 'address is -0x8: it must be below 2^52, and not negative'],
    [2 ** 52, 8, 'address is 0x10000000000000: it must be below 2^52'],
    [0.5, 8, 'address is'],
    [NaN, 8, 'address is'],
    [0, -1, 'length is -1: it must be a whole number of bytes, 0 or more'],
    [0, 1.5, 'length is 1.5'],
  ])('of address %d and length %d is refused', (address, length, message) => {
    const { machine } = watched();
    const call = (): void => {
      machine.mirror.tableWritten(address, length);
    };
    expect(call).toThrow(RangeError);
    expect(call).toThrow(message);
  });
});
