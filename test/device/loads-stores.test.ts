import { describe, expect, test } from 'vitest';
import { Reason } from '../../src/transaction/reason.js';
import { device, filled, HOLE, pattern, type Device } from './bytes-device.js';
import { DATA, DeviceMachine, NOWHERE, PAGE, STREAM } from './device-machine.js';

const ABORTED = -1;
/** An ITS's register for messages. */
const DOORBELL = NOWHERE + 0x40;

describe('loads and stores', () => {
  test('are little-endian', () => {
    const { machine, handle } = device();
    machine.putBytes(DATA + 4 * PAGE, [0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8]);
    expect(handle.load16(0x1000)).toBe(0xf2f1);
    expect(handle.load32(0x1000)).toBe(0xf4f3_f2f1);
    expect(handle.load64(0x1000)).toBe(0xf8f7_f6f5_f4f3_f2f1n);
    expect(handle.load32(0x1003n)).toBe(0xf7f6_f5f4);
    expect(handle.store16(0x1100, 0xfe01)).toBe(0);
    expect(handle.store32(0x1102, 0xff02_0304)).toBe(0);
    expect(handle.store64(0x1106n, 0xf102_0304_0506_0708n)).toBe(0);
    expect(handle.store64(0x110e, 0x1f_ffff_ffff_fffe)).toBe(0);
    expect(machine.bytes(DATA + 4 * PAGE + 0x100, 22)).toEqual([
      ...[0x01, 0xfe, 0x04, 0x03, 0x02, 0xff, 8, 7, 6, 5, 4, 3, 2, 0xf1],
      ...[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00],
    ]);
  });

  test('cross pages that lie apart', () => {
    const { machine, handle } = device();
    expect(handle.store64(0x7ffd, 0x0807_0605_0403_0201n)).toBe(0);
    expect(machine.bytes(DATA + 4 * PAGE - 3, 3)).toEqual([1, 2, 3]);
    expect(machine.bytes(DATA + 2 * PAGE, 5)).toEqual([4, 5, 6, 7, 8]);
    expect(handle.load64(0x7ffd)).toBe(0x0807_0605_0403_0201n);
    expect(handle.load32(0x7ffe)).toBe(0x0504_0302);
    expect(handle.load16(0x7fff)).toBe(0x0403);
  });

  test('that fault are negative', () => {
    const { machine, handle } = device();
    expect(handle.load16(0x3000)).toBe(ABORTED);
    expect(handle.load32(0x2ffe)).toBe(ABORTED);
    expect(handle.load64(0x2ffe)).toBe(-1n);
    expect(handle.store16(0x2000, 1)).toBe(ABORTED);
    expect(handle.store32(0x3000, 1)).toBe(ABORTED);
    expect(handle.store64(0x3000, 1)).toBe(ABORTED);
    const addresses = [0x3000n, 0x3000n, 0x3000n, 0x2000n, 0x3000n, 0x3000n];
    expect(machine.takeEvents().map((record) => record[2])).toEqual(addresses);
  });

  test('a store that crosses into a page that faults writes nothing', () => {
    const { machine, handle } = device();
    expect(handle.store64(0x1ffc, 0n)).toBe(ABORTED);
    expect(handle.store32(0x1ffd, 0)).toBe(ABORTED);
    expect(handle.store16(0x1fff, 0)).toBe(ABORTED);
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x2000n, 0x2000n, 0x2000n]);
    expect(machine.bytes(DATA + 5 * PAGE - 4, 4)).toEqual(pattern(DATA + 5 * PAGE - 4, 4));
  });

  test('a store that crosses out of a page that faults writes nothing', () => {
    const { machine, handle } = device();
    expect(handle.store64(0x6ffc, 0n)).toBe(ABORTED);
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x6ffcn]);
    expect(machine.bytes(DATA + 3 * PAGE, 4)).toEqual(pattern(DATA + 3 * PAGE, 4));
  });

  test('with CD.A=0 loads give zeros, stores are ignored where the page faults', () => {
    const { machine, handle } = device({ A: 0 });
    expect([handle.load16(0x3000), handle.load32(0x3000)]).toEqual([0, 0]);
    expect(handle.load64(0x3000)).toBe(0n);
    const [a, b] = pattern(DATA + 2 * PAGE - 2, 2);
    expect(handle.load32(0x2ffe)).toBe(a! | (b! << 8));
    expect(handle.store32(0x1ffe, 0x4433_2211)).toBe(0);
    expect(machine.bytes(DATA + 5 * PAGE - 2, 2)).toEqual([0x11, 0x22]);
    expect(machine.bytes(DATA + PAGE, 2)).toEqual(pattern(DATA + PAGE, 2));
    expect(handle.store64(0x6ffc, 0x8877_6655_4433_2211n)).toBe(0);
    expect(machine.bytes(DATA + 3 * PAGE, 4)).toEqual([0x55, 0x66, 0x77, 0x88]);
    expect(machine.messages).toEqual([]);
    expect(machine.takeEvents()).toHaveLength(6);
  });

  test('without memory fail, without an event', () => {
    const { machine, handle } = device();
    // The fault before was one with an event.
    expect(handle.load16(0x3000)).toBe(ABORTED);
    expect([machine.takeEvents().length, handle.fault.event]).toEqual([1, 0x10]);
    expect([handle.load16(0x4000), handle.load32(0x4000)]).toEqual([ABORTED, ABORTED]);
    expect(handle.load64(0x4000)).toBe(-1n);
    expect([handle.store16(0x4000, 1), handle.store64(0x4008, 1)]).toEqual([ABORTED, ABORTED]);
    expect(handle.fault).toMatchObject({
      outcome: 1,
      event: 0,
      recorded: false,
      reason: Reason.noMemory,
      inputLow: 0x4008,
      access: 1,
    });
    expect(machine.takeEvents()).toEqual([]);
    expect(machine.messages).toEqual([]);
  });

  test('a store half of which has no memory writes nothing', () => {
    const { machine, space, handle } = device();
    space.map(0xa000, DATA + PAGE, PAGE);
    space.map(0xb000, HOLE, PAGE);
    space.map(0xc000, DATA + PAGE, PAGE);
    expect(handle.store64(0xaffc, 0n)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ reason: Reason.noMemory, inputLow: 0xb000 });
    expect(handle.store64(0xbffc, 0n)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ reason: Reason.noMemory, inputLow: 0xbffc });
    expect(handle.store32(0xaffe, 0)).toBe(ABORTED);
    expect(machine.bytes(DATA + PAGE, PAGE)).toEqual(pattern(DATA + PAGE, PAGE));
  });

  test.each([
    [0xaffc, 'the second half'],
    [0xbffc, 'the first half'],
  ])('a 64-bit store at %d is no message though %s has no memory', (iova) => {
    const { machine, space, handle } = device();
    space.map(0xa000, DATA + PAGE, PAGE);
    space.map(0xb000, HOLE, PAGE);
    space.map(0xc000, DATA + PAGE, PAGE);
    machine.doorbell = () => true;
    expect(handle.store64(iova, 0x1111_1111_2222_2222n)).toBe(ABORTED);
    expect(machine.messages).toEqual([]);
  });

  test.each([-1, 0x1_0000, 0.5, NaN, Infinity])('store16 of %d is a RangeError', (value) => {
    const { handle } = device();
    expect(() => handle.store16(0x1000, value)).toThrow(RangeError);
    expect(() => handle.store16(0x1000, value)).toThrow(`value is ${value}:`);
  });

  test.each([-1, 2 ** 32, 0.5, NaN, Infinity])('store32 of %d is one', (value) => {
    const { handle } = device();
    expect(() => handle.store32(0x1000, value)).toThrow(RangeError);
    expect(() => handle.store32(0x1000, value)).toThrow(`value is ${value}:`);
  });

  test.each([-1, 2 ** 53, 0.5, NaN, -1n, 2n ** 64n])('store64 of %d is one', (value) => {
    const { machine, handle } = device();
    expect(() => handle.store64(0x1000, value)).toThrow(RangeError);
    expect(() => handle.store64(0x1000, value)).toThrow('value is ');
    expect(machine.bytes(DATA + 4 * PAGE, 8)).toEqual(pattern(DATA + 4 * PAGE, 8));
  });

  test.each([-1, 0.5, NaN, 2 ** 53, -1n, 2n ** 64n])('the address %d is one for each', (iova) => {
    const { machine, handle } = device();
    const attempts: (() => unknown)[] = [
      () => handle.load16(iova),
      () => handle.load32(iova),
      () => handle.load64(iova),
      () => handle.store16(iova, 1),
      () => handle.store32(iova, 1),
      () => handle.store64(iova, 1),
      () => handle.read(iova, filled(1)),
      () => handle.read(iova, filled(0)),
      () => handle.write(iova, filled(1)),
      () => handle.write(iova, filled(0)),
    ];
    for (const attempt of attempts) {
      expect(attempt).toThrow(RangeError);
      expect(attempt).toThrow('iova is ');
    }
    expect(machine.takeEvents()).toEqual([]);
  });
});

