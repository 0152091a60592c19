import { describe, expect, test } from 'vitest';
import { S1Dss, S1Fmt } from '../../src/arch/ste.js';
import type { AddressSpaceBuilder, MapOptions } from '../../src/fixtures/address-space-builder.js';
import { GuestBuilder, type GuestOptions } from '../../src/fixtures/guest-builder.js';
import type { ExplainedStep } from '../../src/transaction/explain.js';
import { Access } from '../../src/transaction/permissions.js';
import { Outcome } from '../../src/transaction/translation.js';
import { explained, type Wanted } from './explained.js';

// A GuestBuilder puts 256 STEs at 0x40000000, the first tables of the first space at 0x40004000 and
// 0x40005000, its CD at 0x40006000, and tables as they are needed from 0x40007000 on.

/** What was fetched, and from where. */
function fetched(steps: readonly ExplainedStep[]): [string, number, string[]][] {
  return steps
    .filter(({ address }) => address >= 0)
    .map(({ what, address, words }) => [what, address, [...words]]);
}

const whats = (steps: readonly ExplainedStep[]): string[] => steps.map(({ what }) => what);

const ZEROS = (count: number) => Array.from({ length: count }, () => '0x0');
const STE_WORDS = ['0x4000600b', ...ZEROS(7)];
// T0SZ 16, T1SZ 16, TG1 2, V; IPS 5, AA64, R, A, ASET: IHI 0070, section 5.4
const CD_WORDS = ['0xe20580900010', '0x40004000', '0x40005000', '0x4ff44', ...ZEROS(4)];

function simple(options: GuestOptions = {}) {
  const guest = new GuestBuilder(options);
  const space = guest.addressSpace();
  guest.attach(1, space);
  return { guest, space };
}

