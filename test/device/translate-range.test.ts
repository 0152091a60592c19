import { describe, expect, test } from 'vitest';
import { Segments } from '../../src/device/segments.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { Reason } from '../../src/transaction/reason.js';
import { nthSeed, Random } from '../transaction/random.js';
import { BLOCK, DATA, DeviceMachine, NOWHERE, PAGE, STREAM, TABLES } from './device-machine.js';
import { rounds, SEED, where } from './seed.js';

interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

type Segment = readonly [address: number, length: number];

function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(5, cd);
  machine.guest.attach(STREAM, space);
  machine.start();
  return { machine, space, handle: machine.smmu.attach(STREAM) };
}

/** The bytes translated, and the segments. */
function range(
  handle: StreamHandle,
  iova: number | bigint,
  length: number,
  access = 0,
): [number, Segment[]] {
  const into = new Segments();
  // What was in it before does not matter.
  into.add(1, 1);
  into.add(7, 1);
  const done = handle.translateRange(iova, length, access, into);
  return [done, segmentsOf(into)];
}

function segmentsOf(segments: Segments): Segment[] {
  const list: Segment[] = [];
  for (let i = 0; i < segments.count; i++) {
    list.push([segments.addresses[i]!, segments.lengths[i]!]);
  }
  return list;
}

