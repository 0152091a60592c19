import { describe, expect, test } from 'vitest';
import { CMDQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import type { HostCall } from './command-host.js';
import {
  atcInv,
  cfgiCd,
  cfgiSte,
  CommandRig,
  DEVICE,
  nhVa,
  NSNH_ALL,
  ON,
  SID,
  SYNC,
} from './command-rig.js';

const QUEUE_OFF = ON & ~CMDQEN;
const EMULATED = 0x10;
/** A CMD_SYNC that writes its MSIData into RAM. */
const MSI = 0x4300_0000;
const SYNC_MSI = [0x1046n | (0xabn << 32n), BigInt(MSI)] as const;

/** Does something once, when a backend is asked for `method`. */
function once(rig: CommandRig, method: HostCall['method'], does: () => void, smmu = 0): void {
  const host = rig.hosts[smmu]!;
  host.onCall = (call) => {
    if (call.method !== method) return;
    host.onCall = () => undefined;
    does();
  };
}

describe('a backend that turns the command queue off while it is asked', () => {
  test('CONS stays on what has not been sent to the other SMMU', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    once(rig, 'invalidate', () => rig.machine.write(R.CR0, QUEUE_OFF));
    rig.command(nhVa(1), SYNC);
    const { cons } = rig;
    rig.machine.write(R.CR0, ON);
    expect([cons, rig.hosts[1]!.sent]).toEqual([0, [[nhVa(1)]]]);
  });

  test('no CMD_SYNC is executed after that', async () => {
    const rig = await CommandRig.make();
    once(rig, 'invalidate', () => rig.machine.write(R.CR0, QUEUE_OFF));
    rig.command(nhVa(1), SYNC_MSI);
    expect(rig.machine.peek(MSI) & 0xffn).toBe(0n);
  });

  test('off and on: all is fetched again', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    once(rig, 'invalidate', () => rig.machine.write(R.CR0, QUEUE_OFF).write(R.CR0, ON));
    rig.command(nhVa(1), nhVa(2), SYNC, nhVa(3), SYNC);
    expect(rig.machine.smmu.drain(100)).toBe(false);
    expect([rig.state, rig.hosts[1]!.sent]).toEqual([
      [5, 0],
      [[nhVa(1), nhVa(2)], [nhVa(3)]],
    ]);
  });

  test('at a CFGI_STE, which is executed again', async () => {
    const rig = await CommandRig.make();
    once(rig, 'attach', () => rig.machine.write(R.CR0, QUEUE_OFF));
    rig.ste('s1').command(cfgiSte(), SYNC);
    expect(rig.cons).toBeLessThanOrEqual(1);
    rig.machine.write(R.CR0, ON);
    expect([rig.state, rig.device.disposition]).toEqual([[2, 0], 'nested']);
  });
});

describe('an emulated device that turns the command queue off at an ATC_INV', () => {
  test('CONS stays on the TLBI before it, which has not been sent', async () => {
    const hook = { on: (): unknown => undefined };
    const rig = await CommandRig.make({ deviceCommand: () => void hook.on() });
    hook.on = () => rig.machine.write(R.CR0, QUEUE_OFF);
    rig.command(nhVa(1), atcInv(0, EMULATED), SYNC);
    hook.on = () => undefined;
    rig.machine.write(R.CR0, ON);
    expect([rig.state, rig.host.sent]).toEqual([[3, 0], [[nhVa(1)]]]);
  });
});

