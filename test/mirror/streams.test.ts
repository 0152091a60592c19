import { describe, expect, test } from 'vitest';
import { R, RAM } from '../smmu/smmu-machine.js';
import type { Edit } from '../transaction/machine.js';
import { AreaSink, joined } from './area-sink.js';
import {
  ASID,
  cfgiCd,
  cfgiSte,
  cfgiSteRange,
  DEVICE,
  expectKnown,
  machineWithSpace,
  MirrorMachine,
  RW,
  tlbiAsid,
  tlbiVa,
} from './machine.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;
const MAPPED = ['100000+4000>80000000 rw'];
const IDENTITY = ['40000000+10000000>40000000 rw'];
/** STE.Config, bits 3:1. */
const BYPASS: Edit = [0, 3, 1, 0b100];
const ABORT: Edit = [0, 3, 1, 0b000];
const INVALID: Edit = [0, 0, 0, 0];
/** Stage 2, which the SMMU does not have: C_BAD_STE. */
const ILLEGAL: Edit = [0, 3, 1, 0b110];
/** STE bits 113:112. */
const PRIVILEGED: Edit = [1, 49, 48, 3];
const UNPRIVILEGED: Edit = [1, 49, 48, 2];
/** Without AP[1]: what only privileged accesses reach. */
const KERNEL = RW & ~0x40n;

describe('the STE of a stream', () => {
  test.each<[string, Edit, string[]]>([
    ['bypass: the identity of RAM', BYPASS, IDENTITY],
    ['abort: nothing', ABORT, []],
    ['invalid: nothing', INVALID, []],
    ['illegal: nothing', ILLEGAL, []],
    ['a CD that is not valid: nothing', [0, 51, 6, 0x4f00_0000 / 64], []],
    ['a CD where no memory is: nothing', [0, 51, 6, 0x2000_0000 / 64], []],
  ])('says %s, and back', (_, edit, content) => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect(sink.content).toEqual(MAPPED);
    machine.setSte(DEVICE, space.cd, edit);
    machine.issue();
    // What the STE was is cached until a command names it.
    expect(sink.content).toEqual(MAPPED);
    machine.issue(cfgiSte());
    expect(sink.content).toEqual(content);
    expectKnown(stream, sink);
    expect([stream.isInStep, machine.isDrained]).toEqual([true, true]);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    expect(sink.content).toEqual(MAPPED);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
  });

  test('bypass of an SMMU with 32-bit addresses maps RAM below 2^32 alone', () => {
    const ram = [
      { base: 0xffff_f000, byteLength: 0x2000 },
      { base: RAM, byteLength: 0x1000 },
      { base: 2 ** 40, byteLength: 0x1000 },
    ];
    const features = { OAS: 32, DS: 0, VAX: 0 };
    const machine = new MirrorMachine({ mirror: { ram }, features });
    machine.setSte(DEVICE, 0, BYPASS);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    expect(sink.content).toEqual(['40000000+1000>40000000 rw', 'fffff000+1000>fffff000 rw']);
  });

  test('PRIVCFG decides over the privilege of accesses, with the same CD', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA).map(space, IOVA + 0x1000, PA + 0x1000, 1, KERNEL);
    machine.setSte(DEVICE, space.cd, PRIVILEGED).setSte(DEVICE + 1, space.cd);
    const sinks = [new AreaSink(), new AreaSink(), new AreaSink()] as const;
    machine.attach('invalidate', sinks[0]);
    machine.attach('invalidate', sinks[1], { streamId: DEVICE + 1 });
    machine.setSte(DEVICE + 2, space.cd, UNPRIVILEGED);
    machine.attach('invalidate', sinks[2], { streamId: DEVICE + 2, privileged: true });
    expect(sinks.map(({ content }) => content)).toEqual([
      ['100000+2000>80000000 rw'],
      ['100000+1000>80000000 rw'],
      ['100000+1000>80000000 rw'],
    ]);
    expect(machine.mirror.stats().spaces).toBe(1);
    machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    expect(sinks[0].content).toEqual(['100000+1000>80000000 rw']);
    expect(sinks[0].take().at(-1)).toBe('unmap 101000+1000');
  });

  test('a privileged device reaches what is privileged', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4, KERNEL);
    const sink = new AreaSink();
    machine.attach('invalidate', sink, { privileged: true });
    expect(sink.content).toEqual(MAPPED);
  });

  test('CFGI_STE_RANGE reaches the streams in its block alone', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sinks = [3, 4, 7, 8].map((offset) => {
      const sink = new AreaSink();
      machine.setSte(DEVICE + offset, space.cd);
      machine.attach('invalidate', sink, { streamId: DEVICE + offset });
      machine.setSte(DEVICE + offset, space.cd, ABORT);
      return sink;
    });
    // 2^(1+1) StreamIDs.
    machine.issue(cfgiSteRange(DEVICE + 6, 1));
    expect(sinks.map(({ content }) => content.length)).toEqual([1, 0, 0, 1]);
  });
});

