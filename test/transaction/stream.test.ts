import { describe, expect, test } from 'vitest';
import { answer, BYPASS_STE, Machine, STE, STREAM_TABLE } from './machine.js';

const OUTPUT = 'output 0x80001234';
const C_BAD_STREAMID = 'event 0x2';
const F_STE_FETCH = 'event 0x3';
const C_BAD_STE = 'event 0x4';
const BYPASSED = 'output 0x1234';

/** FMT=1 with SPLIT and LOG2SIZE, and an L1STD table in place of the linear table. */
function twoLevel(split: number, log2Size: number, ids = {}): Machine {
  const machine = new Machine(ids).register(0x88, 0x1_0000 | (split << 6) | log2Size);
  return machine.put(STREAM_TABLE, ...new Array<bigint>(512).fill(0n));
}

describe('stream table, linear (IHI 0070, section 3.3.1)', () => {
  test('the STE of StreamID n lies at STRTAB_BASE + 64 * n', () => {
    const machine = new Machine().put(STREAM_TABLE + 64 * 0xff, ...STE);
    expect(answer(machine.translate(0x10))).toBe(OUTPUT);
    expect(answer(machine.translate(0xff))).toBe(OUTPUT);
    expect(answer(machine.translate(0x11))).toBe(C_BAD_STE);
  });

  test('a StreamID of 2^LOG2SIZE or more is C_BAD_STREAMID', () => {
    const machine = new Machine().register(0x88, 5);
    machine.put(STREAM_TABLE + 64 * 0x1f, ...STE).put(STREAM_TABLE + 64 * 0x20, ...STE);
    expect(answer(machine.translate(0x1f))).toBe(OUTPUT);
    expect(answer(machine.translate(0x20))).toBe(C_BAD_STREAMID);
    expect(answer(machine.translate(0xffff_ffff))).toBe(C_BAD_STREAMID);
  });

  test('LOG2SIZE=0 covers StreamID 0 alone', () => {
    const machine = new Machine().register(0x88, 0).put(STREAM_TABLE, ...STE);
    expect(answer(machine.translate(0))).toBe(OUTPUT);
    expect(answer(machine.translate(1))).toBe(C_BAD_STREAMID);
  });

  test('IDR1.SIDSIZE caps LOG2SIZE', () => {
    const machine = new Machine({ idr1: 0x0273_0004 }).register(0x88, 8);
    machine.put(STREAM_TABLE + 64 * 0xf, ...STE);
    expect(answer(machine.translate(0xf))).toBe(OUTPUT);
    expect(answer(machine.translate(0x10))).toBe(C_BAD_STREAMID);
  });

  test('a StreamID has 32 bits', () => {
    const machine = new Machine({ idr1: 0x0273_0020 }).register(0x80, 0).register(0x84, 0x200);
    machine.register(0x88, 32).put(0x200_0000_0000 + 64 * 0xffff_ffff, ...STE);
    expect(answer(machine.translate(0xffff_ffff))).toBe(OUTPUT);
  });

  test('the low LOG2SIZE+6 bits of STRTAB_BASE are taken as 0', () => {
    const machine = new Machine().register(0x80, STREAM_TABLE + 0x3fc0);
    expect(answer(machine.translate())).toBe(OUTPUT);
    machine.register(0x80, STREAM_TABLE + 0x4000);
    expect(answer(machine.translate())).toBe(F_STE_FETCH);
  });

  test('the literal LOG2SIZE decides the alignment, not the one that SIDSIZE caps', () => {
    const machine = new Machine({ idr1: 0x0273_0008 }).register(0x88, 16);
    machine.register(0x80, STREAM_TABLE + 0x3f_ffc0);
    expect(answer(machine.translate())).toBe(OUTPUT);
  });

  test('bits 63:56 and 5:0 of STRTAB_BASE are not address bits', () => {
    const machine = new Machine().register(0x80, STREAM_TABLE | 0x3f).register(0x84, 0xff00_0000);
    expect(answer(machine.translate())).toBe(OUTPUT);
  });

  test.each([2, 3])('FMT=%i behaves as linear', (fmt) => {
    const machine = new Machine().register(0x88, (fmt << 16) | (8 << 6) | 8);
    expect(answer(machine.translate())).toBe(OUTPUT);
  });

  test('FMT is RES0 when IDR0.ST_LEVEL=0', () => {
    const machine = new Machine({ idr0: 0x0544_101b }).register(0x88, 0x1_0000 | (8 << 6) | 8);
    expect(answer(machine.translate())).toBe(OUTPUT);
  });
});

