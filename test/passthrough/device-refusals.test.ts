import { beforeEach, describe, expect, test } from 'vitest';
import type { IommufdError } from '../../src/iommufd/iommufd-error.js';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  CFGI_ALL,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  GBPA_BYPASS,
  Rig,
  TLBI_ALL,
  type PassthroughDevice,
  type Plugged,
  type SteName,
} from './device-rig.js';

const SID = 0x10;
const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;
const EIO = 5;
const ENOMEM = 12;
/** CMDQ_CONS.ERR (IHI 0070, section 6.3.28). */
const ILL = 1;
const ABT = 2;

let rig: Rig;
let device: PassthroughDevice;
let plugged: Plugged;

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  rig.ste(SID, 's1');
  ({ device, plugged } = await rig.device(SID));
});

function refuse(name: string, errno = ENOMEM): void {
  rig.refuse = (_, called) => (called === name ? errno : undefined);
}

/** What was reported: the operation, and the error number. */
function refusals(): [string, number][] {
  return rig.reports.map(({ operation, error }) => [operation, (error as IommufdError).errno]);
}

function allow(): void {
  rig.refuse = () => undefined;
}

describe('CFGI_STE that the host refuses', () => {
  test.each<[SteName, SteName, string, number, number]>([
    ['s1', 'other', 'HWPT_ALLOC', EIO, ILL],
    ['s1', 'other', 'HWPT_ALLOC', ENOMEM, ABT],
    ['s1', 'other', 'ATTACH', EIO, ILL],
    ['s1', 'other', 'ATTACH', ENOMEM, ABT],
    ['s1', 'abort', 'HWPT_ALLOC', ENOMEM, ABT],
    ['s1', 'abort', 'ATTACH', ENOMEM, ABT],
    ['s1', 'bypass', 'ATTACH', EIO, ILL],
    ['bypass', 's1', 'HWPT_ALLOC', ENOMEM, ABT],
    ['bypass', 's1', 'ATTACH', ENOMEM, ABT],
    ['abort', 's1', 'HWPT_ALLOC', EIO, ILL],
    ['abort', 'bypass', 'ATTACH', ENOMEM, ABT],
    ['s1', 'illegal', 'ATTACH', ENOMEM, ABT],
  ])('%s to %s, %s fails with %i', (before, after, call, errno, cerror) => {
    rig.configure(SID, before).machine.write(R.CR0, ON);
    const old = rig.kernel.attachment(plugged.fd);
    const { translating } = rig.physicals[0]!.stats();
    const objects = rig.kernel.objects();
    const cons = rig.machine.read(R.CMDQ_CONS) & 0x7f;
    refuse(call, errno);
    rig.quiet().configure(SID, after);

    expect(rig.isStopped).toBe(true);
    expect([rig.machine.cerror, rig.machine.read(R.CMDQ_CONS) & 0x7f]).toEqual([cerror, cons]);
    expect(rig.kernel.attachment(plugged.fd)).toEqual(old);
    expect(rig.physicals[0]!.stats().translating).toBe(translating);
    const isMade = call === 'ATTACH' && (after === 'abort' || after === 'illegal');
    expect(rig.kernel.objects().length).toBe(objects.length + (isMade ? 1 : 0));
    const operation = call === 'ATTACH' ? 'attach' : 'allocate';
    expect(refusals()).toEqual([[operation, errno]]);

    allow();
    rig.acknowledge();
    expect([rig.isStopped, rig.machine.read(R.CMDQ_CONS) & 0x7f]).toEqual([false, cons + 2]);
    const kinds = { s1: 's1', other: 's1', bypass: 'bypass' } as const;
    expect(rig.kind(plugged)).toBe((kinds[after as 's1'] as string | undefined) ?? 'abort');
  });

  test('the guest is not concerned when the HWPT before is not destroyed', () => {
    rig.machine.write(R.CR0, ON);
    refuse('DESTROY', 16);
    rig.quiet().configure(SID, 'other');
    expect([rig.isStopped, device.disposition]).toEqual([false, 'nested']);
    expect(refusals()).toEqual([['destroy', 16]]);
    expect(rig.reports[0]!.device === device).toBe(true);
    // Both of the device; bypass, from before it was enabled.
    expect(rig.count('hwpt-nested')).toBe(3);
  });

  test('one device of a range does not keep the others from what they ask for', async () => {
    const { plugged: second } = await rig.device(SID + 1);
    rig.ste(SID + 1, 's1').machine.write(R.CR0, ON);
    rig.ste(SID, 'other').ste(SID + 1, 'bypass');
    refuse('HWPT_ALLOC');
    rig.machine.command(CFGI_ALL, CMD_SYNC);
    expect([rig.machine.cerror, rig.kind(plugged), rig.kind(second)]).toEqual([
      ABT,
      's1',
      'bypass',
    ]);
  });

  test('CFGI_CD_ALL of what stays nested, refused: the queue stops', () => {
    rig.machine.write(R.CR0, ON);
    rig.kernel.failInvalidation(() => ({ errno: EIO }));
    rig.machine.command(cfgiSte(SID), CMD_SYNC);
    expect([rig.isStopped, rig.machine.cerror]).toEqual([true, ILL]);
    rig.kernel.failInvalidation(undefined);
    rig.quiet().acknowledge();
    expect([rig.isStopped, rig.hardware()]).toEqual([false, ['CFGI_CD_ALL']]);
  });

  test('TLBs that cannot be made good keep a device from being nested', () => {
    rig.machine.write(R.CR0, ON);
    rig.configure(SID, 'abort').machine.command(TLBI_ALL, CMD_SYNC);
    rig.kernel.failInvalidation(() => ({ errno: ENOMEM }));
    rig.configure(SID, 's1');
    expect([rig.machine.cerror, rig.kind(plugged)]).toEqual([ABT, 'abort']);
    expect(rig.physicals[0]!.stats().translating).toBe(0);
    rig.kernel.failInvalidation(undefined);
    rig.quiet().acknowledge();
    expect([rig.kind(plugged), rig.hardware()]).toEqual(['s1', ['TLBI_NH_ALL']]);
    expect(rig.calls).toEqual(['HWPT_INVALIDATE', 'HWPT_ALLOC', 'ATTACH']);
  });
});