describe('a translation that succeeds', () => {
  test('by a page: registers, STE, CD, four descriptors, result', () => {
    const { guest, space } = simple();
    space.map(0x1234_5678_9000, 0x8_7654_3000, 0x1000);
    const { steps, result } = explained(guest, { iova: 0x1234_5678_9abcn, access: Access.write });
    expect(whats(steps)[0]).toBe('STRTAB_BASE, STRTAB_BASE_CFG');
    expect(steps[0]!.fields).toEqual(['ADDR=0x40000000', 'FMT=0', 'SPLIT=0', 'LOG2SIZE=8']);
    // Indices 0x24, 0xd1, 0xb3 and 0x189
    expect(fetched(steps)).toEqual([
      ['STE', 0x4000_0040, STE_WORDS],
      ['CD', 0x4000_6000, CD_WORDS],
      ['level 0 descriptor', 0x4000_4120, ['0x40007003']],
      ['level 1 descriptor', 0x4000_7688, ['0x40008003']],
      ['level 2 descriptor', 0x4000_8598, ['0x40009003']],
      ['level 3 descriptor', 0x4000_9c48, ['0x876543f47']],
    ]);
    expect(steps.at(-1)).toMatchObject({
      what: 'result',
      address: -1,
      words: [],
      rule: 'output address 0x876543abc',
    });
    expect(steps).toHaveLength(8);
    expect(steps[1]!.fields).toEqual(
      expect.arrayContaining(['V=1', 'Config=5', 'S1ContextPtr=0x40006000']),
    );
    expect(steps[1]!.rule).toContain('stage 1');
    expect(steps[2]!.fields).toEqual(
      expect.arrayContaining([
        'T0SZ=16',
        'TG0=0',
        'TTB0=0x40004000',
        'IPS=5',
        'A=1',
        'R=1',
        'ASID=0',
      ]),
    );
    expect(steps[3]!.rule).toContain('from 39 on: table');
    expect(steps[6]!.rule).toContain('from 12 on: page');
    expect(steps[6]!.fields).toEqual(
      expect.arrayContaining(['OA=0x876543000', 'AP=1', 'AF=1', 'nG=1', 'SH=3', 'AttrIndx=1']),
    );
    expect([result.outcome, result.outputAddress]).toEqual([Outcome.translated, 0x8_7654_3abc]);
  });

  test('by a block of the upper half, with AF and dirty state set on the way', () => {
    const { guest, space } = simple();
    space.changeCd({ HA: 1, HD: 1 });
    space.map(0xffff_8000_0020_0000n, 0x4020_0000, 0x20_0000, {
      write: false,
      leaf: { AF: 0, DBM: 1 },
    });
    const { steps, result } = explained(guest, {
      iova: 0xffff_8000_0020_0010n,
      access: Access.write,
    });
    // DBM is bit 51; AP[2] (bit 7) goes, AF (bit 10) comes.
    expect(fetched(steps).slice(2)).toEqual([
      ['level 0 descriptor', 0x4000_5800, ['0x40007003']],
      ['level 1 descriptor', 0x4000_7000, ['0x40008003']],
      ['level 2 descriptor', 0x4000_8008, ['0x8000040200bc5']],
      ['level 2 descriptor, update', 0x4000_8008, ['0x8000040200f45']],
    ]);
    expect(steps.at(-3)!.rule).toContain('from 21 on: block');
    expect(steps.at(-2)!.fields).toEqual(['AF=1', 'DBM=1', 'AP=1']);
    expect(result.outputAddress).toBe(0x4020_0010);
  });

  test('of a big-endian space shows values as they are meant', () => {
    const guest = new GuestBuilder();
    const space = guest.addressSpace({ inputBits: 25, bigEndian: true, cd: { HA: 1 } });
    guest.attach(1, space);
    space.map(0x20_0000, 0x1_4000_0000, 0x20_0000, { leaf: { AF: 0 } });
    const { steps } = explained(guest, { iova: 0x20_0000n });
    expect(
      fetched(steps)
        .slice(2)
        .map(([what, , words]) => [what, words]),
    ).toEqual([
      ['level 2 descriptor', ['0x140000b45']],
      ['level 2 descriptor, update', ['0x140000f45']],
    ]);
  });

  test('through a 2-level stream table and a 2-level CD table', () => {
    const guest = new GuestBuilder({ streamIdBits: 10, split: 6 });
    const space = guest.addressSpace({ inputBits: 25, cd: { ASID: 7 } });
    const table = guest.attachSubstreams(0x83, new Map([[0x45, space]]), {
      format: S1Fmt.twoLevel4K,
      s1dss: S1Dss.bypass,
    });
    space.map(0x20_0000, 0x9000_0000, 0x20_0000);
    const { steps, result } = explained(guest, {
      streamId: 0x83,
      substreamId: 0x45,
      iova: 0x20_1000n,
    });
    // StreamID 0x83: L1STD 2, STE 3; SubstreamID 0x45: L1CD 1, CD 5
    const [l1std, ste, l1cd, cd, leaf] = fetched(steps);
    expect(l1std!.slice(0, 2)).toEqual(['L1STD', 0x4000_0010]);
    const level2 = Number(l1std![2][0]) - 7; // Span 7
    expect(ste!.slice(0, 2)).toEqual(['STE', level2 + 0xc0]);
    expect(l1cd!.slice(0, 2)).toEqual(['L1CD', table + 8]);
    expect(cd!.slice(0, 2)).toEqual(['CD', Number(l1cd![2][0]) - 1 + 0x140]);
    expect(leaf!.slice(0, 1)).toEqual(['level 2 descriptor']);
    expect(leaf![2]).toEqual(['0x90000f45']);
    expect(steps[1]!.rule).toContain('entry 2: StreamID >> 6');
    expect(steps[3]!.rule).toContain('entry 1: SubstreamID >> 6');
    expect(result.outputAddress).toBe(0x9000_1000);
    expect(steps).toHaveLength(7);
  });

  test('by a table that is its own child, level by level', () => {
    const { guest, space } = simple();
    space.setDescriptor(0, 0, new Uint32Array([0x4000_4743, 0]));
    const { steps, result } = explained(guest, { iova: 0x123n });
    expect(fetched(steps).slice(2)).toEqual(
      [0, 1, 2, 3].map((level) => [`level ${level} descriptor`, 0x4000_4000, ['0x40004743']]),
    );
    expect(result.outputAddress).toBe(0x4000_4123);
  });
});