describe('stream table, 2-level (IHI 0070, section 3.3.2)', () => {
  test.each([
    [6, 6],
    [8, 8],
    [10, 10],
    [0, 6],
    [7, 6],
    [9, 6],
    [11, 6],
    [16, 6],
    [31, 6],
  ])('SPLIT=%i: the L1STD is StreamID >> %i, the STE the rest', (split, effective) => {
    const machine = twoLevel(split, 16);
    // Two L1STDs, whose last STE is filled.
    const last = 2 ** effective - 1;
    const span = BigInt(effective + 1);
    machine.put(STREAM_TABLE + 8 * 5, 0x5000_0000n | span);
    machine.put(0x5000_0000 + 64 * last, ...STE);
    machine.put(STREAM_TABLE + 8 * 6, 0x6000_0000n | span);
    machine.put(0x6000_0000 + 64 * last, ...BYPASS_STE);
    expect(answer(machine.translate(5 * 2 ** effective + last))).toBe(OUTPUT);
    expect(answer(machine.translate(6 * 2 ** effective + last))).toBe(BYPASSED);
    expect(answer(machine.translate(7 * 2 ** effective + last))).toBe(C_BAD_STREAMID);
  });

  test('a StreamID of 2^LOG2SIZE or more is C_BAD_STREAMID, whatever lies there', () => {
    const machine = twoLevel(8, 9).put(STREAM_TABLE, 0x5000_0009n, 0x5000_0009n, 0x5000_0009n);
    machine.put(0x5000_0000, ...STE);
    expect(answer(machine.translate(0x100))).toBe(OUTPUT);
    expect(answer(machine.translate(0x200))).toBe(C_BAD_STREAMID);
  });

  test.each([
    ['Span=0', 8, 0n],
    ['Span=12, reserved', 10, 12n],
    ['Span=31, reserved', 10, 31n],
    ['Span=SPLIT+2 with SPLIT=6', 6, 8n],
    ['Span=SPLIT+2 with SPLIT=8', 8, 10n],
  ])('%s is C_BAD_STREAMID', (_, split, span) => {
    const machine = twoLevel(split, 16).put(STREAM_TABLE, 0x5000_0000n | span);
    machine.put(0x5000_0000, ...STE);
    expect(answer(machine.translate(0))).toBe(C_BAD_STREAMID);
  });

  test('every reserved Span, 12 to 31, behaves as 0', () => {
    const machine = twoLevel(10, 16).put(0x5000_0000, ...STE);
    const answers = Array.from({ length: 20 }, (_, i) =>
      answer(machine.put(STREAM_TABLE, 0x5000_0000n | BigInt(12 + i)).translate(0)),
    );
    expect(answers).toEqual(new Array(20).fill(C_BAD_STREAMID));
  });

  test.each([
    [6, 7],
    [8, 9],
    [10, 11],
  ])('SPLIT=%i: Span=%i, the largest, covers all of it', (split, span) => {
    const machine = twoLevel(split, 16).put(STREAM_TABLE, 0x5000_0000n | BigInt(span));
    machine.put(0x5000_0000 + 64 * (2 ** split - 1), ...STE);
    expect(answer(machine.translate(2 ** split - 1))).toBe(OUTPUT);
  });

  test.each([1, 2, 5, 8])('Span=%i covers 2^(Span-1) StreamIDs', (span) => {
    const machine = twoLevel(8, 16).put(STREAM_TABLE, 0x5000_0000n | BigInt(span));
    const entries = 2 ** (span - 1);
    machine.put(0x5000_0000 + 64 * (entries - 1), ...STE);
    machine.put(0x5000_0000 + 64 * entries, ...STE);
    expect(answer(machine.translate(entries - 1))).toBe(OUTPUT);
    expect(answer(machine.translate(entries))).toBe(C_BAD_STREAMID);
  });

  test('L2Ptr is aligned to the size of its table: bits [Span+4:0] are taken as 0', () => {
    const machine = twoLevel(8, 16).put(STREAM_TABLE, 0x5000_03c5n);
    // Span=5: 16 STEs, 1 KiB.
    machine.put(0x5000_0000, ...STE);
    expect(answer(machine.translate(0))).toBe(OUTPUT);
    machine.put(STREAM_TABLE, 0x5000_0405n);
    expect(answer(machine.translate(0))).toBe(C_BAD_STE);
  });

  test('bits 63:56 and bit 5 of an L1STD are RES0 and ignored', () => {
    const machine = twoLevel(8, 16).put(STREAM_TABLE, 0xff00_0000_5000_0021n);
    machine.put(0x5000_0000, ...STE);
    expect(answer(machine.translate(0))).toBe(OUTPUT);
  });

  test.each([
    // max(6, LOG2SIZE - SPLIT + 3) low bits of STRTAB_BASE are taken as 0.
    ['LOG2SIZE=16, SPLIT=8: 11 bits', 16, 8, 0x7c0, 0x800],
    ['LOG2SIZE=16, SPLIT=6: 13 bits', 16, 6, 0x1fc0, 0x2000],
    ['LOG2SIZE=8, SPLIT=8: 6 bits', 8, 8, 0x3f, 0x40],
    ['LOG2SIZE=4, SPLIT=10: 6 bits', 4, 10, 0x3f, 0x40],
  ])('the base is aligned to its table, %s', (_, log2Size, split, ignored, counted) => {
    const machine = twoLevel(split, log2Size).put(STREAM_TABLE, 0x5000_0001n);
    machine.put(STREAM_TABLE + counted, 0n).put(0x5000_0000, ...STE);
    machine.register(0x80, STREAM_TABLE + ignored);
    expect(answer(machine.translate(0))).toBe(OUTPUT);
    machine.register(0x80, STREAM_TABLE + counted);
    expect(answer(machine.translate(0))).toBe(C_BAD_STREAMID);
  });

  test('the literal LOG2SIZE decides the alignment, not the one that SIDSIZE caps', () => {
    const machine = twoLevel(8, 20)
      .put(STREAM_TABLE, 0x5000_0001n)
      .put(0x5000_0000, ...STE);
    machine.register(0x80, STREAM_TABLE + 0x7fc0);
    expect(answer(machine.translate(0))).toBe(OUTPUT);
  });

  test('LOG2SIZE of SPLIT or less uses the first L1STD alone', () => {
    const machine = twoLevel(10, 4).put(STREAM_TABLE, 0x5000_000bn);
    machine.put(0x5000_0000 + 64 * 15, ...STE);
    expect(answer(machine.translate(15))).toBe(OUTPUT);
    expect(answer(machine.translate(16))).toBe(C_BAD_STREAMID);
  });
});

