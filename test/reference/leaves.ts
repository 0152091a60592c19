// All leaves of one CD, by plain recursion over its tables.

import type { Cd, Half } from './context.js';
import type { Regime } from './descriptor.js';
import { indexBits, kindOf, levelShift, nextTable, outputBase, regimeOf } from './descriptor.js';
import { flag } from './bits.js';
import type { Ids } from './ids.js';
import type { TableBits } from './permission.js';
import { accumulate, NO_TABLE_BITS } from './permission.js';
import { configure } from './substream.js';
import type { ReferenceAccess, ReferenceLeafEntry, ReferenceMachine } from './types.js';
import { describeLeaf, readDescriptor } from './walk.js';

interface Enumeration {
  machine: ReferenceMachine;
  ids: Ids;
  cd: Cd;
  half: Half;
  regime: Regime;
  limit: number;
  found: ReferenceLeafEntry[];
}

/** Adds the leaves of the table at `base`; `iova` is where the table's range starts. */
function visitTable(
  run: Enumeration,
  level: number,
  base: bigint,
  iova: bigint,
  table: TableBits,
): void {
  const { regime, cd } = run;
  const entries = 1n << BigInt(indexBits(regime, level));
  for (let index = 0n; index < entries; index++) {
    const descriptor = readDescriptor(run.machine.memory, cd, base + 8n * index);
    if (descriptor === null) continue;
    const start = iova + (index << BigInt(levelShift(regime, level)));

    const kind = kindOf(regime, level, descriptor);
    if (kind === 'table') {
      const next = nextTable(regime, descriptor);
      if (next === null) continue;
      visitTable(run, level + 1, next, start, accumulate(table, descriptor, regime.had));
    }
    if (kind === 'leaf') {
      const pa = outputBase(regime, level, descriptor);
      if (pa === null) continue;
      if (run.found.length >= run.limit) throw new RangeError(`more than ${run.limit} leaves`);
      const leaf = describeLeaf(cd, run.half, run.ids, regime, level, descriptor, table);
      run.found.push({ iova: start, pa, leaf, af: flag(descriptor, 10), table: { ...table } });
    }
  }
}

/** Lowest canonical address of a half: 0, or all ones above the input size. */
function halfStart(half: Half, regime: Regime): bigint {
  return half.upper ? (1n << 64n) - (1n << BigInt(regime.inputSize)) : 0n;
}

/**
 * All leaf descriptors (AF=0 ones included, with their flag) below one decoded CD, both halves,
 * ascending unsigned IOVA. Leaves that can never translate (Address Size fault, table not in
 * memory) are left out; nothing is found when the stream has no usable CD. Only sensible for
 * tables without loops; throws past `limit` leaves.
 */
export function referenceLeaves(
  machine: ReferenceMachine,
  streamId: number,
  substreamId: number | undefined,
  limit: number,
): ReferenceLeafEntry[] {
  const access: ReferenceAccess = {
    streamId,
    iova: 0n,
    write: false,
    instruction: false,
    privileged: true,
  };
  if (substreamId !== undefined) access.substreamId = substreamId;
  const configured = configure(machine, access);
  if (configured.ended) return [];

  const { tx, cd } = configured.value;
  const found: ReferenceLeafEntry[] = [];
  for (const half of [cd.lower, cd.upper]) {
    if (half.epd) continue;
    const regime = regimeOf(cd, half, tx.ids);
    const run: Enumeration = { machine, ids: tx.ids, cd, half, regime, limit, found };
    visitTable(run, regime.startLevel, regime.base, halfStart(half, regime), NO_TABLE_BITS);
  }
  return found;
}
