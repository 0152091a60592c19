import { describe, expect, test } from 'vitest';
import { illegalSte, STE_RULES } from '../../src/transaction/ste-rules.js';
import {
  answer,
  CAPTURE,
  type Edit,
  featuresFrom,
  type IdRegisters,
  Machine,
  STALLS,
  STALLS_FORCED,
  STE,
  words32,
} from './machine.js';
import {
  config,
  s1Fmt,
  pointer,
  s1CdMax,
  s1StallD,
  eats,
  strw,
  vmid,
  s2s,
  vmsPtr,
} from './ste-edits.js';

const OUTPUT = 'output 0x80001234';
const BYPASSED = 'output 0x1234';
const F_STREAM_DISABLED = 'event 0x6';
const C_BAD_SUBSTREAMID = 'event 0x8';
const F_CD_FETCH = 'event 0x9';
const C_BAD_CD = 'event 0xa';

// The ID registers of the captures with one field changed.
const S1P_0: IdRegisters = { idr0: 0x0d44_1019 };
const ATS: IdRegisters = { idr0: 0x0d44_141b };
const SSIDSIZE: IdRegisters = { idr1: 0x0273_0290 };
const CD2L: IdRegisters = { ...SSIDSIZE, idr0: 0x0d4c_101b };
const ones = (1n << 64n) - 1n;

describe('ILLEGAL STEs of a stage-1 SMMU (IHI 0070, section 5.2.2)', () => {
  test.each<[rule: number, what: string, ids: IdRegisters, edits: Edit[]]>([
    [1, 'Config=101 with IDR0.S1P=0', S1P_0, []],
    [2, 'Config=110: stage 2 is not implemented', CAPTURE, [config(0b110)]],
    [2, 'Config=111: stage 2 is not implemented', CAPTURE, [config(0b111)]],
    [3, 'EATS=2 with Config=101', ATS, [eats(2)]],
    [7, 'S1STALLD=1 with STALL_MODEL=1', CAPTURE, [s1StallD]],
    [7, 'S1STALLD=1 with STALL_MODEL=2', STALLS_FORCED, [s1StallD]],
    [8, 'S1CDMax=11 with SSIDSIZE=10', SSIDSIZE, [s1CdMax(11)]],
    [8, 'S1CDMax=31 with SSIDSIZE=10', SSIDSIZE, [s1CdMax(31)]],
    [9, 'S1Fmt=1 with CD2L=0', SSIDSIZE, [s1CdMax(1), s1Fmt(1)]],
    [9, 'S1Fmt=2 with CD2L=0', SSIDSIZE, [s1CdMax(10), s1Fmt(2)]],
    [10, 'S1ContextPtr=2^OAS', CAPTURE, [pointer(1n << 44n)]],
    [10, 'S1ContextPtr=2^55', CAPTURE, [pointer(1n << 55n)]],
    [10, 'S1ContextPtr=2^32 with OAS=32', { idr5: 0x70 }, [pointer(1n << 32n)]],
  ])('rule %i: %s is C_BAD_STE', (rule, _, ids, edits) => {
    const result = new Machine(ids).ste(...edits).translate();
    expect([result.event, result.outcome, result.recorded]).toEqual([0x04, 1, true]);
    expect(result.reason).toBe(100 + rule);
  });

  test.each<[rule: number, what: string, ids: IdRegisters, edits: Edit[], gives: string]>([
    [1, 'Config=101 with S1P=1', CAPTURE, [], OUTPUT],
    [1, 'Config=100 with S1P=0', S1P_0, [config(0b100)], BYPASSED],
    [2, 'Config=100', CAPTURE, [config(0b100)], BYPASSED],
    [3, 'EATS=1', ATS, [eats(1)], OUTPUT],
    [3, 'EATS=3', ATS, [eats(3)], OUTPUT],
    [3, 'EATS=2 with ATS=0', CAPTURE, [eats(2)], OUTPUT],
    [3, 'EATS=2 with Config=100', ATS, [config(0b100), eats(2)], BYPASSED],
    [4, 'EATS=1 and S2S=1 with Config=101', ATS, [eats(1), s2s], OUTPUT],
    [6, 'STRW=1 with Hyp=0', CAPTURE, [strw(1)], OUTPUT],
    [6, 'STRW=2 with Hyp=0', CAPTURE, [strw(2)], OUTPUT],
    [6, 'STRW=3 with Hyp=0', CAPTURE, [strw(3)], OUTPUT],
    [7, 'S1STALLD=1 with STALL_MODEL=0', STALLS, [s1StallD], OUTPUT],
    [7, 'S1STALLD=0 with STALL_MODEL=2 (the CD is not)', STALLS_FORCED, [], C_BAD_CD],
    [7, 'S1STALLD=1 with Config=100', CAPTURE, [config(0b100), s1StallD], BYPASSED],
    [8, 'S1CDMax=10 with SSIDSIZE=10', SSIDSIZE, [s1CdMax(10)], OUTPUT],
    [8, 'S1CDMax=31 with SSIDSIZE=0', CAPTURE, [s1CdMax(31)], OUTPUT],
    // CD 0 is no valid L1CD.
    [9, 'S1Fmt=1 with CD2L=1', CD2L, [s1CdMax(10), s1Fmt(1)], C_BAD_SUBSTREAMID],
    [9, 'S1Fmt=2 with CD2L=1', CD2L, [s1CdMax(10), s1Fmt(2)], C_BAD_SUBSTREAMID],
    [9, 'S1Fmt=1 with S1CDMax=0', SSIDSIZE, [s1Fmt(1)], OUTPUT],
    [9, 'S1Fmt=2 with SSIDSIZE=0', CAPTURE, [s1CdMax(1), s1Fmt(2)], OUTPUT],
    [9, 'S1Fmt=3 with CD2L=0', SSIDSIZE, [s1CdMax(1), s1Fmt(3)], OUTPUT],
    // Legal, but no memory is there.
    [10, 'S1ContextPtr=2^OAS-64', CAPTURE, [pointer((1n << 44n) - 64n)], F_CD_FETCH],
    [10, 'S1ContextPtr=2^OAS in v3.0', { aidr: 0 }, [pointer(1n << 44n)], F_CD_FETCH],
    [10, 'S1ContextPtr=2^32 with OAS=36', { idr5: 0x71 }, [pointer(1n << 32n)], F_CD_FETCH],
  ])('next to rule %i: %s is legal', (_rule, _what, ids, edits, gives) => {
    expect(answer(new Machine(ids).ste(...edits).translate())).toBe(gives);
  });

  test('V=0 comes first: an invalid STE is C_BAD_STE for that alone', () => {
    const result = new Machine().ste([0, 0, 0, 0], config(0b111)).translate();
    expect([result.event, result.reason]).toEqual([0x04, 8]);
  });

  test('Hyp, MPAM, DPT, NS1ATS=0 and stage 2 are never there, whatever the ID registers say', () => {
    const ids = { idr0: 0x0d40_161b, idr3: 0x9494 };
    const more = [strw(3), eats(3), vmid(0xffff), vmsPtr(1n << 55n)];
    const machine = new Machine(ids).ste([1, 26, 26, 1], ...more);
    expect(answer(machine.translate())).toBe(OUTPUT);
  });

  test('every rule from 1 to 23 has its sentence', () => {
    const numbers = Array.from({ length: 23 }, (_, i) => String(i + 1));
    expect(Object.keys(STE_RULES)).toEqual(numbers);
    expect(new Set(Object.values(STE_RULES)).size).toBe(23);
  });
});