describe("a device's message-signalled interrupt", () => {
  function withDoorbell(): Device {
    const made = device();
    made.space.map(0xf_0000, NOWHERE, PAGE);
    made.machine.doorbell = (address) => address === DOORBELL;
    return made;
  }

  test('is a 32-bit store, and translates like any other', () => {
    const { machine, handle } = withDoorbell();
    expect(handle.store32(0xf_0040, 0xfedc_ba98)).toBe(0);
    expect(handle.store32(0xf_0040n, 7)).toBe(0);
    expect(machine.messages).toEqual([
      [DOORBELL, 0xfedc_ba98],
      [DOORBELL, 7],
    ]);
    expect(handle.store32(0x3040, 7)).toBe(ABORTED);
    expect(machine.messages).toHaveLength(2);
    expect(machine.takeEvents()).toHaveLength(1);
  });

  test('that nobody takes fails without an event', () => {
    const { machine, handle } = withDoorbell();
    expect(handle.store32(0xf_0044, 1)).toBe(ABORTED);
    expect(machine.messages).toEqual([[DOORBELL + 4, 1]]);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.noMemory, inputLow: 0xf_0044 });
    expect(machine.takeEvents()).toEqual([]);
  });

  test('no other access is one', () => {
    const { machine, handle } = withDoorbell();
    expect(handle.store16(0xf_0040, 1)).toBe(ABORTED);
    expect(handle.store64(0xf_0040, 1)).toBe(ABORTED);
    expect(handle.write(0xf_0040, filled(4))).toBe(0);
    expect(handle.load32(0xf_0040)).toBe(ABORTED);
    expect(machine.messages).toEqual([]);
  });

  test('to RAM is a write to it', () => {
    const { machine, handle } = withDoorbell();
    expect(handle.store32(0x1010, 0x0403_0201)).toBe(0);
    expect(machine.messages).toEqual([]);
    expect(machine.bytes(DATA + 4 * PAGE + 0x10, 4)).toEqual([1, 2, 3, 4]);
  });

  test('of a stream that bypasses goes to the address itself', () => {
    const { machine, handle } = withDoorbell();
    machine.guest.bypass(STREAM);
    expect(handle.store32(DOORBELL, 9)).toBe(0);
    expect(machine.messages).toEqual([[DOORBELL, 9]]);
  });

  test('without Interrupts.message nobody is there', () => {
    const machine = new DeviceMachine({ interrupts: {} });
    machine.guest.bypass(STREAM);
    machine.start();
    expect(machine.smmu.attach(STREAM).store32(DOORBELL, 9)).toBe(ABORTED);
  });
});