describe('a bypass', () => {
  test('by the STE', () => {
    const { guest } = simple();
    guest.bypass(2);
    const { steps, result } = explained(guest, { streamId: 2, iova: 0x8765_4321n });
    expect(fetched(steps)).toEqual([['STE', 0x4000_0080, ['0x9', ...ZEROS(7)]]]);
    expect(whats(steps)).toEqual(['STRTAB_BASE, STRTAB_BASE_CFG', 'STE', 'result']);
    expect(steps[1]!.rule).toContain('bypasses');
    expect([steps[2]!.rule, result.bypassed]).toEqual(['not translated: 0x87654321', true]);
  });

  test('by S1DSS, without SubstreamID', () => {
    const { guest, space } = simple();
    guest.attachSubstreams(2, new Map([[1, space]]), { s1dss: S1Dss.bypass });
    const { steps } = explained(guest, { streamId: 2, iova: 0x5000n });
    expect(whats(steps)).toEqual(['STRTAB_BASE, STRTAB_BASE_CFG', 'STE', 'result']);
    expect(steps[2]!.rule).toBe('not translated: 0x5000');
  });

  test('by GBPA while SMMUEN is 0, or its abort', () => {
    const { guest } = simple({ registers: { CR0: 0 } });
    const pass = explained(guest, { iova: 0x5000n });
    expect(whats(pass.steps)).toEqual(['CR0, GBPA', 'result']);
    expect(pass.steps[0]!.fields).toEqual(['SMMUEN=0', 'ABORT=0']);
    expect(pass.steps[1]!.rule).toBe('not translated: 0x5000');
    guest.setRegisters({ GBPA: 1 << 20 });
    const abort = explained(guest, { iova: 0x5000n });
    expect(abort.steps[0]!.fields).toEqual(['SMMUEN=0', 'ABORT=1']);
    expect(abort.steps[1]!.rule).toContain('the access aborts (read)');
  });
});

/** Attaches a space with these CD fields to stream 1. */
function attached(guest: GuestBuilder, cd = {}): AddressSpaceBuilder {
  const space = guest.addressSpace({ cd });
  guest.attach(1, space);
  return space;
}

type Build = (guest: GuestBuilder) => Wanted;

/** An access with these fields in the CD. */
const cd =
  (fields: object, wanted: Wanted = {}): Build =>
  (guest) => {
    attached(guest, fields);
    return wanted;
  };
/** An access with these fields in the STE. */
const ste =
  (fields: Parameters<GuestBuilder['setSte']>[1], wanted: Wanted = {}): Build =>
  (guest) => {
    guest.attach(1, guest.addressSpace(), fields);
    return wanted;
  };
/** An access to 0 with this descriptor at a level, below a CD of 32-bit addresses. */
const descriptor =
  (level: number, ...words: [low: number, high: number]): Build =>
  (guest) => {
    attached(guest, { IPS: 0 }).setDescriptor(0, level, new Uint32Array(words));
    return {};
  };
/** An access to a page at 0x1000 that is mapped so. */
const page =
  (options: MapOptions, iova = 0x1000n): Build =>
  (guest) => {
    attached(guest).map(0x1000, 0x8000_0000, 0x1000, options);
    return { iova, access: Access.write };
  };
/** An access as it is. */
function plain(wanted: Wanted): Build {
  return () => wanted;
}

