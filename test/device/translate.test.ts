import { describe, expect, test } from 'vitest';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { Reason } from '../../src/transaction/reason.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import { BLOCK, DATA, DeviceMachine, NOWHERE, PAGE, STREAM } from './device-machine.js';

const ABORTED = -1;
const ZEROED = -2;
const ASID = 5;

interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(ASID, cd);
  machine.guest.attach(STREAM, space);
  machine.start();
  return { machine, space, handle: machine.smmu.attach(STREAM) };
}

describe('translate()', () => {
  test('gives the output address, with the offset in the page, the block and the run', () => {
    const { space, handle } = device();
    space.map(0x1000, DATA + 7 * PAGE, PAGE);
    space.map(BLOCK, DATA + BLOCK, BLOCK);
    space.map(4 * BLOCK, DATA + 16 * PAGE, 16 * PAGE, { level: 3, leaf: { Contiguous: 1 } });
    for (let round = 0; round < 3; round++) {
      expect(handle.translate(0x1000, 0)).toBe(DATA + 7 * PAGE);
      expect(handle.translate(0x1fff, 0)).toBe(DATA + 7 * PAGE + 0xfff);
      expect(handle.translate(BLOCK + 0x12_3456, 0)).toBe(DATA + BLOCK + 0x12_3456);
      expect(handle.translate(4 * BLOCK + 0x0abc, 0)).toBe(DATA + 16 * PAGE + 0x0abc);
      expect(handle.translate(4 * BLOCK + 0xfabc, 0)).toBe(DATA + 31 * PAGE + 0xabc);
      expect(handle.translate(4 * BLOCK + 0x7abc, 0)).toBe(DATA + 23 * PAGE + 0xabc);
    }
  });

  test.each([0, 0x1234, 0xffff_ffff, 0x1_0000_0000, 0x7654_3210_f123, 2 ** 48 - 1])(
    'of the number %d and of the bigint are one answer, cold and warm',
    (iova) => {
      const { machine, space, handle } = device();
      const base = iova - (iova % PAGE);
      space.map(base, DATA, PAGE);
      const address = DATA + (iova % PAGE);
      const asked = [iova, BigInt(iova), iova, BigInt(iova)];
      expect(asked.map((value) => handle.translate(value, 0))).toEqual(asked.map(() => address));
      machine.smmu.reset();
      machine.start();
      expect(asked.reverse().map((v) => handle.translate(v, 0))).toEqual(asked.map(() => address));
    },
  );

  test('of addresses below TTB1 is for bigints', () => {
    const { space, handle } = device();
    const first = 0xffff_0000_0000_0000n;
    const last = 0xffff_ffff_ffff_f000n;
    space.map(first, DATA, PAGE);
    space.map(last, DATA + PAGE, PAGE);
    for (let round = 0; round < 2; round++) {
      expect(handle.translate(first + 5n, 0)).toBe(DATA + 5);
      expect(handle.translate(last + 0xfffn, 0)).toBe(DATA + PAGE + 0xfff);
    }
    expect(handle.translate(first - 1n, 0)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ event: 0x10, reason: Reason.inputRange });
  });

  test('output addresses beyond 4 GiB are exact', () => {
    const { space, handle } = device();
    space.map(0, 0xffff_ffff_f000, PAGE);
    space.map(0x40_0000_0000, 0xfffe_0000_0000, 2 ** 30);
    for (let round = 0; round < 2; round++) {
      expect(handle.translate(0xfff, 0)).toBe(2 ** 48 - 1);
      expect(handle.translate(0x40_3fff_ffff, 0)).toBe(0xfffe_3fff_ffff);
    }
  });

  test.each([
    ['the tagged address first', [0xab00_0000_0000_1234n, 0x1234n, 0x1234]],
    ['the tagged address later', [0x1234, 0xab00_0000_0000_1234n, 0x1234]],
    ['two tags', [0x0100_0000_0000_1234n, 0xfe00_0000_0000_1234n, 0x1234]],
  ])('TBI0 ignores the top byte: %s', (_, order) => {
    const { space, handle } = device({ TBI0: 1 });
    space.map(0x1000, DATA, PAGE);
    expect(order.map((iova) => handle.translate(iova, 0))).toEqual(order.map(() => DATA + 0x234));
  });

  test('TBI1 ignores the top byte of addresses with bit 55 set', () => {
    const { space, handle } = device({ TBI1: 1 });
    space.map(0xffff_8000_0000_1000n, DATA, PAGE);
    for (const tag of [0x00n, 0xffn, 0x12n, 0x00n]) {
      expect(handle.translate((tag << 56n) | 0xff_8000_0000_1234n, 0)).toBe(DATA + 0x234);
    }
  });

  test('without TBI a tag faults, also on a page that is warm', () => {
    const { space, handle } = device();
    space.map(0x1000, DATA, PAGE);
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    expect(handle.translate(0x0100_0000_0000_1000n, 0)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ inputHigh: 0x0100_0000, reason: Reason.inputRange });
  });
});