describe('a register write that the host refuses', () => {
  test.each(['HWPT_ALLOC', 'ATTACH'])('SMMUEN, %s: the device aborts, CR0ACK follows', (call) => {
    rig.machine.write(R.GBPA, GBPA_ABORT).write(R.GBPA, GBPA_BYPASS);
    let failures = 0;
    rig.refuse = (_, name) => (name === call && failures++ === 0 ? ENOMEM : undefined);
    rig.machine.write(R.CR0, ON);
    expect([rig.kind(plugged), rig.machine.read(R.CR0ACK)]).toEqual(['abort', ON]);
    expect(failures).toBeGreaterThan(0);
    // The driver's next CFGI_STE gives it what it asked for.
    rig.machine.command(cfgiSte(SID), CMD_SYNC);
    expect(rig.kind(plugged)).toBe('s1');
  });

  test('when not even aborting is possible CR0ACK does not follow, until it is', () => {
    refuse('ATTACH');
    rig.machine.write(R.CR0, ON);
    expect([rig.kind(plugged), rig.machine.read(R.CR0ACK)]).toEqual(['bypass', QUEUES]);
    allow();
    rig.machine.write(R.CR0, ON);
    expect([rig.kind(plugged), rig.machine.read(R.CR0ACK)]).toEqual(['s1', ON]);
  });

  test('SMMUEN=0: what cannot bypass aborts', () => {
    rig.machine.write(R.CR0, ON);
    let failures = 0;
    rig.refuse = (_, name) => (name === 'ATTACH' && failures++ === 0 ? EIO : undefined);
    rig.machine.write(R.CR0, QUEUES);
    expect([rig.kind(plugged), rig.machine.read(R.CR0ACK)]).toEqual(['abort', QUEUES]);
  });

  test('GBPA: what cannot bypass aborts', async () => {
    rig.machine.write(R.GBPA, GBPA_ABORT);
    let failures = 0;
    rig.refuse = (_, name) => (name === 'ATTACH' && failures++ === 0 ? EIO : undefined);
    rig.machine.write(R.GBPA, GBPA_BYPASS);
    expect(rig.history(plugged)).toEqual(['blocked', 'bypass', 'abort']);
    await device.detach();
  });

  test('one device does not keep the others from following', async () => {
    const { plugged: second } = await rig.device(SID + 1);
    rig.ste(SID + 1, 'other');
    rig.refuse = ({ device: id }, name) =>
      name === 'ATTACH' && id === plugged.id ? ENOMEM : undefined;
    rig.machine.write(R.CR0, ON);
    expect([rig.kind(plugged), rig.kind(second)]).toEqual(['bypass', 's1']);
    expect(rig.machine.read(R.CR0ACK)).toBe(QUEUES);
  });

  // core.ts, acknowledge: CR0ACK, which did not follow, says nothing of what devices were told.
  test('SMMUEN that is taken back before CR0ACK followed is followed', async () => {
    const { plugged: second } = await rig.device(SID + 1);
    rig.ste(SID + 1, 'other');
    rig.refuse = ({ device: id }, name) =>
      name === 'ATTACH' && id === plugged.id ? ENOMEM : undefined;
    rig.machine.write(R.CR0, ON);
    allow();
    rig.machine.write(R.CR0, QUEUES);
    expect(rig.machine.read(R.CR0ACK)).toBe(QUEUES);
    expect([rig.kind(plugged), rig.kind(second)]).toEqual(['bypass', 'bypass']);
  });
});