describe('a failure ends at its step', () => {
  // RAM begins at 0x40000000: nothing is at 0x1000, and zeros are at 0x50000000.
  const TABLE = { registers: { STRTAB_BASE: 0x1000 } };
  const TWO_LEVELS = { streamIdBits: 10, split: 6 } as const;
  const CDS = { S1CDMax: 8, S1Fmt: 1, S1DSS: 2 };
  const LAST = 'level 3 descriptor';

  test.each<[what: string, options: GuestOptions, build: Build, last: string, reason: string]>([
    ['range', {}, plain({ streamId: 256 }), 'STRTAB_BASE, STRTAB_BASE_CFG', 'StreamID is outside'],
    ['no level-2 table', TWO_LEVELS, plain({ streamId: 0x80 }), 'L1STD', 'Span is 0'],
    ['L1STD abort', { ...TWO_LEVELS, ...TABLE }, plain({}), 'L1STD', 'fetching the L1STD'],
    ['STE abort', TABLE, plain({}), 'STE', 'fetching the STE'],
    ['STE.V=0', {}, plain({}), 'STE', 'STE.V=0'],
    ['STE aborts', {}, ste({ Config: 0 }), 'STE', 'Config says abort'],
    ['illegal STE', {}, ste({ Config: 6 }), 'STE', 'STE is illegal, rule 2'],
    ['no substreams', {}, ste({}, { substreamId: 1 }), 'STE', 'S1CDMax=0'],
    ['L1CD abort', {}, ste({ ...CDS, S1ContextPtr: 0x1000 }), 'L1CD', 'fetching the L1CD'],
    ['L1CD.V=0', {}, ste({ ...CDS, S1ContextPtr: 0x5000_0000 }), 'L1CD', 'L1CD.V=0'],
    ['CD abort', {}, ste({ S1ContextPtr: 0x1000 }), 'CD', 'fetching the CD'],
    ['CD.V=0', {}, cd({ V: 0 }), 'CD', 'CD is illegal, rule 1'],
    ['input range', {}, cd({}, { iova: 1n << 50n }), 'CD', 'TxSZ'],
    ['EPD', {}, cd({ EPD0: 1 }), 'CD', 'EPD0'],
    ['E0PD', {}, cd({ E0PD0: 1 }), 'CD', 'E0PD0'],
    ['abort', {}, cd({ TTB0: 0x1000 }), 'level 0 descriptor', 'fetching the descriptor'],
    ['invalid at level 0', {}, cd({}), 'level 0 descriptor', 'descriptor is invalid'],
    ['invalid at level 3', {}, page({}, 0n), LAST, 'descriptor is invalid'],
    ['reserved at level 3', {}, descriptor(3, 1, 0), LAST, 'reserved'],
    ['block at level 0', {}, descriptor(0, 1, 0), 'level 0 descriptor', 'no blocks'],
    ['table beyond the IPS', {}, descriptor(1, 3, 1), 'level 1 descriptor', 'next-level table'],
    ['output beyond the IPS', {}, descriptor(2, 1, 1), 'level 2 descriptor', 'output address lies'],
    ['access flag', {}, page({ leaf: { AF: 0 } }), LAST, 'AF is 0'],
    ['permission', {}, page({ write: false }), LAST, 'permissions do not'],
  ])('%s', (_, options, build, last, reason) => {
    const guest = new GuestBuilder(options);
    const { steps, result } = explained(guest, build(guest));
    expect(whats(steps).at(-2)).toBe(last);
    expect(steps.at(-1)).toMatchObject({ what: 'result', address: -1 });
    expect(steps.at(-1)!.rule).toContain(reason);
    expect(result.outcome).toBe(Outcome.aborted);
    const aborted = reason.startsWith('fetching');
    expect(steps.at(-2)!.words.length === 0).toBe(aborted || last.startsWith('STRTAB'));
    expect(steps.at(-2)!.rule.includes('external abort')).toBe(aborted);
  });

  test.each([
    ['the access stalls', { S: 1 }, Outcome.stalled],
    ['reads as zeros', { A: 0 }, Outcome.zeroed],
    ['the access aborts', {}, Outcome.aborted],
  ])('and tells that %s', (text, fields, outcome) => {
    const { guest, space } = simple();
    space.changeCd(fields);
    const { steps, result } = explained(guest, { access: Access.write });
    expect([result.outcome, steps.at(-1)!.rule]).toEqual([outcome, expect.stringContaining(text)]);
    expect(steps.at(-1)!.rule).toContain('(write)');
  });
});
