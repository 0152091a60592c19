import { describe, expect, test } from 'vitest';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { GuestBuilder, type GuestOptions } from '../../src/fixtures/guest-builder.js';
import { forEachLeaf, type Leaf } from '../../src/ioas/enumerate.js';
import { TableScan, type LeafVisitor } from '../../src/ioas/table-scan.js';
import { Context } from '../../src/transaction/context.js';
import { referenceLeaves } from '../reference/index.js';
import { nthSeed, Random } from '../transaction/random.js';
import { machineOf, randomSpace } from './random-space.js';

function contextOf(guest: GuestBuilder, space: AddressSpaceBuilder): Context {
  const words = new Uint32Array(16);
  guest.load(space.cdAddress, words);
  const context = new Context();
  context.decode(words, 0, guest.features);
  return context;
}

/** What a visitor was given: level, shift, first IOVA, descriptors as low and high word, table bits. */
interface Visit {
  level: number;
  shift: number;
  iova: number;
  count: number;
  set: [index: number, low: number, high: number][];
  tableBits: number;
}

/** Notes every call; descriptors of 0 are counted, not listed. */
function noting(visits: Visit[], most = Infinity): LeafVisitor {
  return {
    leaves({ words, first, end, level, shift, iova, tableBits }) {
      const set: Visit['set'] = [];
      for (let i = first; i < end; i++) {
        const [low, high] = [words[2 * i]!, words[2 * i + 1]!];
        if (low !== 0 || high !== 0) set.push([i - first, low, high]);
      }
      visits.push({
        level,
        shift,
        iova: iova[0]!,
        count: end - first,
        set,
        tableBits: tableBits >>> 0,
      });
      return visits.length < most;
    },
  };
}

function scanned(options: GuestOptions, make: (guest: GuestBuilder) => AddressSpaceBuilder) {
  const guest = new GuestBuilder(options);
  const space = make(guest);
  const scan = new TableScan(guest.memory);
  const visits: Visit[] = [];
  const end = scan.scan(contextOf(guest, space), 100, noting(visits));
  return { scan, visits, end, space };
}

