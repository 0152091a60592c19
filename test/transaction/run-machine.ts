import { referenceTranslate, type ReferenceAccess } from '../reference/index.js';
import { FRAME_BYTES } from '../../src/arch/registers.js';
import { featuresOf, implementedFeatures } from '../../src/registers/features.js';
import { Access } from '../../src/transaction/permissions.js';
import { describeReason } from '../../src/transaction/reason.js';
import { Translator } from '../../src/transaction/translator.js';
import { Translation } from '../../src/transaction/translation.js';
import { difference } from './compare.js';
import { cover, type Coverage } from './coverage.js';
import { randomMachine, type RandomMachine } from './random-machine.js';
import { CopiedMemory, firstDifference, libraryMemory } from './random-memory.js';

/**
 * IDR0.TTF[0], VMSAv8-32 tables: neither side has them. The library leaves the bit out of its
 * features; the reference has to be told.
 */
const TTF_AARCH32 = 1 << 2;

/** The registers of a machine in a frame, at the offsets of IHI 0070, section 6. */
function frameOf(machine: RandomMachine): Uint32Array {
  const { features } = machine;
  const frame = new Uint32Array(FRAME_BYTES / 4);
  const write = (offset: number, value: number) => (frame[offset / 4] = value);
  write(0x00, features.idr0);
  write(0x04, features.idr1);
  write(0x0c, features.idr3);
  write(0x14, features.idr5);
  write(0x1c, features.aidr);
  write(0x20, machine.cr0);
  write(0x2c, machine.cr2);
  write(0x44, machine.gbpa);
  write(0x80, Number(machine.strtabBase & 0xffff_ffffn));
  write(0x84, Number(machine.strtabBase >> 32n));
  write(0x88, machine.strtabBaseCfg);
  return frame;
}

function describe(access: ReferenceAccess): string {
  const { streamId, substreamId, iova, write, instruction, privileged } = access;
  const words = [
    `StreamID 0x${streamId.toString(16)}`,
    substreamId === undefined ? 'no SubstreamID' : `SubstreamID 0x${substreamId.toString(16)}`,
    privileged ? 'privileged' : 'unprivileged',
    instruction ? 'instruction' : 'data',
    write ? 'write' : 'read',
    `of 0x${iova.toString(16)}`,
  ];
  return words.join(', ');
}

/** How to run one machine alone. */
function repeat(seed: number, count: number): string {
  return (
    `repeat with VSMMU_MACHINE=0x${seed.toString(16)} VSMMU_ACCESSES=${count} ` +
    'npx vitest run --config test/vitest.config.js --root . test/transaction/differential.test.ts'
  );
}

function translate(translator: Translator, access: ReferenceAccess, result: Translation): void {
  translator.translate(
    access.streamId,
    access.substreamId ?? -1,
    Number(access.iova >> 32n),
    Number(access.iova & 0xffff_ffffn),
    (access.write ? Access.write : 0) |
      (access.instruction ? Access.instruction : 0) |
      (access.privileged ? Access.privileged : 0),
    result,
  );
}

/**
 * Runs the machine of a seed on the library and on the reference, and counts what it reached.
 * @returns the first difference, with what is needed to run it again; null when there is none.
 */
export function runMachine(seed: number, count: number, coverage: Coverage): string | null {
  try {
    return firstDifferenceOf(seed, count, coverage);
  } catch (error) {
    const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return [`machine 0x${seed.toString(16)} threw ${cause}`, repeat(seed, count)].join('\n');
  }
}

function firstDifferenceOf(seed: number, count: number, coverage: Coverage): string | null {
  const machine = randomMachine(seed, count);
  const { image, readOnly, features } = machine;
  const frame = frameOf(machine);
  const memory = libraryMemory(image, machine.memoryKind, readOnly);
  const translator = new Translator(memory, implementedFeatures(featuresOf(frame)));
  translator.configure(frame);
  const result = new Translation();
  const copy = new CopiedMemory(image, readOnly);
  const reference = { ...features, ...machine, idr0: features.idr0 & ~TTF_AARCH32, memory: copy };
  const at = (index: number) =>
    `machine 0x${seed.toString(16)} (${machine.memoryKind} memory), access ${index}`;

  for (const [index, access] of machine.accesses.entries()) {
    const expected = referenceTranslate(reference, access);
    translate(translator, access, result);
    const differs = difference(result, expected, features.oas);
    if (differs !== null) {
      const why = expected.kind === 'ok' ? 'translated' : expected.reason;
      return [
        `${at(index)}: ${describe(access)}`,
        differs,
        `library: ${describeReason(result.reason)}; reference: ${why}`,
        repeat(seed, count),
      ].join('\n');
    }
    const upper = ((access.iova >> 55n) & 1n) === 1n;
    cover(coverage, result, translator, expected, upper);
  }

  coverage.add('machines');
  coverage.add(`${machine.memoryKind} machine`);
  coverage.add('access flag update', copy.accessFlags);
  coverage.add('dirty state update', copy.dirtyStates);
  const page = firstDifference(memory, copy);
  if (page === null) return null;
  return [
    `${at(count)}: memory differs afterwards in the page 0x${page.toString(16)}`,
    repeat(seed, count),
  ].join('\n');
}