describe('attach, retire, bind and detach that the host refuses', () => {
  test('no vDEVICE: nothing is left, and the StreamID is free', async () => {
    const second = await rig.plug();
    const objects = rig.kernel.objects();
    refuse('VDEVICE_ALLOC', 17);
    await expect(rig.attach(SID + 1, second)).rejects.toMatchObject({ errno: 17 });
    expect(rig.kernel.objects()).toEqual(objects);
    expect(rig.kind(second)).toBe('blocked');
    allow();
    await rig.attach(SID + 1, second);
    expect(rig.kind(second)).toBe('bypass');
  });

  test('no attachment at all: the vDEVICE goes again', async () => {
    const second = await rig.plug();
    rig.machine.write(R.GBPA, GBPA_ABORT).write(R.GBPA, GBPA_BYPASS);
    const objects = rig.kernel.objects();
    refuse('ATTACH');
    await expect(rig.attach(SID + 1, second)).rejects.toThrow('0x11');
    expect(rig.kernel.objects()).toEqual(objects);
    expect(rig.kind(second)).toBe('blocked');
    allow();
    await rig.attach(SID + 1, second);
    expect(rig.kind(second)).toBe('bypass');
  });

  test('a device that cannot be retired stays, and can be later', async () => {
    rig.machine.write(R.CR0, ON);
    refuse('ATTACH');
    await expect(device.retire()).rejects.toMatchObject({ errno: ENOMEM });
    expect([device.streamId, device.disposition]).toEqual([SID, 'nested']);
    allow();
    await device.retire();
    expect([device.streamId, rig.kind(plugged)]).toEqual([-1, 'abort']);
    refuse('VDEVICE_ALLOC');
    await expect(device.bind(SID)).rejects.toMatchObject({ errno: ENOMEM });
    expect([device.streamId, rig.kind(plugged)]).toEqual([-1, 'abort']);
    allow();
    await device.bind(SID);
    expect([device.streamId, rig.kind(plugged)]).toEqual([SID, 's1']);
  });

  // passthrough-device.ts, detach: isGone stays true when the host refuses.
  test('a device that cannot be detached can be later', async () => {
    rig.machine.write(R.CR0, ON);
    refuse('ATTACH');
    await expect(device.detach()).rejects.toMatchObject({ errno: ENOMEM });
    allow();
    await device.detach();
    expect(rig.kind(plugged)).toBe('abort');
  });
});

describe('a vDEVICE that the host does not destroy', () => {
  test('is destroyed before the device is bound again', async () => {
    refuse('DESTROY', 16);
    await device.retire();
    expect([refusals(), device.streamId]).toEqual([[['destroy', 16]], -1]);
    allow();
    rig.quiet();
    await device.bind(SID);
    expect(rig.calls.slice(0, 2)).toEqual(['DESTROY', 'VDEVICE_ALLOC']);
    expect([rig.kind(plugged), rig.count('vdevice')]).toEqual(['bypass', 1]);
  });

  test('and still not then: bind says why, and can be tried again', async () => {
    refuse('DESTROY', 16);
    await device.retire();
    await expect(device.bind(SID)).rejects.toMatchObject({ errno: 17 });
    expect(refusals().map(([operation]) => operation)).toEqual(['destroy', 'destroy', 'bind']);
    allow();
    await device.bind(SID + 1);
    expect([device.streamId, rig.count('vdevice')]).toEqual([SID + 1, 1]);
  });

  test('is destroyed when the device goes', async () => {
    refuse('DESTROY', 16);
    await device.retire();
    allow();
    await device.detach();
    expect(rig.count('vdevice')).toBe(0);
  });
});
