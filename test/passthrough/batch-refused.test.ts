import { describe, expect, test } from 'vitest';
import { entriesOf, type HostCall } from './command-host.js';
import {
  ABT,
  atcInv,
  cfgiCd,
  CommandRig,
  EIO,
  ENOMEM,
  ETIMEDOUT,
  ILL,
  nhVa,
  refusal,
  SID,
  SYNC,
  type Entry,
} from './command-rig.js';

/** Refuses the calls that `errors` has a value for, in turn. */
function script(...errors: readonly unknown[]): () => void {
  const left = [...errors];
  return () => {
    const error = left.shift();
    if (error !== undefined) throw error as Error;
  };
}

/** A kernel that does not know some commands, whatever it is sent them with. */
function unknown(...bad: readonly Entry[]): (call: HostCall) => void {
  return ({ method, words }) => {
    if (method !== 'invalidate') return;
    const at = entriesOf(words).findIndex(([w0, w1]) =>
      bad.some((b) => b[0] === w0 && b[1] === w1),
    );
    if (at >= 0) throw refusal(EIO, at);
  };
}

describe('retries', () => {
  test.each([0, 1, 3])('%d: so many times more, and then CERROR_ABT', async (retries) => {
    const rig = await CommandRig.make({ physical: { retries } });
    rig.host.onCall = script(...Array.from({ length: retries + 1 }, () => refusal(ENOMEM)));
    rig.command(nhVa(1), nhVa(2), SYNC);
    const run = [nhVa(1), nhVa(2)];
    const refused = Array.from({ length: retries + 1 }, () => run);
    expect([rig.host.sent, rig.state]).toEqual([refused, [0, ABT]]);
    rig.acknowledge();
    expect([rig.host.sent, rig.state]).toEqual([
      [...refused, run],
      [3, 0],
    ]);
  });

  test('the last of them may do', async () => {
    const rig = await CommandRig.make({ physical: { retries: 2 } });
    rig.host.onCall = script(refusal(ENOMEM), refusal(ETIMEDOUT, 1));
    rig.command(nhVa(1), nhVa(2), SYNC);
    expect([rig.host.sent.length, rig.state]).toEqual([3, [3, 0]]);
    expect(rig.physicals[0]!.stats()).toMatchObject({ calls: 3, commands: 6, refusals: 2 });
  });

  test('a refusal for good is not tried again', async () => {
    const rig = await CommandRig.make({ physical: { retries: 5 } });
    rig.host.onCall = unknown(nhVa(1));
    rig.command(nhVa(1), nhVa(2), SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), nhVa(2)]], [0, ILL]]);
  });

  test('the guest that never stops trying never gets past', async () => {
    const rig = await CommandRig.make();
    rig.host.onCall = () => {
      throw refusal(ENOMEM);
    };
    rig.command(nhVa(1), SYNC);
    for (let i = 0; i < 10; i++) expect(rig.acknowledge().state).toEqual([0, ABT]);
    expect(rig.host.sent).toHaveLength(11);
  });
});

describe('issueTwice', () => {
  test('every batch is sent twice', async () => {
    const rig = await CommandRig.make({ physical: { issueTwice: true } });
    rig.command(nhVa(1), nhVa(2), SYNC, nhVa(3), SYNC);
    const [one, two] = [[nhVa(1), nhVa(2)], [nhVa(3)]];
    expect([rig.host.sent, rig.state]).toEqual([
      [one, one, two, two],
      [5, 0],
    ]);
  });

  test.each([1, 2])('a refusal of the call number %d: both once more', async (call) => {
    const rig = await CommandRig.make({ physical: { issueTwice: true, retries: 1 } });
    rig.host.onCall = script(...(call === 1 ? [] : [undefined]), refusal(ENOMEM));
    rig.command(nhVa(1), SYNC);
    expect([rig.host.sent.length, rig.state]).toEqual([call + 2, [2, 0]]);
  });

  test('what goes before an illegal command is sent twice as well', async () => {
    const rig = await CommandRig.make({ physical: { issueTwice: true } });
    rig.host.onCall = unknown(cfgiCd(9));
    rig.command(nhVa(1), cfgiCd(9), SYNC);
    const all = [nhVa(1), cfgiCd(9)];
    expect([rig.host.sent, rig.state]).toEqual([
      [all, [nhVa(1)], [nhVa(1)]],
      [1, ILL],
    ]);
  });

  test.each([false, true])('also when answers come later (%s)', async (isLater) => {
    const rig = await CommandRig.make({ physical: { issueTwice: true } });
    rig.host.isLater = isLater;
    rig.command(nhVa(1), SYNC);
    await rig.settle();
    expect([rig.host.sent, rig.state]).toEqual([
      [[nhVa(1)], [nhVa(1)]],
      [2, 0],
    ]);
  });
});