describe('a scan of tables', () => {
  test('gives what lies between table descriptors, in order, with level and shift', () => {
    const { visits, end, scan } = scanned({}, (guest) => {
      // 39 bits: level 1 is the first, with 512 descriptors of 1 GiB.
      const space = guest.addressSpace({ inputBits: 39, cd: { EPD1: 1 } });
      space.setDescriptor(0, 1, new Uint32Array([0x8000_0741, 1]));
      space.setDescriptor(0x8000_1000, 3, new Uint32Array([0x9000_0743, 0]), { APTable: 2 });
      return space;
    });
    expect(visits).toEqual([
      { level: 1, shift: 30, iova: 0, count: 2, set: [[0, 0x8000_0741, 1]], tableBits: 0 },
      {
        level: 3,
        shift: 12,
        iova: 0x8000_0000,
        count: 512,
        set: [[1, 0x9000_0743, 0]],
        tableBits: 0x4000_0000,
      },
      { level: 2, shift: 21, iova: 0x8020_0000, count: 511, set: [], tableBits: 0x4000_0000 },
      { level: 1, shift: 30, iova: 0xc000_0000, count: 509, set: [], tableBits: 0 },
    ]);
    expect([end, scan.tables, scan.aborted, scan.outOfRange]).toEqual(['complete', 3, 0, 0]);
  });

  test('takes the lower half first, and each IOVA of the upper one exactly', () => {
    const { visits } = scanned({}, (guest) => {
      const space = guest.addressSpace({ inputBits: 25 });
      space.setDescriptor(0xffff_ffff_ff00_0000n, 2, new Uint32Array([0x8000_0741, 0]));
      space.setDescriptor(0x20_0000, 2, new Uint32Array([0x8020_0741, 0]));
      return space;
    });
    // 25 bits: level 2 is the first, with 16 descriptors of 2 MiB.
    expect(visits).toEqual([
      { level: 2, shift: 21, iova: 0, count: 16, set: [[1, 0x8020_0741, 0]], tableBits: 0 },
      {
        level: 2,
        shift: 21,
        iova: 2 ** 64 - 2 ** 25,
        count: 16,
        set: [[8, 0x8000_0741, 0]],
        tableBits: 0,
      },
    ]);
  });

  test('leaves out a half whose EPD is set', () => {
    const make = (cd: { EPD0: number } | { EPD1: number }) =>
      scanned({}, (guest) => guest.addressSpace({ inputBits: 25, cd })).visits.map(
        ({ iova }) => iova,
      );
    expect(make({ EPD0: 1 })).toEqual([2 ** 64 - 2 ** 25]);
    expect(make({ EPD1: 1 })).toEqual([0]);
  });

  test.each([
    [0, 0xf800_0000],
    [1, 0],
  ])('ORs the high words of the tables above, or gives 0: HAD %d', (had, expected) => {
    const { visits } = scanned({}, (guest) => {
      const space = guest.addressSpace({ inputBits: 48, cd: { EPD1: 1, HAD0: had } });
      space.descriptorAddress(0, 1, { APTable: 1, NSTable: 1 });
      space.descriptorAddress(0, 2, { XNTable: 1, PXNTable: 1 });
      space.descriptorAddress(0, 3, { APTable: 2 });
      return space;
    });
    expect(visits[0]).toMatchObject({ level: 3, tableBits: expected });
  });

  test('gives big-endian descriptors as little-endian words', () => {
    const { visits } = scanned({}, (guest) => {
      const space = guest.addressSpace({ inputBits: 25, bigEndian: true, cd: { EPD1: 1 } });
      // 0x0060_0000_8020_0741 in big-endian bytes
      guest.store(
        space.descriptorAddress(0x20_0000, 2),
        new Uint32Array([0x0000_6000, 0x4107_2080]),
      );
      return space;
    });
    expect(visits[0]!.set).toEqual([[1, 0x8020_0741, 0x0060_0000]]);
  });

  test('a 64K table comes in stretches of 512 descriptors', () => {
    const { visits } = scanned({}, (guest) => {
      const space = guest.addressSpace({ granuleLog2: 16, inputBits: 42, cd: { EPD1: 1 } });
      space.setDescriptor(0x2_0000_0000 * 50, 2, new Uint32Array([0x0000_0741, 0]));
      return space;
    });
    expect(visits).toHaveLength(16);
    expect(visits.every(({ count, shift }) => count === 512 && shift === 29)).toBe(true);
    expect(visits.map(({ iova }) => iova / 2 ** 38)).toEqual([...Array(16).keys()]);
    // 400 GiB is descriptor 800: 288 of the second stretch.
    expect(visits[1]!.set).toEqual([[288, 0x741, 0]]);
  });

  test('tables beyond the effective IPS are counted and left out', () => {
    const { scan, visits, end } = scanned({}, (guest) => {
      const space = guest.addressSpace({ inputBits: 39, cd: { EPD1: 1, IPS: 2 } });
      // IPS 2: 40 bits
      space.setDescriptor(0x0000_0000, 1, new Uint32Array([0x0000_0003, 0x100]));
      space.setDescriptor(0x4000_0000, 1, new Uint32Array([0xffff_f003, 0xff]));
      space.setDescriptor(0x8000_0000, 1, new Uint32Array([0x0000_0003, 0x8000]));
      return space;
    });
    expect([end, scan.outOfRange, scan.tables]).toEqual(['complete', 2, 2]);
    // 0xff_ffff_f000 is in range, but not in memory.
    expect([scan.aborted, scan.firstAborted]).toEqual([512, 0xff_ffff_f000]);
    expect(visits.map(({ level }) => level)).toEqual([2, 1]);
  });

  test('a visitor that returns false stops it', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ inputBits: 39 });
    space.map(0, 0x8000_0000, 0x1000);
    const scan = new TableScan(guest.memory);
    for (const most of [1, 2, 3]) {
      const visits: Visit[] = [];
      expect(scan.scan(contextOf(guest, space), 100, noting(visits, most))).toBe('stopped');
      expect(visits).toHaveLength(most);
    }
  });

  test('a limit of tables ends it, and the next scan counts anew', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ inputBits: 39 });
    space.map(0, 0x8000_0000, 0x1000);
    const scan = new TableScan(guest.memory);
    const context = contextOf(guest, space);
    // Level 1, 2 and 3 of the lower half, level 1 of the upper one
    expect(scan.scan(context, 3, noting([]))).toBe('tables');
    expect(scan.tables).toBe(3);
    expect(scan.scan(context, 4, noting([]))).toBe('complete');
    expect(scan.tables).toBe(4);
  });

  test.each([0, -1, 0.5, NaN, 2 ** 53])('a limit of %d tables is refused', (limit) => {
    const guest = new GuestBuilder();
    const context = contextOf(guest, guest.addressSpace());
    const call = () => new TableScan(guest.memory).scan(context, limit, noting([]));
    expect(call).toThrow(RangeError);
    expect(call).toThrow(`tableLimit is ${limit}`);
  });
});

