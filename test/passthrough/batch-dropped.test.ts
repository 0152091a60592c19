import { describe, expect, test } from 'vitest';
import {
  atcInv,
  cfgiCd,
  cfgiCdAll,
  CommandRig,
  EIO,
  ENOMEM,
  ILL,
  ABT,
  NH_ALL,
  nhAsid,
  nhVa,
  nhVaa,
  NSNH_ALL,
  prefetch,
  refusal,
  SYNC,
  type Entry,
} from './command-rig.js';

/** Commands of the guest between two CMD_SYNCs, and what of them goes to hardware. */
const RUNS: readonly (readonly [string, readonly Entry[], readonly Entry[]])[] = [
  ['the same once more', [nhVa(1), nhVa(1), nhVa(1)], [nhVa(1)]],
  [
    'the same but for what hardware does not see',
    [
      [0x13n, 1n],
      [0x7_0000_0013n, 1n],
    ],
    [[0x13n, 1n]],
  ],
  ['the same with another between', [nhVa(1), nhVa(2), nhVa(1)], [nhVa(1), nhVa(2), nhVa(1)]],
  ['the same with a hint between', [nhVa(1), prefetch(), nhVa(1)], [nhVa(1)]],
  ['the same CD', [cfgiCd(1), cfgiCd(1)], [cfgiCd(1)]],
  ['another CD', [cfgiCd(1), cfgiCd(2)], [cfgiCd(1), cfgiCd(2)]],
  ['the CD behind all CDs', [cfgiCdAll(), cfgiCd(2)], [cfgiCdAll(), cfgiCd(2)]],
  ['ATC_INV, even the same', [atcInv(1), atcInv(1)], [atcInv(1), atcInv(1)]],
  ['all behind all', [NH_ALL, NH_ALL], [NH_ALL]],
  ['TLBI_NH_* behind TLBI_NH_ALL', [NH_ALL, nhVa(1), nhVaa(2), nhAsid(3), NH_ALL], [NH_ALL]],
  ['TLBI_NH_* behind TLBI_NSNH_ALL', [NSNH_ALL, nhVa(1), nhVaa(2), nhAsid(3), NH_ALL], [NSNH_ALL]],
  ['TLBI_NSNH_ALL behind TLBI_NH_ALL', [NH_ALL, NSNH_ALL], [NH_ALL, NSNH_ALL]],
  ['before TLBI_NH_ALL', [nhVa(1), nhAsid(2), NH_ALL], [nhVa(1), nhAsid(2), NH_ALL]],
  ['ATC_INV behind TLBI_NH_ALL', [NH_ALL, atcInv(1), nhVa(1)], [NH_ALL, atcInv(1)]],
  ['a CFGI_CD between', [NH_ALL, cfgiCd(1), nhVa(1)], [NH_ALL, cfgiCd(1), nhVa(1)]],
  ['a CFGI_CD_ALL between', [NSNH_ALL, cfgiCdAll(), NH_ALL], [NSNH_ALL, cfgiCdAll(), NH_ALL]],
  [
    'a CFGI_CD between, and all once more',
    [NH_ALL, cfgiCd(1), NH_ALL, nhVa(1)],
    [NH_ALL, cfgiCd(1), NH_ALL],
  ],
  // Inside: it waits in no batch.
  ['a CFGI_CD of an emulated device between', [NH_ALL, cfgiCd(1, 0x10), nhVa(1)], [NH_ALL]],
];

