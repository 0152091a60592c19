import { describe, expect, test } from 'vitest';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { AreaSink } from './area-sink.js';
import { cfgiSte, DEVICE } from './machine.js';
import { attach, hex, IOVA, PA, tableOf, watched, type World } from './tracked-world.js';

describe('pages that hold tables', () => {
  test('are published before they are read for the first time, each once', () => {
    const world = watched();
    const { machine, space, journal, pages } = world;
    machine.map(space, IOVA, PA, 513).map(space, 0x1000, PA);
    machine.attach('tracked');
    const seen = new Set<string>();
    for (const entry of journal) {
      const [what, page] = entry.split(' ') as [string, string];
      if (what === 'added') seen.add(page);
      else expect([entry, seen.has(page)]).toEqual([entry, true]);
    }
    const tables = [0, 1, 2, 3].map((level) => tableOf(world, level));
    const others = [tableOf(world, 3, IOVA + 2 ** 21), tableOf(world, 2, 0x1000)];
    const last = tableOf(world, 3, 0x1000);
    const expected = [...new Set([...tables, ...others, last])].sort((a, b) => a - b);
    expect([...pages].sort((a, b) => a - b)).toEqual(expected);
    expect([...machine.mirror.tablePages()].sort((a, b) => a - b)).toEqual(expected);
    expect(machine.mirror.stats().tablePages).toBe(expected.length);
  });

  test('that are new are published before they are read', () => {
    const world = watched();
    world.machine.map(world.space, IOVA, PA);
    attach(world);
    world.machine.map(world.space, IOVA + 2 ** 21, PA);
    world.machine.mirror.tableWritten(world.machine.descriptor(world.space, IOVA + 2 ** 21, 2), 8);
    const page = hex(tableOf(world, 3, IOVA + 2 ** 21));
    const own = world.journal.filter((entry) => entry.endsWith(page));
    expect(own.slice(0, 2)).toEqual([`added ${page}`, `read ${page}`]);
  });

  test('are withdrawn when no descriptor points to them any more', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA);
    attach(world);
    const [, , level2, level3] = [0, 1, 2, 3].map((level) => tableOf(world, level));
    const at = machine.descriptor(space, IOVA, 1);
    machine.put(at, 0n).mirror.tableWritten(at, 8);
    const told = world.journal.filter((entry) => !entry.startsWith('read'));
    expect(told.sort()).toEqual([`removed ${hex(level2!)}`, `removed ${hex(level3!)}`].sort());
    expect([...machine.mirror.tablePages()]).toHaveLength(2);
  });

  test('that hold the same table in two places are withdrawn with the last of them', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA);
    const shared = tableOf(world, 3);
    const other = machine.descriptor(space, IOVA + 2 ** 21, 2);
    machine.put(other, BigInt(shared) | 3n);
    const { sink } = attach(world);
    expect(sink.areas.map(({ iova }) => iova)).toEqual([IOVA, IOVA + 2 ** 21]);
    machine.put(other, 0n).mirror.tableWritten(other, 8);
    expect(world.pages.has(shared)).toBe(true);
    const first = machine.descriptor(space, IOVA, 2);
    machine.put(first, 0n).mirror.tableWritten(first, 8);
    expect(world.pages.has(shared)).toBe(false);
  });

  test('of two address spaces are withdrawn with the last of them', () => {
    const world = watched();
    const { machine, space } = world;
    machine.map(space, IOVA, PA);
    attach(world);
    // Another CD with the same first table.
    const second = machine.space(9);
    machine.changeCd(second, [1, 51, 4, space.root / 16]).setSte(DEVICE + 1, second.cd);
    const stream = machine.attach('tracked', new AreaSink(), { streamId: DEVICE + 1 });
    expect(world.pages.size).toBe(4);
    expect(world.journal.filter((entry) => entry.startsWith('added'))).toEqual([]);
    machine.setSte(DEVICE, 0, [0, 3, 1, 0]).issue(cfgiSte());
    expect(world.pages.size).toBe(4);
    stream.detach();
    expect(world.pages.size).toBe(0);
  });

  test('of 64 KiB are sixteen', () => {
    const world = watched({ granuleLog2: 16, start: 1, inputBits: 48 });
    world.machine.map(world.space, 0x10_0000_0000, PA);
    world.machine.attach('tracked');
    // The first table resolves bits 47:42: 64 descriptors.
    expect(world.pages.size).toBe(1 + 16 + 16);
    const { machine, space } = world;
    const at = machine.descriptor(space, 0x10_0000_0000);
    expect(world.pages.has(at - (at % 4096))).toBe(true);
  });

  test.each<[string, (world: World, stream: StreamMirror) => void]>([
    [
      'detached',
      (_, stream) => {
        stream.detach();
      },
    ],
    ['served otherwise', (_, stream) => void (stream.policy = 'invalidate')],
    ['served on demand', (_, stream) => void (stream.policy = 'demand')],
    ['without tables', ({ machine }) => void machine.setSte(DEVICE, 0).issue(cfgiSte())],
    [
      'reset',
      ({ machine }) => {
        machine.smmu.reset();
      },
    ],
  ])('are all withdrawn when the stream is %s', (_, end) => {
    const world = watched();
    world.machine.map(world.space, IOVA, PA);
    const { stream } = attach(world);
    expect(world.pages.size).toBe(4);
    end(world, stream);
    expect([world.pages.size, world.machine.mirror.stats().tablePages]).toEqual([0, 0]);
  });

  test('are not published of streams that are not tracked', () => {
    const world = watched();
    world.machine.map(world.space, IOVA, PA).attach('invalidate');
    expect(world.pages.size).toBe(0);
    expect([...world.machine.mirror.tablePages()]).toEqual([]);
  });

  test('when the policy becomes tracked, are published and then read again', () => {
    const world = watched();
    const { machine, space, journal } = world;
    machine.map(space, IOVA, PA);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    journal.length = 0;
    // Written before anybody watches.
    machine.map(space, IOVA + 0x1000, PA + 0x1000);
    stream.policy = 'tracked';
    expect(sink.content).toEqual(['7f12200000+2000>80000000 rw']);
    const first = journal.findIndex((entry) => entry.startsWith('read'));
    expect(journal.slice(0, first).filter((entry) => entry.startsWith('added'))).toHaveLength(4);
  });
});
