import { beforeEach, describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  atcInv,
  cfgiCd,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  Rig,
  TLBI_ALL,
  type PassthroughDevice,
  type Plugged,
} from './device-rig.js';

const SID = 0x10;
const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;

let rig: Rig;

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  rig.ste(SID, 's1').ste(SID + 1, 'other');
});

describe('attach', () => {
  test.each<[string, number, number, string[]]>([
    ['SMMUEN=0, GBPA lets pass', QUEUES, 0, ['blocked', 'bypass']],
    ['SMMUEN=0, GBPA.ABORT', QUEUES, GBPA_ABORT, ['blocked', 'abort']],
    ['SMMUEN=1', ON, GBPA_ABORT, ['blocked', 's1']],
    ['SMMUEN=1, whatever GBPA said', ON, 0, ['blocked', 's1']],
  ])('%s', async (_, cr0, gbpa, history) => {
    if (gbpa !== 0) rig.machine.write(R.GBPA, gbpa);
    rig.machine.write(R.CR0, cr0);
    const { plugged } = await rig.device(SID);
    expect(rig.history(plugged)).toEqual(history);
    expect(rig.machine.read(R.CR0ACK)).toBe(cr0);
  });

  test('has done its work when it returns, with a kernel that answers at once', async () => {
    const plugged = await rig.plug();
    const attaching = rig.attach(SID, plugged);
    expect(rig.kind(plugged)).toBe('bypass');
    const device = await attaching;
    expect([device.streamId, device.disposition, device.device]).toEqual([
      SID,
      'bypass',
      plugged.id,
    ]);
    expect(rig.passthrough.deviceOf(SID)).toBe(device);
  });
});

