import { describe, expect, test } from 'vitest';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import type { MirrorLimits } from '../../src/mirror/mirror-options.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  expectKnown,
  machineWithSpace,
  TLBI_NH_ALL,
  tlbiVa,
  type MirrorMachine,
  type Shape,
  type Space,
} from './machine.js';

const PA = 0x8000_0000;
const IOVA = 0x10_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
}

/** Every descriptor of the first table points to that table, as a page of it in the end. */
function recursive(shape?: Shape, limits: MirrorLimits = {}): World {
  const world = machineWithSpace({ mirror: { limits } }, shape);
  const { machine, space } = world;
  for (let i = 0; i < 2 ** (space.shape.granuleLog2 - 3); i++) {
    machine.put(space.root + 8 * i, BigInt(space.root) | 0xf47n);
  }
  return world;
}

const SHAPE_64K: Shape = { granuleLog2: 16, start: 1, inputBits: 48 };

/** The stream is served on demand since a limit was hit, and rightly. */
function expectDemand(machine: MirrorMachine, stream: StreamMirror, sink: AreaSink): void {
  expect([stream.servedBy, stream.policy]).toEqual(['demand', 'invalidate']);
  const { tables, fallBacks } = machine.mirror.stats();
  expect([tables, fallBacks]).toEqual([0, 1]);
  expectKnown(stream, sink);
}

describe.each([
  ['4K', undefined, 0x12_3456_7000],
  ['64K', SHAPE_64K, 0x12_3457_0000],
])('tables that contain themselves, with the %s granule', (_, shape, iova) => {
  test('are more than there may be: told once, and served on demand', () => {
    const { machine, space } = recursive(shape);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect(machine.takeReports()).toEqual(['tables']);
    expectDemand(machine, stream, sink);
    expect(sink.log).toEqual([]);
    const handle = machine.smmu.attach(DEVICE);
    expect(handle.translate(iova + 0x123, 0)).toBe(space.root + 0x123);
    expect(stream.miss(iova, 3)).toBe(true);
    const page = 2 ** space.shape.granuleLog2;
    const text = `${iova.toString(16)}+${page.toString(16)}>${space.root.toString(16)} rw`;
    expect(sink.texts).toEqual([text]);
    machine.issue(TLBI_NH_ALL);
    expect([sink.texts, machine.takeReports(), machine.isDrained]).toEqual([[text], [], true]);
  });

  test('that have one such descriptor are four tables, or as many as there are levels', () => {
    const { machine, space } = machineWithSpace({}, shape);
    machine.put(space.root, BigInt(space.root) | 0xf47n);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    expect(machine.mirror.stats().tables).toBe(shape === undefined ? 4 : 3);
    const page = 2 ** space.shape.granuleLog2;
    expect(sink.texts).toEqual([`0+${page.toString(16)}>${space.root.toString(16)} rw`]);
  });
});

