import { beforeAll, describe, expect, test } from 'vitest';
import { enumerate, type Enumeration } from '../../src/ioas/enumerate.js';
import { RecordingMemory } from '../../src/memory/recording-memory.js';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { featuresOf, implementedFeatures } from '../../src/registers/features.js';
import { Reason } from '../../src/transaction/reason.js';
import { Translator } from '../../src/transaction/translate.js';
import { Translation } from '../../src/transaction/translation.js';
import {
  referenceLeaves,
  type ReferenceLeafEntry,
  type ReferenceMachine,
} from '../reference/index.js';
import { configure } from '../reference/substream.js';
import { randomMachine } from '../transaction/random-machine.js';
import { libraryMemory } from '../transaction/random-memory.js';
import { nthSeed, Random } from '../transaction/random.js';
import { frameOf } from './frame.js';
import { checkEdges, countTables, expectedRuns, type ExpectedRun } from './expected-runs.js';
import { machineOf, randomSpace, ViewedMemory } from './random-space.js';

// VSMMU_SEED    the seed of the run; a random one without it
// VSMMU_SPACES  how many address spaces of the builder are compared, and one random machine for every 6
const { VSMMU_SEED, VSMMU_SPACES } = process.env;
const seed = VSMMU_SEED === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(VSMMU_SEED);
const spaces = Number(VSMMU_SPACES ?? 250);

/** No page is read-only: an update that aborts is the walk's business. */
const WRITABLE: ReadonlySet<number> = new Set();
const LIMITS = { tables: 100, runs: 2 ** 20 };
/** Unprivileged data, privileged data, all data, and everything. */
const MASKS = [3, 24, 27, 63];

function runsOf(found: Enumeration): ExpectedRun[] {
  const { runs } = found;
  return Array.from({ length: runs.count }, (_, i) => ({
    iova: BigInt(runs.iova(i)),
    length: BigInt(runs.length(i)),
    address: BigInt(runs.address(i)),
    permissions: runs.permissions(i),
  }));
}

function show({ iova, length, address, permissions }: ExpectedRun): string {
  return `0x${iova.toString(16)}+0x${length.toString(16)} to 0x${address.toString(16)}, ${permissions}`;
}

function firstDifference(own: ExpectedRun[], other: ExpectedRun[]): string | null {
  for (let i = 0; i < Math.max(own.length, other.length); i++) {
    const [found, expected] = [own[i], other[i]].map((run) => (run ? show(run) : 'none'));
    if (found !== expected) return `run ${i} is ${found}, expected ${expected}`;
  }
  return null;
}

const reached = new Map<string, number>();
function count(name: string, by = 1): void {
  reached.set(name, (reached.get(name) ?? 0) + by);
}

/** Compares one address space for every mask; says what is wrong, or null. */
function compare(
  memory: GuestMemory,
  frame: Uint32Array,
  machine: ReferenceMachine,
  streamId: number,
  substreamId: number | undefined,
): string | null {
  const recorder = new RecordingMemory(memory);
  const translator = new Translator(recorder, implementedFeatures(featuresOf(frame)));
  translator.configure(frame);
  const result = new Translation();
  const event = translator.resolve(streamId, substreamId ?? -1, result);
  const step = configure(machine, {
    streamId,
    iova: 0n,
    write: false,
    instruction: false,
    privileged: true,
    ...(substreamId === undefined ? {} : { substreamId }),
  });
  const usable = event === 0 && result.reason !== Reason.configAbort;
  if (usable === step.ended) return 'the library and the reference do not agree on the CD';
  if (step.ended) return null;
  const { cd, tx } = step.value;

  let leaves: ReferenceLeafEntry[] | undefined;
  for (const mask of MASKS) {
    const found = enumerate(recorder, translator.context, mask, LIMITS);
    if (found.end !== 'complete') {
      count(`ended by ${found.end}`);
      return null;
    }
    leaves ??= referenceLeaves(machine, streamId, substreamId, 2 ** 20);
    const expected = expectedRuns(leaves, cd, tx.ids, mask);
    const wrong =
      firstDifference(runsOf(found), expected) ??
      checkEdges(machine, streamId, substreamId, runsOf(found), mask);
    if (wrong !== null) return `mask ${mask}: ${wrong}`;
    if (mask === 63) {
      const tables = countTables(machine, cd, tx.ids);
      const own = `${found.tables} tables, ${found.aborted} aborted from ${found.firstAborted}`;
      const other = `${tables.tables} tables, ${tables.aborted} aborted from ${tables.firstAborted}`;
      if (own !== other) return `${own}; expected ${other}`;
      count('spaces');
      count('runs', expected.length);
      count('joined leaves', leaves.length - expected.length);
      if (tables.aborted > 0) count('tables that are not in memory');
      if (tables.outOfRange > 0) count('tables beyond the IPS');
      if (leaves.some((leaf) => !leaf.af)) count('access flags that are clear');
      if (expected.some((run) => run.iova >= 1n << 63n)) count('upper half');
      if (expected.some((run) => run.address >= 1n << 48n)) count('52-bit output');
      if (leaves.some((leaf) => leaf.leaf.level < 3)) count('blocks');
      if (leaves.some((leaf) => leaf.table.ap !== 0)) count('APTable');
    }
  }
  const updates = recorder.fetches.filter((fetch) => fetch.update).length;
  return updates === 0 ? null : `${updates} updates were made`;
}

