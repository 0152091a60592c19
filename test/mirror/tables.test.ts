import { describe, expect, test } from 'vitest';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { NOWHERE, R } from '../smmu/smmu-machine.js';
import type { Edit } from '../transaction/machine.js';
import { AreaSink } from './area-sink.js';
import {
  expectKnown,
  machineWithSpace,
  RO,
  RW,
  TLBI_NH_ALL,
  tlbiPages,
  tlbiVa,
  type MirrorMachine,
  type Space,
} from './machine.js';

/** At the start of a block of 2 MiB. */
const IOVA = 0x7f_1220_0000;
const PA = 0x8000_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
}

/** `build` makes the tables; then a stream is mirrored, and the log begins. */
function world(
  build: (machine: MirrorMachine, space: Space) => void,
  ...edits: readonly Edit[]
): World {
  const { machine, space } = machineWithSpace({}, undefined, ...edits);
  build(machine, space);
  const sink = new AreaSink();
  const stream = machine.attach('invalidate', sink);
  expectKnown(stream, sink);
  return { machine, space, sink, stream };
}

/** What the sink is asked for at attach. */
function attached(
  build: (machine: MirrorMachine, space: Space) => void,
  ...edits: readonly Edit[]
): string[] {
  return world(build, ...edits).sink.take();
}

describe('tables when a stream is attached', () => {
  test('contiguous pages over several tables are one map', () => {
    expect(attached((m, s) => m.map(s, IOVA + 0x1ff000, PA, 514))).toEqual([
      'map 7f123ff000+202000>80000000 rw',
    ]);
  });

  test('a block of 1 GiB, one of 2 MiB and pages that continue each other are one map', () => {
    const build = (machine: MirrorMachine, space: Space): void => {
      machine.block(space, 0x4000_0000, 0xc000_0000, 1).block(space, 0x8000_0000, 0x1_0000_0000, 2);
      machine.map(space, 0x8020_0000, 0x1_0020_0000, 2);
    };
    expect(attached(build)).toEqual(['map 40000000+40202000>c0000000 rw']);
  });

  test('pages with other permissions, or elsewhere, are maps of their own', () => {
    const build = (machine: MirrorMachine, space: Space): void => {
      machine.map(space, IOVA, PA, 2).map(space, IOVA + 0x2000, PA + 0x2000, 1, RO);
      machine.map(space, IOVA + 0x3000, PA + 0x8000).map(space, IOVA + 0x5000, PA + 0x9000);
    };
    expect(attached(build)).toEqual([
      'map 7f12200000+2000>80000000 rw',
      'map 7f12202000+1000>80002000 r',
      'map 7f12203000+1000>80008000 rw',
      'map 7f12205000+1000>80009000 rw',
    ]);
  });

  test('an empty address space maps nothing', () => {
    expect(attached(() => undefined)).toEqual([]);
  });

  test('a page that only privileged accesses may reach is not mapped: AP[1]=0', () => {
    expect(attached((m, s) => m.map(s, IOVA, PA, 1, RW & ~0x40n))).toEqual([]);
  });

  test('a page without access flag is not mapped, but with AFFD or HA it is', () => {
    const build = (m: MirrorMachine, s: Space) => m.map(s, IOVA, PA, 1, RW & ~0x400n);
    const map = ['map 7f12200000+1000>80000000 rw'];
    expect(attached(build)).toEqual([]);
    expect(attached(build, [0, 35, 35, 1])).toEqual(map);
    expect(attached(build, [0, 43, 43, 1])).toEqual(map);
  });

  test('a clean page counts as writable where the SMMU would set its dirty state: DBM with HD', () => {
    const build = (m: MirrorMachine, s: Space) => m.map(s, IOVA, PA, 1, RO | (1n << 51n));
    expect(attached(build)).toEqual(['map 7f12200000+1000>80000000 r']);
    expect(attached(build, [0, 43, 42, 3])).toEqual(['map 7f12200000+1000>80000000 rw']);
  });

  test('APTable of a table above takes writes away, or unprivileged accesses, unless HAD0', () => {
    const build =
      (apTable: bigint) =>
      (machine: MirrorMachine, space: Space): void => {
        machine.map(space, IOVA, PA);
        const at = machine.descriptor(space, IOVA, 1);
        machine.put(at, machine.peek(at) | (apTable << 61n));
      };
    expect(attached(build(2n))).toEqual(['map 7f12200000+1000>80000000 r']);
    expect(attached(build(1n))).toEqual([]);
    expect(attached(build(3n), [1, 1, 1, 1])).toEqual(['map 7f12200000+1000>80000000 rw']);
  });

  test('tables, and parts of tables, where no memory is map nothing', () => {
    const build = (machine: MirrorMachine, space: Space): void => {
      machine.map(space, IOVA, PA);
      machine.put(machine.descriptor(space, IOVA + 0x20_0000, 2), BigInt(NOWHERE) | 3n);
      machine.put(machine.descriptor(space, 0x100_0000_0000, 0), BigInt(NOWHERE) | 3n);
    };
    expect(attached(build)).toEqual(['map 7f12200000+1000>80000000 rw']);
  });

  test('tables and pages beyond the IPS of 44 bits map nothing', () => {
    const build = (machine: MirrorMachine, space: Space): void => {
      machine.map(space, IOVA, 2 ** 44 - 0x1000).map(space, IOVA + 0x1000, 2 ** 44);
      machine.put(machine.descriptor(space, IOVA + 0x20_0000, 2), (1n << 44n) | 3n);
    };
    expect(attached(build)).toEqual(['map 7f12200000+1000>ffffffff000 rw']);
  });

  test('TTB0 where no memory is maps nothing, and records no event', () => {
    const { machine, space } = machineWithSpace();
    machine.changeCd(space, [1, 51, 4, NOWHERE / 16]);
    const sink = new AreaSink();
    expect(machine.attach('invalidate', sink).isInStep).toBe(true);
    expect(sink.log).toEqual([]);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
  });
});

