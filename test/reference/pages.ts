// What the tables of a stream say of single pages, without an access: nothing is updated, no event.

import { flag } from './bits.js';
import type { Cd } from './context.js';
import {
  indexBits,
  kindOf,
  levelShift,
  nextTable,
  outputBase,
  regimeOf,
  type Regime,
} from './descriptor.js';
import type { Ids } from './ids.js';
import { accumulate, leafRights, NO_TABLE_BITS, writableClean } from './permission.js';
import { configure } from './substream.js';
import type { ReferenceAccess, ReferenceMachine } from './types.js';
import { readDescriptor } from './walk.js';

/** A table that a walk reads from. */
export interface ReferenceTable {
  address: bigint;
  bytes: number;
}

/** A page as accesses with data find it. */
export interface ReferencePage {
  /** Output address of the first byte of the page. */
  pa: bigint;
  read: boolean;
  write: boolean;
  /** The first write makes the SMMU set the dirty state. */
  clean: boolean;
  /** The first access makes the SMMU set the access flag. */
  isNew: boolean;
  level: number;
  /** Of the leaf, in bytes. */
  leafBytes: number;
  global: boolean;
}

/** What a walk of a page found, and where it read. */
export interface ReferenceWalk {
  /** null: no leaf. */
  page: ReferencePage | null;
  tables: readonly ReferenceTable[];
}

/** What accesses of a stream come to. */
export type ReferenceSpace =
  | { kind: 'none' }
  | { kind: 'bypass' }
  | { kind: 'tables'; asid: number; privileged: boolean; walk: (iova: bigint) => ReferenceWalk };

function walkPage(
  machine: ReferenceMachine,
  ids: Ids,
  cd: Cd,
  regimes: readonly [Regime | null, Regime | null],
  privileged: boolean,
  iova: bigint,
): ReferenceWalk {
  const tables: ReferenceTable[] = [];
  const regime = regimes[flag(iova, 55) ? 1 : 0];
  if (regime === null) return { page: null, tables };
  let base = regime.base;
  let bits = NO_TABLE_BITS;
  for (let level = regime.startLevel; ; level++) {
    const shift = levelShift(regime, level);
    const entries = indexBits(regime, level);
    tables.push({ address: base, bytes: 8 << entries });
    const index = (iova >> BigInt(shift)) & ((1n << BigInt(entries)) - 1n);
    const descriptor = readDescriptor(machine.memory, cd, base + 8n * index);
    if (descriptor === null) return { page: null, tables };
    const kind = kindOf(regime, level, descriptor);
    if (kind === 'invalid') return { page: null, tables };
    if (kind === 'table') {
      const next = nextTable(regime, descriptor);
      if (next === null) return { page: null, tables };
      bits = accumulate(bits, descriptor, regime.had);
      base = next;
      continue;
    }
    const output = outputBase(regime, level, descriptor);
    if (output === null) return { page: null, tables };
    // An access would raise F_ACCESS.
    const isNew = !flag(descriptor, 10) && cd.ha;
    if (!flag(descriptor, 10) && !cd.ha && !cd.affd) return { page: null, tables };
    const rights = leafRights(cd, ids, descriptor, bits);
    const { read, write } = privileged ? rights.privileged : rights.unprivileged;
    const pa = output | (iova & ((1n << BigInt(shift)) - 1n));
    const clean = writableClean(cd, descriptor, bits);
    const leafBytes = 2 ** shift;
    const global = !flag(descriptor, 11);
    const page = { pa, read, write, clean, isNew, level, leafBytes, global };
    return { page, tables };
  }
}

/** What accesses of a stream come to, by its STE and CD as they are in memory. */
export function referenceSpace(
  machine: ReferenceMachine,
  access: Pick<ReferenceAccess, 'streamId' | 'substreamId' | 'privileged'>,
): ReferenceSpace {
  const first = { ...access, iova: 0n, write: false, instruction: false };
  const configured = configure(machine, first);
  if (configured.ended) return { kind: configured.outcome.kind === 'ok' ? 'bypass' : 'none' };
  const { tx, cd } = configured.value;
  const [lower, upper] = [cd.lower, cd.upper].map((half) =>
    half.epd || (tx.ids.e0pd && half.e0pd && !tx.privileged) ? null : regimeOf(cd, half, tx.ids),
  );
  const { privileged } = tx;
  return {
    kind: 'tables',
    asid: cd.asid,
    privileged,
    walk: (iova) => walkPage(machine, tx.ids, cd, [lower!, upper!], privileged, iova),
  };
}
