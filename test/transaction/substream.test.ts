import { describe, expect, test } from 'vitest';
import { answer, CD, CD_TABLE, type Edit, edited, type IdRegisters, Machine } from './machine.js';

const OUTPUT = 'output 0x80001234';
const BYPASSED = 'output 0x1234';
const F_STREAM_DISABLED = 'event 0x6';
const C_BAD_SUBSTREAMID = 'event 0x8';
const F_CD_FETCH = 'event 0x9';
const C_BAD_CD = 'event 0xa';

/** IDR1.SSIDSIZE=20 and IDR0.CD2L=1. */
const IDS: IdRegisters = { idr0: 0x0d4c_101b, idr1: 0x0273_0510 };
/** No SubstreamID. */
const NONE = -1;

const config = (value: number): Edit => [0, 3, 1, value];
const pointer = (value: bigint): Edit => [0, 55, 6, value >> 6n];
const s1CdMax = (value: number): Edit => [0, 63, 59, value];
const s1Fmt = (value: number): Edit => [0, 5, 4, value];
const s1Dss = (value: number): Edit => [1, 1, 0, value];

/** A CD that maps input address 0 to this many GiB, so that the output tells which CD was used. */
function cd(machine: Machine, address: number, gigabyte: number): Machine {
  const tables = 0x7000_0000 + 0x2000 * gigabyte;
  machine.put(tables, BigInt(tables + 0x1003));
  machine.put(tables + 0x1000, BigInt(gigabyte * 2 ** 30) | 0xf45n);
  return machine.put(address, ...edited(CD, [1, 51, 4, tables / 16]));
}

/** Which CD a transaction used, or its event. */
function used(machine: Machine, substreamId: number): string {
  const result = machine.translate(0x10, substreamId);
  return result.outcome === 0 && !result.bypassed
    ? `CD ${Math.floor(result.outputAddress / 2 ** 30)}`
    : answer(result);
}

/** A linear table of eight CDs, 0 to 7. */
function eight(...edits: Edit[]): Machine {
  const machine = new Machine(IDS).ste(s1CdMax(3), ...edits);
  for (let index = 0; index < 8; index++) cd(machine, CD_TABLE + 64 * index, index);
  return machine;
}

