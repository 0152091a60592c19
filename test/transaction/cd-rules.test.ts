import { describe, expect, test } from 'vitest';
import { CD_RULES, illegalCd } from '../../src/transaction/cd-rules.js';
import type { Translation } from '../../src/transaction/translation.js';
import {
  answer,
  CAPTURE,
  CD,
  type Edit,
  featuresFrom,
  type IdRegisters,
  Machine,
  STALLS,
  STALLS_FORCED,
  STE,
  words32,
} from './machine.js';
import { s1StallD } from './ste-edits.js';

const OUTPUT = 'output 0x80001234';
const C_BAD_CD = 'event 0xa';
const F_TRANSLATION = 'event 0x10';

// The ID registers of the captures with one field changed.
const RAZ_WI: IdRegisters = { idr0: 0x0944_101b };
const BIG_ENDIAN: IdRegisters = { idr0: 0x0d64_101b };
const MIXED_ENDIAN: IdRegisters = { idr0: 0x0d04_101b };
const BOTH_FORMATS: IdRegisters = { idr0: 0x0d44_101f };
const LPAE: IdRegisters = { idr0: 0x0d44_1017 };
const HTTU_1: IdRegisters = { idr0: 0x0d44_105b };
const HTTU_2: IdRegisters = { idr0: 0x0d44_109b };
const HTTU_3: IdRegisters = { idr0: 0x0d44_10db };
const ASID16_0: IdRegisters = { idr0: 0x0d44_001b };
const STT: IdRegisters = { idr3: 0x1614 };
const VAX: IdRegisters = { idr5: 0x476 };
const VAX_DS: IdRegisters = { idr5: 0x4f6 };
const DS: IdRegisters = { idr5: 0xf6 };
const OAS_52: IdRegisters = { idr5: 0x76 };

// Fields of a CD, by word and bits.
const t0sz = (value: number): Edit => [0, 5, 0, value];
const tg0 = (value: number): Edit => [0, 7, 6, value];
const epd0: Edit = [0, 14, 14, 1];
const endi: Edit = [0, 15, 15, 1];
const t1sz = (value: number): Edit => [0, 21, 16, value];
const tg1 = (value: number): Edit => [0, 23, 22, value];
const epd1 = (value: number): Edit => [0, 30, 30, value];
const ips = (value: number): Edit => [0, 34, 32, value];
const hd: Edit = [0, 42, 42, 1];
const ha: Edit = [0, 43, 43, 1];
const stall: Edit = [0, 44, 44, 1];
const abort0: Edit = [0, 46, 46, 0];
const asid = (value: number): Edit => [0, 63, 48, value];
const ttb0 = (value: bigint): Edit => [1, 51, 4, value >> 4n];
const ttb1 = (value: bigint): Edit => [2, 51, 4, value >> 4n];
const ds: Edit = [2, 58, 58, 1];
/** TTB1 in place of TTB0: 4K, 48 bits. */
const upper: Edit[] = [epd0, epd1(0), t1sz(16), tg1(2), ttb1(0x43e2_0000n)];

/** Whether the CD was accepted: what comes after it are the events of a walk, from 0x0b. */
function accepted(result: Translation): boolean {
  return result.event === 0 || result.event >= 0x0b;
}