/** Whether every translation and CD that the guest has named is invalidated, in an order that will do. */
function isEnough(guest: readonly Entry[], hardware: readonly Entry[]): boolean {
  const isTlbi = ([w0]: Entry): boolean => (w0 & 0xf0n) === 0x10n;
  const covers = (by: Entry, what: Entry): boolean =>
    (by[0] === what[0] && by[1] === what[1]) ||
    (isTlbi(what) && ((by[0] & 0xffn) === 0x10n || (by[0] & 0xffn) === 0x30n));
  const isCd = ([w0]: Entry): boolean => (w0 & 0xffn) === 5n || (w0 & 0xffn) === 6n;
  const masked = guest.map((entry): Entry =>
    (entry[0] & 0xffn) === 0x13n ? [entry[0] & 0xffff_ffffn, entry[1]] : entry,
  );
  return masked.every((what, i) => {
    if ((what[0] & 0xffn) === 1n || what[0] >> 32n === 0x10n) return true;
    // A CD that goes before it must have gone before what invalidates what came from it.
    const cds = masked.slice(0, i).filter((entry) => isCd(entry) && entry[0] >> 32n === 0x20n);
    const after = Math.max(-1, ...cds.map((cd) => hardware.findIndex(([w0]) => w0 === cd[0])));
    return hardware.some((by, at) => at > after - (isCd(what) ? 1 : 0) && covers(by, what));
  });
}

describe('a command that one which waits covers', () => {
  test.each(RUNS)('%s', async (_, guest, hardware) => {
    const rig = await CommandRig.make();
    rig.command(...guest, SYNC);
    expect([rig.host.sent, rig.state]).toEqual([[hardware], [guest.length + 1, 0]]);
    const inside = guest.filter(([w0]) => (w0 & 0xffn) === 1n || w0 >> 32n === 0x10n).length;
    const dropped = guest.length - inside - hardware.length;
    expect(rig.physicals[0]!.stats().dropped).toBe(dropped);
  });

  test.each(RUNS)('%s: nothing is missing', async (_, guest) => {
    const rig = await CommandRig.make();
    rig.command(...guest, SYNC);
    expect(isEnough(guest, rig.host.sent.flat())).toBe(true);
  });

  test('is sent when what covered it has gone already', async () => {
    const rig = await CommandRig.make();
    rig.command(NH_ALL, SYNC, nhVa(1), nhVa(1), SYNC, nhVa(1), SYNC);
    expect(rig.host.sent).toEqual([[NH_ALL], [nhVa(1)], [nhVa(1)]]);
  });

  test('is covered on each SMMU by itself', async () => {
    const rig = await CommandRig.make({ smmus: 2 });
    rig.command(NH_ALL, cfgiCd(0), nhVa(1), SYNC);
    expect(rig.hosts.map(({ sent }) => sent)).toEqual([[[NH_ALL, cfgiCd(0), nhVa(1)]], [[NH_ALL]]]);
  });
});

describe('CONS when a command behind dropped ones is refused', () => {
  test('is on that command', async () => {
    const rig = await CommandRig.make();
    rig.host.onCall = ({ words }) => {
      const at = Array.from({ length: words.length / 4 }, (_, i) => words[4 * i]! & 0xff);
      if (at.includes(0x05)) throw refusal(EIO, at.indexOf(0x05));
    };
    rig.command(NH_ALL, nhVa(1), nhVa(2), prefetch(), cfgiCd(1), nhVa(3), SYNC);
    expect(rig.state).toEqual([4, ILL]);
    expect(rig.host.sent).toEqual([[NH_ALL, cfgiCd(1), nhVa(3)], [NH_ALL]]);
    rig.quiet().overwrite(SYNC).acknowledge();
    expect([rig.state, rig.host.sent]).toEqual([[7, 0], [[nhVa(3)]]]);
  });

  test('is on the first of the run when nothing is done', async () => {
    const rig = await CommandRig.make();
    let isRefused = false;
    rig.host.onCall = () => {
      if (isRefused) return;
      isRefused = true;
      throw refusal(ENOMEM, 1);
    };
    rig.command(prefetch(), NH_ALL, nhVa(1), cfgiCd(1), SYNC);
    expect(rig.state).toEqual([1, ABT]);
    rig.quiet().acknowledge();
    expect([rig.state, rig.host.sent]).toEqual([[5, 0], [[NH_ALL, cfgiCd(1)]]]);
  });
});