describe('translateRange()', () => {
  test('joins what continues in physical memory, and nothing else', () => {
    const { space, handle } = device();
    space.map(0x10_0000, DATA, 2 * PAGE);
    space.map(0x10_2000, DATA + 8 * PAGE, PAGE);
    space.map(0x10_3000, DATA + 7 * PAGE, PAGE);
    space.map(0x10_4000, DATA + 8 * PAGE, PAGE);
    for (let round = 0; round < 2; round++) {
      expect(range(handle, 0x10_0ff0, 0x20)).toEqual([0x20, [[DATA + 0xff0, 0x20]]]);
      expect(range(handle, 0x10_0800, 4 * PAGE)).toEqual([
        4 * PAGE,
        [
          [DATA + 0x800, 2 * PAGE - 0x800],
          [DATA + 8 * PAGE, PAGE],
          [DATA + 7 * PAGE, PAGE + 0x800],
        ],
      ]);
    }
  });

  test('lengths 0 and 1', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, PAGE);
    expect(range(handle, 0x1fff, 1)).toEqual([1, [[DATA + 0xfff, 1]]]);
    expect(range(handle, 0x1000, 0)).toEqual([0, []]);
    // Nothing is asked for: nothing faults.
    expect(range(handle, 0x5000, 0)).toEqual([0, []]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('a block is one segment, and so is a run; both go on with what follows', () => {
    const { space, handle } = device();
    space.map(BLOCK, DATA, BLOCK);
    space.map(2 * BLOCK, DATA + BLOCK, 16 * PAGE, { level: 3, leaf: { Contiguous: 1 } });
    space.map(2 * BLOCK + 16 * PAGE, DATA, PAGE);
    for (let round = 0; round < 2; round++) {
      expect(range(handle, BLOCK, BLOCK)).toEqual([BLOCK, [[DATA, BLOCK]]]);
      expect(range(handle, BLOCK + 5, 9)).toEqual([9, [[DATA + 5, 9]]]);
      const run = 2 * BLOCK;
      expect(range(handle, run, 16 * PAGE)).toEqual([16 * PAGE, [[DATA + BLOCK, 16 * PAGE]]]);
      expect(range(handle, BLOCK + 1, BLOCK + 17 * PAGE - 1)).toEqual([
        BLOCK + 17 * PAGE - 1,
        [
          [DATA + 1, BLOCK + 16 * PAGE - 1],
          [DATA, PAGE],
        ],
      ]);
    }
  });

  test('a stream that bypasses is one segment, up to the end of physical addresses', () => {
    const { machine, handle } = device();
    machine.guest.bypass(STREAM);
    expect(range(handle, NOWHERE + 3, 2 ** 40)).toEqual([2 ** 40, [[NOWHERE + 3, 2 ** 40]]]);
    const last = 2 ** 52 - 0x1000;
    expect(range(handle, last, 0x1000)).toEqual([0x1000, [[last, 0x1000]]]);
    expect(machine.takeEvents()).toEqual([]);
    expect(range(handle, last, 0x1001)).toEqual([0x1000, [[last, 0x1000]]]);
    expect(handle.fault).toMatchObject({ event: 0x11, inputHigh: 0x10_0000, inputLow: 0 });
    expect(machine.takeEvents()).toHaveLength(1);
  });

  test('ends with a fault, which is recorded once with its address', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, 2 * PAGE);
    space.map(0x4000, DATA, PAGE);
    for (let round = 0; round < 2; round++) {
      expect(range(handle, 0x1234, 0x4000)).toEqual([0x1dcc, [[DATA + 0x234, 0x1dcc]]]);
      expect(handle.fault).toMatchObject({ event: 0x10, inputLow: 0x3000 });
      expect(machine.takeEvents()).toEqual([[0x10_0000_0010n, 0x208_0000_0000n, 0x3000n, 0n]]);
      expect(range(handle, 0x3fff, 2)).toEqual([0, []]);
      expect(machine.takeEvents()).toMatchObject([[0x10_0000_0010n, {}, 0x3fffn, 0n]]);
    }
  });

  test('ends where a write is not allowed', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, PAGE);
    space.map(0x2000, DATA + PAGE, PAGE, { write: false });
    expect(range(handle, 0x1ff0, 0x20)).toEqual([0x20, [[DATA + 0xff0, 0x20]]]);
    expect(range(handle, 0x1ff0, 0x20, 1)).toEqual([0x10, [[DATA + 0xff0, 0x10]]]);
    expect(machine.takeEvents()).toEqual([[0x10_0000_0013n, 0x200_0000_0000n, 0x2000n, 0n]]);
  });

  test('ends where reads give zeros (CD.A=0): there is no address', () => {
    const { machine, space, handle } = device({ A: 0 });
    space.map(0x1000, DATA, PAGE);
    expect(range(handle, 0x1ff0, 0x20)).toEqual([0x10, [[DATA + 0xff0, 0x10]]]);
    expect(handle.fault).toMatchObject({ outcome: 2, event: 0x10, inputLow: 0x2000 });
    expect(machine.takeEvents()).toHaveLength(1);
  });

  test('crosses 4 GiB, of input and of output addresses', () => {
    const { space, handle } = device();
    space.map(0xffff_e000, 0x1_ffff_e000, 4 * PAGE, { level: 3 });
    const all = [4 * PAGE, [[0x1_ffff_e000, 4 * PAGE]]];
    expect(range(handle, 0xffff_e000, 4 * PAGE)).toEqual(all);
    expect(range(handle, 0xffff_ffffn, 2)).toEqual([2, [[0x1_ffff_ffff, 2]]]);
    expect(range(handle, 0xffff_e000n, 4 * PAGE)).toEqual(all);
  });

  test('goes over many pages of the upper half', () => {
    const { space, handle } = device();
    const first = 0xffff_8000_ffff_e000n;
    for (let i = 0; i < 4; i++) {
      space.map(first + BigInt(i * PAGE), DATA + 2 * i * PAGE, PAGE);
    }
    for (let round = 0; round < 2; round++) {
      expect(range(handle, first + 0x10n, 4 * PAGE - 0x10)).toEqual([
        4 * PAGE - 0x10,
        [0, 2, 4, 6].map((i) => [DATA + i * PAGE + (i === 0 ? 16 : 0), i === 0 ? 0xff0 : PAGE]),
      ]);
    }
  });

  test('goes to 2^64, and not beyond: there is no address, and no event', () => {
    const { machine, space, handle } = device();
    const last = 0xffff_ffff_ffff_e000n;
    space.map(last, DATA, 2 * PAGE);
    space.map(0, DATA, PAGE);
    for (let round = 0; round < 2; round++) {
      const all = [2 * PAGE, [[DATA, 2 * PAGE]]];
      expect(range(handle, last, 2 * PAGE)).toEqual(all);
      expect(range(handle, 2n ** 64n - 1n, 1)).toEqual([1, [[DATA + 0x1fff, 1]]]);
      expect(range(handle, last, 2 * PAGE + 1)).toEqual(all);
      expect(handle.fault).toMatchObject({
        outcome: 1,
        event: 0,
        recorded: false,
        reason: Reason.endOfSpace,
        streamId: STREAM,
        inputHigh: 0,
        inputLow: 0,
      });
      // It is over with that access: the next one is not beyond.
      expect(range(handle, 0, 1)).toEqual([1, [[DATA, 1]]]);
    }
    expect(machine.takeEvents()).toEqual([]);
  });

  test('the end of the lower half faults', () => {
    const { machine, space, handle } = device();
    space.map(2 ** 48 - PAGE, DATA, PAGE);
    expect(range(handle, 2 ** 48 - 16, 32)).toEqual([16, [[DATA + PAGE - 16, 16]]]);
    expect(handle.fault).toMatchObject({ event: 0x10, inputHigh: 0x1_0000, inputLow: 0 });
    expect(machine.takeEvents()).toHaveLength(1);
  });

  test.each([0x0100_0000_0000_0000n, 0xfe00_0000_0000_0000n])('keeps the tag %d', (tag) => {
    const { machine, space, handle } = device({ TBI0: 1 });
    space.map(0xffff_f000, DATA, 2 * PAGE, { level: 3 });
    for (let round = 0; round < 2; round++) {
      expect(range(handle, tag + 0xffff_f800n, 2 * PAGE)).toEqual([
        0x1800,
        [[DATA + 0x800, 0x1800]],
      ]);
      expect(machine.takeEvents()).toMatchObject([[{}, {}, tag + 0x1_0000_1000n, 0n]]);
    }
  });
});

