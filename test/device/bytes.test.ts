import { describe, expect, test } from 'vitest';
import { Reason } from '../../src/transaction/reason.js';
import { device, filled, HOLE, pattern, patternAt } from './bytes-device.js';
import { BLOCK, DATA, PAGE, STREAM } from './device-machine.js';

describe('read() and write()', () => {
  test('reach the bytes, in whatever order the pages lie', () => {
    const { machine, handle } = device();
    const into = filled(0x30);
    expect(handle.read(0x7fe8, into)).toBe(0x30);
    expect([...into]).toEqual([
      ...pattern(DATA + 3 * PAGE + 0xfe8, 0x18),
      ...pattern(DATA + 2 * PAGE, 0x18),
    ]);
    const bytes = [1, 2, 3, 4, 5];
    expect(handle.write(0x7ffe, Uint8Array.from(bytes))).toBe(5);
    expect(machine.bytes(DATA + 4 * PAGE - 2, 2)).toEqual([1, 2]);
    expect(machine.bytes(DATA + 2 * PAGE, 4)).toEqual([
      ...[3, 4, 5],
      patternAt(DATA + 2 * PAGE + 3),
    ]);
  });

  test('of nothing are nothing, even where nothing is mapped', () => {
    const { machine, handle } = device();
    expect([handle.read(0x5000, filled(0)), handle.write(0x5000n, filled(0))]).toEqual([0, 0]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('a read that faults has read what is before it', () => {
    const { machine, handle } = device();
    const into = filled(0x20);
    expect(handle.read(0x2ff0, into)).toBe(0x10);
    expect([...into.subarray(0, 0x10)]).toEqual(pattern(DATA + PAGE + 0xff0, 0x10));
    expect(handle.fault).toMatchObject({ event: 0x10, inputLow: 0x3000, access: 0 });
    expect(machine.takeEvents()).toEqual([[0x10_0000_0010n, 0x208_0000_0000n, 0x3000n, 0n]]);
  });

  test('a write that faults has written what is before it, and no more', () => {
    const { machine, handle } = device();
    expect(handle.write(0x1ff0, filled(0x1020))).toBe(0x10);
    expect(machine.bytes(DATA + 4 * PAGE + 0xfef, 0x12)).toEqual([
      patternAt(DATA + 4 * PAGE + 0xfef),
      ...filled(0x10),
      patternAt(DATA + 5 * PAGE),
    ]);
    expect(machine.bytes(DATA + PAGE, PAGE)).toEqual(pattern(DATA + PAGE, PAGE));
    expect(handle.fault).toMatchObject({ event: 0x13, inputLow: 0x2000, access: 1 });
    expect(machine.takeEvents()).toEqual([[0x10_0000_0013n, 0x200_0000_0000n, 0x2000n, 0n]]);
  });

  test('where no memory answers they end, at the page, without an event', () => {
    const { machine, space, handle } = device();
    // Memory, then none, in one block: what is there is done.
    space.map(BLOCK, 0x8060_0000, BLOCK);
    space.map(2 * BLOCK, 0x8080_0000, BLOCK);
    expect(handle.read(2 * BLOCK - 0x10, filled(0x100))).toBe(0x10);
    expect(handle.fault).toMatchObject({
      outcome: 1,
      event: 0,
      recorded: false,
      reason: Reason.noMemory,
      inputLow: 2 * BLOCK,
      access: 0,
      streamId: STREAM,
    });
    expect(handle.write(2 * BLOCK - 0x1010, filled(0x2000))).toBe(0x1010);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.noMemory, access: 1 });
    expect(machine.bytes(0x8080_0000 - 0x1011, 0x1011)).toEqual([0, ...filled(0x1010)]);
    expect([handle.read(0x4010, filled(4)), handle.write(0x4ffe, filled(4))]).toEqual([0, 0]);
    expect(handle.fault.inputLow).toBe(0x4ffe);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('where memory ends within a block they end there, not where the block begins', () => {
    const { machine, space, handle } = device();
    // 64 KiB of memory, then none.
    space.map(BLOCK, 0x1_0000_0000, BLOCK);
    for (let round = 0; round < 2; round++) {
      expect(handle.write(BLOCK + 0xdffb, filled(0x4000))).toBe(0x2005);
      expect(handle.fault).toMatchObject({ reason: Reason.noMemory, inputLow: BLOCK + 0x1_0000 });
      expect(machine.bytes(0x1_0000_dffa, 0x2006)).toEqual([0, ...filled(0x2005)]);
      const into = new Uint8Array(0x4000);
      expect(handle.read(BLOCK + 0xdff0, into)).toBe(0x2010);
      expect([...into.subarray(0, 0x2010)]).toEqual([...new Uint8Array(11), ...filled(0x2005)]);
      expect(handle.fault).toMatchObject({ access: 0, inputLow: BLOCK + 0x1_0000 });
    }
    expect(machine.takeEvents()).toEqual([]);
  });

  test('with CD.A=0 a page that faults reads as zeros, ignores writes, and is passed over', () => {
    const { machine, handle } = device({ A: 0 });
    const into = filled(0x1020);
    expect(handle.read(0x2ff0, into)).toBe(0x1010);
    expect([...into.subarray(0, 0x1010)]).toEqual([
      ...pattern(DATA + PAGE + 0xff0, 0x10),
      ...new Uint8Array(0x1000),
    ]);
    // The page after it has no memory behind it: that is no fault of the SMMU.
    expect(handle.fault).toMatchObject({ outcome: 1, reason: Reason.noMemory, inputLow: 0x4000 });
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x3000n]);
    expect(handle.write(0x1ffe, filled(0x1004))).toBe(0x1004);
    expect(machine.bytes(DATA + 5 * PAGE - 2, 2)).toEqual([0xee, 0xee]);
    expect(machine.bytes(DATA + PAGE, PAGE)).toEqual(pattern(DATA + PAGE, PAGE));
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x2000n, 0x3000n]);
    expect(handle.fault).toMatchObject({ outcome: 2, event: 0x10, inputLow: 0x3000 });
  });

  test('with CD.A=0 go on where they were, whatever an interrupt of the fault makes of the handle', () => {
    const { machine, handle } = device({ A: 0 });
    machine.onWire = () => {
      handle.read(0x7ff0n, filled(0x20));
    };
    const into = filled(0x20);
    expect(handle.read(0x6ff0, into)).toBe(0x20);
    expect([...into]).toEqual([...new Uint8Array(0x10), ...pattern(DATA + 3 * PAGE, 0x10)]);
  });

  test('with CD.A=0 loads and stores keep their value, whatever that interrupt does', () => {
    const { machine, handle } = device({ A: 0 });
    machine.onWire = () => {
      handle.load64(0x7000);
      handle.store64(0x8100, 0xeeee_eeee_eeee_eeeen);
    };
    const expected = pattern(DATA + 2 * PAGE - 4, 4);
    const [a, b, c, d] = expected;
    // The second half faults, and reads as zeros.
    expect(handle.load64(0x2ffc)).toBe(BigInt(a! | (b! << 8) | (c! << 16)) + (BigInt(d!) << 24n));
    machine.takeEvents();
    expect(handle.store64(0x1ffc, 0x8877_6655_4433_2211n)).toBe(0);
    expect(machine.bytes(DATA + 5 * PAGE - 4, 4)).toEqual([0x11, 0x22, 0x33, 0x44]);
  });

  test('a stream that bypasses reaches memory at its own addresses', () => {
    const { machine, handle } = device();
    machine.guest.bypass(STREAM);
    const into = filled(3 * PAGE);
    expect(handle.read(DATA + 5, into)).toBe(3 * PAGE);
    expect([...into]).toEqual(pattern(DATA + 5, 3 * PAGE));
    expect(handle.write(HOLE, filled(1))).toBe(0);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.noMemory });
  });

  test('end at 2^64, without an event', () => {
    const { machine, space, handle } = device();
    space.map(0xffff_ffff_ffff_f000n, DATA, PAGE);
    expect(handle.read(0xffff_ffff_ffff_fff0n, filled(0x20))).toBe(0x10);
    expect(handle.write(0xffff_ffff_ffff_fff0n, filled(0x10))).toBe(0x10);
    expect(handle.write(0xffff_ffff_ffff_ffffn, filled(0x10))).toBe(1);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.endOfSpace, access: 1 });
    expect(machine.takeEvents()).toEqual([]);
  });
});