describe('C_BAD_STREAMID (IHI 0070, section 7.3.3)', () => {
  test.each([
    ['a StreamID out of range', new Machine(), 0x100],
    ['Span=0', twoLevel(8, 16), 0],
    ['a StreamID beyond Span', twoLevel(8, 16).put(STREAM_TABLE, 0x5000_0001n), 1],
  ])(
    '%s is recorded with CR2.RECINVSID=1 and silent without; it aborts either way',
    (_, machine, streamId) => {
      const recorded = machine.register(0x2c, 2).translate(streamId);
      expect([recorded.event, recorded.outcome, recorded.recorded]).toEqual([0x02, 1, true]);
      const silent = machine.register(0x2c, 0xd).translate(streamId);
      expect([silent.event, silent.outcome, silent.recorded]).toEqual([0x02, 1, false]);
    },
  );
});

describe('F_STE_FETCH (IHI 0070, section 7.3.4)', () => {
  test('an STE outside memory: FetchAddr is its address', () => {
    const machine = new Machine();
    machine.memory.removePage(STREAM_TABLE);
    const result = machine.translate(0x10);
    expect([result.event, result.outcome, result.recorded]).toEqual([0x03, 1, true]);
    expect(result.fetchAddress).toBe(STREAM_TABLE + 0x400);
  });

  test('an L1STD outside memory: FetchAddr is its address', () => {
    const machine = twoLevel(8, 16);
    machine.memory.removePage(STREAM_TABLE);
    const result = machine.translate(0x1234);
    expect([result.event, result.recorded]).toEqual([0x03, true]);
    expect(result.fetchAddress).toBe(STREAM_TABLE + 8 * 0x12);
  });

  test('a level-2 table outside memory: FetchAddr is the address of the STE', () => {
    const result = twoLevel(8, 16).put(STREAM_TABLE, 0x7_5000_0009n).translate(0x34);
    expect(result.event).toBe(0x03);
    expect(result.fetchAddress).toBe(0x7_5000_0000 + 64 * 0x34);
  });

  test('a table at 2^OAS or above is not read, even where there is memory', () => {
    const linear = new Machine()
      .register(0x80, 0)
      .register(0x84, 0x1000)
      .put(2 ** 44, ...STE);
    expect(answer(linear.translate(0))).toBe(F_STE_FETCH);
    const level1 = twoLevel(8, 16).register(0x80, 0).register(0x84, 0x1000);
    level1.put(2 ** 44, 0x5000_0001n).put(0x5000_0000, ...STE);
    expect(answer(level1.translate(0))).toBe(F_STE_FETCH);
    const level2 = twoLevel(8, 16)
      .put(STREAM_TABLE, 0x1000_0000_0001n)
      .put(2 ** 44, ...STE);
    expect(answer(level2.translate(0))).toBe(F_STE_FETCH);
  });

  test('a table just below 2^OAS is read', () => {
    const machine = new Machine().register(0x80, 0xffff_c000).register(0x84, 0xfff);
    machine.put(2 ** 44 - 64, ...STE);
    expect(answer(machine.translate(0xff))).toBe(OUTPUT);
  });
});

