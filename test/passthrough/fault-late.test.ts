import { describe, expect, test } from 'vitest';
import { CMDQEN, R } from '../smmu/smmu-machine.js';
import { entriesOf, type HostCall } from './command-host.js';
import {
  ABT,
  ATC_INV_SYNC,
  atcInv,
  cfgiCd,
  CommandRig,
  EIO,
  ENOMEM,
  ETIMEDOUT,
  ILL,
  nhVa,
  ON,
  refusal,
  SID,
  SYNC,
} from './command-rig.js';

const isAtc = ([w0]: readonly [bigint, bigint]): boolean => (w0 & 0xffn) === 0x40n;

/** An endpoint that does not answer invalidations in time, so that calls with one take too long. */
function slow({ words }: HostCall): void {
  if (entriesOf(words).some(isAtc)) throw refusal(ETIMEDOUT, words.length / 4 - 1);
}

/** A CMD_SYNC that writes its MSIData into RAM. */
const MSI = 0x4300_0000;
const SYNC_MSI = [0x1046n | (0xabn << 32n), BigInt(MSI)] as const;

describe.each([false, true])('ATC_INVs that time out (answers later: %s)', (isLater) => {
  async function rigOf(options: Parameters<typeof CommandRig.make>[0] = {}): Promise<CommandRig> {
    const rig = await CommandRig.make(options);
    for (const host of rig.hosts) {
      host.isLater = isLater;
      host.onCall = (call) => {
        if (!isLater) slow(call);
      };
      host.onDone = slow;
    }
    return rig;
  }

  test('the others are sent without them, CMD_SYNC fails once, and then they are sent again', async () => {
    const rig = await rigOf();
    const run = [nhVa(1), atcInv(1), cfgiCd(1), atcInv(2)];
    rig.command(...run, SYNC_MSI, nhVa(2), SYNC);
    await rig.settle();
    expect(rig.host.sent).toEqual([run, [nhVa(1), cfgiCd(1)]]);
    expect([rig.state, rig.machine.peek(MSI) & 0xffn]).toEqual([[4, ATC_INV_SYNC], 0n]);
    rig.quiet().acknowledge();
    await rig.settle();
    expect(rig.host.sent).toEqual([[atcInv(1), atcInv(2)], [nhVa(2)]]);
    expect([rig.state, rig.machine.peek(MSI) & 0xffn]).toEqual([[7, 0], 0xabn]);
  });

  test('alone: nothing else is sent', async () => {
    const rig = await rigOf();
    rig.command(atcInv(1), SYNC);
    await rig.settle();
    expect([rig.host.sent, rig.state]).toEqual([[[atcInv(1)]], [1, ATC_INV_SYNC]]);
  });

  test('that are sent again and answered in time are done', async () => {
    const rig = await rigOf();
    rig.command(atcInv(1), SYNC);
    await rig.settle();
    rig.quiet().host.onCall = rig.host.onDone = () => undefined;
    rig.acknowledge().command(SYNC);
    await rig.settle();
    expect([rig.host.sent, rig.state]).toEqual([[[atcInv(1)]], [3, 0]]);
  });

  test('of a run without CMD_SYNC fail the next one', async () => {
    const rig = await rigOf();
    rig.command(nhVa(1), atcInv(1));
    await rig.settle();
    expect(rig.state).toEqual([2, 0]);
    rig.command(nhVa(2), SYNC);
    await rig.settle();
    expect(rig.state).toEqual([3, ATC_INV_SYNC]);
  });

  test('are not forgotten when the command queue is turned off and on', async () => {
    const rig = await rigOf();
    rig.command(atcInv(1));
    await rig.settle();
    rig.machine.write(R.CR0, ON & ~CMDQEN).write(R.CR0, ON);
    rig.command(SYNC);
    await rig.settle();
    expect(rig.state).toEqual([1, ATC_INV_SYNC]);
  });

  test('are forgotten with a reset', async () => {
    const rig = await rigOf();
    rig.command(atcInv(1));
    await rig.settle();
    rig.machine.smmu.reset();
    rig.machine.prod = 0;
    rig.machine.start(ON);
    await rig.settle();
    rig.command(nhVa(1), SYNC);
    await rig.settle();
    expect(rig.state).toEqual([2, 0]);
  });

  test('and more of them before the guest goes on: all fail once more', async () => {
    const rig = await rigOf();
    rig.command(atcInv(1), SYNC);
    await rig.settle();
    rig.overwrite(atcInv(2)).acknowledge();
    await rig.settle();
    rig.command(SYNC);
    await rig.settle();
    expect(rig.state).toEqual([2, ATC_INV_SYNC]);
    rig.quiet().acknowledge();
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[3, 0], [[atcInv(1), atcInv(2)]]]);
  });

  test('when the others cannot be sent either, nothing is done: CERROR_ABT', async () => {
    const rig = await rigOf();
    rig.host.onCall = rig.host.onDone = () => {
      throw refusal(ETIMEDOUT);
    };
    rig.command(nhVa(1), atcInv(1), SYNC);
    await rig.settle();
    expect(rig.state).toEqual([0, ABT]);
    rig.host.onCall = rig.host.onDone = () => undefined;
    rig.quiet().acknowledge();
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[3, 0], [[nhVa(1), atcInv(1)]]]);
  });

  test('without ATC_INV a timeout is CERROR_ABT', async () => {
    const rig = await rigOf();
    rig.host.onCall = rig.host.onDone = () => {
      throw refusal(ETIMEDOUT, 1);
    };
    rig.command(nhVa(1), cfgiCd(1), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[0, ABT], [[nhVa(1), cfgiCd(1)]]]);
  });

  test('of one SMMU: the others are done', async () => {
    const rig = await rigOf({ smmus: 2 });
    rig.hosts[1]!.onCall = rig.hosts[1]!.onDone = () => undefined;
    rig.command(atcInv(1), atcInv(2, SID + 1), nhVa(1), SYNC);
    await rig.settle();
    expect(rig.state).toEqual([3, ATC_INV_SYNC]);
    rig.quiet().acknowledge();
    await rig.settle();
    expect([rig.state, rig.hosts[0]!.sent]).toEqual([[4, 0], [[atcInv(1)]]]);
  });

  test('before a command that the kernel does not take: CERROR_ILL is on that', async () => {
    const rig = await rigOf();
    rig.host.onCall = rig.host.onDone = (call) => {
      if (call.method !== 'invalidate') return;
      const bad = entriesOf(call.words).findIndex(([w0]) => (w0 & 0xffn) === 0x05n);
      if (bad >= 0) throw refusal(EIO, bad);
      slow(call);
    };
    rig.command(nhVa(1), atcInv(1), cfgiCd(1), nhVa(2), SYNC);
    await rig.settle();
    expect([rig.state, rig.host.sent.at(-1)]).toEqual([[2, ILL], [nhVa(1)]]);
    rig.overwrite(SYNC).acknowledge();
    await rig.settle();
    // That CMD_SYNC is the next.
    expect(rig.state).toEqual([2, ATC_INV_SYNC]);
    rig.acknowledge();
    await rig.settle();
    expect(rig.state).toEqual([5, 0]);
  });

  test('retries are for the whole run, and for what goes without them', async () => {
    const rig = await rigOf({ physical: { retries: 1 } });
    let refusals = 1;
    rig.host.onCall = rig.host.onDone = (call) => {
      slow(call);
      if (refusals-- > 0) throw refusal(ENOMEM);
    };
    rig.command(nhVa(1), atcInv(1), SYNC);
    await rig.settle();
    const run = [nhVa(1), atcInv(1)];
    expect([rig.host.sent, rig.state]).toEqual([
      [run, run, [nhVa(1)], [nhVa(1)]],
      [2, ATC_INV_SYNC],
    ]);
  });
});

describe('ATC_INVs of two SMMUs that time out', () => {
  test('CMD_SYNC fails once', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    for (const host of rig.hosts) host.onCall = slow;
    rig.command(atcInv(1), atcInv(1, SID + 1), SYNC);
    expect(rig.state).toEqual([2, ATC_INV_SYNC]);
    rig.acknowledge();
    expect(rig.state).toEqual([3, 0]);
  });
});
