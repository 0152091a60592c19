import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dispositionOf, usesAts } from '../../src/passthrough/vste.js';
import { chooseFeatures } from '../../src/registers/feature-set.js';
import { featuresOf, implementedFeatures, type Features } from '../../src/registers/features.js';
import { RegisterFrame } from '../../src/registers/frame.js';
import { StreamTable } from '../../src/transaction/stream.js';
import { Translation } from '../../src/transaction/translation.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { frameOf, words32 } from '../transaction/machine.js';
import { Random } from '../transaction/random.js';
import { randomFeatures } from '../transaction/random-features.js';
import { randomStes } from './vste-random.js';
import { referenceVste, type Expected, type IdRegisters } from './vste-reference.js';

const KINDS = ['abort', 'bypass', 's1'] as const;

/** What the library makes of an STE: as passthrough does it. */
function answerOf(ste: readonly bigint[], features: Features): Expected {
  const memory = new SparseMemory([{ base: 0, byteLength: 0x2000 }]);
  memory.store(0x1000, words32(ste), 0, 16);
  const frame = new Uint32Array(0x2_0000 / 4);
  frame[0x80 / 4] = 0x1000;
  const table = new StreamTable(memory, features);
  table.configure(frame);
  const event = table.fetch(0, new Translation());
  if (event !== 0) return { kind: 'abort', event };
  const vste = new Uint32Array(4).fill(0xeeee_eeee);
  const kind = KINDS[dispositionOf(table.ste, features, vste)]!;
  if (kind === 'abort') return { kind, event: 0 };
  if (kind === 'bypass') return { kind };
  const joined = (i: number): bigint => (BigInt(vste[i + 1]!) << 32n) | BigInt(vste[i]!);
  expect(usesAts(vste)).toBe(((joined(2) >> 28n) & 3n) === 1n);
  return { kind, w0: joined(0), w1: joined(2) };
}

/** The ID registers that a guest sees with `features`. */
function registersOf(features: Features): IdRegisters {
  const { words } = new RegisterFrame(features);
  return { idr0: words[0]!, idr1: words[1]!, idr3: words[3]!, idr5: words[5]!, aidr: words[7]! };
}

/** Bits that the kernel takes (iommufd-uapi, section 3). */
const W0_MASK = 0xf80f_ffff_ffff_ffffn;
const W1_MASK = 0x0000_0000_3800_00ffn;

function isAccepted({ w0, w1 }: { w0: bigint; w1: bigint }): boolean {
  return (w0 & ~W0_MASK) === 0n && (w1 & ~W1_MASK) === 0n && ((w1 >> 28n) & 3n) <= 1n;
}

describe('the vSTE of an STE (iommufd-uapi, section 3)', () => {
  const seeds = fc.integer({ min: 0, max: 0xffff_ffff });

  test('is that of the reference, with any features', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(seeds, randomStes, (seed, ste) => {
        const drawn = randomFeatures(new Random(seed));
        const registers = { ...drawn, idr0: drawn.idr0 & ~1 };
        const features = implementedFeatures(featuresOf(frameOf(registers)));
        const expected = referenceVste(ste, registers);
        expect(answerOf(ste, features)).toEqual(expected);
        if (expected.kind === 's1') expect(isAccepted(expected)).toBe(true);
        seen.set(expected.kind, (seen.get(expected.kind) ?? 0) + 1);
      }),
      { numRuns: 6000 },
    );
    for (const kind of KINDS) expect(seen.get(kind)).toBeGreaterThan(300);
  });

  const VARIATIONS: readonly [string, Parameters<typeof chooseFeatures>[0]][] = [
    ['qemu', { preset: 'qemu' }],
    ['minimal', { preset: 'minimal' }],
    ['full', { preset: 'full' }],
    ['full, SSIDSIZE=0', { SSIDSIZE: 0, CD2L: 0 }],
    ['full, SSIDSIZE=1', { SSIDSIZE: 1 }],
    ['full, CD2L=0', { CD2L: 0 }],
    ['full, ATS=0', { ATS: 0, PRI: 0 }],
    ['full, STALL_MODEL=1', { STALL_MODEL: 1, STALL_MAX: 0 }],
    ['full, STALL_MODEL=2', { STALL_MODEL: 2 }],
    ['full, v3.0', { ArchMinor: 0 }],
    ['full, v3.0, 32 bits', { ArchMinor: 0, OAS: 32 }],
    ['full, 48 bits', { OAS: 48 }],
    ['full, 32 bits', { OAS: 32 }],
  ];

  test.each(VARIATIONS)('is that of the reference: %s', (_, options) => {
    const features = chooseFeatures(options);
    const registers = registersOf(features);
    fc.assert(
      fc.property(randomStes, (ste) => {
        expect(answerOf(ste, features)).toEqual(referenceVste(ste, registers));
      }),
      { numRuns: 400 },
    );
  });

  test.each<[string, Parameters<typeof chooseFeatures>[0], bigint, bigint, bigint, bigint]>([
    // Linux, one CD: S1DSS says nothing.
    ['one CD', {}, 0x43e0_000bn, 0xd6n, 0x43e0_000bn, 0xd4n],
    // 2^16 CDs, two-level 64K, S1DSS=2.
    ['many', {}, 0x8000_0000_43e0_002bn, 0xd6n, 0x8000_0000_43e0_002bn, 0xd6n],
    ['reserved S1Fmt and S1DSS', {}, 0x0800_0000_43e0_003bn, 0xd7n, 0x0800_0000_43e0_000bn, 0xd4n],
    ['EATS', {}, 0x43e0_000bn, 0x1000_00d4n, 0x43e0_000bn, 0x1000_00d4n],
    ['EATS without ATS', { ATS: 0, PRI: 0 }, 0x43e0_000bn, 0x3000_00d4n, 0x43e0_000bn, 0xd4n],
    ['S1STALLD', {}, 0x43e0_000bn, 0x0800_00d4n, 0x43e0_000bn, 0x0800_00d4n],
    ['v3.0: above OAS', { ArchMinor: 0, OAS: 40 }, 0x000f_00ff_43e0_000bn, 0n, 0xff_43e0_000bn, 0n],
    ['every other bit', {}, 0x0700_0000_43e0_000bn, 0xffff_ffff_c7ff_ff00n, 0x43e0_000bn, 0n],
  ])('%s', (_, options, s0, s1, w0, w1) => {
    const answer = answerOf([s0, s1, 0n, 0n, 0n, 0n, 0n, 0n], chooseFeatures(options));
    expect(answer).toEqual({ kind: 's1', w0, w1 });
  });
});
