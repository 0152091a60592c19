/** What the slow reference says of each cell, by one state of STE and CD. */
import { referenceSpace, type ReferenceWalk } from '../reference/pages.js';
import type { ReferenceMachine } from '../reference/index.js';
import { CDS, STREAM_TABLE, TABLES as FIRST_TABLE } from './mirror-world-guest.js';
import type { Layout } from './mirror-world-layout.js';
import type { WorldMemory } from './mirror-world-memory.js';

/** What a cell is mapped to, and by what. */
export interface Value {
  /** -1: nothing. */
  readonly address: number;
  /** 1 read, 2 write; 0: nothing. */
  readonly permissions: number;
  /** The first write is to go through the SMMU. */
  readonly clean: boolean;
  /** The first access is to go through the SMMU. */
  readonly isNew: boolean;
  readonly level: number;
  readonly leafBytes: number;
  readonly global: boolean;
  readonly asid: number;
  /** The tables that lead there. */
  readonly path: string;
  readonly source: 'tables' | 'bypass' | 'none';
}

export type Values = readonly Value[];

/** What a stream may come to by one state of its STE and CD. */
export interface Evaluated {
  readonly cells: readonly Values[];
  /** Tables that are reached, by address: their bytes. */
  readonly tables: ReadonlyMap<number, number>;
}

const NOTHING = {
  address: -1,
  permissions: 0,
  clean: false,
  isNew: false,
  level: 0,
  leafBytes: 0,
  global: false,
  asid: -1,
  path: '',
} as const;
const TABLES = BigInt(FIRST_TABLE);
/** Of an STE, and of a CD. */
export const BYTES = 64;

/** Whose accesses, and how. */
export interface ReadAs {
  readonly streamId: number;
  readonly substreamId: number;
  readonly privileged: boolean;
}

/** Memory and registers, which are the same for all streams. */
export class CellReader {
  readonly layout: Layout;
  readonly machine: ReferenceMachine;
  private readonly memory: WorldMemory;
  private readonly starts: readonly bigint[];
  /** What was read since memory was last written. */
  private readonly known = new Map<string, Evaluated>();
  private version = -1;
  /** By ASID and path, then by address and permissions. */
  private readonly interned = new Map<string, Map<number, Values>>();
  private readonly none: Evaluated;
  private readonly identity: Evaluated;

  constructor(layout: Layout, machine: ReferenceMachine, memory: WorldMemory) {
    this.layout = layout;
    this.machine = machine;
    this.memory = memory;
    this.starts = layout.cells.map(({ start }) => BigInt(start));
    const none: Values = [{ ...NOTHING, source: 'none' }];
    this.none = { cells: layout.cells.map(() => none), tables: new Map() };
    const oas = 2 ** [32, 36, 40, 42, 44, 48, 52][machine.idr5 & 7]!;
    const outside: Values = [{ ...NOTHING, source: 'bypass' }];
    this.identity = {
      cells: layout.cells.map(({ start, end }) => {
        const isRam = layout.ram.some(
          ({ base, byteLength }) => start >= base && end <= Math.min(oas, base + byteLength),
        );
        return isRam ? [{ ...NOTHING, address: start, permissions: 3, source: 'bypass' }] : outside;
      }),
      tables: new Map(),
    };
  }

  /** What accesses come to by one state of STE and CDs; registers as they are but for CR0. */
  read(access: ReadAs, ste: Words, cds: Words, cr0: number): Evaluated {
    if (this.version !== this.memory.version) this.known.clear();
    this.version = this.memory.version;
    const { substreamId, privileged } = access;
    const state = `${substreamId}/${privileged}/${cr0 & 1}/${this.machine.gbpa}`;
    const key = `${state}/${ste.key}/${cds.key}`;
    let found = this.known.get(key);
    if (found === undefined) this.known.set(key, (found = this.evaluate(access, ste, cds, cr0)));
    return found;
  }

  private evaluate(access: ReadAs, ste: Words, cds: Words, cr0: number): Evaluated {
    const { memory } = this.machine;
    const { streamId, substreamId, privileged } = access;
    const steAt = BigInt(STREAM_TABLE + BYTES * streamId);
    const space = referenceSpace(
      {
        ...this.machine,
        cr0,
        memory: {
          read64: (address) => {
            if (address >= TABLES) return memory.read64(address);
            if (address >= steAt && address < steAt + 64n) return ste.at(Number(address - steAt));
            const at = Number(address) - CDS;
            return at >= 0 && at < 2 * BYTES ? cds.at(at) : memory.read64(address);
          },
          write64: () => false,
        },
      },
      { streamId, privileged, ...(substreamId < 0 ? {} : { substreamId }) },
    );
    if (space.kind === 'none') return this.none;
    if (space.kind === 'bypass') return this.identity;
    const tables = new Map<number, number>();
    let last: ReferenceWalk = { page: null, tables: [] };
    let path = '';
    let values = this.valuesOf('');
    const cells = this.starts.map((start) => {
      const walk = space.walk(start);
      if (!isSamePath(walk, last)) {
        path = walk.tables.map(({ address }) => address).join();
        for (const { address, bytes } of walk.tables) tables.set(Number(address), bytes);
        values = this.valuesOf(`${space.asid}:${path}`);
      }
      last = walk;
      return valueOf(values, walk, space.asid, path);
    });
    return { cells, tables };
  }

  private valuesOf(key: string): Map<number, Values> {
    let values = this.interned.get(key);
    if (values === undefined) this.interned.set(key, (values = new Map<number, Values>()));
    return values;
  }
}

function isSamePath({ tables }: ReferenceWalk, other: ReferenceWalk): boolean {
  return (
    tables.length === other.tables.length &&
    tables.every(({ address }, i) => address === other.tables[i]!.address)
  );
}

/** The value that a walk has found: equal ones are one object. */
function valueOf(
  values: Map<number, Values>,
  { page }: ReferenceWalk,
  asid: number,
  path: string,
): Values {
  const permissions = (page?.read === true ? 1 : 0) | (page?.write === true ? 2 : 0);
  let key = -1;
  if (page !== null && permissions > 0) {
    const flags = Number(page.clean) | (Number(page.isNew) << 1) | (Number(page.global) << 2);
    key = Number(page.pa) * 32 + permissions * 8 + flags;
  }
  let found = values.get(key);
  if (found !== undefined) return found;
  if (page === null || permissions === 0) {
    found = [{ ...NOTHING, asid, path, source: 'tables' }];
  } else {
    const { clean, isNew, level, leafBytes, global } = page;
    const address = Number(page.pa);
    const value = { address, permissions, clean, isNew, level, leafBytes, global, asid, path };
    found = [{ ...value, source: 'tables' }];
  }
  values.set(key, found);
  return found;
}

/** Words as they were in memory at a time. */
export class Words {
  readonly key: string;
  private readonly words: readonly (bigint | null)[];

  constructor(machine: ReferenceMachine, address: number, bytes: number) {
    const words: (bigint | null)[] = [];
    for (let i = 0; i < bytes; i += 8) words.push(machine.memory.read64(BigInt(address + i)));
    this.words = words;
    this.key = words.join();
  }

  at(offset: number): bigint | null {
    return this.words[offset / 8]!;
  }
}