describe('forEachLeaf', () => {
  function leavesOf(guest: GuestBuilder, context: Context, most = Infinity) {
    const leaves: Leaf[] = [];
    const { end, scan } = forEachLeaf(guest.memory, context, 4000, (leaf) => {
      leaves.push(leaf);
      return leaves.length < most;
    });
    return { end, scan, leaves };
  }

  test('gives pages whose access flag is clear, and whatever their permissions', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ cd: { EPD1: 1 } });
    space.map(0x1000, 0x8000_1000, 0x1000, { leaf: { AF: 0 }, unprivileged: false, write: false });
    space.map(0x20_0000, 0x9000_0000, 0x20_0000, { tables: { APTable: 3 } });
    const { leaves, end } = leavesOf(guest, contextOf(guest, space));
    expect(end).toBe('complete');
    expect(leaves).toEqual([
      // Privileged read (8), and execution by both (4, 32): AP 2, UXN and PXN clear.
      {
        iova: 0x1000,
        address: 0x8000_1000,
        level: 3,
        sizeLog2: 12,
        high: 0,
        low: 0x8000_1b87,
        tableBits: 0,
        permissions: 4 | 8 | 32,
      },
      // Writable by both: no privileged execution.
      {
        iova: 0x20_0000,
        address: 0x9000_0000,
        level: 2,
        sizeLog2: 21,
        high: 0,
        low: 0x9000_0f45,
        tableBits: 0,
        permissions: 1 | 2 | 4 | 8 | 16,
      },
    ]);
  });

  test('a visitor that returns false stops it', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace();
    space.map(0x1000, 0x8000_1000, 0x5000);
    const { leaves, end } = leavesOf(guest, contextOf(guest, space), 2);
    expect([end, leaves.map(({ iova }) => iova)]).toEqual(['stopped', [0x1000, 0x2000]]);
  });

  test('finds the leaves of the reference in 60 random spaces', () => {
    let leavesFound = 0;
    for (let i = 0; i < 60; i++) {
      const { guest, space } = randomSpace(new Random(nthSeed(0x1ea5, i)));
      const { leaves, end } = leavesOf(guest, contextOf(guest, space));
      expect(end).toBe('complete');
      const expected = referenceLeaves(machineOf(guest.memory, guest.frame), 1, undefined, 100_000);
      leavesFound += expected.length;
      expect(
        leaves.map((leaf) => [
          BigInt(leaf.iova),
          BigInt(leaf.address),
          leaf.level,
          leaf.sizeLog2,
          (BigInt(leaf.high >>> 0) << 32n) | BigInt(leaf.low >>> 0),
          leaf.permissions & 63,
        ]),
        `space ${i}`,
      ).toEqual(
        expected.map(({ iova, pa, leaf }) => [
          iova,
          pa,
          leaf.level,
          leaf.sizeLog2,
          leaf.descriptor,
          [leaf.unprivileged, leaf.privileged].reduce(
            (bits, { read, write, execute }, k) =>
              bits | (((read ? 1 : 0) | (write ? 2 : 0) | (execute ? 4 : 0)) << (3 * k)),
            0,
          ),
        ]),
      );
    }
    expect(leavesFound).toBeGreaterThan(500);
  });
});