describe('gather() and scatter()', () => {
  test('join pieces', () => {
    const { machine, handle } = device();
    const pieces = [
      { iova: 0x1ffe, length: 2 },
      { iova: 0x2000n, length: 3 },
      { iova: 0x5000, length: 0 },
      { iova: 0x7ffe, length: 4 },
    ];
    const into = filled(9);
    expect(handle.gather(pieces, into)).toBe(9);
    expect([...into]).toEqual([
      ...pattern(DATA + 5 * PAGE - 2, 2),
      ...pattern(DATA + PAGE, 3),
      ...pattern(DATA + 4 * PAGE - 2, 2),
      ...pattern(DATA + 2 * PAGE, 2),
    ]);
    const [first, , , last] = pieces;
    expect(handle.scatter(Uint8Array.of(1, 2, 3, 4, 5, 6), [last!, first!])).toBe(6);
    expect(machine.bytes(DATA + 4 * PAGE - 2, 2)).toEqual([1, 2]);
    expect(machine.bytes(DATA + 2 * PAGE, 2)).toEqual([3, 4]);
    expect(machine.bytes(DATA + 5 * PAGE - 2, 2)).toEqual([5, 6]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('end with whichever is shorter, the list or the bytes', () => {
    const { machine, handle } = device();
    const into = filled(8);
    expect(handle.gather([{ iova: 0x1000, length: 3 }], into)).toBe(3);
    expect([...into]).toEqual([...pattern(DATA + 4 * PAGE, 3), ...filled(5)]);
    const many = [
      { iova: 0x1000, length: 6 },
      { iova: 0x1100, length: 6 },
      { iova: 0x5000, length: 6 },
    ];
    expect(handle.gather(many, into)).toBe(8);
    expect([...into]).toEqual([
      ...pattern(DATA + 4 * PAGE, 6),
      ...pattern(DATA + 4 * PAGE + 0x100, 2),
    ]);
    expect(handle.scatter(filled(7), many)).toBe(7);
    expect(machine.bytes(DATA + 4 * PAGE + 0x100, 2)).toEqual([
      0xee,
      patternAt(DATA + 4 * PAGE + 0x101),
    ]);
    expect([handle.gather([], into), handle.scatter(into, [])]).toEqual([0, 0]);
    expect([handle.gather(many, filled(0)), handle.scatter(filled(0), many)]).toEqual([0, 0]);
    // The third piece was never touched.
    expect(machine.takeEvents()).toEqual([]);
  });

  test('end with a fault: later pieces are not touched', () => {
    const { machine, handle } = device();
    const pieces = [
      { iova: 0x1000, length: 4 },
      { iova: 0x2ffe, length: 4 },
      { iova: 0x7000, length: 4 },
    ];
    expect(handle.gather(pieces, filled(12))).toBe(6);
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x3000n]);
    expect(handle.scatter(filled(12), pieces)).toBe(4);
    expect(handle.fault).toMatchObject({ event: 0x13, inputLow: 0x2ffe });
    expect(machine.takeEvents()).toHaveLength(1);
    expect(machine.bytes(DATA + 3 * PAGE, 4)).toEqual(pattern(DATA + 3 * PAGE, 4));
  });

  test.each([
    [{ iova: -1, length: 1 }, 'iova is -1:'],
    [{ iova: 2n ** 64n, length: 1 }, 'iova is 18446744073709551616:'],
    [{ iova: 0x1000, length: -1 }, 'length is -1:'],
    [{ iova: 0x1000, length: 0.5 }, 'length is 0.5:'],
    [{ iova: 0x1000, length: NaN }, 'length is NaN:'],
  ])('a range %o is refused before anything is done', (wrong, message) => {
    const { machine, handle } = device();
    const pieces = [{ iova: 0x1000, length: 4 }, wrong];
    const into = filled(8);
    expect(() => handle.gather(pieces, into)).toThrow(RangeError);
    expect(() => handle.scatter(into, pieces)).toThrow(message);
    expect([...into]).toEqual([...filled(8)]);
    expect(machine.bytes(DATA + 4 * PAGE, 4)).toEqual(pattern(DATA + 4 * PAGE, 4));
  });
});
