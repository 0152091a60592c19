import { describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R } from '../smmu/smmu-machine.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  machineWithSpace,
  MirrorMachine,
  TABLES,
  TLBI_NH_ALL,
  tlbiVa,
  type Space,
} from './machine.js';
import { WatchedMemory } from './watched-memory.js';

const PA = 0x8000_0000;
const GIB = 2 ** 30;

/** 300 tables of level 3, of which each has a page of its own; a limit of 64 on the work at a time. */
function large(work = 64): {
  machine: MirrorMachine;
  space: Space;
  memory: WatchedMemory;
  content: string[];
} {
  const memory = new WatchedMemory();
  const machine = new MirrorMachine({ watched: memory, mirror: { limits: { work } } });
  const space = machine.space();
  const content: string[] = [];
  for (let i = 0; i < 300; i++) {
    machine.map(space, GIB + 2 ** 21 * i, PA + 8192 * i);
    content.push(`${(GIB + 2 ** 21 * i).toString(16)}+1000>${(PA + 8192 * i).toString(16)} rw`);
  }
  return { machine, space, memory, content };
}

/** Does the steps that are scheduled. @returns the bytes of tables that each read. */
function steps(machine: MirrorMachine, memory: WatchedMemory): number[] {
  const read: number[] = [];
  for (;;) {
    const work = machine.scheduled.shift();
    if (work === undefined || read.length > 5000) return read;
    expect(machine.scheduled).toEqual([]);
    memory.clear();
    work();
    read.push(memory.bytesIn(TABLES, TABLES + 0x100_0000));
  }
}

