import { describe, expect, test } from 'vitest';
import { Access, NEEDED, Permission, permissionTable } from '../../src/transaction/permissions.js';

/** A leaf after its tables' say, as the manual names its bits. */
interface Leaf {
  AP2: number;
  AP1: number;
  PXN: number;
  UXN: number;
  DBM: number;
}
interface Controls {
  WXN: number;
  PAN: number;
  EPAN: number;
  HD: number;
}

/** "AP2 AP1: Privileged, Unprivileged", DDI 0487, section D8.4.1. */
const DATA: Readonly<Record<string, readonly [privileged: string, unprivileged: string]>> = {
  '00': ['RW', ''],
  '01': ['RW', 'RW'],
  '10': ['R', ''],
  '11': ['R', 'R'],
};

/** With HD, a DBM=1 page whose AP[2]=1 is clean: it is written to as if AP[2] were 0. */
function isClean({ AP2, DBM }: Leaf, { HD }: Controls): boolean {
  return HD === 1 && DBM === 1 && AP2 === 1;
}

/** Data permissions, with what dirty state adds. */
function data(leaf: Leaf, controls: Controls): readonly [privileged: string, unprivileged: string] {
  return DATA[`${isClean(leaf, controls) ? 0 : leaf.AP2}${leaf.AP1}`]!;
}

const may: Readonly<Record<string, (leaf: Leaf, controls: Controls) => boolean>> = {
  unprivilegedRead: (leaf, controls) => data(leaf, controls)[1].includes('R'),
  unprivilegedWrite: (leaf, controls) => data(leaf, controls)[1].includes('W'),
  // "UXNeff=1; or WXN=1 and the page is writable unprivileged"
  unprivilegedExecute: (leaf, controls) =>
    !(leaf.UXN === 1 || (controls.WXN === 1 && data(leaf, controls)[1].includes('W'))),
  privilegedRead: (leaf, controls) =>
    data(leaf, controls)[0].includes('R') && !hiddenByPan(leaf, controls),
  privilegedWrite: (leaf, controls) =>
    data(leaf, controls)[0].includes('W') && !hiddenByPan(leaf, controls),
  // "PXNeff=1; or the page is writable unprivileged; or WXN=1 and the page is writable privileged"
  privilegedExecute: (leaf, controls) =>
    !(
      leaf.PXN === 1 ||
      data(leaf, controls)[1].includes('W') ||
      (controls.WXN === 1 && data(leaf, controls)[0].includes('W'))
    ),
  clean: isClean,
};

/** "PAN=1 and AP1eff=1; EPAN and PAN: also if UXNeff=0" */
function hiddenByPan(leaf: Leaf, { PAN, EPAN }: Controls): boolean {
  return PAN === 1 && (leaf.AP1 === 1 || (EPAN === 1 && leaf.UXN === 0));
}

const bitOf: Readonly<Record<string, number>> = {
  unprivilegedRead: 0b000_0001,
  unprivilegedWrite: 0b000_0010,
  unprivilegedExecute: 0b000_0100,
  privilegedRead: 0b000_1000,
  privilegedWrite: 0b001_0000,
  privilegedExecute: 0b010_0000,
  clean: 0b100_0000,
};

const controls = Array.from({ length: 16 }, (_, i): Controls => ({
  WXN: i & 1,
  PAN: (i >> 1) & 1,
  EPAN: (i >> 2) & 1,
  HD: (i >> 3) & 1,
}));
/** By index: AP[1], AP[2], PXN, UXN, DBM from bit 0. */
const leaves = Array.from({ length: 32 }, (_, i): Leaf => ({
  AP1: i & 1,
  AP2: (i >> 1) & 1,
  PXN: (i >> 2) & 1,
  UXN: (i >> 3) & 1,
  DBM: (i >> 4) & 1,
}));

function tableOf(control: Controls): number[] {
  return [...permissionTable(control)];
}