describe('the CD of a stream', () => {
  test('with another TTB0 that maps the same asks the sink for nothing', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.take();
    const other = machine.space();
    machine.map(other, IOVA, PA, 4);
    machine.changeCd(space, [1, 51, 4, other.root / 16]).issue(cfgiCd());
    expect(sink.take()).toEqual([]);
    // It follows the new tables.
    machine.map(space, IOVA, 0x9000_0000).map(other, IOVA, 0xa000_0000).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(['unmap 100000+1000', 'map 100000+1000>a0000000 rw']);
    expectKnown(stream, sink);
    expect(machine.mirror.stats().spaces).toBe(1);
  });

  test('with another TTB0: what differs is unmapped and mapped, what is common stays', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    const other = machine.space(9);
    machine.map(other, IOVA + 0x2000, PA + 0x2000, 4);
    machine.setSte(DEVICE, other.cd).issue(cfgiSte());
    expect(sink.take()).toEqual(['unmap 100000+2000', 'map 104000+2000>80004000 rw']);
    // The ASID is another one, too.
    machine.unmap(other, IOVA + 0x5000).issue(tlbiVa(IOVA + 0x5000, ASID));
    expect(sink.take()).toEqual([]);
    machine.issue(tlbiAsid(9));
    expect(sink.take()).toEqual(['unmap 105000+1000']);
  });

  test('that is not valid any more, and valid again', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.changeCd(space, [0, 31, 31, 0]).issue(cfgiCd());
    expect(sink.content).toEqual([]);
    expect(machine.mirror.stats()).toMatchObject({ spaces: 0, tables: 0, areas: 0 });
    machine.changeCd(space, [0, 31, 31, 1]).issue(cfgiCd());
    expect(sink.content).toEqual(MAPPED);
  });

  test('with EPD0 maps nothing', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.changeCd(space, [0, 14, 14, 1]).issue(cfgiCd());
    expect(sink.content).toEqual([]);
    expect(stream.isInStep).toBe(true);
  });
});

/** CDs 0 to 3 in a table, with substreams on, and the given S1DSS. */
function substreams(s1dss: number): MirrorMachine {
  const machine = new MirrorMachine();
  const table = machine.table();
  for (let i = 0; i < 4; i++) {
    const space = machine.space(10 + i);
    machine.map(space, IOVA, PA + 0x10_0000 * i);
    for (let word = 0; word < 8; word++) {
      machine.put(table + 64 * i + 8 * word, machine.peek(space.cd + 8 * word));
    }
  }
  // CD 3 is not valid.
  machine.put(table + 64 * 3, 0n);
  return machine.setSte(DEVICE, table, [0, 63, 59, 2], [1, 1, 0, s1dss]);
}

