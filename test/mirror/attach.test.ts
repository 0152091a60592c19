import { describe, expect, test } from 'vitest';
import type { MirrorOptions } from '../../src/mirror/mirror-options.js';
import type { StreamMirrorOptions } from '../../src/mirror/mirror-options.js';
import { AreaSink } from './area-sink.js';
import { DEVICE, machineWithSpace, MirrorMachine, tlbiVa } from './machine.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;

/** What a call throws: its class and its message. */
function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return `${(error as Error).constructor.name}: ${(error as Error).message}`;
  }
  return 'nothing';
}

describe('Smmu.mirror refuses', () => {
  const RAM = [{ base: 0, byteLength: 4096 }];
  test.each<[string, object, string]>([
    ['no ram', {}, 'TypeError: options.ram is missing: pass the ranges of guest RAM'],
    [
      'ram that is not made of pages',
      { ram: [{ base: 1, byteLength: 4096 }] },
      'RangeError: options.ram: 0x1 with 0x1000 bytes is no range of whole pages of 4096 bytes below 0x10000000000000',
    ],
    [
      'ram beyond 2^52',
      { ram: [{ base: 2 ** 52, byteLength: 4096 }] },
      'RangeError: options.ram: 0x10000000000000 with 0x1000 bytes is no',
    ],
    [
      'ram that overlaps',
      { ram: [...RAM, ...RAM] },
      'RangeError: options.ram overlap at 0x0: leave one of them out',
    ],
    [
      'no tables',
      { ram: RAM, limits: { tables: 0 } },
      'RangeError: options.limits.tables is 0: it must be a whole number, 1 or more',
    ],
    [
      'half an area',
      { ram: RAM, limits: { areas: 0.5 } },
      'RangeError: options.limits.areas is 0.5: it must be a whole number',
    ],
    [
      'work that is no number',
      { ram: RAM, limits: { work: NaN } },
      'RangeError: options.limits.work is NaN: it must be',
    ],
  ])('%s', (_, options, message) => {
    const { machine } = machineWithSpace();
    expect(thrown(() => machine.smmu.mirror(options as MirrorOptions))).toContain(message);
    // Nothing of it is left: commands do not reach it.
    machine.issue(tlbiVa(IOVA));
    expect(machine.isDrained).toBe(true);
  });
});

describe('Mirror.attach refuses', () => {
  const sink = new AreaSink();
  test.each<[string, number, object, string]>([
    [
      'a StreamID',
      2 ** 32,
      {},
      'RangeError: streamId is 0x100000000: it must be below 2^32, and not negative',
    ],
    ['a negative StreamID', -1, {}, 'RangeError: streamId is -0x1: it must be'],
    ['half a StreamID', 0.5, {}, 'RangeError: streamId is'],
    [
      'a SubstreamID',
      0,
      { substreamId: 2 ** 20 },
      'RangeError: substreamId is 0x100000: it must be below 2^20, or -1',
    ],
    [
      'a policy',
      0,
      { policy: 'always' },
      'RangeError: policy is always: it must be demand, invalidate or tracked',
    ],
    ['no policy', 0, { policy: undefined }, 'RangeError: policy is undefined: it must be'],
    [
      'no sinks',
      0,
      { sinks: [] },
      'TypeError: options.sinks is empty: pass the sinks that the IOAS is written to',
    ],
    ['sinks that are no array', 0, { sinks: new AreaSink() }, 'TypeError: options.sinks is'],
    [
      'what is no sink',
      0,
      { sinks: [sink, {}] },
      'TypeError: options.sinks[1] has no method map: pass an IoasSink',
    ],
    [
      'a capability',
      0,
      { sinks: [new AreaSink({ pageSize: 5 })] },
      'RangeError: options.sinks[0].capabilities.pageSize is 5: it must be a power of two, 4096 or more',
    ],
    [
      'one sink twice',
      0,
      { sinks: [sink, sink] },
      'Error: a sink is in use already: each stream has its own',
    ],
  ])('%s', (_, streamId, options, message) => {
    const { mirror } = new MirrorMachine();
    const all = { sinks: [sink], policy: 'demand', ...options } as StreamMirrorOptions;
    expect(thrown(() => mirror.attach(streamId, all))).toContain(message);
    expect(mirror.stats()).toMatchObject({ streams: 0, spaces: 0, maps: 0 });
    // What was refused is not in use.
    mirror.attach(0, { sinks: [sink], policy: 'demand' });
  });

  test('a stream, and a sink, that is mirrored already, until it is detached', () => {
    const { machine } = machineWithSpace();
    const { mirror } = machine;
    const stream = mirror.attach(DEVICE, { sinks: [sink], policy: 'demand' });
    const other = new AreaSink();
    expect(thrown(() => mirror.attach(DEVICE, { sinks: [other], policy: 'demand' }))).toBe(
      'Error: stream 0x20 is mirrored already: detach its mirror first',
    );
    expect(thrown(() => mirror.attach(1, { sinks: [other, sink], policy: 'demand' }))).toBe(
      'Error: a sink is in use already: each stream has its own',
    );
    mirror.attach(DEVICE, { sinks: [other], policy: 'demand', substreamId: 5 });
    stream.detach();
    mirror.attach(DEVICE, { sinks: [sink], policy: 'demand' });
    expect(mirror.stats().streams).toBe(2);
  });

  test('nothing of sinks that read other options', () => {
    const { machine } = machineWithSpace();
    const stream = machine.attach('demand');
    expect(stream).toMatchObject({ streamId: DEVICE, substreamId: -1, policy: 'demand' });
  });
});