describe('SubstreamID to CD, in the order of the checks (IHI 0070, section 3.9)', () => {
  test.each([0b000, 0b001, 0b010, 0b011])(
    '1: Config=%i aborts silently, with or without',
    (value) => {
      expect(answer(eight(config(value)).translate(0x10, 5))).toBe('silent');
      expect(answer(eight(config(value)).translate(0x10, NONE))).toBe('silent');
    },
  );

  test.each<[row: number, what: string, edits: Edit[], substreamId: number, expected: string]>([
    [2, 'Config=100 with a SubstreamID', [config(0b100)], 5, C_BAD_SUBSTREAMID],
    [2, 'Config=100 with SubstreamID 0', [config(0b100), s1Dss(2)], 0, C_BAD_SUBSTREAMID],
    [2, 'Config=100 without', [config(0b100)], NONE, BYPASSED],
    [3, 'S1CDMax=0', [s1CdMax(0)], 5, C_BAD_SUBSTREAMID],
    [3, 'S1CDMax=0 with SubstreamID 0', [s1CdMax(0), s1Dss(0)], 0, C_BAD_SUBSTREAMID],
    [3, 'S1CDMax=0 comes before S1DSS=2', [s1CdMax(0), s1Dss(2)], 0, C_BAD_SUBSTREAMID],
    [4, 'SubstreamID 2^S1CDMax', [], 8, C_BAD_SUBSTREAMID],
    [4, 'SubstreamID 0xfffff', [], 0xf_ffff, C_BAD_SUBSTREAMID],
    [4, 'SubstreamID 2^S1CDMax, S1DSS=1', [s1Dss(1)], 8, C_BAD_SUBSTREAMID],
    [5, 'SubstreamID 0 with S1DSS=2', [s1Dss(2)], 0, F_STREAM_DISABLED],
    [6, 'SubstreamID 0 with S1DSS=0', [s1Dss(0)], 0, 'CD 0'],
    [6, 'SubstreamID 0 with S1DSS=1', [s1Dss(1)], 0, 'CD 0'],
    [6, 'SubstreamID 0 with S1DSS=3', [s1Dss(3)], 0, 'CD 0'],
    [6, 'SubstreamID 1 with S1DSS=2', [s1Dss(2)], 1, 'CD 1'],
    [6, 'SubstreamID 2^S1CDMax-1', [], 7, 'CD 7'],
    [7, 'S1CDMax=0 without SubstreamID, S1DSS=0', [s1CdMax(0), s1Dss(0)], NONE, 'CD 0'],
    [7, 'S1CDMax=0 without SubstreamID, S1DSS=1', [s1CdMax(0), s1Dss(1)], NONE, 'CD 0'],
    [8, 'S1DSS=0 without SubstreamID', [s1Dss(0)], NONE, F_STREAM_DISABLED],
    [8, 'S1DSS=3 without SubstreamID', [s1Dss(3)], NONE, F_STREAM_DISABLED],
    [9, 'S1DSS=1 without SubstreamID', [s1Dss(1)], NONE, BYPASSED],
    [10, 'S1DSS=2 without SubstreamID', [s1Dss(2)], NONE, 'CD 0'],
  ])('%i: %s', (_row, _what, edits, substreamId, expected) => {
    expect(used(eight(...edits), substreamId)).toBe(expected);
  });

  test('3: IDR1.SSIDSIZE=0 has no substreams, whatever S1CDMax says', () => {
    const machine = new Machine().ste(s1CdMax(3), s1Dss(0));
    expect(answer(machine.translate(0x10, 1))).toBe(C_BAD_SUBSTREAMID);
  });

  test('7: IDR1.SSIDSIZE=0 uses CD 0, whatever S1CDMax and S1DSS say', () => {
    const answers = [0, 1, 2, 3].map((dss) =>
      answer(new Machine().ste(s1CdMax(3), s1Dss(dss)).translate()),
    );
    expect(answers).toEqual([OUTPUT, OUTPUT, OUTPUT, OUTPUT]);
  });

  test('9: no CD is fetched for the bypass', () => {
    const machine = new Machine(IDS).ste(s1CdMax(3), s1Dss(1));
    machine.memory.removePage(CD_TABLE);
    expect(answer(machine.translate())).toBe(BYPASSED);
    expect(answer(machine.translate(0x10, 1))).toBe(F_CD_FETCH);
  });

  test.each([
    ['S1DSS=1', [s1CdMax(3), s1Dss(1)]],
    ['Config=100', [config(0b100)]],
  ])('%s: an address of 2^OAS or more is F_ADDR_SIZE, CLASS=IN, always recorded', (_, edits) => {
    const machine = new Machine(IDS).ste(...edits);
    expect(answer(machine.translate(0x10, NONE, (1n << 44n) - 1n))).toBe('output 0xfffffffffff');
    const result = machine.translate(0x10, NONE, 1n << 44n);
    expect([result.event, result.class, result.outcome, result.recorded]).toEqual([
      0x11,
      2,
      1,
      true,
    ]);
    expect(answer(machine.translate(0x10, NONE, (1n << 64n) - 1n))).toBe('event 0x11');
  });

  test('C_BAD_SUBSTREAMID and F_STREAM_DISABLED abort and are recorded', () => {
    const bad = eight().translate(0x10, 8);
    expect([bad.event, bad.outcome, bad.recorded]).toEqual([0x08, 1, true]);
    const disabled = eight(s1Dss(0)).translate();
    expect([disabled.event, disabled.outcome, disabled.recorded]).toEqual([0x06, 1, true]);
  });
});