describe('STE.V and STE.Config (IHI 0070, section 5.2)', () => {
  test('V=0 is C_BAD_STE, recorded', () => {
    const result = new Machine().ste([0, 0, 0, 0]).translate();
    expect([result.event, result.outcome, result.recorded]).toEqual([0x04, 1, true]);
  });

  test.each([0b000, 0b001, 0b010, 0b011])('Config=%i aborts without an event', (config) => {
    const result = new Machine().ste([0, 3, 1, config]).translate();
    expect([result.event, result.outcome, result.recorded]).toEqual([0, 1, false]);
  });

  test('Config=0xx is never ILLEGAL: the rest of the STE is ignored', () => {
    const machine = new Machine().put(STREAM_TABLE + 0x400, 0xffff_ffff_ffff_fff7n);
    machine.put(STREAM_TABLE + 0x408, ...new Array<bigint>(7).fill(0xffff_ffff_ffff_ffffn));
    expect(answer(machine.translate())).toBe('silent');
    expect(answer(machine.translate(0x10, 5))).toBe('silent');
  });

  test('Config=100 passes the address on', () => {
    const machine = new Machine().put(STREAM_TABLE + 0x400, ...BYPASS_STE);
    expect(answer(machine.translate())).toBe(BYPASSED);
  });

  test('while SMMUEN=0 no STE is fetched', () => {
    const machine = new Machine().register(0x20, 0xc);
    machine.memory.removePage(STREAM_TABLE);
    expect(answer(machine.translate(0xffff_ffff))).toBe(BYPASSED);
  });
});
