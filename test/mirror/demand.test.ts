import { describe, expect, test } from 'vitest';
import { AreaPermission } from '../../src/mirror/sink.js';
import { R } from '../smmu/smmu-machine.js';
import type { Edit } from '../transaction/machine.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  expectKnown,
  machineWithSpace,
  RO,
  RW,
  TLBI_NH_ALL,
  tlbiVa,
  type MirrorMachine,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;
const { read, write } = AreaPermission;
/** HA and HD. */
const HTTU: Edit = [0, 43, 42, 3];

function demanding(
  sink = new AreaSink(),
  ...edits: Edit[]
): { machine: MirrorMachine; space: Space; sink: AreaSink; stream: StreamMirror } {
  const { machine, space } = machineWithSpace({}, undefined, ...edits);
  machine.map(space, IOVA, PA, 8);
  return { machine, space, sink, stream: machine.attach('demand', sink) };
}

describe('a miss', () => {
  test('maps the page alone, with all that it allows', () => {
    const { machine, space, sink, stream } = demanding();
    machine.map(space, IOVA + 0x1000, PA + 0x1000, 1, RO);
    expect(stream.miss(IOVA + 0x234, read)).toBe(true);
    expect(stream.miss(BigInt(IOVA + 0x1fff), read)).toBe(true);
    expect(sink.take()).toEqual(['map 100000+1000>80000000 rw', 'map 101000+1000>80001000 r']);
    expectKnown(stream, sink);
  });

  test('maps the whole of a block', () => {
    const { machine, space, sink, stream } = demanding();
    machine.block(space, 0x4000_0000, 0xc000_0000, 1);
    stream.miss(0x5234_5678, write);
    expect(sink.take()).toEqual(['map 40000000+40000000>c0000000 rw']);
  });

  test.each([
    ['nothing is mapped', IOVA + 0x8000, read, 0x10],
    ['a page is read-only, and is to be written', IOVA + 0x1000, write, 0x13],
    ['it is to be read and written, too', IOVA + 0x1000, read | write, 0x13],
  ])('where %s is refused, with an event', (_, iova, permissions, event) => {
    const { machine, space, sink, stream } = demanding();
    machine.map(space, IOVA + 0x1000, PA, 1, RO);
    expect(stream.miss(iova, permissions)).toBe(false);
    expect(sink.take()).toEqual([]);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
    expect(Number(machine.record(0)[0]! & 0xffn)).toBe(event);
  });

  test('of what is mapped already asks the sink for nothing', () => {
    const { sink, stream } = demanding();
    stream.miss(IOVA, read);
    sink.take();
    expect(stream.miss(IOVA, write)).toBe(true);
    expect(sink.take()).toEqual([]);
  });

  test('of a clean page maps it read-only, until a write misses: HD', () => {
    const { machine, space, sink, stream } = demanding(new AreaSink(), HTTU);
    const DBM = 1n << 51n;
    machine.map(space, IOVA, PA, 1, RO | DBM);
    expect(stream.miss(IOVA, read)).toBe(true);
    expect(sink.take()).toEqual(['map 100000+1000>80000000 r']);
    expect(stream.miss(IOVA, write)).toBe(true);
    expect(sink.take()).toEqual(['unmap 100000+1000', 'map 100000+1000>80000000 rw']);
    // The SMMU has cleared AP[2].
    expect(machine.peek(machine.descriptor(space, IOVA)) & 0x80n).toBe(0n);
  });

  test('sets the access flag: HA', () => {
    const { machine, space, stream, sink } = demanding(new AreaSink(), HTTU);
    machine.map(space, IOVA, PA, 1, RW & ~0x400n);
    expect(stream.miss(IOVA, read)).toBe(true);
    expect(machine.peek(machine.descriptor(space, IOVA)) & 0x400n).toBe(0x400n);
    expect(sink.content).toEqual(['100000+1000>80000000 rw']);
  });

  test('of a stream that bypasses is allowed; all of RAM is mapped already', () => {
    const { machine, space, sink, stream } = demanding();
    machine.setSte(DEVICE, space.cd, [0, 3, 1, 0b100]).issue(cfgiSte());
    expect(sink.take()).toEqual(['map 40000000+10000000>40000000 rw']);
    expect(stream.miss(0x4000_0000, read)).toBe(true);
    expect(sink.take()).toEqual([]);
  });

  test('of a stream that follows its tables reads the page again', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.take();
    machine.map(space, IOVA + 0x1000, PA + 0x1000, 2);
    expect(stream.miss(IOVA + 0x1000, read)).toBe(true);
    expect(sink.take()).toEqual(['map 101000+1000>80001000 rw']);
  });

  test('while a sink is busy waits, and is served when it has answered', async () => {
    const { sink, stream, machine } = demanding();
    sink.isSlow = true;
    for (let i = 0; i < 4; i++) expect(stream.miss(IOVA + 4096 * i, read)).toBe(true);
    expect(sink.take()).toEqual(['map 100000+1000>80000000 rw']);
    while (sink.pending > 0) await sink.release();
    expect(sink.content).toEqual(['100000+4000>80000000 rw']);
    expectKnown(stream, sink);
    await machine.mirror.settled();
  });

  test('in a sink that has as many areas as it may have takes the place of others', () => {
    const { stream, sink } = demanding(new AreaSink({ areas: 4 }));
    for (let i = 0; i < 8; i++) {
      expect(stream.miss(IOVA + 4096 * i, read)).toBe(true);
      expect(sink.texts).toContain(`${(IOVA + 4096 * i).toString(16)}+1000>8000${i}000 rw`);
      expectKnown(stream, sink);
    }
    expect(stream.servedBy).toBe('demand');
  });

  test('leaves areas as they are in a sink that holds one area at most', () => {
    const { stream, sink } = demanding(new AreaSink({ areas: 1, unmaps: 'area' }));
    for (let i = 0; i < 4; i++) stream.miss(IOVA + 4096 * i, read);
    expect(sink.texts).toEqual(['103000+1000>80003000 rw']);
    expectKnown(stream, sink);
  });

  // The leaf that was found is compared without regard to the pages of the sink.
  test('in an area of a sink with larger pages than the leaf keeps to its pages', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 16);
    const sink = new AreaSink({ pageSize: 65_536 });
    const stream = machine.attach('invalidate', sink);
    stream.policy = 'demand';
    stream.miss(IOVA + 0x1000, read);
    expect(sink.wrongs).toEqual([]);
  });
});

