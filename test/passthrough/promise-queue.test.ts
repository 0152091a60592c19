import { describe, expect, test } from 'vitest';
import { CMDQEN, R } from '../smmu/smmu-machine.js';
import {
  ABT,
  cfgiCd,
  cfgiSte,
  CommandRig,
  EIO,
  ENOMEM,
  NH_ALL,
  nhVa,
  NSNH_ALL,
  ON,
  refusal,
  SYNC,
  turn,
} from './command-rig.js';

const EMULATED = 0x10;
const QUEUE_OFF = ON & ~CMDQEN;

async function later(smmus = 1): Promise<CommandRig> {
  return (await CommandRig.make({ smmus })).later();
}

/** Answers the oldest call of an SMMU, and what follows from it happens. */
async function answer(rig: CommandRig, smmu = 0, error?: unknown): Promise<void> {
  rig.hosts[smmu]!.answer(0, error);
  await turn();
}

describe('a flush that is answered later', () => {
  test.each([
    [0, 1],
    [1, 0],
  ])('CONS stays until both SMMUs have answered (%d first)', async (first, second) => {
    const rig = await later(2);
    rig.command(nhVa(1), nhVa(2), SYNC);
    await answer(rig, first);
    expect(rig.state).toEqual([0, 0]);
    await answer(rig, second);
    expect(rig.state).toEqual([3, 0]);
  });

  test('all SMMUs are asked at once', async () => {
    const rig = await later(3);
    rig.command(nhVa(1), SYNC);
    expect(rig.hosts.map(({ pending }) => pending.length)).toEqual([1, 1, 1]);
    await rig.settle();
  });

  test('commands that come meanwhile are fetched when it is answered', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    rig.command(nhVa(2)).command(nhVa(3), SYNC);
    expect(rig.host.sent).toEqual([[nhVa(1)]]);
    await answer(rig);
    expect([rig.state, rig.host.sent]).toEqual([
      [2, 0],
      [[nhVa(1)], [nhVa(2), nhVa(3)]],
    ]);
    await answer(rig);
    expect(rig.state).toEqual([5, 0]);
  });

  test('a refusal stops the queue then', async () => {
    const rig = await later();
    rig.command(nhVa(1), nhVa(2), SYNC);
    await answer(rig, 0, refusal(ENOMEM));
    expect(rig.state).toEqual([0, ABT]);
    rig.acknowledge();
    await answer(rig);
    expect(rig.state).toEqual([3, 0]);
  });

  test('with the queue off its answer counts for nothing: commands are fetched again', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    rig.machine.write(R.CR0, QUEUE_OFF);
    await answer(rig);
    expect(rig.state).toEqual([0, 0]);
    rig.machine.write(R.CR0, ON);
    await answer(rig);
    expect([rig.state, rig.host.sent]).toEqual([
      [2, 0],
      [[nhVa(1)], [nhVa(1)]],
    ]);
  });

  test.each([undefined, refusal(ENOMEM), refusal(EIO)])(
    'with the queue off and on again it counts for nothing either (%s)',
    async (error) => {
      const rig = await later();
      rig.command(nhVa(1), SYNC);
      rig.machine.write(R.CR0, QUEUE_OFF).write(R.CR0, ON);
      rig.command(nhVa(2), SYNC);
      await answer(rig, 0, error);
      expect([rig.state, rig.host.sent]).toEqual([
        [0, 0],
        [[nhVa(1)], [nhVa(1)]],
      ]);
      await answer(rig);
      expect([rig.state, rig.host.sent.at(-1)]).toEqual([[2, 0], [nhVa(2)]]);
      await answer(rig);
      expect(rig.state).toEqual([4, 0]);
    },
  );

  test('given up, it does not take along what the other SMMU has to get', async () => {
    const rig = await later(2);
    rig.hosts[1]!.isLater = false;
    rig.command(nhVa(1), SYNC);
    rig.machine.write(R.CR0, QUEUE_OFF).write(R.CR0, ON);
    rig.hosts[1]!.quiet().onCall = () => {
      rig.hosts[1]!.onCall = () => undefined;
      throw refusal(ENOMEM);
    };
    await rig.settle();
    expect([rig.state, rig.hosts[1]!.sent]).toEqual([[0, ABT], [[nhVa(1)]]]);
  });

  test('with a reset: hardware forgets all, and the next guest begins anew', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    rig.machine.smmu.reset();
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

  test('saved meanwhile: another vSMMU sends all of it', async () => {
    const rig = await later();
    rig.command(nhVa(1), nhVa(2), SYNC);
    const state = rig.machine.smmu.save();
    const other = await CommandRig.make();
    other.machine.smmu.reset();
    // It has the memory of the first.
    for (let i = 0; i < 3; i++) other.machine.enqueue([nhVa(1), nhVa(2), SYNC][i]!);
    other.quiet().machine.smmu.restore(state);
    expect(other.machine.smmu.drain(100)).toBe(false);
    expect(other.state).toEqual([3, 0]);
    expect(other.host.sent.at(-1)).toEqual([nhVa(1), nhVa(2)]);
    await rig.settle();
    expect(rig.state).toEqual([3, 0]);
  });

  test('holds up neither translations nor events of emulated devices', async () => {
    const rig = await later();
    rig.command(nhVa(1), SYNC);
    expect(rig.machine.translate(0x1234n, 0, EMULATED).outputAddress).toBe(0x8000_1234);
    // F_TRANSLATION of what no table maps.
    rig.machine.translate(0x80_0000_0000n, 0, EMULATED);
    expect(rig.machine.read(R.EVENTQ_PROD)).toBe(1);
    expect(rig.machine.record(0)[0]! & 0xffn).toBe(0x10n);
    expect(rig.state).toEqual([0, 0]);
    await rig.settle();
    expect(rig.state).toEqual([2, 0]);
  });

  test('holds up CFGI_STE, which is a job of its own', async () => {
    const rig = await later();
    rig.ste('s1').command(nhVa(1), cfgiSte(), SYNC);
    expect(rig.host.methods).toEqual(['invalidate']);
    await answer(rig);
    expect([rig.host.methods, rig.state]).toEqual([
      ['invalidate', 'allocate'],
      [1, 0],
    ]);
    rig.command(nhVa(2), SYNC);
    await answer(rig);
    await answer(rig);
    expect([rig.host.methods.slice(2), rig.state]).toEqual([
      ['attach', 'destroy'],
      [1, 0],
    ]);
    await answer(rig);
    expect([rig.host.sent.at(-1), rig.state]).toEqual([[nhVa(2)], [3, 0]]);
    await answer(rig);
    expect(rig.state).toEqual([5, 0]);
  });

  // A rejection that nobody has listened for ends a process.
  test('listens to every SMMU from the start', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    const listeners: unknown[] = [];
    rig.hosts[0]!.isLater = true;
    const asked: PromiseLike<void> = {
      then: (_done, refused) => {
        listeners.push(refused);
        return new Promise(() => undefined);
      },
    };
    rig.hosts[1]!.invalidate = () => asked as Promise<void>;
    rig.command(nhVa(1), SYNC);
    await turn();
    expect(listeners).toEqual([expect.any(Function)]);
  });
});

describe('an access of an emulated device that ends while a flush waits', () => {
  test('does not let commands in that CONS then passes unsent', async () => {
    const rig = await CommandRig.make();
    const handle = rig.machine.smmu.attach(EMULATED);
    let end = (): void => undefined;
    const access = handle.dma(0x1000, 16, 0, () => new Promise<void>((done) => (end = done)));
    rig.later().command(NH_ALL);
    rig.command(cfgiCd(7), SYNC);
    end();
    await access;
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([
      [3, 0],
      [[NH_ALL], [cfgiCd(7)]],
    ]);
  });
});