describe('ILLEGAL CDs (IHI 0070, section 5.4.1)', () => {
  test.each<[rule: number, what: string, ids: IdRegisters, edits: Edit[], ste?: Edit]>([
    [1, 'V=0', CAPTURE, [[0, 31, 31, 0]]],
    [2, 'S=1 with STE.S1STALLD=1', STALLS, [stall], s1StallD],
    [3, 'A=0 with TERM_MODEL=1', CAPTURE, [abort0]],
    [4, 'S=1 with STALL_MODEL=1', CAPTURE, [stall]],
    [5, 'S=0 with STALL_MODEL=2', STALLS_FORCED, []],
    [6, 'ENDI=1 with TTENDIAN=2', CAPTURE, [endi]],
    [6, 'ENDI=0 with TTENDIAN=3', BIG_ENDIAN, []],
    [6, 'ENDI=1 with TTENDIAN=2 and EPD0=1 alone', CAPTURE, [...upper, endi]],
    [7, 'AA64=0 with TTF=2', CAPTURE, [[0, 41, 41, 0]]],
    [7, 'AA64=0 with TTF=3: VMSAv8-32 is not implemented', BOTH_FORMATS, [[0, 41, 41, 0]]],
    [8, 'AA64=1 with TTF=1', LPAE, []],
    [9, 'HA=1 with HTTU=0', CAPTURE, [ha]],
    [9, 'HD=1 with HTTU=0', CAPTURE, [hd]],
    [9, 'HA=1 and HD=1 with HTTU=0', CAPTURE, [ha, hd]],
    [9, 'HA=1 and HD=1 with HTTU=1', HTTU_1, [ha, hd]],
    [9, 'HD=1 with HTTU=1', HTTU_1, [hd]],
    [10, 'ASID=0x100 with ASID16=0', ASID16_0, [asid(0x100)]],
    [11, 'T0SZ=15', CAPTURE, [t0sz(15)]],
    [11, 'T0SZ=40', CAPTURE, [t0sz(40)]],
    [11, 'T0SZ=40 with 64K', CAPTURE, [t0sz(40), tg0(1)]],
    [11, 'T0SZ=49 with STT', STT, [t0sz(49)]],
    [11, 'T0SZ=49 with STT and 16K', STT, [t0sz(49), tg0(2)]],
    [11, 'T0SZ=48 with STT and 64K', STT, [t0sz(48), tg0(1)]],
    [11, 'T0SZ=15 with VAX=1 and DS=0', VAX, [t0sz(15)]],
    [11, 'T0SZ=15 with VAX=1 and CD.DS=1 alone', VAX, [t0sz(15), ds]],
    [11, 'T0SZ=15 with VAX=1 and IDR5.DS=1 alone', VAX_DS, [t0sz(15)]],
    [11, 'T0SZ=15 with VAX=0 and DS=1', DS, [t0sz(15), ds]],
    [11, 'T0SZ=15 with VAX=0 and 64K', OAS_52, [t0sz(15), tg0(1)]],
    [11, 'T0SZ=11 with VAX=1 and 64K', VAX, [t0sz(11), tg0(1)]],
    [11, 'T0SZ=11 with VAX=1 and DS=1', VAX_DS, [t0sz(11), ds]],
    [11, 'T0SZ=11 with VAX=2 and 64K', { idr5: 0x876 }, [t0sz(11), tg0(1)]],
    [11, 'T1SZ=15', CAPTURE, [...upper, t1sz(15)]],
    [11, 'T1SZ=40', CAPTURE, [...upper, t1sz(40)]],
    [11, 'T1SZ=48 with STT and 64K', STT, [...upper, t1sz(48), tg1(3)]],
    [12, 'TG0=3', CAPTURE, [tg0(3)]],
    [12, 'TG0=0 without 4K', { idr5: 0x64 }, [tg0(0)]],
    [12, 'TG0=1 without 64K', { idr5: 0x34 }, [tg0(1)]],
    [12, 'TG0=2 without 16K', { idr5: 0x54 }, [tg0(2)]],
    [12, 'TG1=0', CAPTURE, [...upper, tg1(0)]],
    [12, 'TG1=1 without 16K', { idr5: 0x54 }, [...upper, tg1(1)]],
    [12, 'TG1=2 without 4K', { idr5: 0x64 }, [...upper, tg1(2)]],
    [12, 'TG1=3 without 64K', { idr5: 0x34 }, [...upper, tg1(3)]],
    [13, 'TTB0=2^IPS', CAPTURE, [ips(0), ttb0(1n << 32n)]],
    [13, 'TTB0=2^OAS with a larger IPS', CAPTURE, [ips(5), ttb0(1n << 44n)]],
    [13, 'TTB0=2^48 with 4K and DS=0', OAS_52, [ips(6), ttb0(1n << 48n)]],
    [13, 'TTB0=2^48 with 16K and DS=0', OAS_52, [ips(6), tg0(2), ttb0(1n << 48n)]],
    [13, 'TTB0=2^48 with IPS=5 and 64K', OAS_52, [ips(5), tg0(1), ttb0(1n << 48n)]],
    [13, 'TTB1=2^IPS', CAPTURE, [...upper, ips(1), ttb1(1n << 36n)]],
    [13, 'TTB1=2^48 with 4K and DS=0', OAS_52, [...upper, ips(6), ttb1(1n << 48n)]],
  ])('rule %i: %s is C_BAD_CD', (rule, _, ids, edits, ste) => {
    const machine = new Machine(ids).cd(...edits).ste(...(ste === undefined ? [] : [ste]));
    const result = machine.translate();
    expect([result.event, result.outcome, result.recorded]).toEqual([0x0a, 1, true]);
    expect(result.reason).toBe(200 + rule);
  });

  test.each<[rule: number, what: string, ids: IdRegisters, edits: Edit[], ste?: Edit]>([
    [1, 'V=1', CAPTURE, []],
    [2, 'S=0 with STE.S1STALLD=1', STALLS, [], s1StallD],
    [2, 'S=1 with STE.S1STALLD=0', STALLS, [stall]],
    [3, 'A=0 with TERM_MODEL=0', RAZ_WI, [abort0]],
    [5, 'S=1 with STALL_MODEL=2', STALLS_FORCED, [stall]],
    [6, 'ENDI=1 with TTENDIAN=3', BIG_ENDIAN, [endi]],
    [6, 'ENDI=1 with TTENDIAN=0', MIXED_ENDIAN, [endi]],
    [6, 'ENDI=0 with TTENDIAN=0', MIXED_ENDIAN, []],
    [6, 'ENDI=1 with TTENDIAN=2 and both EPD=1', CAPTURE, [endi, epd0]],
    [6, 'ENDI=0 with TTENDIAN=3 and both EPD=1', BIG_ENDIAN, [epd0]],
    [8, 'AA64=1 with TTF=3', BOTH_FORMATS, []],
    [9, 'HA=1 with HTTU=1', HTTU_1, [ha]],
    [9, 'HA=1 and HD=1 with HTTU=2', HTTU_2, [ha, hd]],
    [9, 'HD=1 and HA=0: reserved, as off', HTTU_2, [hd]],
    [9, 'HAFT=1 and HA=0: no HTTU=3 here', HTTU_3, [[1, 3, 3, 1]]],
    [10, 'ASID=0xff with ASID16=0', ASID16_0, [asid(0xff)]],
    [10, 'ASID=0xffff with ASID16=1', CAPTURE, [asid(0xffff)]],
    [11, 'T0SZ=16', CAPTURE, [t0sz(16)]],
    [11, 'T0SZ=39', CAPTURE, [t0sz(39)]],
    [11, 'T0SZ=39 with 64K', CAPTURE, [t0sz(39), tg0(1)]],
    [11, 'T0SZ=48 with STT', STT, [t0sz(48)]],
    [11, 'T0SZ=48 with STT and 16K', STT, [t0sz(48), tg0(2)]],
    [11, 'T0SZ=47 with STT and 64K', STT, [t0sz(47), tg0(1)]],
    [11, 'T0SZ=12 with VAX=1 and 64K', VAX, [t0sz(12), tg0(1)]],
    [11, 'T0SZ=12 with VAX=1 and DS=1', VAX_DS, [t0sz(12), ds]],
    [11, 'T0SZ=12 with VAX=1, DS=1 and 16K', VAX_DS, [t0sz(12), tg0(2), ds]],
    [11, 'T0SZ=12 with VAX=2 and 64K', { idr5: 0x876 }, [t0sz(12), tg0(1)]],
    [11, 'T1SZ=16', CAPTURE, [...upper, t1sz(16)]],
    [11, 'T1SZ=39', CAPTURE, [...upper, t1sz(39)]],
    [12, 'TG0=1 with 64K alone', { idr5: 0x44 }, [tg0(1)]],
    [12, 'TG0=2 with 16K alone', { idr5: 0x24 }, [tg0(2)]],
    [12, 'TG1=1 with 16K alone', { idr5: 0x24 }, [...upper, tg1(1)]],
    [12, 'TG1=2 with 4K alone', { idr5: 0x14 }, [...upper, tg1(2)]],
    [12, 'TG1=3 with 64K alone', { idr5: 0x44 }, [...upper, tg1(3)]],
    [13, 'TTB0=2^IPS-4096', CAPTURE, [ips(0), ttb0((1n << 32n) - 4096n)]],
    [13, 'TTB0=2^OAS-4096', CAPTURE, [ips(5), ttb0((1n << 44n) - 4096n)]],
    [13, 'TTB0=2^48 with DS=1', DS, [ips(6), ds, ttb0(1n << 48n)]],
    [13, 'TTB0=2^48 with 64K', OAS_52, [ips(6), tg0(1), ttb0(1n << 48n)]],
    [13, 'TTB1=2^36-4096', CAPTURE, [...upper, ips(1), ttb1((1n << 36n) - 4096n)]],
    [14, 'SKL0=3: no D128 here', { idr5: 0x174 }, [[1, 63, 62, 3]]],
    [
      15,
      'PIE=1 and PIIP=4: no S1PI here',
      { idr3: 0x4_1414 },
      [
        [2, 59, 59, 1],
        [7, 47, 0, 4],
      ],
    ],
  ])('next to rule %i: %s is legal', (_rule, _what, ids, edits, ste) => {
    const machine = new Machine(ids).cd(...edits).ste(...(ste === undefined ? [] : [ste]));
    expect(accepted(machine.translate())).toBe(true);
  });

  test('V=0 comes first: the rest of the CD is ignored', () => {
    const all = [0, 1, 2, 3, 4, 5, 6, 7].map((word): Edit => [word, 63, 0, (1n << 64n) - 1n]);
    const result = new Machine().cd(...all, [0, 31, 31, 0]).translate();
    expect([result.event, result.reason]).toEqual([0x0a, 201]);
  });

  test('UWXN, NSCFG, PnCH, HWU, AIE, AMAIR, PARTID and PMG are not looked at', () => {
    const flags: Edit[] = [
      [0, 37, 37, 1],
      [1, 0, 0, 1],
      [1, 63, 60, 15],
      [1, 58, 58, 1],
    ];
    const more: Edit[] = [
      [2, 3, 3, 1],
      [4, 63, 0, (1n << 64n) - 1n],
      [5, 55, 32, 0xff_ffff],
    ];
    expect(answer(new Machine().cd(...flags, ...more).translate())).toBe(OUTPUT);
  });

  test('a CD and its STE are read from the indexes that are given', () => {
    const words = new Uint32Array(40).fill(0xffff_ffff);
    words.set(words32(CD), 3);
    words.set(words32(STE), 21);
    expect(illegalCd(words, 3, words, 21, featuresFrom())).toBe(0);
    expect(illegalCd(words, 0, words, 21, featuresFrom())).not.toBe(0);
  });

  test('every rule that applies has its sentence', () => {
    expect(Object.keys(CD_RULES)).toEqual(Array.from({ length: 13 }, (_, i) => String(i + 1)));
  });
});