describe('more tables than limits.tables', () => {
  /** `count` tables of level 3 with a page each, and the three above them. */
  function many(count: number, tables: number): World & { sink: AreaSink; stream: StreamMirror } {
    const { machine, space } = machineWithSpace({ mirror: { limits: { tables } } });
    for (let i = 0; i < count; i++) machine.map(space, IOVA + 2 ** 21 * i, PA + 4096 * i);
    const sink = new AreaSink();
    return { machine, space, sink, stream: machine.attach('invalidate', sink) };
  }

  test('the limit itself is allowed', () => {
    const { machine, sink, stream } = many(5, 8);
    expect([machine.takeReports(), stream.servedBy, sink.areas.length]).toEqual([
      [],
      'invalidate',
      5,
    ]);
    expect(machine.mirror.stats().tables).toBe(8);
  });

  test('one more, at attach: nothing is mapped before a miss', () => {
    const { machine, sink, stream } = many(6, 8);
    expect(machine.takeReports()).toEqual(['tables']);
    expectDemand(machine, stream, sink);
    expect(sink.log).toEqual([]);
  });

  test('one more, later: what is mapped stays as far as it is right', () => {
    const { machine, space, sink, stream } = many(5, 8);
    machine
      .map(space, IOVA + 2 ** 21 * 5, PA)
      .unmap(space, IOVA)
      .map(space, IOVA + 0x1000, PA);
    machine.issue(TLBI_NH_ALL);
    expect(machine.takeReports()).toEqual(['tables']);
    expectDemand(machine, stream, sink);
    expect(sink.areas.map(({ address }) => (address - PA) / 4096)).toEqual([1, 2, 3, 4]);
    machine.map(space, IOVA + 2 ** 21, 0x9000_0000).issue(tlbiVa(IOVA + 2 ** 21));
    expect(sink.areas[0]!.address).toBe(0x9000_0000);
    expect(machine.takeReports()).toEqual([]);
  });

  test('after a switch to a CD with fewer tables the policy holds again, and the next time is told', () => {
    const { machine, space, sink, stream } = many(6, 8);
    machine.takeReports();
    const other = machine.space(9);
    machine.map(other, IOVA, PA, 2).setSte(DEVICE, other.cd).issue(cfgiSte());
    expect([stream.servedBy, sink.content]).toEqual(['invalidate', ['100000+2000>80000000 rw']]);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    expect([stream.servedBy, machine.takeReports()]).toEqual(['demand', ['tables']]);
    expect(machine.mirror.stats().fallBacks).toBe(2);
  });

  test('the same CD again: it is still served on demand, and nothing is told', () => {
    const { machine, stream } = many(6, 8);
    machine.takeReports();
    machine.issue(cfgiSte());
    machine.issue(TLBI_NH_ALL);
    expect([stream.servedBy, machine.takeReports()]).toEqual(['demand', []]);
  });

  test('the policy set again: it is tried, told if it fails, and holds if it does not', () => {
    const { machine, space, sink, stream } = many(6, 8);
    machine.takeReports();
    stream.policy = 'invalidate';
    expect([stream.servedBy, machine.takeReports()]).toEqual(['demand', ['tables']]);
    machine.put(machine.descriptor(space, IOVA, 2), 0n);
    stream.policy = 'invalidate';
    expect([stream.servedBy, machine.takeReports()]).toEqual(['invalidate', []]);
    expect(sink.areas).toHaveLength(5);
    expectKnown(stream, sink);
  });

  test('a tracked stream publishes none of the pages any more', () => {
    const pages = new Set<number>();
    const { machine, space } = machineWithSpace({
      mirror: {
        limits: { tables: 8 },
        tablePages: { added: (page) => pages.add(page), removed: (page) => pages.delete(page) },
      },
    });
    for (let i = 0; i < 6; i++) machine.map(space, IOVA + 2 ** 21 * i, PA);
    machine.attach('tracked');
    expect([machine.takeReports(), pages.size]).toEqual([['tables'], 0]);
    expect(machine.mirror.stats().tablePages).toBe(0);
  });

  test('streams that share the tables are all told of', () => {
    const { machine, space } = many(5, 8);
    machine.setSte(DEVICE + 1, space.cd);
    const second = machine.attach('invalidate', new AreaSink(), { streamId: DEVICE + 1 });
    machine.map(space, IOVA + 2 ** 21 * 5, PA).issue(TLBI_NH_ALL);
    expect(machine.takeReports()).toEqual(['tables', 'tables']);
    expect(second.servedBy).toBe('demand');
  });
});

/** One table of level 3 with every second page, in every place of tables of level 2: 2^18 areas each. */
function alternating({ machine, space }: World, level2: number): void {
  const [leaves, middle] = [machine.table(), machine.table()];
  for (let i = 0; i < 512; i += 2) machine.put(leaves + 8 * i, BigInt(PA) | 0xf47n);
  for (let i = 0; i < 512; i++) machine.put(middle + 8 * i, BigInt(leaves) | 3n);
  for (let i = 0; i < level2; i++) {
    machine.put(machine.descriptor(space, 2 ** 30 * i, 1), BigInt(middle) | 3n);
  }
}

describe('more areas than there may be', () => {
  test.each<[string, MirrorLimits, number | undefined]>([
    ['limits.areas', { areas: 1000 }, undefined],
    ['the areas of the sink', {}, 1000],
  ])('%s: told once, and served on demand', (_, limits, areas) => {
    const world = machineWithSpace({ mirror: { limits } });
    alternating(world, 1);
    const sink = new AreaSink(areas === undefined ? {} : { areas });
    const { machine } = world;
    const stream = machine.attach('invalidate', sink);
    expect(machine.takeReports()).toEqual(['areas']);
    expectDemand(machine, stream, sink);
    expect(sink.areas.length).toBeLessThanOrEqual(1000);
    expect(stream.miss(0x3fff_e000, 3)).toBe(true);
    expect(sink.texts).toContain('3fffe000+1000>80000000 rw');
    expectKnown(stream, sink);
    machine.put(machine.descriptor(world.space, 0, 1), 0n);
    stream.policy = 'invalidate';
    expect([stream.servedBy, sink.areas.length]).toEqual(['invalidate', 0]);
  });

  test('2^20 areas: a limit of 10,000 ends it, without the time for all of them', () => {
    const world = machineWithSpace({ mirror: { limits: { areas: 10_000 } } });
    alternating(world, 8);
    let maps = 0;
    const sink = {
      capabilities: {},
      map: () => ++maps > 0,
      unmap: () => true,
    };
    const { machine } = world;
    const stream = machine.attach('invalidate', sink);
    expect([machine.takeReports(), stream.servedBy, maps]).toEqual([['areas'], 'demand', 10_000]);
    expect(machine.mirror.stats()).toMatchObject({ areas: 10_000, tables: 0, maps: 10_000 });
  });
});