describe('CD tables (IHI 0070, sections 3.3.3 and 5.3)', () => {
  test('a linear table: CD n lies at S1ContextPtr + 64 * n, aligned to the table', () => {
    const machine = eight(pointer(0x43e0_01c0n));
    expect([0, 1, 6, 7].map((n) => (n === 0 ? used(machine, NONE) : used(machine, n)))).toEqual([
      'CD 0',
      'CD 1',
      'CD 6',
      'CD 7',
    ]);
  });

  test('a linear table of 2^20 CDs is aligned to 64 MiB', () => {
    const machine = new Machine(IDS).ste(s1CdMax(20), pointer(0x4bff_ffc0n));
    cd(machine, 0x4800_0000 + 64 * 0xf_ffff, 3);
    expect(used(machine, 0xf_ffff)).toBe('CD 3');
  });

  test('a single CD is aligned to 64 bytes', () => {
    const machine = new Machine(IDS).ste(pointer(0x43e0_0040n));
    cd(machine, CD_TABLE + 64, 5);
    expect(used(machine, NONE)).toBe('CD 5');
  });

  test.each([
    { format: 1, split: 6, bytes: 0x1000, what: '64 CDs in 4 KiB' },
    { format: 2, split: 10, bytes: 0x1_0000, what: '1,024 CDs in 64 KiB' },
  ])('S1Fmt=$format: an L1CD covers $what', ({ format, split, bytes }) => {
    const machine = new Machine(IDS).ste(s1CdMax(20), s1Fmt(format));
    machine.put(CD_TABLE, 0x5000_0001n);
    machine.put(CD_TABLE + 8 * 3, 0x5100_0001n);
    machine.put(CD_TABLE + 8 * (2 ** (20 - split) - 1), 0x5200_0001n);
    cd(machine, 0x5000_0000, 1);
    cd(machine, 0x5000_0000 + bytes - 64, 2);
    cd(machine, 0x5100_0000 + 64 * 5, 3);
    cd(machine, 0x5200_0000 + bytes - 64, 4);
    expect(used(machine, NONE)).toBe('CD 1');
    expect(used(machine, 2 ** split - 1)).toBe('CD 2');
    expect(used(machine, 3 * 2 ** split + 5)).toBe('CD 3');
    expect(used(machine, 0xf_ffff)).toBe('CD 4');
  });

  test.each([
    { format: 1, split: 6, ignored: 0xfff },
    { format: 2, split: 10, ignored: 0xffff },
  ])('S1Fmt=$format: L2Ptr is aligned to its table', ({ format, split, ignored }) => {
    const machine = new Machine(IDS).ste(s1CdMax(split + 1), s1Fmt(format));
    machine.put(CD_TABLE, BigInt(0x5000_0001 + (ignored & ~1)));
    cd(machine, 0x5000_0000, 1);
    expect(used(machine, NONE)).toBe('CD 1');
  });

  test('the bits 63:56 and 11:1 of an L1CD are RES0 and ignored', () => {
    const machine = new Machine(IDS).ste(s1CdMax(7), s1Fmt(1));
    machine.put(CD_TABLE, 0xff00_0000_5000_0fffn);
    cd(machine, 0x5000_0000, 1);
    expect(used(machine, NONE)).toBe('CD 1');
  });

  test.each([
    // S1Fmt, S1CDMax, alignment: 8 bytes for each L1CD, 64 at least.
    [1, 6, 64],
    [1, 9, 64],
    [1, 10, 128],
    [1, 20, 0x2_0000],
    [2, 10, 64],
    [2, 13, 64],
    [2, 14, 128],
    [2, 20, 0x2000],
  ])('S1Fmt=%i, S1CDMax=%i: the level-1 table is aligned to %i bytes', (format, max, bytes) => {
    const machine = new Machine(IDS).put(CD_TABLE, 0x5000_0001n).put(CD_TABLE + bytes, 0n);
    cd(machine, 0x5000_0000, 1);
    const fields = [s1CdMax(max), s1Fmt(format)];
    machine.ste(...fields, pointer(BigInt(CD_TABLE + bytes - 64)));
    expect(used(machine, NONE)).toBe('CD 1');
    machine.ste(...fields, pointer(BigInt(CD_TABLE + bytes)));
    expect(used(machine, NONE)).toBe(C_BAD_SUBSTREAMID);
  });

  test.each([1, 2])(
    'S1Fmt=%i with S1CDMax of the split or less uses the first L1CD alone',
    (format) => {
      const machine = new Machine(IDS).ste(s1CdMax(5), s1Fmt(format));
      machine.put(CD_TABLE, 0x5000_0001n);
      cd(machine, 0x5000_0000 + 64 * 31, 6);
      expect(used(machine, 31)).toBe('CD 6');
      expect(used(machine, 32)).toBe(C_BAD_SUBSTREAMID);
    },
  );

  test.each([1, 2])('S1Fmt=%i is ignored with S1CDMax=0 and with SSIDSIZE=0', (format) => {
    expect(used(new Machine(IDS).ste(s1Fmt(format)), NONE)).toBe('CD 2');
    expect(used(new Machine().ste(s1CdMax(5), s1Fmt(format)), NONE)).toBe('CD 2');
  });

  test('S1Fmt=3 behaves as a linear table', () => {
    expect(used(eight(s1Fmt(3)), 6)).toBe('CD 6');
  });
});