describe('a mirrored stream refuses', () => {
  const { machine } = machineWithSpace();
  const stream = machine.attach('invalidate');
  test.each<[string, () => unknown, string]>([
    [
      'a policy',
      () => (stream.policy = 'never' as 'demand'),
      'RangeError: policy is never: it must be',
    ],
    ['an IOVA to sync', () => stream.sync(-1), 'RangeError: iova is'],
    ['an IOVA beyond 2^53', () => stream.sync(2 ** 53), 'RangeError: iova is'],
    ['an IOVA beyond 2^64', () => stream.sync(2n ** 64n), 'RangeError: iova is'],
    [
      'a length to sync',
      () => stream.sync(0, -1),
      'RangeError: length is -1: it must be a whole number of bytes, 0 or more',
    ],
    ['an IOVA that was missed', () => stream.miss(0.5, 1), 'RangeError: iova is'],
    [
      'no permission',
      () => stream.miss(0, 0),
      'RangeError: permissions is 0: it must be made of AreaPermission bits',
    ],
    ['other permissions', () => stream.miss(0, 4), 'RangeError: permissions is 4'],
  ])('%s', (_, call, message) => {
    expect(thrown(call)).toContain(message);
    expect([stream.policy, stream.isInStep]).toEqual(['invalidate', true]);
  });

  // 1.5 lies between 1 and 3.
  test('a permission and a half', () => {
    expect(thrown(() => stream.miss(0, 1.5))).toContain('RangeError: permissions is 1.5');
  });
});

describe('detach', () => {
  test('empties the sinks, and ends the use of the stream', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sinks = [new AreaSink(), new AreaSink({ unmaps: 'area' })] as const;
    const stream = machine.mirror.attach(DEVICE, { sinks, policy: 'invalidate' });
    machine.unmap(space, IOVA + 0x1000).issue(tlbiVa(IOVA + 0x1000));
    stream.detach();
    expect(sinks.map(({ texts, wrongs }) => [texts, wrongs])).toEqual([
      [[], []],
      [[], []],
    ]);
    const message = 'Error: the mirror of stream 32 is detached: attach the stream again';
    expect(thrown(() => stream.sync())).toBe(message);
    expect(thrown(() => stream.miss(IOVA, 1))).toBe(message);
    expect(thrown(() => (stream.policy = 'demand'))).toBe(message);
    expect([...stream.areas(sinks[0])]).toEqual([]);
    // Again: nothing.
    stream.detach();
    const operations = sinks.map((sink) => sink.operations);
    machine.map(space, IOVA, PA, 4).issue(tlbiVa(IOVA));
    expect(sinks.map((sink) => sink.operations)).toEqual(operations);
  });

  test('counts on in the stats, and keeps nothing else', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const stream = machine.attach('invalidate');
    const before = machine.mirror.stats();
    expect(before).toMatchObject({
      streams: 1,
      spaces: 1,
      tables: 4,
      tablePages: 0,
      areas: 1,
      maps: 1,
      unmaps: 0,
      refusals: 0,
      fallBacks: 0,
      bytesRead: 4 * 4096,
      bytesLeftOut: 0,
    });
    stream.detach();
    expect(machine.mirror.stats()).toEqual({
      ...before,
      streams: 0,
      spaces: 0,
      tables: 0,
      areas: 0,
      unmaps: 1,
    });
  });

  test('while a sink refuses: the next CMD_SYNC tries again, and then it is free', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.refuses = () => 'throw';
    stream.detach();
    expect(sink.content).toEqual(['100000+4000>80000000 rw']);
    expect(thrown(() => machine.attach('demand', sink))).toContain('a sink is in use already');
    sink.refuses = () => undefined;
    machine.issue();
    expect([sink.content, machine.mirror.stats().streams]).toEqual([[], 0]);
    machine.attach('demand', sink);
  });

  test('of one of two streams with the same tables leaves those of the other', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4).setSte(DEVICE + 1, space.cd);
    const sink = new AreaSink();
    machine.attach('invalidate').detach();
    const first = machine.attach('invalidate');
    machine.attach('invalidate', sink, { streamId: DEVICE + 1 });
    first.detach();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect(sink.content).toEqual(['101000+3000>80001000 rw']);
  });
});
