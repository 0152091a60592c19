import { beforeEach, describe, expect, test } from 'vitest';
import type { SmmuState } from '../../src/state.js';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  cfgiCd,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  Rig,
  settle,
  TLBI_ALL,
  type PassthroughDevice,
  type Plugged,
} from './device-rig.js';

const SID = 0x10;
const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;

let rig: Rig;
let device: PassthroughDevice;
let plugged: Plugged;

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  rig.ste(SID, 's1');
  ({ device, plugged } = await rig.device(SID));
  rig.kernel.async('step');
});

/** Lets calls be done, one by one; `most` of them. @returns how many there were. */
async function answer(most = Infinity): Promise<number> {
  let done = 0;
  await settle();
  while (done < most && rig.kernel.step()) {
    done++;
    await settle();
  }
  return done;
}

const acknowledged = (): number => rig.machine.read(R.CR0ACK);
const consumed = (): number => rig.machine.read(R.CMDQ_CONS);

describe('a kernel that answers later', () => {
  test('CR0ACK follows when devices meet what SMMUEN says', async () => {
    rig.machine.write(R.CR0, ON);
    expect([acknowledged(), rig.kind(plugged)]).toEqual([QUEUES, 'bypass']);
    await answer(1);
    expect([acknowledged(), rig.kind(plugged)]).toEqual([QUEUES, 'bypass']);
    await answer();
    expect([acknowledged(), rig.kind(plugged)]).toEqual([ON, 's1']);
  });

  test('CONS stays at CFGI_STE, and registers and emulated accesses do not wait', async () => {
    rig.machine.write(R.CR0, ON);
    await answer();
    rig.ste(0x20, 'bypass').configure(SID, 'other');
    expect(consumed()).toBe(0);
    expect(rig.machine.translate(0x4000n, 0, 0x20).outcome).toBe(0);
    rig.machine.write(R.IRQ_CTRL, 4);
    expect(rig.machine.read(R.IRQ_CTRLACK)).toBe(4);
    expect(await answer()).toBe(3);
    expect([consumed(), rig.kind(plugged)]).toEqual([2, 's1']);
  });

  test('what is asked for meanwhile comes in turn: never two calls at a time', async () => {
    rig.machine.write(R.CR0, ON);
    const retiring = device.retire();
    rig.machine.command(TLBI_ALL, cfgiSte(SID), CMD_SYNC);
    let most = 0;
    for (let left = 40; left > 0; left--) {
      await settle();
      most = Math.max(most, rig.kernel.pending);
      rig.kernel.step();
    }
    await retiring;
    expect([most, rig.kernel.pending]).toEqual([1, 0]);
    expect([acknowledged(), consumed(), rig.kind(plugged)]).toEqual([ON, 3, 'abort']);
    expect(rig.history(plugged)).toEqual(['blocked', 'bypass', 's1', 'abort']);
  });

  test('hot-unplug while commands that name the device wait: they are passed over', async () => {
    rig.machine.write(R.CR0, ON);
    await answer();
    const detaching = device.detach();
    rig.machine.command(cfgiCd(SID), TLBI_ALL, CMD_SYNC);
    await answer();
    await detaching;
    expect([consumed(), rig.isStopped]).toEqual([3, false]);
    expect(rig.hardware()).toContain('TLBI_NH_ALL');
    expect(rig.hardware()).not.toContain('CFGI_CD');
  });

  // core.ts, acknowledge: CR0 is compared with CR0ACK, so that devices are not told of the second write,
  // and `done` of the first comes after that of the second.
  test.each<[string, number, number, string]>([
    ['SMMUEN=0', QUEUES, ON, 'bypass'],
    ['SMMUEN', ON, QUEUES, 's1'],
  ])('%s, written again before its change is acknowledged, holds', async (_, now, then, kind) => {
    rig.machine.write(R.CR0, now);
    await answer();
    rig.machine.write(R.CR0, then).write(R.CR0, now);
    await answer();
    expect([acknowledged(), rig.kind(plugged)]).toEqual([now, kind]);
  });

  // passthrough.ts, reconfigure: GBPA makes the `done` of CR0 one of the past.
  test('GBPA written before SMMUEN=0 is acknowledged does not keep CR0ACK back', async () => {
    rig.machine.write(R.CR0, ON);
    await answer();
    rig.machine.write(R.CR0, QUEUES).write(R.GBPA, GBPA_ABORT);
    await answer();
    expect([acknowledged(), rig.kind(plugged)]).toEqual([QUEUES, 'abort']);
  });

  test('a reset while an STE is followed: what the registers say then holds', async () => {
    rig.machine.write(R.CR0, ON);
    await answer();
    rig.configure(SID, 'other');
    await answer(1);
    rig.machine.smmu.reset();
    await answer();
    expect([rig.kind(plugged), rig.machine.read(R.CR0), consumed()]).toEqual(['bypass', 0, 0]);
    expect(rig.count('hwpt-nested')).toBe(1);
    // The queue of the new life has nothing to do with the answer.
    rig.machine.prod = 0;
    rig.machine.start(ON);
    await answer();
    rig.machine.command(CMD_SYNC);
    await answer();
    expect([acknowledged(), consumed(), rig.isStopped]).toEqual([ON, 1, false]);
    expect(rig.kernel.attachment(plugged.fd)).toMatchObject({ ste: [0x43e1_000b, 0, 0xd4, 0] });
  });
});

describe('save while CR0ACK waits', () => {
  test.each<[string, number, number, string]>([
    ['SMMUEN', QUEUES, ON, 's1'],
    ['SMMUEN=0', ON, QUEUES, 'bypass'],
  ])('%s: the restored vSMMU has followed', async (_, before, after, kind) => {
    rig.machine.write(R.CR0, before);
    await answer();
    rig.machine.write(R.CR0, after);
    expect(acknowledged()).toBe(before);
    const saved = JSON.stringify(rig.machine.smmu.save());
    await answer();

    const there = await Rig.make({ features: rig.machine.smmu.features, memory: rig.machine.ram });
    const { plugged: moved } = await there.device(SID);
    there.machine.smmu.restore(JSON.parse(saved) as SmmuState);
    expect(there.machine.read(R.CR0ACK)).toBe(after);
    expect(there.kind(moved)).toBe(kind);
  });
});

describe('mistakes while the kernel has not answered', () => {
  test('a device is bound to two StreamIDs: the second is refused at once', async () => {
    const retiring = device.retire();
    await answer();
    await retiring;
    const binding = device.bind(SID);
    expect(() => device.bind(SID + 1)).toThrow(/has StreamID 0x10: retire it first/);
    await answer();
    await binding;
    expect([device.streamId, rig.passthrough.deviceOf(SID + 1)]).toEqual([SID, undefined]);
  });
});