describe('devices that come, go and move', () => {
  let first: PassthroughDevice;
  let second: PassthroughDevice;
  let plugged: Plugged;
  let other: Plugged;

  beforeEach(async () => {
    rig.machine.write(R.CR0, ON);
    ({ device: first, plugged } = await rig.device(SID));
    ({ device: second, plugged: other } = await rig.device(SID + 1));
  });

  test('retired, no command reaches it, and its nested HWPT is gone', async () => {
    const hwpts = rig.count('hwpt-nested');
    await first.retire();
    expect(rig.kind(plugged)).toBe('abort');
    // Its own is gone; the shared one to abort came.
    expect(rig.count('hwpt-nested')).toBe(hwpts);
    expect(rig.count('vdevice')).toBe(1);
    rig.quiet().machine.command(cfgiSte(SID), cfgiCd(SID), atcInv(SID), CMD_SYNC);
    expect([rig.calls, rig.kind(plugged), rig.isStopped]).toEqual([[], 'abort', false]);
    rig.machine.command(cfgiCd(SID + 1), CMD_SYNC);
    expect(rig.hardware()).toEqual(['CFGI_CD']);
  });

  test('two devices exchange their StreamIDs, and never bypass', async () => {
    await first.retire();
    await second.retire();
    await Promise.all([first.bind(SID + 1), second.bind(SID)]);
    expect(rig.history(plugged)).toEqual(['blocked', 's1', 'abort', 's1']);
    expect(rig.history(other)).toEqual(['blocked', 's1', 'abort', 's1']);
    expect(rig.kernel.attachment(plugged.fd)).toMatchObject({ ste: [0x43e1_000b, 0, 0xd4, 0] });
    expect(rig.kernel.attachment(other.fd)).toMatchObject({ ste: [0x43e0_000b, 0, 0xd4, 0] });
    // Physical StreamIDs are 0x1000 and 0x1035: commands name who has the StreamID now.
    rig.quiet().machine.command(cfgiCd(SID), CMD_SYNC);
    expect(rig.kernel.hardware()[0]!.words[1]).toBe(0x1035);
    expect([rig.passthrough.deviceOf(SID), rig.passthrough.deviceOf(SID + 1)]).toEqual([
      second,
      first,
    ]);
  });

  test('function-level reset: retire, reset, bind', async () => {
    rig.quiet();
    await first.retire();
    expect(rig.calls).toEqual(['HWPT_ALLOC', 'ATTACH', 'DESTROY', 'DESTROY']);
    rig.quiet();
    await first.bind(SID);
    expect(rig.calls).toEqual(['VDEVICE_ALLOC', 'HWPT_ALLOC', 'ATTACH']);
    expect(rig.history(plugged)).toEqual(['blocked', 's1', 'abort', 's1']);
  });

  test('hot-unplug while nested leaves nothing of the device', async () => {
    const closing = first.detach();
    expect(rig.kind(plugged)).toBe('abort');
    await closing;
    expect([first.streamId, first.disposition]).toEqual([-1, 'abort']);
    expect([rig.count('vdevice'), rig.physicals[0]!.stats().translating]).toEqual([1, 1]);
    rig.kernel.closeDevice(plugged.fd);
    expect(rig.count('device')).toBe(1);
    rig.quiet().machine.command(cfgiSte(SID), atcInv(SID), TLBI_ALL, CMD_SYNC);
    expect([rig.isStopped, rig.hardware()]).toEqual([false, ['TLBI_NH_ALL']]);
    // Another device takes the slot.
    const { plugged: third } = await rig.device(SID);
    expect(rig.history(third)).toEqual(['blocked', 's1']);
  });

  test('a retired device is detached without another word', async () => {
    await first.retire();
    rig.quiet();
    await first.detach();
    expect(rig.calls).toEqual([]);
  });

  test('again and again, without a leak', async () => {
    await first.retire();
    await first.bind(SID);
    const objects = rig.kernel.objects().length;
    for (let i = 0; i < 30; i++) {
      await first.retire();
      rig.ste(SID, i % 2 === 0 ? 'bypass' : 'ats');
      await first.bind(SID);
      rig.configure(SID, i % 3 === 0 ? 's1' : 'other');
      rig.machine.write(R.CR0, QUEUES).write(R.CR0, ON);
    }
    // HWPTs to bypass and to abort are shared; the one to abort was there.
    expect(rig.kernel.objects().length).toBe(objects + 1);
    expect(rig.count('hwpt-nested')).toBe(4);
  });

  test('TLBI reach hardware while a device is nested, and are made good for the next', async () => {
    await first.retire();
    await second.detach();
    rig.quiet().machine.command(TLBI_ALL, TLBI_ALL, CMD_SYNC);
    expect(rig.calls).toEqual([]);
    await first.bind(SID);
    expect(rig.calls).toEqual(['VDEVICE_ALLOC', 'HWPT_INVALIDATE', 'HWPT_ALLOC', 'ATTACH']);
    expect(rig.hardware()).toEqual(['TLBI_NH_ALL']);
    await first.retire();
    await first.bind(SID);
    expect(rig.hardware()).toEqual(['TLBI_NH_ALL']);
  });

  test('with every device detached the VMM can close the physical SMMU', async () => {
    const [backend] = rig.backends;
    const [physical] = rig.physicals;
    await first.detach();
    expect(() => rig.passthrough.removePhysical(physical!)).toThrow(/0x11.*detach it first/);
    await second.detach();
    await backend!.detach(plugged.id);
    // The kernel has one of the devices attached to the HWPT to abort.
    await expect(rig.passthrough.removePhysical(physical!)).rejects.toMatchObject({ errno: 16 });
    await backend!.detach(other.id);
    await rig.passthrough.removePhysical(physical!);
    expect(rig.passthrough.stats().physical).toEqual([]);
    expect(() => rig.passthrough.removePhysical(physical!)).toThrow(TypeError);
    await backend!.close();
    rig.kernel.closeDevice(plugged.fd);
    rig.kernel.closeDevice(other.fd);
    expect(rig.kernel.objects().map(({ kind }) => kind)).toEqual(['ioas']);
    // Commands have nowhere to go.
    rig.quiet().machine.command(TLBI_ALL, cfgiSte(SID), CMD_SYNC);
    expect([rig.calls, rig.isStopped]).toEqual([[], false]);
  });
});

describe('removePhysical', () => {
  // passthrough.ts, removePhysical: indexOf is -1 the second time, and splice takes the last one.
  test('asked for twice at a time takes no other away', async () => {
    const two = await Rig.make({ kernel: { smmus: [{}, {}] } });
    const [physical, other] = two.physicals;
    const removed = [physical!, physical!].map((one) => two.passthrough.removePhysical(one));
    await Promise.allSettled(removed);
    expect(two.passthrough.stats().physical).toEqual([other!.stats()]);
  });
});