describe('translateRange() of what is warm', () => {
  test('a block is one look-up, and reads no table', () => {
    const { machine, space, handle } = device();
    space.map(BLOCK, DATA, BLOCK);
    handle.translate(BLOCK, 0);
    machine.memory.clear();
    const before = machine.smmu.stats();
    expect(range(handle, BLOCK, BLOCK)).toEqual([BLOCK, [[DATA, BLOCK]]]);
    const after = machine.smmu.stats();
    expect(machine.memory.loads).toEqual([]);
    expect(after.walks - before.walks).toBe(0);
    expect(after.translations - before.translations).toBe(1);
  });

  test('a block of 4 TiB is one, too', () => {
    // IDR5: 52-bit addresses, 64K granule. With it level 1 has blocks.
    const machine = new DeviceMachine({ guest: { registers: { IDR5: 0x76 } } });
    const space = machine.guest.addressSpace({ granuleLog2: 16 });
    machine.guest.attach(STREAM, space);
    space.map(2 ** 43, 2 ** 48 + 2 ** 42, 2 ** 42);
    machine.start();
    const handle = machine.smmu.attach(STREAM);
    const expected = [2 ** 41, [[2 ** 48 + 2 ** 42 + 0x1_2345_6789, 2 ** 41]]];
    expect(range(handle, 2 ** 43 + 0x1_2345_6789, 2 ** 41)).toEqual(expected);
    machine.memory.clear();
    const before = machine.smmu.stats().translations;
    expect(range(handle, 2 ** 43 + 0x1_2345_6789, 2 ** 41)).toEqual(expected);
    expect(machine.memory.loads).toEqual([]);
    expect(machine.smmu.stats().translations - before).toBe(1);
    const end = 2 ** 43 + 2 ** 42;
    expect(range(handle, end - 7, 8)).toEqual([7, [[2 ** 48 + 2 ** 43 - 7, 7]]]);
  });

  test('a run is one look-up', () => {
    const { machine, space, handle } = device();
    space.map(BLOCK, DATA, 16 * PAGE, { level: 3, leaf: { Contiguous: 1 } });
    handle.translate(BLOCK + 9 * PAGE, 0);
    machine.memory.clear();
    const before = machine.smmu.stats().translations;
    expect(range(handle, BLOCK, 16 * PAGE)).toEqual([16 * PAGE, [[DATA, 16 * PAGE]]]);
    expect(machine.memory.loads).toEqual([]);
    expect(machine.smmu.stats().translations - before).toBe(1);
  });

  test('a page costs one walk of four loads, once', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, 3 * PAGE);
    handle.translate(0x1000, 0);
    machine.memory.clear();
    range(handle, 0x1000, 3 * PAGE);
    expect(machine.memory.loadsIn(TABLES, DATA)).toBe(8);
    machine.memory.clear();
    range(handle, 0x1000, 3 * PAGE);
    expect(machine.memory.loads).toEqual([]);
  });
});