describe('several commands that the kernel does not take', () => {
  test('each is met in its turn, and what is around them is sent', async () => {
    const rig = await CommandRig.make();
    rig.host.onCall = unknown(nhVa(2), nhVa(3), nhVa(5));
    rig.command(nhVa(1), nhVa(2), nhVa(3), nhVa(4), nhVa(5), SYNC);
    const stops: unknown[] = [];
    for (; rig.isStopped; rig.overwrite(SYNC).acknowledge()) stops.push(rig.state);
    expect(stops).toEqual([
      [1, ILL],
      [2, ILL],
      [4, ILL],
    ]);
    expect(rig.state).toEqual([6, 0]);
    const done = rig.host.sent.filter(
      (run) => !run.some(([, w1]) => [0x2001n, 0x3001n, 0x5001n].includes(w1)),
    );
    expect(done).toEqual([[nhVa(1)], [nhVa(4)]]);
  });

  // Linux replaces the command at CONS by a CMD_SYNC: CONS must be on the one that is bad.
  test.each([
    [[nhVa(2)], [nhVa(4)], 1],
    [[nhVa(4)], [nhVa(2)], 1],
    [[nhVa(3)], [nhVa(3)], 2],
  ])('on two SMMUs: CONS on the first of all', async (first, second, cons) => {
    const rig = await CommandRig.make({ smmus: 2 });
    rig.hosts[0]!.onCall = unknown(...first);
    rig.hosts[1]!.onCall = unknown(...second);
    rig.command(nhVa(1), nhVa(2), nhVa(3), nhVa(4), SYNC);
    expect(rig.state).toEqual([cons, ILL]);
    for (; rig.isStopped; rig.overwrite(SYNC).acknowledge());
    expect(rig.state).toEqual([5, 0]);
  });

  test.each([
    ['an abort', [refusal(ENOMEM)], [0, ABT], [nhVa(1), nhVa(2), nhVa(3)]],
    ['nothing', [], [2, ILL], [nhVa(3)]],
  ] as const)('with %s on the other SMMU', async (_, errors, state, last) => {
    const rig = await CommandRig.make({ smmus: 2 });
    rig.hosts[0]!.onCall = unknown(nhVa(3));
    rig.hosts[1]!.onCall = script(...errors);
    rig.command(nhVa(1), nhVa(2), nhVa(3), SYNC);
    expect(rig.state).toEqual(state);
    rig.acknowledge();
    expect(rig.state).toEqual([2, ILL]);
    rig.overwrite(SYNC).acknowledge();
    expect(rig.state).toEqual([4, 0]);
    expect(rig.hosts[1]!.sent.at(-1)).toEqual(last);
  });

  test('a command for one SMMU: the others are not concerned', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    rig.hosts[1]!.onCall = unknown(cfgiCd(1, SID + 1));
    rig.command(nhVa(1), cfgiCd(0), cfgiCd(1, SID + 1), cfgiCd(2), SYNC);
    expect(rig.state).toEqual([2, ILL]);
    expect(rig.hosts[0]!.sent).toEqual([[nhVa(1), cfgiCd(0), cfgiCd(2)]]);
    rig.overwrite(SYNC).acknowledge();
    expect(rig.hosts[0]!.sent.slice(1)).toEqual([[cfgiCd(2)]]);
    expect(rig.state).toEqual([5, 0]);
  });
});

describe('more commands than are held', () => {
  test('4096 of them go as one call, wherever the queue wraps; the next as another', async () => {
    const rig = await CommandRig.make({ cmdqLog2: 13, commandBudget: 10_000 });
    for (const start of [0, 1]) {
      rig.host.quiet();
      const run = Array.from({ length: 5000 }, (_, i) => nhVa(5000 * start + i));
      rig.command(...run, SYNC);
      expect(rig.host.sent).toEqual([run.slice(0, 4096), run.slice(4096)]);
      expect(rig.state).toEqual([5001 * (start + 1), 0]);
    }
  });

  test('one of the second call is refused', async () => {
    const rig = await CommandRig.make({ cmdqLog2: 13, commandBudget: 10_000 });
    rig.host.onCall = unknown(atcInv(4200));
    const run = Array.from({ length: 4300 }, (_, i) => atcInv(i));
    rig.command(...run, SYNC);
    expect(rig.state).toEqual([4200, ILL]);
    expect(rig.host.sent.map(({ length }) => length)).toEqual([4096, 204, 104]);
    rig.overwrite(SYNC).acknowledge();
    expect([rig.state, rig.host.sent.at(-1)]).toEqual([[4301, 0], run.slice(4201)]);
  });
});