describe('one page that changes, with its TLBI_NH_VA', () => {
  test.each<[string, bigint, string[]]>([
    ['its permission alone', BigInt(PA + 0x1000) | RO | 3n, ['r']],
    ['its access flag', BigInt(PA + 0x1000) | (RW & ~0x400n) | 3n, []],
    ['its type, to a reserved one', BigInt(PA + 0x1000) | RW | 1n, []],
    ['to nothing', 0n, []],
  ])('in %s', (_, descriptor, rights) => {
    const { machine, space, sink, stream } = world((m, s) => m.map(s, IOVA, PA, 4));
    sink.take();
    machine.put(machine.descriptor(space, IOVA + 0x1000), descriptor);
    machine.issue(tlbiVa(IOVA + 0x1000));
    expect(sink.take()).toEqual([
      'unmap 7f12201000+1000',
      ...rights.map((right) => `map 7f12201000+1000>80001000 ${right}`),
    ]);
    expectKnown(stream, sink);
  });

  test.each([
    ['memory attributes', 0x4n],
    ['shareability', 0x100n],
    ['nG', 0x800n],
    ['UXN', 1n << 54n],
    ['bits for software', 1n << 55n],
    ['the contiguous hint', 1n << 52n],
  ])('in its %s asks the sink for nothing', (_, bit) => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA, 4));
    sink.take();
    const at = machine.descriptor(space, IOVA + 0x1000);
    machine.put(at, machine.peek(at) ^ bit).issue(tlbiVa(IOVA + 0x1000));
    expect(sink.take()).toEqual([]);
  });

  test('that is new, or filled in again, is one map', () => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA, 4));
    machine.unmap(space, IOVA + 0x1000).issue(tlbiVa(IOVA + 0x1000));
    sink.take();
    machine.map(space, IOVA + 0x1000, PA + 0x1000).map(space, IOVA + 0x4000, PA + 0x4000);
    machine.issue(tlbiPages(IOVA, 8));
    expect(sink.take()).toEqual([
      'map 7f12201000+1000>80001000 rw',
      'map 7f12204000+1000>80004000 rw',
    ]);
  });

  test('and one that was not named: only the named one is brought to the sink', () => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA, 4));
    sink.take();
    machine.unmap(space, IOVA, 2).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(['unmap 7f12200000+1000']);
    machine.issue(TLBI_NH_ALL);
    expect(sink.take()).toEqual(['unmap 7f12201000+1000']);
  });
});

