/**
 * The guest of the model checker: two devices, a few tables in 64 KiB, and four structures that the
 * guest stores to. Words are literal, positions those of the manuals' tables (IHI 0070, section 5; DDI
 * 0487, section D8.3); no layout of the library is in it.
 */
import {
  referenceTranslate,
  type ReferenceMachine,
  type ReferenceOutcome,
} from '../reference/index.js';

export const RAM = 0x4000_0000;
export const RAM_BYTES = 0x1_0000;
/** Linear, two STEs. */
export const STREAM_TABLE = RAM;
/** 2^8 entries. */
export const QUEUE = RAM + 0xf000;
export const QUEUE_LOG2 = 8;
/** The address that devices access lies in this page, on index 2 of its level-2 and 3 of its level-3 table. */
export const PAGE = 0x0040_3000;
export const IOVA = PAGE + 0x10;

const CD_A = RAM + 0x100;
const CD_B = RAM + 0x140;
const CD_OF_DEVICE_1 = RAM + 0x180;

/** Tables of an address space: level 1, of 4 entries, level 2 and level 3. */
interface Space {
  readonly level1: number;
  readonly level2: number;
  readonly level3: number;
  /** What PAGE is mapped to. */
  readonly output: bigint;
}

const space = (index: number): Space => ({
  level1: RAM + 0x200 + 0x40 * index,
  level2: RAM + 0x1000 + 0x2000 * index,
  level3: RAM + 0x2000 + 0x2000 * index,
  output: outputOf(index),
});
const outputOf = (index: number): bigint => 0x8000_0000n + 0x20_0000n * BigInt(index);
/** The tables of CD A, those that it can be changed to, those of CD B, those of device 1. */
const SPACES = [space(0), space(1), space(2), space(3)] as const;
const OTHER_OUTPUT = outputOf(4);
const PAGES_OUTPUT = outputOf(5);

/** How a guest differs from the plainest one. */
export interface Shape {
  /** What maps the address: a page, a global page (nG=0), or a block of 2 MiB. */
  readonly leaf: 'page' | 'global' | 'block';
  /**
   * CD of device 1, always with the ASID of device 0: a CD of its own for other tables; one of its own
   * that is equal to CD A as that is at the start; or CD A itself.
   */
  readonly other: 'otherTables' | 'equalCd' | 'sameCd';
}

/** The structures that the guest stores to, in the order in which one run of stores is done. */
export const Structure = { PTE: 0, table: 1, CD: 2, STE: 3 } as const;
export const STRUCTURES = 4;
export const STRUCTURE_NAMES = ['PTE', 'table', 'CD', 'STE'] as const;

/** Values of structures, 0 being what it has at the start; a memory state has two bits for each. */
export const Pte = { other: 1, readOnly: 2, invalid: 3 } as const;
export const Table = { readOnly: 1 } as const;
export const Cd = { otherTables: 1, otherAsid: 2, flat: 3 } as const;
export const Ste = { otherCd: 1, abort: 2, bypass: 3 } as const;
/** Memory states; those with a value of {@link Structure.table} above 1 do not occur. */
export const STATES = 256;

/** The value of a structure in a memory state. */
export function valueIn(state: number, structure: number): number {
  return (state >> (2 * structure)) & 3;
}

/** `state` with another value of a structure. */
export function withValue(state: number, structure: number, value: number): number {
  return (state & ~(3 << (2 * structure))) | (value << (2 * structure));
}

/** ASID of CD A and of device 1, and the other one, which CD B has. */
export const ASID = 1;
export const OTHER_ASID = 2;

// V, AA64, A, R, EPD1, T0SZ=32, TG0=4K, IPS=44 bits; MAIR is 0: nobody looks at attributes.
const CD_WORD_0 = 0x0000_6204_c000_0020n;
const HAD0 = 1n << 1n;
const cd = (asid: number, tables: Space, flags = 0n): bigint[] => [
  CD_WORD_0 | (BigInt(asid) << 48n),
  BigInt(tables.level1) | flags,
];
const CD_VALUES = [
  cd(ASID, SPACES[0]),
  cd(ASID, SPACES[1]),
  cd(OTHER_ASID, SPACES[0]),
  cd(ASID, SPACES[0], HAD0),
];

// V with Config=101, and S1ContextPtr; Config=000 aborts, 100 bypasses.
const steOf = (pointer: number): bigint[] => [BigInt(pointer) | 0xbn];
const STE_VALUES = [steOf(CD_A), steOf(CD_B), [0x1n], [0x9n]];

