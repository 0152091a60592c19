import { describe, expect, test } from 'vitest';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { CMDQ, R, type Entry } from '../smmu/smmu-machine.js';
import {
  ABT,
  atcInv,
  cfgiCd,
  cfgiRange,
  cfgiSte,
  CommandRig,
  ILL,
  ILLEGAL,
  nhVa,
  prefetch,
  SID,
  SYNC,
} from './command-rig.js';

/** Commands that a run does not go across. */
const ENDS: readonly (readonly [string, Entry])[] = [
  ['CMD_SYNC', SYNC],
  ['CFGI_STE of another stream', cfgiSte(0x30)],
  ['CFGI_STE_RANGE', cfgiRange(2, 0x30)],
  ['RESUME', [0x1044n | (0x10n << 32n), 1n]],
  ['STALL_TERM', [0x45n | (0x10n << 32n), 0n]],
  ['PRI_RESP', [0x41n | (0x10n << 32n), 0n]],
];

/** Commands that stop the queue. */
const ERRORS: readonly (readonly [string, Entry])[] = [
  ['an opcode that there is not', ILLEGAL],
  ['CS=3', [0x3046n, 0n]],
  ['a TLBI with a granule only', [0x12n, 0x401n]],
  ['SSec', [0x405n | (0x20n << 32n), 0n]],
];

/** Memory that has no byte at one address. */
function withHole(): { memory: GuestMemory; behind: (ram: GuestMemory) => void; hole: number[] } {
  let ram: GuestMemory | undefined;
  const hole: number[] = [];
  const memory: GuestMemory = {
    load: (address, ...rest) => !hole.includes(address) && ram!.load(address, ...rest),
    load64: (...all) => ram!.load64(...all),
    store: (...all) => ram!.store(...all),
    loadBytes: (...all) => ram!.loadBytes(...all),
    storeBytes: (...all) => ram!.storeBytes(...all),
    compareExchange: (...all) => ram!.compareExchange(...all),
  };
  return { memory, behind: (given) => void (ram = given), hole };
}

describe('a run of commands', () => {
  test.each(ENDS)('ends at %s: one call for what is before it', async (_, end) => {
    const rig = await CommandRig.make();
    rig.command(nhVa(1), nhVa(2), end, nhVa(3), SYNC);
    expect([rig.host.sent, rig.state]).toEqual([
      [[nhVa(1), nhVa(2)], [nhVa(3)]],
      [5, 0],
    ]);
  });

  test('ends at the CFGI_STE of its own stream, before the STE is looked at', async () => {
    const rig = await CommandRig.make();
    rig.ste('bypass').command(nhVa(1), cfgiCd(1), cfgiSte(), nhVa(2), SYNC);
    expect(rig.host.methods).toEqual(['invalidate', 'attach', 'destroy']);
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), cfgiCd(1)]], [5, 0]]);
  });

  test.each(ERRORS)('ends at %s: sent before the error is raised', async (_, entry) => {
    const rig = await CommandRig.make();
    const errors: number[] = [];
    rig.host.onCall = () => void errors.push(rig.error);
    rig.command(nhVa(1), nhVa(2), entry, nhVa(3), SYNC);
    expect([rig.host.sent, rig.state, errors]).toEqual([[[nhVa(1), nhVa(2)]], [2, ILL], [0]]);
    rig.overwrite(SYNC).acknowledge();
    expect([rig.host.sent, rig.state]).toEqual([
      [[nhVa(1), nhVa(2)], [nhVa(3)]],
      [5, 0],
    ]);
  });

  test('ends at an entry that cannot be read', async () => {
    const { memory, behind, hole } = withHole();
    const rig = await CommandRig.make({ memory, behind });
    hole.push(CMDQ + 16 * 2);
    rig.command(nhVa(1), nhVa(2), nhVa(3), SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), nhVa(2)]], [2, ABT]]);
    hole.pop();
    rig.acknowledge();
    expect([rig.host.sent, rig.state]).toEqual([
      [[nhVa(1), nhVa(2)], [nhVa(3)]],
      [4, 0],
    ]);
  });

  test('goes across PREFETCH and what stays inside', async () => {
    const rig = await CommandRig.make();
    const addr: Entry = [0x2n | (0x20n << 32n), 0x1000n];
    rig.command(nhVa(1), prefetch(), addr, cfgiCd(0, 0x30), atcInv(0, 0x30), nhVa(2), SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), nhVa(2)]], [7, 0]]);
  });

  test('ends with the drain, without CMD_SYNC', async () => {
    const rig = await CommandRig.make();
    rig.command(nhVa(1), nhVa(2));
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), nhVa(2)]], [2, 0]]);
    rig.command(SYNC);
    expect([rig.host.sent.length, rig.state]).toEqual([1, [3, 0]]);
  });

  test('of PREFETCH alone asks nobody', async () => {
    const rig = await CommandRig.make();
    rig.command(prefetch(), prefetch(), SYNC, SYNC);
    expect([rig.host.calls, rig.state]).toEqual([[], [4, 0]]);
  });

  test('ends with the budget', async () => {
    const pending: number[] = [];
    const rig = await CommandRig.make({ commandBudget: 3, commandsPending: () => pending.push(1) });
    rig.command(nhVa(1), nhVa(2), nhVa(3), nhVa(4), nhVa(5), SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[[nhVa(1), nhVa(2), nhVa(3)]], [3, 0]]);
    expect([pending.length, rig.machine.smmu.drain(1)]).toEqual([1, true]);
    expect([rig.host.sent.at(-1), rig.state]).toEqual([[nhVa(4)], [4, 0]]);
    expect(rig.machine.smmu.drain(2)).toBe(false);
    expect([rig.host.sent.at(-1), rig.host.sent.length, rig.state]).toEqual([[nhVa(5)], 3, [6, 0]]);
  });

  test('is seen by the guest as a whole: CONS stays while it is sent', async () => {
    const rig = await CommandRig.make();
    const seen: number[] = [];
    rig.host.onCall = () => void seen.push(rig.cons);
    rig.command(nhVa(1), SYNC, nhVa(2), nhVa(3), SYNC);
    expect([seen, rig.cons]).toEqual([[0, 2], 5]);
  });
});

