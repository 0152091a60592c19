import { beforeEach, describe, expect, test } from 'vitest';
import type { PhysicalBackend } from '../../src/passthrough/backend.js';
import { Rig, type PassthroughDevice } from './device-rig.js';

const SID = 0x10;

let rig: Rig;
let device: PassthroughDevice;

beforeEach(async () => {
  rig = await Rig.make();
  ({ device } = await rig.device(SID));
});

/** What is thrown at once, or what the promise is rejected with: `throws` says which it was. */
function thrownBy(call: () => unknown): string {
  try {
    void call();
  } catch (error) {
    return String(error);
  }
  return 'nothing was thrown';
}

const backend: PhysicalBackend = {
  allocate: () => 1,
  attach: () => undefined,
  destroy: () => undefined,
  bind: () => 2,
  invalidate: () => undefined,
};

describe('mistakes of an embedder', () => {
  test.each<[string, (other: number) => unknown, RegExp[]]>([
    ['a StreamID of 33 bits', (id) => attach(2 ** 32, id), [/RangeError.*streamId.*0x100000000/]],
    ['a negative StreamID', (id) => attach(-1, id), [/RangeError.*streamId.*-/]],
    ['a StreamID that is no integer', (id) => attach(1.5, id), [/RangeError.*streamId is 0x1\.8/]],
    ['a StreamID that is taken', (id) => attach(SID, id), [/0x10/, /detach its device first/]],
    ['a device that is no integer', () => attach(1, NaN), [/RangeError.*options\.device.*NaN/]],
    ['a negative device', () => attach(1, -2), [/RangeError.*options\.device.*-/]],
    [
      'another vSMMU’s physical SMMU',
      () => rig.passthrough.attach(1, { physical: {} as never, device: 1 }),
      [/TypeError.*options\.physical.*addPhysical/],
    ],
    ['bind of a device with a StreamID', () => device.bind(3), [/0x10/, /retire it first/]],
    ['a second passthrough', () => rig.machine.smmu.passthrough(), [/already.*add physical SMMUs/]],
    ['retries below 0', () => add({ retries: -1 }), [/RangeError.*options\.retries is -1/]],
    ['retries that are no integer', () => add({ retries: 0.5 }), [/RangeError.*retries is 0\.5/]],
    ['a backend without a method', () => addBackend({ ...backend, bind: 0 }), [/TypeError.*bind/]],
    ['no backend', () => addBackend(undefined), [/TypeError.*allocate.*PhysicalBackend/]],
    ['an emulated device on its StreamID', () => rig.machine.smmu.attach(SID), [/0x10.*detach/]],
  ])('%s', (_, mistake, patterns) => {
    const before = rig.kernel.operations;
    const thrown = thrownBy(() => mistake(77));
    for (const pattern of patterns) expect(thrown).toMatch(pattern);
    expect(rig.kernel.operations).toBe(before);
  });

  function attach(streamId: number, id: number): unknown {
    return rig.passthrough.attach(streamId, { physical: rig.physicals[0]!, device: id });
  }

  function add(options: object): unknown {
    return rig.passthrough.addPhysical(backend, options);
  }

  function addBackend(wrong: unknown): unknown {
    return rig.passthrough.addPhysical(wrong as PhysicalBackend);
  }

  test('a device on the StreamID of an emulated one', async () => {
    const handle = rig.machine.smmu.attach(0x20);
    const plugged = await rig.plug();
    expect(thrownBy(() => rig.attach(0x20, plugged))).toMatch(/0x20.*emulated.*detach its handle/);
    handle.detach();
    await rig.attach(0x20, plugged);
    expect(thrownBy(() => rig.machine.smmu.attach(0x20))).toMatch(/0x20.*passed through/);
  });

  test('a device that is retired: its StreamID is free for others', async () => {
    await device.retire();
    const handle = rig.machine.smmu.attach(SID);
    expect(thrownBy(() => device.bind(SID))).toMatch(/0x10.*emulated/);
    handle.detach();
    const { device: other } = await rig.device(SID);
    expect(thrownBy(() => device.bind(SID))).toMatch(/0x10.*passed through already/);
    await other.detach();
    await device.bind(SID);
    expect(device.streamId).toBe(SID);
  });

  test('a device that is detached', async () => {
    await device.detach();
    for (const call of [() => device.retire(), () => device.bind(1), () => device.detach()]) {
      expect(thrownBy(call)).toMatch(/detached.*attach it again/);
    }
  });

  test('one device under two StreamIDs: the kernel says EEXIST, and the first stays', async () => {
    const attaching = rig.passthrough.attach(SID + 1, {
      physical: rig.physicals[0]!,
      device: device.device,
    });
    await expect(attaching).rejects.toMatchObject({ errno: 17 });
    expect([rig.passthrough.deviceOf(SID + 1), device.disposition]).toEqual([undefined, 'bypass']);
  });

  test('a backend that answers with no id', async () => {
    const physical = rig.passthrough.addPhysical({ ...backend, bind: () => 'seven' as never });
    const attaching = rig.passthrough.attach(0x33, { physical, device: 5 });
    await expect(attaching).rejects.toThrow(/bind.*string.*id of an object/);
    expect(rig.passthrough.deviceOf(0x33)).toBeUndefined();
  });
});
