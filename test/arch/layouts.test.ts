import { describe, expect, test } from 'vitest';
import { isAddress, lsbOf, msbOf } from '../../src/arch/field.js';
import { FRAME_BYTES, Register, wordOf } from '../../src/arch/registers.js';
import {
  LEFT_OUT,
  LEFT_OUT_STRUCTURES,
  ONLY_HERE,
  ONLY_HERE_STRUCTURES,
  RECUT,
} from './layout-differences.js';
import { type FixtureStructure, readLayouts } from './layout-fixtures.js';
import { LIBRARY, type LibraryLayout } from './library-layouts.js';

const files = Object.keys(LIBRARY).map((file) => ({ file, structures: readLayouts(file) }));
const pairs = files.flatMap(({ file, structures }) =>
  structures
    .filter(({ name }) => !LEFT_OUT_STRUCTURES.includes(name))
    .map((fixture) => ({ name: fixture.name, fixture, library: LIBRARY[file]![fixture.name] })),
);
let positions = 0;

/** `[msb:lsb]` of every field that the library should have. */
function expected(fixture: FixtureStructure): Map<string, string> {
  const recut = RECUT[fixture.name] ?? {};
  const elsewhere = [
    ...(LEFT_OUT[fixture.name] ?? []),
    ...Object.values(recut).flatMap(({ from }) => from),
  ];
  return new Map([
    ...fixture.fields
      .filter(({ name }) => !elsewhere.includes(name))
      .map(({ name, msb, lsb }): [string, string] => [name, `[${msb}:${lsb}]`]),
    ...Object.entries(recut).map(([name, { bits }]): [string, string] => [
      name,
      `[${bits[0]}:${bits[1]}]`,
    ]),
  ]);
}

/** `[msb:lsb]` of every field that the library has, less the listed extras. */
function actual(name: string, library: LibraryLayout | undefined): Map<string, string> {
  return new Map(
    Object.entries(library?.layout ?? {})
      .filter(([field]) => !(ONLY_HERE[name] ?? []).includes(field))
      .map(([field, packed]) => [field, `[${msbOf(packed)}:${lsbOf(packed)}]`]),
  );
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

describe('layouts of structures, commands, event records and registers (IHI 0070, sections 4 to 7)', () => {
  test.each(pairs)(
    '$name has the fields of the manual and no others, at its bits',
    ({ name, fixture, library }) => {
      expect(library).toBeDefined();
      expect(sorted(actual(name, library))).toEqual(sorted(expected(fixture)));
      positions += fixture.fields.length - (LEFT_OUT[name]?.length ?? 0);
    },
  );

  test.each(pairs)('$name has its number and its size', ({ fixture, library }) => {
    expect([library?.number, library?.bytes]).toEqual([fixture.number, fixture.bytes]);
  });

  test('nothing is left out, and nothing added, but what is listed', () => {
    const ours = files.flatMap(({ file }) => Object.keys(LIBRARY[file]!));
    const theirs = files.flatMap(({ structures }) => structures.map(({ name }) => name));
    expect(ours.filter((name) => !theirs.includes(name))).toEqual(ONLY_HERE_STRUCTURES);
    expect(theirs.filter((name) => !ours.includes(name))).toEqual(LEFT_OUT_STRUCTURES);
  });

  test('the lists of differences name only what exists', () => {
    const fixtures = new Map(pairs.map(({ name, fixture }) => [name, fixture]));
    const missing = [...Object.entries(LEFT_OUT), ...Object.entries(ONLY_HERE)].filter(
      ([name]) => !fixtures.has(name),
    );
    expect(missing).toEqual([]);
    for (const [name, fields] of Object.entries(LEFT_OUT)) {
      const known = fixtures.get(name)!.fields.map((field) => field.name);
      expect(known).toEqual(expect.arrayContaining([...fields]));
    }
    for (const { name, library } of pairs) {
      const known = Object.keys(library!.layout);
      expect(known).toEqual(expect.arrayContaining([...(ONLY_HERE[name] ?? [])]));
    }
  });

  test('what the fixtures keep in place, the library reads as an address', () => {
    const inPlace = pairs.flatMap(({ name, fixture, library }) =>
      fixture.fields
        .filter((field) => 'address' in field && field.name in library!.layout)
        .map((field) => [`${name}.${field.name}`, isAddress(library!.layout[field.name]!)]),
    );
    expect(inPlace.filter(([, address]) => address !== true)).toEqual([]);
    expect(inPlace.length).toBeGreaterThanOrEqual(38);
  });

  test('the Secure and Realm commands that the notes do not list have the opcodes of section 4', () => {
    const opcodes = ONLY_HERE_STRUCTURES.map((name) => LIBRARY.commands![name]!.number);
    expect(opcodes).toEqual([0x50, 0x51, 0x52, 0x53]);
  });

  test('at least 620 positions of 119 structures were compared', () => {
    expect(positions).toBeGreaterThanOrEqual(620);
    expect(pairs.length).toBeGreaterThanOrEqual(119);
  });
});

describe('registers (IHI 0070, section 6.2)', () => {
  const registers = pairs.filter(({ library }) => library?.access !== undefined);

  test.each(registers)(
    '$name is read-only exactly when the manual says so',
    ({ fixture, library }) => {
      // RW/RO: writable while its guard is off. null: the notes do not say.
      const access = fixture.access === 'RO' ? 'RO' : 'RW';
      expect(library?.access).toBe(access);
    },
  );

  test('the frame is two pages of 64 KiB, and every register lies in it', () => {
    expect(FRAME_BYTES).toBe(131_072);
    const ends = registers.map(({ fixture }) => fixture.number + fixture.bytes);
    expect(Math.max(...ends)).toBeLessThanOrEqual(131_072);
  });

  test('a register of a frame kept as 32-bit words is found at a quarter of its offset', () => {
    expect(wordOf(Register.IDR0)).toBe(0);
    expect(wordOf(Register.STRTAB_BASE)).toBe(0x80 / 4);
    expect(wordOf(Register.PRIQ_CONS)).toBe(0x100cc / 4);
  });
});