/** Space number `i` made by the builder and strewn with raw descriptors. */
function compareSpace(i: number): string | null {
  const { guest, tags } = randomSpace(new Random(nthSeed(seed, i)));
  const machine = machineOf(guest.memory, guest.frame);
  const wrong = compare(guest.memory, guest.frame, machine, 1, undefined);
  for (const tag of tags) count(tag);
  return wrong === null ? null : `space ${i} (${tags.join(', ')}): ${wrong}`;
}

/** Machine number `i` of the generator that the translations are tested with. */
function compareMachine(i: number): string | null {
  const random = randomMachine(nthSeed(~seed, i), 12);
  const memory = libraryMemory(random.image, random.memoryKind, WRITABLE);
  const { features } = random;
  // STE.PRIVCFG and INSTCFG change accesses, not mappings.
  features.idr1 &= ~(1 << 26);
  // The library has no VMSAv8-32 tables, and the reference refuses to have an opinion on them.
  features.idr0 &= ~(1 << 2);
  const machine = { ...features, ...random, memory: new ViewedMemory(memory) };
  if ((random.cr0 & 1) === 0) return null;
  const seen = new Set<string>();
  for (const { streamId, substreamId } of random.accesses) {
    const key = `${streamId}/${substreamId ?? '-'}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const wrong = compare(memory, frameOf(random), machine, streamId, substreamId);
    if (wrong !== null) return `machine ${i}, stream/substream ${key}: ${wrong}`;
  }
  return null;
}

describe('enumerate and the reference', () => {
  const failures: (string | null)[] = [null, null];

  beforeAll(() => {
    for (let i = 0; i < spaces && failures[0] === null; i++) failures[0] = compareSpace(i);
    for (let i = 0; i < spaces / 6 && failures[1] === null; i++) failures[1] = compareMachine(i);
  }, 600_000);

  test.each([
    ['spaces of the builder with raw descriptors', 0],
    ['random machines', 1],
  ])('agree on the joined leaves and on the edges of runs: %s', (_, i) => {
    expect(failures[i], `VSMMU_SEED=0x${seed.toString(16)}`).toBeNull();
  });

  test.each([
    ['spaces', 250],
    ['runs', 1500],
    ['joined leaves', 1200],
    ['granule 12', 50],
    ['granule 14', 50],
    ['granule 16', 50],
    ['big-endian', 50],
    ['DS 12', 15],
    ['DS 14', 15],
    ['level -1', 3],
    ['upper half', 50],
    ['52-bit output', 10],
    ['blocks', 50],
    ['APTable', 20],
    ['HA', 50],
    ['HD', 50],
    ['AFFD', 30],
    ['access flags that are clear', 80],
    ['E0PD0', 20],
    ['E0PD1', 20],
    ['HAD0', 30],
    ['HAD1', 30],
    ['WXN', 20],
    ['PAN', 20],
    ['EPAN', 50],
    ['tables that are not in memory', 30],
    ['tables beyond the IPS', 5],
  ])('were compared on: %s, at least %d times', (name, minimum) => {
    expect(reached.get(name) ?? 0, `VSMMU_SEED=0x${seed.toString(16)}`).toBeGreaterThanOrEqual(
      Math.floor((minimum * spaces) / 250),
    );
  });
});