describe('a stream with substreams', () => {
  test('is mirrored once for each SubstreamID, and once for accesses without one', () => {
    const machine = substreams(2);
    const sinks = [-1, 0, 1, 2, 3, 4].map((substreamId) => {
      const sink = new AreaSink();
      machine.attach('invalidate', sink, { substreamId });
      return sink;
    });
    expect(sinks.map(({ content }) => content)).toEqual([
      ['100000+1000>80000000 rw'],
      // With S1DSS=2 CD 0 is for accesses without SubstreamID; those with 0 fault.
      [],
      ['100000+1000>80100000 rw'],
      ['100000+1000>80200000 rw'],
      [],
      [],
    ]);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
  });

  test.each([
    [0, 'faults', []],
    [1, 'bypasses', IDENTITY],
    [2, 'uses CD 0', ['100000+1000>80000000 rw']],
  ])('with S1DSS=%d: what has no SubstreamID %s', (s1dss, _, content) => {
    const machine = substreams(s1dss);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    expect(sink.content).toEqual(content);
  });

  test('CFGI_CD of one of its CDs brings the other one to its sink', () => {
    const machine = substreams(2);
    const [one, two] = [new AreaSink(), new AreaSink()];
    machine.attach('invalidate', one, { substreamId: 1 });
    const stream = machine.attach('invalidate', two, { substreamId: 2 });
    const other = machine.space(20);
    machine.map(other, IOVA, 0xa000_0000);
    const table = Number(machine.peek(0x43c0_0000 + 64 * DEVICE) & 0xf_ffff_ffff_ffc0n);
    for (let word = 0; word < 8; word++) {
      machine.put(table + 128 + 8 * word, machine.peek(other.cd + 8 * word));
    }
    machine.issue(cfgiCd(DEVICE, 1));
    expect(two.content).toEqual(['100000+1000>80200000 rw']);
    machine.issue(cfgiCd(DEVICE, 2));
    expect([one.content, two.content]).toEqual([
      ['100000+1000>80100000 rw'],
      ['100000+1000>a0000000 rw'],
    ]);
    expectKnown(stream, two);
  });
});

describe('several sinks of a stream', () => {
  test('hold the same, each in the areas that it can have', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 32);
    const sinks = [
      new AreaSink(),
      new AreaSink({ unmaps: 'areas', reserved: [{ base: IOVA + 0x2000, byteLength: 0x1000 }] }),
      new AreaSink({ unmaps: 'area', pageSize: 65_536 }),
    ] as const;
    const stream = machine.mirror.attach(DEVICE, { sinks, policy: 'invalidate' });
    machine.unmap(space, IOVA + 0x5000).issue(tlbiVa(IOVA + 0x5000));
    expect(sinks.map(({ content }) => content)).toEqual([
      ['100000+5000>80000000 rw', '106000+1a000>80006000 rw'],
      ['100000+2000>80000000 rw', '103000+2000>80003000 rw', '106000+1a000>80006000 rw'],
      ['110000+10000>80010000 rw'],
    ]);
    for (const sink of sinks) {
      expectKnown(stream, sink);
      expect(joined(stream.areas(sink))).toEqual(sink.content);
    }
    expect([...stream.areas(new AreaSink())]).toEqual([]);
  });

  test('that cannot map everything: what was left out is counted', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 3);
    const sink = new AreaSink({ memory: [{ base: PA, byteLength: 0x1000 }] });
    const stream = machine.attach('invalidate', sink);
    expect(sink.content).toEqual(['100000+1000>80000000 rw']);
    expect(machine.mirror.stats().bytesLeftOut).toBe(0x2000);
    expect(stream.isInStep).toBe(true);
  });

  test('two regions of memory that touch: no area lies in both', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const regions = [PA, PA + 0x2000].map((base) => ({ base, byteLength: 0x2000 }));
    const sink = new AreaSink({ memory: regions });
    machine.attach('invalidate', sink);
    expect(sink.texts).toEqual(['100000+2000>80000000 rw', '102000+2000>80002000 rw']);
  });

  // Comparison.map joins what SinkLimits has cut at the bound of two regions.
  test('two regions that touch, where something was mapped before', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, 0x9000_0000);
    const regions = [PA, PA + 0x2000].map((base) => ({ base, byteLength: 0x2000 }));
    const more = { base: 0x9000_0000, byteLength: 0x1000 };
    const sink = new AreaSink({ memory: [...regions, more] });
    machine.attach('invalidate', sink);
    machine.map(space, IOVA, PA, 4).issue(tlbiAsid());
    expect(sink.wrongs).toEqual([]);
  });
});
