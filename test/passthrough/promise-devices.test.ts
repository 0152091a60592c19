import { describe, expect, test } from 'vitest';
import { CMDQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  cfgiCd,
  cfgiSte,
  CommandRig,
  EIO,
  ENOMEM,
  nhVa,
  ON,
  refusal,
  SID,
  SYNC,
  turn,
} from './command-rig.js';

const QUEUE_OFF = ON & ~CMDQEN;
const SMMU_OFF = ON & ~SMMUEN;

async function later(smmus = 1): Promise<CommandRig> {
  return (await CommandRig.make({ smmus })).later();
}

/** Answers the oldest call of an SMMU, and what follows from it happens. */
async function answer(rig: CommandRig, smmu = 0, error?: unknown): Promise<void> {
  rig.hosts[smmu]!.answer(0, error);
  await turn();
}

describe('a device that goes', () => {
  test('while a flush is under way: that is done before', async () => {
    const rig = await later();
    rig.command(nhVa(1), cfgiCd(1), SYNC);
    const retired = rig.device.retire();
    expect(rig.host.methods).toEqual(['invalidate']);
    await rig.settle();
    await retired;
    expect([rig.state, rig.device.disposition]).toEqual([[3, 0], 'abort']);
    expect(rig.host.methods.slice(0, 3)).toEqual(['invalidate', 'allocate', 'attach']);
  });

  test('between the command and its flush: the command is passed over, the others are sent', async () => {
    const rig = await later();
    const retired = rig.device.retire();
    rig.command(nhVa(1), cfgiCd(1), nhVa(2), cfgiCd(2), SYNC);
    rig.host.onCall = ({ words, method }) => {
      if (method !== 'invalidate' || rig.host.vdevices.size > 0) return;
      const at = Array.from({ length: words.length / 4 }, (_, i) => words[4 * i]! & 0xff);
      if (at.includes(0x05)) throw refusal(EIO, at.indexOf(0x05));
    };
    await rig.settle();
    await retired;
    expect(rig.state).toEqual([5, 0]);
    const done = rig.host.sent.filter((run) => run.every(([w0]) => (w0 & 0xffn) === 0x12n));
    expect(done.flat()).toEqual([nhVa(1), nhVa(2)]);
  });

  test('while a flush waits for its turn and the queue is turned off and on: all is sent, once', async () => {
    const rig = await later(2);
    const retired = rig.device.retire();
    rig.command(nhVa(1));
    rig.machine.write(R.CR0, QUEUE_OFF);
    rig.command(nhVa(2));
    rig.machine.write(R.CR0, ON);
    await rig.settle();
    await retired;
    expect([rig.state, rig.hosts[1]!.sent]).toEqual([[2, 0], [[nhVa(1), nhVa(2)]]]);
  });

  test('while the queue waits for its CFGI_STE: nothing is left over', async () => {
    const rig = await later();
    rig.ste('s1').command(cfgiSte(), SYNC);
    const retired = rig.device.retire();
    await rig.settle();
    await retired;
    expect([rig.state, rig.host.vdevices.size, rig.host.nested.size]).toEqual([[2, 0], 0, 0]);
  });
});

describe('CR0ACK', () => {
  test('waits for the flush that is under way, and for what devices meet', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    rig.machine.write(R.CR0, SMMU_OFF);
    expect([rig.host.methods, rig.machine.read(R.CR0ACK)]).toEqual([['invalidate'], ON]);
    await answer(rig);
    expect([rig.host.methods.at(-1), rig.machine.read(R.CR0ACK)]).toEqual(['attach', ON]);
    await answer(rig);
    await answer(rig);
    expect([rig.state, rig.machine.read(R.CR0ACK)]).toEqual([[2, 0], SMMU_OFF]);
  });

  test('follows other bits of CR0 at once', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    rig.machine.write(R.CR0, QUEUE_OFF);
    expect(rig.machine.read(R.CR0ACK)).toBe(QUEUE_OFF);
    await rig.settle();
  });

  test('comes with a later write of other bits, too', async () => {
    const rig = await later();
    rig.machine.write(R.CR0, SMMU_OFF).write(R.CR0, SMMU_OFF & ~CMDQEN);
    await rig.settle();
    expect(rig.machine.read(R.CR0ACK)).toBe(SMMU_OFF & ~CMDQEN);
  });

  test.each([
    ['off and on', ON, SMMU_OFF, 'nested'],
    ['on and off', SMMU_OFF, ON, 'bypass'],
  ])('is CR0 at last when SMMUEN goes %s', async (_, last, between, disposition) => {
    const rig = await CommandRig.make();
    rig.machine.write(R.CR0, last);
    rig.later().machine.write(R.CR0, between);
    await turn();
    rig.machine.write(R.CR0, last);
    await rig.settle();
    expect([rig.machine.read(R.CR0ACK), rig.device.disposition]).toEqual([last, disposition]);
  });

  test('CFGI_CD is not lost while SMMUEN takes effect', async () => {
    const rig = await CommandRig.make();
    rig.machine.write(R.CR0, SMMU_OFF);
    rig.quiet().later().machine.write(R.CR0, ON);
    await answer(rig);
    expect(rig.host.methods).toEqual(['allocate', 'attach']);
    // The kernel may have done it already, and hardware have read the CD.
    rig.command(cfgiCd(1), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent.flat().at(-1)]).toEqual([[2, 0], cfgiCd(1)]);
  });
});

describe('a reset and a device', () => {
  test('that is attached later belongs to the next guest', async () => {
    const rig = await later();
    rig.ste('s1', SID + 1);
    const attached = rig.attach(0, SID + 1, 200);
    rig.machine.smmu.reset();
    await rig.settle();
    await attached;
    rig.machine.prod = 0;
    rig.machine.start(ON);
    await rig.settle();
    rig.quiet().command(cfgiCd(3, SID + 1), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[2, 0], [[cfgiCd(3, SID + 1)]]]);
  });
});

describe('a physical SMMU that is being removed', () => {
  test('gets no device meanwhile; when the host has refused, it may', async () => {
    const rig = await CommandRig.make();
    await rig.device.detach();
    rig.later();
    const removing = rig.passthrough.removePhysical(rig.physicals[0]!);
    const refused = expect(removing).rejects.toMatchObject({ errno: ENOMEM });
    expect(() => rig.attach(0, SID, 7)).toThrow(/options\.physical is being removed/);
    await answer(rig, 0, refusal(ENOMEM));
    await refused;
    const attaching = rig.attach(0, SID, 7);
    await rig.settle();
    expect((await attaching).disposition).toBe('nested');
  });

  test('does not get one back that is retired', async () => {
    const rig = await CommandRig.make();
    await rig.device.retire();
    rig.later();
    const removing = rig.passthrough.removePhysical(rig.physicals[0]!);
    expect(() => rig.device.bind(SID)).toThrow(/of the device is being removed/);
    await rig.settle();
    await removing;
    expect(() => rig.device.bind(SID)).toThrow(/of the device is none of this vSMMU/);
    expect(() => rig.attach(0, SID, 7)).toThrow(/options\.physical is none of this vSMMU/);
    expect(rig.passthrough.deviceOf(SID)).toBeUndefined();
  });
});