describe('permissions of a leaf (DDI 0487, section D8.4)', () => {
  test('the bits are three for unprivileged accesses, three for privileged ones, and clean', () => {
    expect(Permission).toEqual(bitOf);
  });

  test.each(Object.keys(may))('%s: each of 32 leaves under each of 16 controls', (name) => {
    for (const control of controls) {
      const expected = leaves.map((leaf) => may[name]!(leaf, control));
      const actual = tableOf(control).map((permissions) => (permissions & bitOf[name]!) !== 0);
      expect({ control, actual }).toEqual({ control, actual: expected });
    }
  });

  // Literal rows: unprivileged RWX in bits 2:0, privileged RWX in bits 5:3.
  test.each<[what: string, control: Partial<Controls>, leaf: Partial<Leaf>, expected: number]>([
    ['AP=00: privileged RW, and unprivileged execution', {}, {}, 0b111_100],
    [
      'AP=01: both RW; privileged execution of what the unprivileged may write',
      {},
      { AP1: 1 },
      0b011_111,
    ],
    ['AP=10: privileged read', {}, { AP2: 1 }, 0b101_100],
    ['AP=11: both read', {}, { AP2: 1, AP1: 1 }, 0b101_101],
    ['UXN', {}, { AP2: 1, AP1: 1, UXN: 1 }, 0b101_001],
    ['PXN', {}, { AP2: 1, AP1: 1, PXN: 1 }, 0b001_101],
    ['WXN and AP=00', { WXN: 1 }, {}, 0b011_100],
    ['WXN and AP=01', { WXN: 1 }, { AP1: 1 }, 0b011_011],
    ['WXN and AP=10', { WXN: 1 }, { AP2: 1 }, 0b101_100],
    ['PAN and AP=01', { PAN: 1 }, { AP1: 1 }, 0b000_111],
    ['PAN and AP=11: execution stays', { PAN: 1 }, { AP2: 1, AP1: 1 }, 0b100_101],
    ['PAN and AP=00', { PAN: 1 }, {}, 0b111_100],
    ['PAN, EPAN and AP=00, executable', { PAN: 1, EPAN: 1 }, {}, 0b100_100],
    ['PAN, EPAN and AP=00, UXN', { PAN: 1, EPAN: 1 }, { UXN: 1 }, 0b111_000],
    ['EPAN alone', { EPAN: 1 }, {}, 0b111_100],
    ['DBM without HD', {}, { AP2: 1, AP1: 1, DBM: 1 }, 0b101_101],
    ['DBM with HD: clean, counts as writable', { HD: 1 }, { AP2: 1, AP1: 1, DBM: 1 }, 0b1_011_111],
    ['DBM with HD and AP[2]=0: dirty', { HD: 1 }, { AP1: 1, DBM: 1 }, 0b011_111],
    ['DBM with HD, WXN', { HD: 1, WXN: 1 }, { AP2: 1, DBM: 1 }, 0b1_011_100],
  ])('%s', (_, control, leaf, expected) => {
    const { AP1 = 0, AP2 = 0, PXN = 0, UXN = 0, DBM = 0 } = leaf;
    const index = AP1 | (AP2 << 1) | (PXN << 2) | (UXN << 3) | (DBM << 4);
    const table = tableOf({ WXN: 0, PAN: 0, EPAN: 0, HD: 0, ...control });
    expect(table[index]).toBe(expected);
  });
});

describe('what an access needs (IHI 0070, section 7.3)', () => {
  test('an access is read or write, data or instruction, unprivileged or privileged', () => {
    expect(Access).toEqual({ read: 0, write: 1, instruction: 2, privileged: 4 });
  });

  test.each([
    ['unprivileged read', 0, 'unprivilegedRead'],
    ['unprivileged write', 1, 'unprivilegedWrite'],
    ['unprivileged instruction fetch', 2, 'unprivilegedExecute'],
    ['unprivileged write marked as instruction: always data', 3, 'unprivilegedWrite'],
    ['privileged read', 4, 'privilegedRead'],
    ['privileged write', 5, 'privilegedWrite'],
    ['privileged instruction fetch', 6, 'privilegedExecute'],
    ['privileged write marked as instruction: always data', 7, 'privilegedWrite'],
  ])('%s', (_, access, permission) => {
    expect(NEEDED[access]).toBe(bitOf[permission]);
    expect(NEEDED.length).toBe(8);
  });
});
