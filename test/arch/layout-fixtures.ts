/** The layouts of `fixtures/layouts`, read into one shape: see the README there. */
import { readFileSync } from 'node:fs';

export interface FixtureField {
  name: string;
  /** Highest bit, counted from bit 0 of the structure. */
  msb: number;
  lsb: number;
  /** Another name, or another use, of bits that belong to another field. */
  alternative?: boolean;
  unverified?: boolean;
}

/** Words with the values that they hold. */
export interface FixtureWords {
  name: string;
  /** Value of every field that is not zero; addresses in place. */
  values: ReadonlyMap<string, bigint>;
  words: readonly bigint[];
  /** The words hold the opcode or the event number as well. */
  numbered: boolean;
}

export interface FixtureStructure {
  name: string;
  bytes: number;
  /** Opcode of a command, number of an event, offset of a register. */
  number: number;
  access: string | null;
  fields: readonly FixtureField[];
  /** The examples, and every row of `single`. */
  rows: readonly FixtureWords[];
}

type Single = [field: string, value: string, word: number, content: string];

interface RawStructure {
  structure?: string;
  name?: string;
  bytes?: number;
  bits?: number;
  opcode?: number;
  id?: number;
  offset?: string;
  access?: string | null;
  fields?: FixtureField[];
  examples?: {
    name?: string;
    fields: Record<string, string>;
    words?: string[];
    value?: string;
  }[];
  single?: Single[];
}

interface RawFile extends RawStructure {
  common?: FixtureField[];
  structures?: RawStructure[];
  commands?: RawStructure[];
  events?: RawStructure[];
  registers?: RawStructure[];
}

/** The structures of `fixtures/layouts/NAME.json`. */
export function readLayouts(name: string): FixtureStructure[] {
  const url = new URL(`../../fixtures/layouts/${name}.json`, import.meta.url);
  const file = JSON.parse(readFileSync(url, 'utf8')) as RawFile;
  const list = file.structures ?? file.commands ?? file.events ?? file.registers ?? [file];
  return list.map((raw) => structureOf(raw, file.bytes));
}

function structureOf(raw: RawStructure, fileBytes: number | undefined): FixtureStructure {
  const bytes = raw.bytes ?? (raw.bits === undefined ? fileBytes : raw.bits / 8);
  if (bytes === undefined) throw new Error(`${raw.name ?? 'structure'} has no size`);
  const examples = (raw.examples ?? []).map((example, i) => ({
    name: example.name ?? `example ${i}`,
    values: new Map(Object.entries(example.fields).map(([key, value]) => [key, BigInt(value)])),
    words: (example.words ?? [example.value!]).map(BigInt),
    numbered: raw.opcode !== undefined || raw.id !== undefined,
  }));
  const single = (raw.single ?? []).map(([field, value, word, content]) => {
    const words = new Array<bigint>(Math.ceil(bytes / 8)).fill(0n);
    words[word] = BigInt(content);
    return {
      name: `${field} alone is ${value}`,
      values: new Map([[field, BigInt(value)]]),
      words,
      numbered: false,
    };
  });
  return {
    name: raw.structure ?? raw.name!,
    bytes,
    number: raw.opcode ?? raw.id ?? Number(raw.offset ?? 0),
    access: raw.access ?? null,
    fields: raw.fields ?? [],
    rows: [...examples, ...single],
  };
}

/** Little-endian 32-bit words of 64-bit ones. */
export function wordsOf(words: readonly bigint[]): Uint32Array {
  return new Uint32Array(
    words.flatMap((word) => [Number(word & 0xffff_ffffn), Number(word >> 32n)]),
  );
}

/** 64-bit words of little-endian 32-bit ones, in hexadecimal. */
export function hexWords(words: Uint32Array): string[] {
  return Array.from({ length: words.length / 2 }, (_, i) => {
    const value = (BigInt(words[2 * i + 1]!) << 32n) | BigInt(words[2 * i]!);
    return `0x${value.toString(16).padStart(16, '0')}`;
  });
}