// AF and AP[1]; pages and tables have bits 1:0 = 11, blocks 01.
const LEAF = 0x440n;
const NG = 1n << 11n;
const READ_ONLY = 1n << 7n;
/** APTable[1] of a table descriptor. */
const TABLE_READ_ONLY = 1n << 62n;
const table = (address: number): bigint => BigInt(address) | 3n;

function pteValues(shape: Shape): bigint[][] {
  const type = shape.leaf === 'block' ? 1n : 3n;
  const flags = LEAF | type | (shape.leaf === 'global' ? 0n : NG);
  const last = shape.leaf === 'block' ? table(SPACES[0].level3) : 0n;
  const first = SPACES[0].output | flags;
  return [[first], [OTHER_OUTPUT | flags], [first | READ_ONLY], [last]];
}

/** What a store to a structure writes. */
export interface Store {
  readonly address: number;
  readonly words: readonly bigint[];
}

/** The stores that give each structure each of its values: `[structure][value]`. */
export function storesOf(shape: Shape): readonly (readonly Store[])[] {
  const at = (address: number, values: readonly bigint[][]): Store[] =>
    values.map((words) => ({ address, words }));
  const [own] = SPACES;
  const pte = shape.leaf === 'block' ? own.level2 + 8 * 2 : own.level3 + 8 * 3;
  const root = table(own.level2);
  return [
    at(pte, pteValues(shape)),
    at(own.level1, [[root], [root | TABLE_READ_ONLY]]),
    at(CD_A, CD_VALUES),
    at(STREAM_TABLE, STE_VALUES),
  ];
}

/** The guest's memory at the start, as 32-bit little-endian words from {@link RAM}. */
export function memoryOf(shape: Shape): Uint32Array {
  const words = new Uint32Array(RAM_BYTES / 4);
  const flags = LEAF | 3n | (shape.leaf === 'global' ? 0n : NG);
  for (const one of SPACES) {
    put(words, one.level1, [table(one.level2)]);
    put(words, one.level2 + 8 * 2, [table(one.level3)]);
    put(words, one.level3 + 8 * 3, [one.output | flags]);
    put(words, one.level3 + 8 * 4, [(one.output + 0x1000n) | flags]);
  }
  put(words, SPACES[0].level3 + 8 * 3, [PAGES_OUTPUT | flags]);
  put(words, CD_B, cd(OTHER_ASID, SPACES[2]));
  put(words, CD_OF_DEVICE_1, cd(ASID, SPACES[shape.other === 'otherTables' ? 3 : 0]));
  put(words, STREAM_TABLE + 64, steOf(shape.other === 'sameCd' ? CD_A : CD_OF_DEVICE_1));
  for (const [first] of storesOf(shape)) put(words, first!.address, first!.words);
  return words;
}

/** Writes 64-bit words at `address`. */
export function put(memory: Uint32Array, address: number, words: readonly bigint[]): void {
  for (const [i, word] of words.entries()) {
    const index = (address - RAM) / 4 + 2 * i;
    memory[index] = Number(word & 0xffff_ffffn);
    memory[index + 1] = Number(word >> 32n);
  }
}

/** ID registers of the SMMU, by their names in the reference. */
export type IdRegisters = Pick<ReferenceMachine, 'idr0' | 'idr1' | 'idr3' | 'idr5' | 'aidr'>;

/** What the reference says of a device's access to {@link IOVA} in each memory state. */
export class ReferenceGuest {
  private readonly memory: Uint32Array;
  private readonly stores: readonly (readonly Store[])[];
  private readonly machine: ReferenceMachine;
  private readonly known = new Map<number, ReferenceOutcome>();

  constructor(shape: Shape, ids: IdRegisters) {
    this.memory = memoryOf(shape);
    this.stores = storesOf(shape);
    const view = new BigUint64Array(this.memory.buffer);
    this.machine = {
      ...ids,
      memory: {
        read64: (address) => view[Number(address - BigInt(RAM)) / 8] ?? null,
        write64: () => {
          throw new Error('nothing here lets the SMMU write to a table');
        },
      },
      cr0: 1,
      cr2: 0,
      gbpa: 0,
      strtabBase: BigInt(STREAM_TABLE),
      strtabBaseCfg: 1,
    };
  }

  translate(state: number, streamId: number, write: boolean): ReferenceOutcome {
    const key = 4 * state + 2 * streamId + Number(write);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    for (const [structure, values] of this.stores.entries()) {
      const { address, words } = values[valueIn(state, structure)]!;
      put(this.memory, address, words);
    }
    const access = { streamId, iova: BigInt(IOVA), write, instruction: false, privileged: false };
    const outcome = referenceTranslate(this.machine, access);
    this.known.set(key, outcome);
    return outcome;
  }
}