describe('EPD and TxSZ (IHI 0070, section 5.4)', () => {
  const LOWER = 0x1234n;
  const UPPER = 0xffff_0000_0000_1234n;
  const good = [t0sz(16), t1sz(16)];

  /** Both halves enabled, over the same tables. */
  function answers(edits: Edit[]): string[] {
    const machine = new Machine();
    machine.cd(epd1(0), tg1(2), ttb1(0x43e2_0000n), ...good, ...edits);
    return [LOWER, UPPER].map((input) => answer(machine.translate(0x10, -1, input)));
  }

  test.each<[what: string, edits: Edit[], lower: string, upper: string]>([
    ['both halves good', [], OUTPUT, OUTPUT],
    ['T0SZ bad', [t0sz(15)], C_BAD_CD, C_BAD_CD],
    ['T1SZ bad', [t1sz(40)], C_BAD_CD, C_BAD_CD],
    ['both bad', [t0sz(40), t1sz(0)], C_BAD_CD, C_BAD_CD],
    ['EPD1=1', [epd1(1)], OUTPUT, F_TRANSLATION],
    ['EPD1=1, T1SZ bad', [epd1(1), t1sz(0)], OUTPUT, F_TRANSLATION],
    ['EPD1=1, TG1 reserved', [epd1(1), tg1(0)], OUTPUT, F_TRANSLATION],
    ['EPD1=1, TTB1 out of range', [epd1(1), ttb1(1n << 51n)], OUTPUT, F_TRANSLATION],
    ['EPD1=1, T0SZ bad', [epd1(1), t0sz(15)], C_BAD_CD, C_BAD_CD],
    ['EPD0=1', [epd0], F_TRANSLATION, OUTPUT],
    ['EPD0=1, T0SZ bad', [epd0, t0sz(63)], F_TRANSLATION, OUTPUT],
    ['EPD0=1, TG0 reserved', [epd0, tg0(3)], F_TRANSLATION, OUTPUT],
    ['EPD0=1, TTB0 out of range', [epd0, ttb0(1n << 51n)], F_TRANSLATION, OUTPUT],
    ['EPD0=1, T1SZ bad', [epd0, t1sz(15)], C_BAD_CD, C_BAD_CD],
    ['both EPD=1', [epd0, epd1(1)], F_TRANSLATION, F_TRANSLATION],
    ['both EPD=1, both bad', [epd0, epd1(1), t0sz(0), t1sz(63)], F_TRANSLATION, F_TRANSLATION],
  ])('%s', (_, edits, lowerHalf, upperHalf) => {
    expect(answers(edits)).toEqual([lowerHalf, upperHalf]);
  });
});
