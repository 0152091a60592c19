import { decodeCd, type Cd, type Half } from '../reference/context.js';
import type { Ids } from '../reference/ids.js';
import { indexBits, kindOf, nextTable, regimeOf, type Regime } from '../reference/descriptor.js';
import {
  referenceTranslate,
  type ReferenceLeafEntry,
  type ReferenceMachine,
  type ReferenceRights,
} from '../reference/index.js';
import { readDescriptor } from '../reference/walk.js';

/** A run as the tests expect it. Permissions: 1, 2, 4 unprivileged read, write, execute; 8, 16, 32 privileged. */
export interface ExpectedRun {
  iova: bigint;
  length: bigint;
  address: bigint;
  permissions: number;
}

function bitsOf(rights: ReferenceRights): number {
  return (rights.read ? 1 : 0) | (rights.write ? 2 : 0) | (rights.execute ? 4 : 0);
}

/** What accesses to a leaf can succeed, of those in `mask`. */
function allowed(entry: ReferenceLeafEntry, cd: Cd, ids: Ids, mask: number): number {
  if (!entry.af && !cd.ha && !cd.affd) return 0;
  const half = ((entry.iova >> 55n) & 1n) === 1n ? cd.upper : cd.lower;
  const hidden = ids.e0pd && half.e0pd;
  const unprivileged = hidden ? 0 : bitsOf(entry.leaf.unprivileged);
  return (unprivileged | (bitsOf(entry.leaf.privileged) << 3)) & mask;
}

/** The leaves of the reference as runs: joined where address, output and permissions go on. */
export function expectedRuns(
  leaves: readonly ReferenceLeafEntry[],
  cd: Cd,
  ids: Ids,
  mask: number,
): ExpectedRun[] {
  const runs: ExpectedRun[] = [];
  for (const entry of leaves) {
    const permissions = allowed(entry, cd, ids, mask);
    if (permissions === 0) continue;
    const length = 1n << BigInt(entry.leaf.sizeLog2);
    const last = runs.at(-1);
    if (
      last?.permissions === permissions &&
      last.iova + last.length === entry.iova &&
      last.address + last.length === entry.pa
    ) {
      last.length += length;
    } else {
      runs.push({ iova: entry.iova, length, address: entry.pa, permissions });
    }
  }
  return runs;
}

/** What a scan of all tables passes, by plain recursion. */
export interface TableCount {
  tables: number;
  aborted: number;
  firstAborted: bigint;
  outOfRange: number;
}

export function countTables(machine: ReferenceMachine, cd: Cd, ids: Ids): TableCount {
  const count: TableCount = { tables: 0, aborted: 0, firstAborted: -1n, outOfRange: 0 };
  const visit = (regime: Regime, level: number, base: bigint): void => {
    count.tables++;
    for (let index = 0n; index < 1n << BigInt(indexBits(regime, level)); index++) {
      const address = base + 8n * index;
      const descriptor = readDescriptor(machine.memory, cd, address);
      if (descriptor === null) {
        if (count.aborted++ === 0) count.firstAborted = address;
      } else if (kindOf(regime, level, descriptor) === 'table') {
        const next = nextTable(regime, descriptor);
        if (next === null) count.outOfRange++;
        else visit(regime, level + 1, next);
      }
    }
  };
  for (const half of [cd.lower, cd.upper] as Half[]) {
    if (half.epd) continue;
    const regime = regimeOf(cd, half, ids);
    visit(regime, regime.startLevel, regime.base);
  }
  return count;
}

/** Every kind of access with the bit that allows it. */
const ACCESSES = [
  { bit: 1, write: false, instruction: false, privileged: false },
  { bit: 2, write: true, instruction: false, privileged: false },
  { bit: 4, write: false, instruction: true, privileged: false },
  { bit: 8, write: false, instruction: false, privileged: true },
  { bit: 16, write: true, instruction: false, privileged: true },
  { bit: 32, write: false, instruction: true, privileged: true },
];

/**
 * Sends an access of each kind in `mask` to `iova` on the reference.
 * @returns what `run` (or a hole) got wrong, or null.
 */
export function checkAddress(
  machine: ReferenceMachine,
  streamId: number,
  substreamId: number | undefined,
  iova: bigint,
  run: ExpectedRun | undefined,
  mask: number,
): string | null {
  for (const { bit, ...access } of ACCESSES) {
    if ((mask & bit) === 0) continue;
    const outcome = referenceTranslate(machine, {
      streamId,
      iova,
      ...access,
      ...(substreamId === undefined ? {} : { substreamId }),
    });
    const expected =
      run !== undefined && (run.permissions & bit) !== 0
        ? `0x${(run.address + iova - run.iova).toString(16)}`
        : 'no';
    const found = outcome.kind === 'ok' ? `0x${outcome.pa.toString(16)}` : 'no';
    if (found !== expected) {
      return `access bit ${bit} at 0x${iova.toString(16)}: the run says ${expected}, a translation ${found}`;
    }
  }
  return null;
}

/** The first and the last byte of each run and their neighbours, checked by translations. */
export function checkEdges(
  machine: ReferenceMachine,
  streamId: number,
  substreamId: number | undefined,
  runs: readonly ExpectedRun[],
  mask: number,
): string | null {
  const ends = new Map(runs.map((run) => [run.iova + run.length, run]));
  const starts = new Map(runs.map((run) => [run.iova, run]));
  for (const run of runs) {
    const end = run.iova + run.length;
    const points: [bigint, ExpectedRun | undefined][] = [
      [run.iova, run],
      [end - 1n, run],
    ];
    if (run.iova > 0n) points.push([run.iova - 1n, ends.get(run.iova)]);
    if (end < 1n << 64n) points.push([end, starts.get(end)]);
    for (const [iova, holder] of points) {
      const wrong = checkAddress(machine, streamId, substreamId, iova, holder, mask);
      if (wrong !== null) return wrong;
    }
  }
  return null;
}

/** The CD in eight 64-bit words at `address`. */
export function readCd(machine: ReferenceMachine, address: bigint): Cd {
  const words: bigint[] = [];
  for (let i = 0n; i < 8n; i++) {
    const word = machine.memory.read64(address + 8n * i);
    if (word === null) throw new RangeError('the CD is not in memory');
    words.push(word);
  }
  return decodeCd(words);
}