describe('several physical SMMUs', () => {
  test('one call for each CMD_SYNC and SMMU that something is for', async () => {
    const rig = await CommandRig.make({ smmus: 3 });
    rig.command(nhVa(1), SYNC, cfgiCd(1, SID + 1), SYNC, nhVa(2), cfgiCd(2, SID + 2), SYNC, SYNC);
    expect(rig.hosts.map(({ sent }) => sent)).toEqual([
      [[nhVa(1)], [nhVa(2)]],
      [[nhVa(1)], [cfgiCd(1, SID + 1)], [nhVa(2)]],
      [[nhVa(1)], [nhVa(2), cfgiCd(2, SID + 2)]],
    ]);
    expect(rig.state).toEqual([8, 0]);
  });

  test('TLBIs go to those that translate; one that begins to gets all that it has missed', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    rig.ste('bypass', SID + 1).command(cfgiSte(SID + 1), SYNC);
    for (const host of rig.hosts) host.quiet();
    rig.command(nhVa(1), nhVa(2), SYNC);
    expect(rig.hosts.map(({ sent }) => sent)).toEqual([[[nhVa(1), nhVa(2)]], []]);
    rig.ste('s1', SID + 1).command(cfgiSte(SID + 1), SYNC);
    expect(rig.hosts[1]!.methods).toEqual(['invalidate', 'allocate', 'attach']);
    expect(rig.hosts[1]!.sent).toEqual([[[0x30n, 0n]]]);
    // Nothing was missed since.
    rig.ste('ats', SID + 1).command(cfgiSte(SID + 1), SYNC);
    expect(rig.hosts[1]!.sent).toHaveLength(1);
  });

  test('nobody translates: TLBIs are consumed', async () => {
    const rig = await CommandRig.make({ ste: 'bypass' });
    rig.command(nhVa(1), [0x10n, 0n], [0x30n, 0n], SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[], [4, 0]]);
    expect(rig.passthrough.stats().inside).toEqual({
      nobodyTranslates: { TLBI_NH_VA: 1, TLBI_NH_ALL: 1, TLBI_NSNH_ALL: 1 },
    });
  });
});

describe('CMDQ_PROD', () => {
  test('a run goes across the wrap of the queue', async () => {
    const rig = await CommandRig.make({ cmdqLog2: 3 });
    for (let i = 0; i < 30; i++) rig.command(nhVa(3 * i), nhVa(3 * i + 1), nhVa(3 * i + 2), SYNC);
    const runs = Array.from({ length: 30 }, (_, i) => [0, 1, 2].map((j) => nhVa(3 * i + j)));
    expect(rig.host.sent).toEqual(runs);
    // 120 = 7 * 16 + 8.
    expect([rig.state, rig.machine.read(R.CMDQ_PROD)]).toEqual([[8, 0], 8]);
  });
});