/** Pages of a table: the first half continue the block at PA, the second half lie elsewhere. */
function half(machine: MirrorMachine, table: number): void {
  for (let i = 0; i < 512; i++) {
    const address = i < 256 ? PA + 4096 * i : 0x9000_0000 + 4096 * i;
    machine.put(table + 8 * i, BigInt(address) | RW | 3n);
  }
}

describe('a block that becomes a table', () => {
  test.each([
    ['without break-before-make', false],
    ['with break-before-make', true],
  ])('%s', (_, breaks) => {
    const { machine, space, sink, stream } = world((m, s) => m.block(s, IOVA, PA));
    expect(sink.take()).toEqual(['map 7f12200000+200000>80000000 rw']);
    const at = machine.descriptor(space, IOVA, 2);
    const table = machine.table();
    half(machine, table);
    if (breaks) {
      machine.put(at, 0n).issue(tlbiVa(IOVA));
      expect(sink.take()).toEqual(['unmap 7f12200000+200000']);
    }
    machine.put(at, BigInt(table) | 3n).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(
      breaks
        ? ['map 7f12200000+100000>80000000 rw', 'map 7f12300000+100000>90100000 rw']
        : ['unmap 7f12300000+100000', 'map 7f12300000+100000>90100000 rw'],
    );
    expectKnown(stream, sink);
  });

  test('of the same pages asks the sink for nothing', () => {
    const { machine, space, sink } = world((m, s) => m.block(s, IOVA, PA));
    sink.take();
    machine.put(machine.descriptor(space, IOVA, 2), 0n);
    machine.map(space, IOVA, PA, 512).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual([]);
  });
});

describe('a table that becomes a block', () => {
  test.each([
    ['without break-before-make', false],
    ['with break-before-make', true],
  ])('%s', (_, breaks) => {
    const { machine, space, sink, stream } = world((m, s) => {
      m.map(s, IOVA, PA);
      const at = m.descriptor(s, IOVA);
      half(m, at - (at % 4096));
    });
    sink.take();
    const at = machine.descriptor(space, IOVA, 2);
    if (breaks) {
      machine.put(at, 0n).issue(tlbiVa(IOVA));
      expect(sink.take()).toEqual(['unmap 7f12200000+200000']);
    }
    machine.block(space, IOVA, PA).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(
      breaks
        ? ['map 7f12200000+200000>80000000 rw']
        : ['unmap 7f12300000+100000', 'map 7f12300000+100000>80100000 rw'],
    );
    expect(machine.mirror.stats().tables).toBe(3);
    expectKnown(stream, sink);
  });

  test('of the same pages asks the sink for nothing, and the table is forgotten', () => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA, 512));
    sink.take();
    expect(machine.mirror.stats().tables).toBe(4);
    machine.block(space, IOVA, PA).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual([]);
    expect(machine.mirror.stats().tables).toBe(3);
  });
});

describe('a descriptor of a table that changes', () => {
  test('in APTable, with a TLBI of the whole table: all below it is mapped anew', () => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA, 3));
    sink.take();
    const at = machine.descriptor(space, IOVA, 2);
    machine.put(at, machine.peek(at) | (1n << 62n)).issue(tlbiPages(IOVA, 512));
    expect(sink.take()).toEqual(['unmap 7f12200000+3000', 'map 7f12200000+3000>80000000 r']);
  });

  test('to nothing at level 1: all below it is unmapped by one unmap', () => {
    const { machine, space, sink } = world((m, s) => m.map(s, IOVA, PA).map(s, IOVA + 2 ** 22, PA));
    sink.take();
    machine.put(machine.descriptor(space, IOVA, 1), 0n).issue(tlbiVa(IOVA));
    expect(sink.take()).toEqual(['unmap 7f12200000+401000']);
    expect(machine.mirror.stats().tables).toBe(2);
  });
});
