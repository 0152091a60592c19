import { describe, expect, test } from 'vitest';
import {
  type AddressField,
  type Field,
  get,
  getAddress,
  high,
  isAddress,
  low,
  set,
  setAddress,
} from '../../src/arch/field.js';
import { LEFT_OUT, overlap, RECUT } from './layout-differences.js';
import {
  type FixtureStructure,
  type FixtureWords,
  hexWords,
  readLayouts,
  wordsOf,
} from './layout-fixtures.js';
import { LIBRARY, type LibraryLayout } from './library-layouts.js';

interface Case {
  name: string;
  fixture: FixtureStructure;
  library: LibraryLayout;
  row: FixtureWords;
}

const cases: Case[] = Object.entries(LIBRARY).flatMap(([file, structures]) =>
  readLayouts(file).flatMap((fixture) => {
    const library = structures[fixture.name];
    if (library === undefined) return [];
    return fixture.rows.map((row) => ({
      name: `${fixture.name}: ${row.name}`,
      fixture,
      library,
      row,
    }));
  }),
);
let decoded = 0;
let encoded = 0;

/**
 * Values of the library's fields in a row, worked out of the fixture alone. Fields whose bits the row
 * uses under an alternative name are left out: they read those bits too.
 */
function valuesOf({ fixture, library, row }: Case): Map<string, bigint> {
  const used = fixture.fields.filter(({ name }) => row.values.has(name));
  const fields = new Map(fixture.fields.map((field) => [field.name, field]));
  const values = new Map<string, bigint>();
  for (const name of Object.keys(library.layout)) {
    const recut = RECUT[fixture.name]?.[name];
    const field = fields.get(name);
    if (recut !== undefined) values.set(name, recut.value(row.values));
    else if (field !== undefined && !used.some((other) => overlap(field, other))) {
      values.set(name, row.values.get(name) ?? 0n);
    }
  }
  return values;
}

/** The words of a row without the bits of the fields that the library leaves out. */
function knownWords({ fixture, row }: Case): bigint[] {
  const words = [...row.words];
  for (const name of LEFT_OUT[fixture.name] ?? []) {
    if (!row.values.has(name)) continue;
    const { msb, lsb } = fixture.fields.find((field) => field.name === name)!;
    const mask = ((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb % 64);
    words[Math.floor(lsb / 64)]! &= ~mask;
  }
  return words;
}

function read(words: Uint32Array, field: Field | AddressField): bigint {
  if (!isAddress(field)) return BigInt(get(words, 0, field));
  return (BigInt(high(words, 0, field)) << 32n) | BigInt(low(words, 0, field));
}

function write(words: Uint32Array, field: Field | AddressField, value: bigint): void {
  if (!isAddress(field)) set(words, 0, field, Number(value));
  else setAddress(words, 0, field, Number(value >> 32n), Number(value & 0xffff_ffffn));
}

function show(values: Map<string, bigint>): Record<string, string> {
  return Object.fromEntries([...values].map(([name, value]) => [name, `0x${value.toString(16)}`]));
}

describe('the words of the fixtures', () => {
  test.each(cases)('$name: words give the values', (entry) => {
    const { library, row } = entry;
    const words = wordsOf(row.words);
    const expected = valuesOf(entry);
    const actual = new Map(
      [...expected.keys()].map((name) => [name, read(words, library.layout[name]!)]),
    );
    expect(show(actual)).toEqual(show(expected));
    if (row.numbered) expect(get(words, 0, library.numberField!)).toBe(library.number);
    for (const [name, value] of expected) {
      const field = library.layout[name]!;
      // A double holds the value exactly when its significant bits are 53 or fewer.
      if (!isAddress(field) || BigInt(Number(value)) !== value) continue;
      expect(getAddress(words, 0, field)).toBe(Number(value));
    }
    decoded += expected.size;
  });

  test.each(cases)('$name: values give the words', (entry) => {
    const { fixture, library, row } = entry;
    const words = new Uint32Array(2 * row.words.length);
    if (row.numbered) set(words, 0, library.numberField!, fixture.number);
    const alternatives = fixture.fields
      .filter((field) => field.alternative)
      .map(({ name }) => name);
    const values = new Map([...row.values].filter(([name]) => name in library.layout));
    for (const [name, recut] of Object.entries(RECUT[fixture.name] ?? {})) {
      values.set(name, recut.value(row.values));
    }
    // An alternative name of bits is written after the field that the bits belong to.
    const order = [...values].sort(
      ([a], [b]) => Number(alternatives.includes(a)) - Number(alternatives.includes(b)),
    );
    for (const [name, value] of order) write(words, library.layout[name]!, value);
    expect(hexWords(words)).toEqual(hexWords(wordsOf(knownWords(entry))));
    encoded += order.length;
  });

  test('at least 1,390 rows were read and written: 32,000 values decoded, 3,100 encoded', () => {
    expect(cases.length).toBeGreaterThanOrEqual(1390);
    expect(decoded).toBeGreaterThanOrEqual(32_000);
    expect(encoded).toBeGreaterThanOrEqual(3100);
  });
});
