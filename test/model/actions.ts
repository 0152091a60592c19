/** What the guest and its devices can do, one step at a time, as alphabets for the search. */
import {
  ASID,
  Cd,
  OTHER_ASID,
  PAGE,
  Pte,
  Ste,
  Structure,
  STRUCTURE_NAMES,
  Table,
  valueIn,
  withValue,
} from './guest.js';

export const Kind = { store: 0, command: 1, sync: 2, access: 3 } as const;

/** Which translations a TLBI names. */
export type TlbScope =
  | { readonly of: 'address'; readonly asid: number; readonly address: number }
  | { readonly of: 'asid'; readonly asid: number }
  | { readonly of: 'all' };

/** One step. Fields that do not belong to its kind are 0, -1 or undefined. */
export class Action {
  readonly kind: number;
  readonly name: string;
  /** Of a store: the structure, and the value that it gets; the first one when it has that already. */
  readonly structure: number = -1;
  readonly value: number = 0;
  /** Of a command or SYNC: its words. */
  readonly words: Uint32Array | undefined;
  /** Of a command: devices whose STE it names, with the CDs below. */
  readonly streams: number = 0;
  /** Of a command: devices whose CD it names. */
  readonly contexts: number = 0;
  readonly tlb: TlbScope | undefined;
  /** Of an access: `2*device`, and 1 more for a write. */
  readonly query: number = -1;

  constructor(kind: number, name: string, rest: Partial<Omit<Action, 'kind' | 'name' | 'after'>>) {
    this.kind = kind;
    this.name = name;
    this.words = undefined;
    this.tlb = undefined;
    Object.assign(this, rest);
  }

  /** The memory state after a store. */
  after(state: number): number {
    const { structure, value } = this;
    return withValue(state, structure, valueIn(state, structure) === value ? 0 : value);
  }
}

function store(structure: number, value: number, what: string): Action {
  const name = `store to the ${STRUCTURE_NAMES[structure]!}: ${what}, or back`;
  return new Action(Kind.store, name, { structure, value });
}

function access(device: number, write: boolean): Action {
  const name = `device ${device} ${write ? 'writes' : 'reads'}`;
  return new Action(Kind.access, name, { query: 2 * device + Number(write) });
}

/** A command of two 64-bit words. */
function command(low: bigint, high: bigint): Uint32Array {
  const halves = [low, low >> 32n, high, high >> 32n];
  return Uint32Array.from(halves, (half) => Number(half & 0xffff_ffffn));
}

function tlbiVa(asid: number, address: number, what: string): Action {
  const words = command((BigInt(asid) << 48n) | 0x12n, BigInt(address));
  const name = `TLBI_NH_VA of ASID ${asid}, ${what}`;
  return new Action(Kind.command, name, { words, tlb: { of: 'address', asid, address } });
}

function tlbiAsid(asid: number): Action {
  const words = command((BigInt(asid) << 48n) | 0x11n, 0n);
  return new Action(Kind.command, `TLBI_NH_ASID of ASID ${asid}`, {
    words,
    tlb: { of: 'asid', asid },
  });
}

const { PTE, table, CD, STE } = Structure;

/** Every action, by a short name. */
export const ACTIONS = {
  pteOther: store(PTE, Pte.other, 'another output address'),
  pteReadOnly: store(PTE, Pte.readOnly, 'read-only'),
  pteInvalid: store(PTE, Pte.invalid, 'invalid (of a block: a table of pages)'),
  tableReadOnly: store(table, Table.readOnly, 'APTable, read-only'),
  cdTables: store(CD, Cd.otherTables, 'TTB0 of other tables'),
  cdAsid: store(CD, Cd.otherAsid, `ASID ${OTHER_ASID}`),
  cdFlat: store(CD, Cd.flat, 'HAD0, table permissions ignored'),
  steCd: store(STE, Ste.otherCd, 'another CD'),
  steAbort: store(STE, Ste.abort, 'abort'),
  steBypass: store(STE, Ste.bypass, 'bypass'),

  tlbiVa: tlbiVa(ASID, PAGE, 'the page'),
  tlbiVaOtherAsid: tlbiVa(OTHER_ASID, PAGE, 'the page'),
  tlbiVaNeighbour: tlbiVa(ASID, PAGE + 0x1000, 'the page behind it'),
  tlbiVaElsewhere: tlbiVa(ASID, PAGE + 0x20_0000, 'a page 2 MiB behind it'),
  tlbiAsid: tlbiAsid(ASID),
  tlbiOtherAsid: tlbiAsid(OTHER_ASID),
  tlbiAll: new Action(Kind.command, 'TLBI_NSNH_ALL', {
    words: command(0x30n, 0n),
    tlb: { of: 'all' },
  }),
  cfgiSte: new Action(Kind.command, 'CFGI_STE of device 0', {
    words: command(0x03n, 1n),
    streams: 1,
  }),
  cfgiCd: new Action(Kind.command, 'CFGI_CD of device 0', {
    words: command(0x05n, 1n),
    contexts: 1,
  }),
  cfgiCdOfDevice1: new Action(Kind.command, 'CFGI_CD of device 1', {
    words: command((1n << 32n) | 0x05n, 1n),
    contexts: 2,
  }),
  sync: new Action(Kind.sync, 'CMD_SYNC', { words: command(0x46n, 0n) }),

  read: access(0, false),
  write: access(0, true),
  readByOther: access(1, false),
  writeByOther: access(1, true),
} as const;

export type ActionName = keyof typeof ACTIONS;

/** The actions of these names. */
export function alphabet(...names: readonly ActionName[]): Action[] {
  return names.map((name) => ACTIONS[name]);
}

/** Every kind of store and of command. */
export const EVERY_KIND = alphabet(
  ...(['pteOther', 'pteReadOnly', 'pteInvalid', 'tableReadOnly', 'cdTables', 'cdAsid'] as const),
  ...(['steCd', 'steAbort', 'tlbiVa', 'tlbiAsid', 'tlbiAll', 'cfgiSte', 'cfgiCd', 'sync'] as const),
  ...(['read', 'write', 'readByOther'] as const),
);

/** The name of an action in {@link ACTIONS}. */
export function shortName(action: Action): string {
  const found = Object.entries(ACTIONS).find(([, one]) => one === action);
  return found?.[0] ?? action.name;
}