describe('what goes wrong with CD tables (IHI 0070, section 5.3)', () => {
  /** A 2-level table of 4 KiB leaves, whose L1CDs are all invalid. */
  const twoLevel = (): Machine => new Machine(IDS).ste(s1CdMax(10), s1Fmt(1)).put(CD_TABLE, 0n);

  test('L1CD.V=0 is C_BAD_SUBSTREAMID, with or without a SubstreamID', () => {
    const machine = twoLevel().put(CD_TABLE, 0x5000_0000n);
    cd(machine, 0x5000_0000, 1);
    cd(machine, 0x5000_0040, 1);
    expect(used(machine, NONE)).toBe(C_BAD_SUBSTREAMID);
    expect(used(machine, 1)).toBe(C_BAD_SUBSTREAMID);
    machine.put(CD_TABLE, 0x5000_0001n);
    expect(used(machine, 1)).toBe('CD 1');
  });

  test('an L1CD outside memory is F_CD_FETCH with its address', () => {
    const machine = twoLevel();
    machine.memory.removePage(CD_TABLE);
    const result = machine.translate(0x10, 0x3ff);
    expect([result.event, result.outcome, result.recorded]).toEqual([0x09, 1, true]);
    expect(result.fetchAddress).toBe(CD_TABLE + 8 * 15);
  });

  test('a level-2 table outside memory is F_CD_FETCH with the address of the CD', () => {
    const result = twoLevel().put(CD_TABLE, 0x7_5000_0001n).translate(0x10, 5);
    expect(result.event).toBe(0x09);
    expect(result.fetchAddress).toBe(0x7_5000_0000 + 64 * 5);
  });

  test('a CD outside memory is F_CD_FETCH with its address', () => {
    const machine = new Machine(IDS).ste(s1CdMax(8), pointer(0x7_5000_0000n));
    const result = machine.translate(0x10, 0xff);
    expect([result.event, result.outcome, result.recorded]).toEqual([0x09, 1, true]);
    expect(result.fetchAddress).toBe(0x7_5000_0000 + 64 * 0xff);
  });

  test.each([1, 2])('S1Fmt=%i: L2Ptr of 2^OAS is C_BAD_SUBSTREAMID, even over memory', (format) => {
    const machine = new Machine(IDS).ste(s1CdMax(10), s1Fmt(format));
    machine.put(CD_TABLE, 0x1000_0000_0001n);
    cd(machine, 2 ** 44, 1);
    expect(used(machine, NONE)).toBe(C_BAD_SUBSTREAMID);
  });

  test('L2Ptr just below 2^OAS is read', () => {
    const machine = twoLevel().put(CD_TABLE, 0x0fff_ffff_f001n);
    cd(machine, 2 ** 44 - 4096, 1);
    expect(used(machine, NONE)).toBe('CD 1');
  });

  test('CD.V=0 is C_BAD_CD, for that CD alone', () => {
    const machine = eight();
    machine.put(CD_TABLE + 64 * 4, 0n);
    expect(used(machine, 4)).toBe(C_BAD_CD);
    expect(used(machine, 5)).toBe('CD 5');
  });
});