describe('a large address space', () => {
  test('that a command brings is read in steps; CMD_SYNC completes with the last', () => {
    const { machine, space, memory, content } = large();
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd);
    memory.clear();
    machine.issue(cfgiSte());
    // No more than 64 tables at a time.
    expect(memory.bytesIn(TABLES, TABLES + 0x100_0000)).toBeLessThanOrEqual(64 * 4096);
    expect([machine.isDrained, stream.isInStep, sink.log]).toEqual([false, false, []]);
    const read = steps(machine, memory);
    expect(read.length).toBeGreaterThanOrEqual(Math.floor(303 / 64));
    expect(Math.max(...read)).toBeLessThanOrEqual(64 * 4096);
    expect([machine.isDrained, stream.isInStep]).toEqual([true, true]);
    expect(sink.texts).toEqual(content);
  });

  test('is read at once when it is attached, and by sync', () => {
    const { machine, space, content } = large();
    machine.setSte(DEVICE, space.cd);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect([sink.texts, machine.scheduled]).toEqual([content, []]);
    machine.unmap(space, GIB);
    expect([stream.sync(), sink.texts]).toEqual([true, content.slice(1)]);
    expect(machine.scheduled).toEqual([]);
  });

  test('loses nothing meanwhile: the sinks change when all of it is read', () => {
    const { machine, space, memory, content } = large();
    machine.setSte(DEVICE, space.cd);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine.unmap(space, GIB + 2 ** 21 * 7).issue(cfgiSte());
    while (machine.scheduled.length > 0) {
      expect(sink.log).toEqual([]);
      machine.scheduled.shift()!();
    }
    expect(sink.take()).toEqual([`unmap ${(GIB + 2 ** 21 * 7).toString(16)}+1000`]);
    expect(sink.texts).toEqual(content.filter((_, i) => i !== 7));
    expect([machine.isDrained, memory.reads.length > 0]).toEqual([true, true]);
  });

  test('goes on with the next drain as well, whoever comes first', () => {
    const { machine, space, content } = large();
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    for (let i = 0; i < 200 && !machine.isDrained; i++) machine.smmu.drain(10);
    machine.runScheduled();
    expect([machine.isDrained, sink.texts]).toEqual([true, content]);
  });

  test('that changes while it is read ends as the guest has left it', () => {
    const { machine, space, content } = large();
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    for (let i = 0; machine.scheduled.length > 0; i++) {
      machine.scheduled.shift()!();
      if (i >= 10) continue;
      const iova = GIB + 2 ** 21 * (29 * i);
      machine.unmap(space, iova).command(tlbiVa(iova));
    }
    const gone = new Set(Array.from({ length: 10 }, (_, i) => 29 * i));
    expect(sink.texts).toEqual(content.filter((_, i) => !gone.has(i)));
    expect([stream.isInStep, machine.isDrained]).toEqual([true, true]);
  });

  test('that goes away while it is read is forgotten', () => {
    const { machine, space, memory } = large();
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    expect(machine.scheduled).toHaveLength(1);
    machine.write(R.CR0, EVENTQEN | CMDQEN);
    steps(machine, memory);
    expect(sink.texts).toEqual(['40000000+10000000>40000000 rw']);
    expect(machine.mirror.stats()).toMatchObject({ tables: 0, spaces: 0 });
    expect([stream.isInStep, machine.isDrained]).toEqual([true, true]);
  });

  test('a stream that is detached while it is read leaves nothing', () => {
    const { machine, space, memory } = large();
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    stream.detach();
    steps(machine, memory);
    expect([sink.texts, machine.isDrained]).toEqual([[], true]);
    expect(machine.mirror.stats()).toMatchObject({ streams: 0, tables: 0 });
  });

  // A step with less than the levels of a walk comes no further than the one before.
  test.each([1, 2, 3])('with a limit of %d at a time comes to the same', (work) => {
    const { machine, space, memory, content } = large(work);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    const read = steps(machine, memory);
    expect(Math.max(...read)).toBeLessThanOrEqual(6 * 4096);
    expect([machine.isDrained, sink.texts]).toEqual([true, content]);
  });

  test.each([4, 5, 16, 100])('with a limit of %d at a time comes to the same', (work) => {
    const { machine, space, memory, content } = large(work);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    const read = steps(machine, memory);
    expect(Math.max(...read)).toBeLessThanOrEqual(Math.max(6, work) * 4096);
    expect([machine.isDrained, sink.texts]).toEqual([true, content]);
  });

  test('settled() is fulfilled after the last step', async () => {
    const { machine, space, memory } = large();
    machine.attach();
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    let isSettled = false;
    void machine.mirror.settled().then(() => (isSettled = true));
    await Promise.resolve();
    expect(isSettled).toBe(false);
    steps(machine, memory);
    await Promise.resolve();
    expect(isSettled).toBe(true);
  });

  test('without a scheduler goes on by itself', async () => {
    const { machine, space, content } = large();
    const { ram } = machine.options();
    const mirror = machine.smmu.mirror({ ram, limits: { work: 64 } });
    const sink = new AreaSink();
    mirror.attach(DEVICE, { sinks: [sink], policy: 'invalidate' });
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    expect(machine.isDrained).toBe(false);
    await mirror.settled();
    expect([machine.isDrained, sink.texts]).toEqual([true, content]);
  });
});

describe('many runs', () => {
  test('are brought to a sink in steps, when a command brings them', () => {
    const { machine, space } = machineWithSpace({ mirror: { limits: { work: 256 } } });
    let maps = 0;
    machine.attach('invalidate', {
      capabilities: {},
      map: () => ++maps > 0,
      unmap: () => true,
    });
    for (let i = 0; i < 20_000; i++) machine.map(space, 8192 * i, PA + 4096 * i);
    machine.issue(TLBI_NH_ALL);
    let most = 0;
    let before = 0;
    for (let work; (work = machine.scheduled.shift()) !== undefined;) {
      work();
      most = Math.max(most, maps - before);
      before = maps;
    }
    expect(most).toBeLessThanOrEqual(8192);
    expect([maps, machine.isDrained]).toEqual([20_000, true]);
  });
});