describe.each([false, true])('a backend that calls back (answers later: %s)', (isLater) => {
  async function rigOf(smmus = 1): Promise<CommandRig> {
    const rig = await CommandRig.make({ smmus });
    return isLater ? rig.later() : rig;
  }

  test('issues commands: they are executed after those that are sent', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => rig.command(nhVa(2), SYNC));
    rig.command(nhVa(1), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([
      [4, 0],
      [[nhVa(1)], [nhVa(2)]],
    ]);
  });

  test('issues commands at the end of a drain: they are left for the next', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => rig.command(nhVa(2), SYNC));
    rig.command(nhVa(1));
    await rig.settle();
    rig.machine.smmu.drain(100);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([
      [3, 0],
      [[nhVa(1)], [nhVa(2)]],
    ]);
  });

  test('drains: nothing is executed twice', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => rig.machine.smmu.drain(100));
    rig.command(nhVa(1), SYNC, nhVa(2), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([
      [4, 0],
      [[nhVa(1)], [nhVa(2)]],
    ]);
  });

  test('attaches a device while it invalidates', async () => {
    const rig = await rigOf();
    rig.ste('s1', SID + 1);
    let attached: Promise<unknown> | undefined;
    once(rig, 'invalidate', () => {
      attached = rig.attach(0, SID + 1, DEVICE + 1);
    });
    rig.command(nhVa(1), cfgiCd(1), SYNC, cfgiCd(2, SID + 1), SYNC);
    await rig.settle();
    await attached;
    expect(rig.state).toEqual([5, 0]);
    expect(rig.host.sent).toEqual([[nhVa(1), cfgiCd(1)], [cfgiCd(2, SID + 1)]]);
  });

  test('retires the device while it invalidates, and binds it while it attaches', async () => {
    const rig = await rigOf();
    let retired: Promise<void> | undefined;
    let bound: Promise<void> | undefined;
    once(rig, 'invalidate', () => {
      retired = rig.device.retire();
    });
    rig.command(nhVa(1), cfgiCd(1), SYNC);
    await rig.settle();
    await retired;
    expect([rig.state, rig.device.disposition, rig.device.streamId]).toEqual([[3, 0], 'abort', -1]);
    once(rig, 'attach', () => {
      bound = rig.device.bind(SID);
    });
    const other = rig.ste('s1', SID + 1).attach(0, SID + 1, DEVICE + 1);
    await rig.settle();
    await other;
    await bound;
    expect([rig.device.disposition, rig.device.streamId]).toEqual(['nested', SID]);
  });

  test('turns the SMMU off while it invalidates', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => rig.machine.write(R.CR0, ON & ~SMMUEN));
    rig.command(nhVa(1), cfgiCd(1), SYNC);
    await rig.settle();
    expect([rig.state, rig.device.disposition]).toEqual([[3, 0], 'bypass']);
    expect(rig.machine.read(R.CR0ACK)).toBe(ON & ~SMMUEN);
    expect(rig.host.sent).toEqual([[nhVa(1), cfgiCd(1)]]);
  });

  test('resets the vSMMU while it invalidates', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => {
      rig.machine.smmu.reset();
    });
    rig.command(nhVa(1), SYNC);
    await rig.settle();
    expect(rig.host.sent).toContainEqual([NSNH_ALL]);
    expect(rig.state).toEqual([0, 0]);
    rig.machine.prod = 0;
    rig.machine.start(ON);
    await rig.settle();
    rig.quiet().command(nhVa(2), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[2, 0], [[nhVa(2)]]]);
  });

  test('resets the vSMMU while it invalidates: the CMD_SYNC behind it is not executed', async () => {
    const rig = await rigOf();
    once(rig, 'invalidate', () => {
      rig.machine.smmu.reset();
    });
    rig.command(nhVa(1), SYNC_MSI);
    await rig.settle();
    expect(rig.machine.peek(MSI) & 0xffn).toBe(0n);
  });

  test('resets the vSMMU while it attaches', async () => {
    const rig = await rigOf();
    once(rig, 'attach', () => {
      rig.machine.smmu.reset();
    });
    rig.ste('s1').command(nhVa(1), cfgiSte(), SYNC_MSI);
    await rig.settle();
    expect([rig.state, rig.device.disposition]).toEqual([[0, 0], 'bypass']);
    expect(rig.machine.peek(MSI) & 0xffn).toBe(0n);
    rig.machine.prod = 0;
    rig.machine.start(ON);
    await rig.settle();
    expect(rig.device.disposition).toBe('nested');
  });
});