describe('what is not an error in an STE (IHI 0070, section 5.2)', () => {
  test.each<[what: string, ids: IdRegisters, edits: Edit[], gives: string]>([
    ['S1Fmt=3: as 0', SSIDSIZE, [s1CdMax(2), s1Fmt(3)], OUTPUT],
    ['S1DSS=3: as 0', SSIDSIZE, [s1CdMax(2), [1, 1, 0, 3]], F_STREAM_DISABLED],
    ['S1CSH=1', CAPTURE, [[1, 7, 6, 1]], OUTPUT],
    ['PRIVCFG=1', CAPTURE, [[1, 49, 48, 1]], OUTPUT],
    ['INSTCFG=1', CAPTURE, [[1, 51, 50, 1]], OUTPUT],
    ['SW_RESERVED', CAPTURE, [[1, 23, 20, 0xf]], OUTPUT],
    ['IMPLEMENTATION DEFINED bits of word 1', CAPTURE, [[1, 63, 52, 0xfff]], OUTPUT],
    ['IMPLEMENTATION DEFINED bits of word 2', CAPTURE, [[2, 31, 16, 0xffff]], OUTPUT],
    ['IMPLEMENTATION DEFINED bits of word 4', CAPTURE, [[4, 15, 0, 0xffff]], OUTPUT],
    ['reserved bits of word 0', CAPTURE, [[0, 58, 56, 7]], OUTPUT],
    ['reserved bits of word 1', CAPTURE, [[1, 43, 41, 7]], OUTPUT],
    [
      'any stage-2 field, with Config=101',
      CAPTURE,
      [2, 3, 4, 5, 6, 7].map((w) => [w, 63, 0, ones]),
      OUTPUT,
    ],
    ['bits of S1ContextPtr below the table', SSIDSIZE, [s1CdMax(2), pointer(0x43e0_00c0n)], OUTPUT],
  ])('%s', (_, ids, edits, gives) => {
    expect(answer(new Machine(ids).ste(...edits).translate())).toBe(gives);
  });

  test('an STE is read from the index that is given', () => {
    const words = new Uint32Array(24).fill(0xffff_ffff);
    words.set(words32(STE), 5);
    expect(illegalSte(words, 5, featuresFrom())).toBe(0);
    expect(illegalSte(words, 0, featuresFrom())).not.toBe(0);
  });
});