describe("the embedder's mistakes", () => {
  test.each([-1, 0.5, NaN, Infinity, 2 ** 53])('length %d is a RangeError', (length) => {
    const { handle } = device();
    expect(() => handle.translateRange(0, length, 0, new Segments())).toThrow(RangeError);
    expect(() => handle.translateRange(0, length, 0, new Segments())).toThrow(
      `length is ${length}:`,
    );
  });

  test.each([-1, 0.5, NaN, 2 ** 53, 2n ** 64n, -1n])('iova %d is one', (iova) => {
    const { handle } = device();
    for (const length of [0, 1]) {
      expect(() => handle.translateRange(iova, length, 0, new Segments())).toThrow(RangeError);
      expect(() => handle.translateRange(iova, length, 0, new Segments())).toThrow('iova is ');
    }
  });

  test.each([8, -1, 1.5, NaN])('access %d is one, also of nothing', (access) => {
    const { space, handle } = device();
    space.map(0, DATA, PAGE);
    handle.translate(0, 0);
    for (const length of [1, 0]) {
      const attempt = () => handle.translateRange(0, length, access, new Segments());
      expect(attempt).toThrow(RangeError);
      expect(attempt).toThrow(`access is ${access}:`);
    }
  });
});

/** Where the leaves of a random space lie: input address, then bytes and output address. */
type Leaves = Map<number, { readonly bytes: number; readonly address: number }>;

/** Pages and blocks, some next to each other in both, and holes. */
function randomLeaves(random: Random, space: AddressSpaceBuilder, base: bigint): Leaves {
  const leaves: Leaves = new Map();
  let address = DATA;
  for (let offset = 0; offset < 8 * BLOCK;) {
    const isBlock = offset % BLOCK === 0 && random.chance(0.4);
    const bytes = isBlock ? BLOCK : PAGE;
    const isHole = random.chance(0.02);
    // A place of its own, or next to the leaf before.
    if (random.chance(0.3) || address % bytes !== 0) address = bytes * random.below(2 ** 16);
    if (!isHole) {
      leaves.set(offset, { bytes, address });
      space.map(base + BigInt(offset), address, bytes, { level: isBlock ? 2 : 3 });
      address += bytes;
    }
    offset += bytes;
  }
  return leaves;
}

function expectedRange(leaves: Leaves, offset: number, length: number): [number, Segment[]] {
  const segments: [number, number][] = [];
  let done = 0;
  while (done < length) {
    const at = offset + done;
    let start = at - (at % PAGE);
    let leaf = leaves.get(start);
    leaf ??= leaves.get((start = at - (at % BLOCK)));
    if (leaf === undefined || at - start >= leaf.bytes) break;
    const bytes = Math.min(start + leaf.bytes - at, length - done);
    const address = leaf.address + at - start;
    const last = segments.at(-1);
    if (last !== undefined && last[0] + last[1] === address) last[1] += bytes;
    else segments.push([address, bytes]);
    done += bytes;
  }
  return [done, segments];
}

describe('translateRange() of random spaces', () => {
  const spaces = rounds(4);
  test.each([0n, 0xfff0_0000n, 0xffff_8000_fff0_0000n])(
    `from %d is what the map of pages says, ${spaces} spaces, seed ${SEED}`,
    (first) => {
      for (let round = 0; round < spaces; round++) {
        const random = new Random(nthSeed(SEED, round));
        const { machine, space, handle } = device();
        // A multiple of a block: 4 GiB lies within the space.
        const base = first - (first % BigInt(BLOCK));
        const leaves = randomLeaves(random, space, base);
        for (let step = 0; step < 200; step++) {
          const offset = random.below(8 * BLOCK);
          const length = random.pick(
            [0, 1, PAGE, 64 * PAGE, 2 * BLOCK].map((l) => random.below(l + 2)),
          );
          const asked = base + BigInt(offset);
          const iova = asked < 2n ** 53n && random.chance(0.5) ? Number(asked) : asked;
          const expected = expectedRange(leaves, offset, length);
          const at = `${where(round, step)}: 0x${asked.toString(16)}, length ${length}`;
          expect(range(handle, iova, length), at).toEqual(expected);
          const faulted = expected[0] < length ? [asked + BigInt(expected[0])] : [];
          expect(
            machine.takeEvents().map((record) => record[2]),
            at,
          ).toEqual(faulted);
        }
      }
    },
  );
});