describe('commands, while a stream is served on demand', () => {
  test('look up again what is mapped, and map nothing else', () => {
    const { machine, space, sink, stream } = demanding();
    for (const i of [0, 2, 3]) stream.miss(IOVA + 4096 * i, read);
    sink.take();
    machine.map(space, IOVA, 0x9000_0000).unmap(space, IOVA + 0x3000);
    machine.issue(TLBI_NH_ALL);
    expect(sink.content).toEqual(['100000+1000>90000000 rw', '102000+1000>80002000 rw']);
    expectKnown(stream, sink);
  });

  test('of pages that are not mapped ask the sink for nothing', () => {
    const { machine, space, sink, stream } = demanding();
    stream.miss(IOVA, read);
    sink.take();
    machine.map(space, IOVA + 0x1000, 0x9000_0000).issue(tlbiVa(IOVA + 0x1000));
    expect(sink.take()).toEqual([]);
  });

  test('pages that have become a block stay pages; the block is mapped where it is missed', () => {
    const { machine, space, sink, stream } = demanding();
    stream.miss(IOVA, read);
    stream.miss(IOVA + 0x2000, read);
    machine.block(space, 0, 0x9000_0000).issue(TLBI_NH_ALL);
    expect(sink.content).toEqual(['100000+1000>90100000 rw', '102000+1000>90102000 rw']);
    stream.miss(IOVA + 0x1000, read);
    expect(sink.content).toEqual(['0+200000>90000000 rw']);
    expectKnown(stream, sink);
  });

  test('a block that has become pages keeps those that there are', () => {
    const { machine, space, sink, stream } = demanding();
    machine.block(space, 0x4000_0000, 0x9000_0000);
    stream.miss(0x4000_0000, read);
    machine.put(machine.descriptor(space, 0x4000_0000, 2), 0n);
    machine.map(space, 0x4000_1000, 0x9000_1000, 2).issue(tlbiVa(0x4000_0000, undefined, 0n));
    machine.issue(TLBI_NH_ALL);
    expect(sink.content).toEqual(['40001000+2000>90001000 rw']);
  });

  test('a clean page that is mapped writable stays so', () => {
    const { machine, space, sink, stream } = demanding(new AreaSink(), HTTU);
    machine.map(space, IOVA, PA, 1, RO | (1n << 51n));
    stream.miss(IOVA, write);
    sink.take();
    machine.issue(TLBI_NH_ALL);
    expect(sink.take()).toEqual([]);
  });
});