describe('a fault', () => {
  test('is -1, tells where and why, and is recorded once each time', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, PAGE, { write: false });
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    for (let round = 0; round < 3; round++) {
      expect(handle.translate(0x1abc, 1)).toBe(ABORTED);
      expect(handle.fault).toMatchObject({
        outcome: 1,
        event: 0x13,
        recorded: true,
        stall: false,
        reason: Reason.permission,
        streamId: STREAM,
        substreamId: -1,
        inputHigh: 0,
        inputLow: 0x1abc,
        access: 1,
      });
      // F_PERMISSION of a write: CLASS=IN [105:104], RnW [99] is 0.
      expect(machine.takeEvents()).toEqual([[0x10_0000_0013n, 0x200_0000_0000n, 0x1abcn, 0n]]);
    }
    // The fault stays what it was through accesses that do not fault.
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    expect(handle.fault).toMatchObject({ event: 0x13, inputLow: 0x1abc });
    expect(machine.takeEvents()).toEqual([]);
  });

  test('of each access kind says what it was: PnU [97], InD [98], RnW [99]', () => {
    const { machine, handle } = device();
    for (let access = 0; access < 8; access++) {
      expect(handle.translate(0x5000, access)).toBe(ABORTED);
      const isWrite = (access & 1) !== 0;
      const flags =
        (isWrite ? 0n : 8n) | (!isWrite && (access & 2) !== 0 ? 4n : 0n) | (access & 4 ? 2n : 0n);
      const words = [0x10_0000_0010n, (0x200n | flags) << 32n, 0x5000n, 0n];
      expect(machine.takeEvents()).toEqual([words]);
    }
  });

  test('with CD.A=0 is -2, and recorded as CD.R says', () => {
    const { machine, handle } = device({ A: 0 });
    expect([handle.translate(0x5000, 0), handle.translate(0x5000n, 1)]).toEqual([ZEROED, ZEROED]);
    expect(handle.fault).toMatchObject({ outcome: 2, event: 0x10, recorded: true });
    expect(machine.takeEvents()).toHaveLength(2);
    const silent = device({ A: 0, R: 0 });
    expect(silent.handle.translate(0x5000, 0)).toBe(ZEROED);
    expect(silent.handle.fault).toMatchObject({ outcome: 2, event: 0x10, recorded: false });
    expect(silent.machine.takeEvents()).toEqual([]);
  });

  test('of a configuration aborts though CD.A=0', () => {
    const { machine, space, handle } = device({ A: 0 });
    machine.guest.setSte(STREAM, { V: 0 });
    expect(handle.translate(0, 0)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ event: 0x4, reason: Reason.steInvalid });
    machine.guest.attach(STREAM, space);
    space.map(0, DATA, PAGE);
    expect(handle.translate(0, 0)).toBe(DATA);
    expect(machine.takeEvents()).toHaveLength(1);
  });

  test('of a stream that STE.Config aborts has no event', () => {
    const { machine, handle } = device();
    machine.guest.setSte(STREAM, { V: 1 });
    expect(handle.translate(0, 0)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ event: 0, recorded: false, reason: Reason.configAbort });
    expect(machine.takeEvents()).toEqual([]);
  });

  test('is remembered by each handle for itself', () => {
    const { machine, space, handle } = device();
    machine.guest.attach(STREAM + 1, space);
    const other = machine.smmu.attach(STREAM + 1);
    handle.translate(0x5000, 0);
    other.translate(0x6000, 1);
    expect(handle.fault).toMatchObject({ streamId: STREAM, inputLow: 0x5000, access: 0 });
    expect(other.fault).toMatchObject({ streamId: STREAM + 1, inputLow: 0x6000, access: 1 });
  });

  test('stays one when the guest makes the device do DMA within the interrupt that it raises', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, PAGE);
    let nested = 0;
    machine.onWire = () => {
      nested = handle.translate(0x1000n, 0);
    };
    expect(handle.translate(0x5000n, 0)).toBe(ABORTED);
    expect(nested).toBe(DATA);
    expect(handle.fault).toMatchObject({ outcome: 1, event: 0x10, inputLow: 0x5000 });
    expect(handle.translate(0x1000n, 0)).toBe(DATA);
    expect(handle.fault).toMatchObject({ outcome: 1, event: 0x10, inputLow: 0x5000 });
  });
});

describe("the embedder's mistakes", () => {
  const iovas: [iova: number | bigint, message: string][] = [
    [-1, 'iova is -1:'],
    [-PAGE, 'iova is -4096:'],
    [0.5, 'iova is 0.5:'],
    [0x1000 + 0.25, 'iova is 4096.25:'],
    [NaN, 'iova is NaN:'],
    [Infinity, 'iova is Infinity:'],
    [-Infinity, 'iova is -Infinity:'],
    [2 ** 53, 'iova is 9007199254740992:'],
    [2 ** 56, 'iova is 72057594037927940:'],
    [2 ** 64, 'iova is 18446744073709552000:'],
    [2n ** 64n, 'iova is 18446744073709551616:'],
    [-1n, 'iova is -1:'],
  ];

  function warm(): Device {
    // HA: a walk would set the access flag; all the first and last pages of 4 GiB are mapped.
    const made = device({ TBI0: 1, HA: 1 });
    made.space.map(0, DATA, 2 * PAGE, { level: 3, leaf: { AF: 0 } });
    made.space.map(0xffff_f000, DATA, PAGE, { leaf: { AF: 0 } });
    return made;
  }

  test.each(iovas)('the address %s is a RangeError, cold and warm', (iova, message) => {
    const { machine, space, handle } = warm();
    const expectError = (attempt: () => unknown) => {
      expect(attempt).toThrow(RangeError);
      expect(attempt).toThrow(message);
    };
    const leaves = [0, PAGE, 0xffff_f000].map((at) => space.descriptorAddress(at, 3));
    const before = leaves.map((at) => machine.peek(at));
    expectError(() => handle.translate(iova, 0));
    handle.translate(0x7_0000, 0);
    machine.takeEvents();
    expectError(() => handle.translate(iova, 1));
    // Nothing was walked for it.
    expect(leaves.map((at) => machine.peek(at))).toEqual(before);
    for (const at of [0, 0x1000, 0xffff_f000]) expect(handle.translate(at, 0)).toBeGreaterThan(0);
    expectError(() => handle.translate(iova, 0));
    expect(machine.takeEvents()).toEqual([]);
    expect(handle.fault.inputLow).toBe(0x7_0000);
  });

  test.each([8, -1, 1.5, NaN, Infinity, 2 ** 32, 256])('the access %d is one, too', (access) => {
    const { machine, handle } = warm();
    const attempts = [
      () => handle.translate(0x1000, access),
      () => handle.translate(0x1000n, access),
      () => handle.translate(0x1000, access),
    ];
    for (const attempt of attempts) {
      expect(attempt).toThrow(RangeError);
      expect(attempt).toThrow(`access is ${access}:`);
      expect(handle.translate(0x1000, 0)).toBe(DATA + PAGE);
    }
    expect(machine.takeEvents()).toEqual([]);
  });

  test.each(['0x1000', undefined, null, {}, true])('%o is no address: TypeError', (iova) => {
    const { machine, handle } = warm();
    for (let round = 0; round < 2; round++) {
      const attempt = () => handle.translate(iova as number, 0);
      expect(attempt).toThrow(TypeError);
      expect(attempt).toThrow(`iova is a ${typeof iova}`);
      handle.translate(0x1000, 0);
    }
    expect(machine.takeEvents()).toEqual([]);
  });

  test('-0 is 0', () => {
    const { handle } = warm();
    expect([handle.translate(-0, 0), handle.translate(-0, 0)]).toEqual([DATA, DATA]);
  });
});

describe('a stream without translation', () => {
  test('bypass gives the address itself, as far as physical addresses go (3.4)', () => {
    const { machine, handle } = device();
    machine.guest.bypass(STREAM);
    expect(handle.translate(NOWHERE + 5, 1)).toBe(NOWHERE + 5);
    expect(handle.translate(2 ** 52 - 1, 0)).toBe(2 ** 52 - 1);
    expect(handle.translate(BigInt(2 ** 52 - 1), 0)).toBe(2 ** 52 - 1);
    expect(handle.translate(2 ** 52, 0)).toBe(ABORTED);
    // F_ADDR_SIZE of a read.
    expect(machine.takeEvents()).toEqual([[0x10_0000_0011n, 0x208_0000_0000n, 1n << 52n, 0n]]);
  });
});
