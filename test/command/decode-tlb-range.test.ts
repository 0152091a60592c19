import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TlbRange } from '../../src/tlb/tlb-range.js';
import type { FeatureOptions } from '../../src/registers/feature-set.js';
import { CMDQEN, SmmuMachine } from '../smmu/smmu-machine.js';

interface Named {
  asid: number;
  first: bigint;
  last: bigint;
  leaf: boolean;
  granuleLog2: number;
  level: number;
}

/** The fields of a TLBI by address: address is VA[63:12]. */
interface Fields {
  asid: bigint;
  num: bigint;
  scale: bigint;
  leaf: bigint;
  ttl: bigint;
  tg: bigint;
  page: bigint;
}

const ALL = (1n << 64n) - 1n;

/** Executes the command and gives what keepers are told; undefined after CERROR_ILL. */
function tell(machine: SmmuMachine, opcode: bigint, f: Fields): Named | undefined {
  let named: Named | undefined;
  const remove = machine.smmu.addKeeper({
    invalidateAll: () => undefined,
    invalidateAsid: () => undefined,
    invalidateStreams: () => undefined,
    invalidateContext: () => undefined,
    invalidateRange: (range: TlbRange) => {
      named = {
        asid: range.asid,
        first: (BigInt(range.firstHigh) << 32n) | BigInt(range.firstLow),
        last: (BigInt(range.lastHigh) << 32n) | BigInt(range.lastLow),
        leaf: range.leaf,
        granuleLog2: range.granuleLog2,
        level: range.level,
      };
    },
  });
  const low = opcode | (f.num << 12n) | (f.scale << 20n) | (f.asid << 48n);
  machine.command([low, f.leaf | (f.ttl << 8n) | (f.tg << 10n) | (f.page << 12n)]);
  remove();
  if (named === undefined) {
    expect(machine.cerror).toBe(1);
    machine.prod = (machine.prod - 1) & 0x1f;
    machine.write(0x98, machine.prod).write(0x64, machine.read(0x60));
  }
  return named;
}

/** IHI 0070, section 4.4.1, in BigInt: rules R1 to R5 of the notes. */
function restated(ril: boolean, ds: boolean, asid: number, f: Fields): Named | undefined {
  const address = f.page << 12n;
  const leaf = f.leaf === 1n;
  if (!ril || f.tg === 0n) {
    return { asid, first: address, last: address + 0xfffn, leaf, granuleLog2: 0, level: 0 };
  }
  let scale = ds ? f.scale : f.scale % 32n;
  if (scale > 39n) scale = 39n;
  const ttl = f.tg === 2n && f.ttl === 1n && !ds ? 0n : f.ttl;
  if (f.num === 0n && scale === 0n && ttl === 0n) return undefined;
  const granule = 1n << (2n * f.tg + 10n);
  // Bytes of what an entry of the level maps.
  const blocks: Record<string, bigint> = {
    '1 1': 1n << 30n,
    '1 2': 1n << 21n,
    '2 1': 1n << 36n,
    '2 2': 1n << 25n,
    '3 1': 1n << 42n,
    '3 2': 1n << 29n,
  };
  const alignment = blocks[`${f.tg} ${ttl}`] ?? granule;
  const first = address - (address % alignment);
  const end = first + (f.num + 1n) * (1n << scale) * granule;
  return {
    asid,
    first,
    last: end > ALL ? ALL : end - 1n,
    leaf,
    granuleLog2: Number(2n * f.tg + 10n),
    level: Number(ttl),
  };
}

const fields: fc.Arbitrary<Fields> = fc.record({
  asid: fc.bigInt(0n, 0xffffn),
  num: fc.oneof(fc.constant(0n), fc.bigInt(0n, 31n)),
  scale: fc.oneof(fc.constant(0n), fc.bigInt(0n, 63n)),
  leaf: fc.bigInt(0n, 1n),
  ttl: fc.bigInt(0n, 3n),
  tg: fc.bigInt(0n, 3n),
  page: fc.oneof(
    fc.bigInt(0n, (1n << 52n) - 1n),
    fc.bigInt(0n, 0xff_ffffn).map((n) => (1n << 52n) - 1n - n),
    fc.bigInt(0n, 51n).map((n) => 1n << n),
  ),
});

describe('what TLBI_NH_VA and TLBI_NH_VAA name (4.4.1)', () => {
  test.each<[string, FeatureOptions, boolean, boolean]>([
    ['RIL and DS', {}, true, true],
    ['RIL', { preset: 'qemu' }, true, false],
    ['neither', { preset: 'minimal' }, false, false],
  ])('an SMMU with %s follows the arithmetic of the manual', (_, features, ril, ds) => {
    const machine = new SmmuMachine({ features }).start(CMDQEN);
    fc.assert(
      fc.property(fields, fc.boolean(), (f, anyAsid) => {
        const asid = anyAsid ? -1 : Number(f.asid);
        const named = tell(machine, anyAsid ? 0x13n : 0x12n, f);
        expect(named).toEqual(restated(ril, ds, asid, f));
      }),
      { numRuns: 2000 },
    );
  });

  const NONE: Fields = { asid: 5n, num: 0n, scale: 0n, leaf: 0n, ttl: 0n, tg: 0n, page: 0n };

  test.each<[string, Partial<Fields>, first: bigint, last: bigint]>([
    ['a page', { page: 0x12345n }, 0x1234_5000n, 0x1234_5fffn],
    ['the last page', { page: (1n << 52n) - 1n }, ALL - 0xfffn, ALL],
    // Linux: 0x23 pages are 3, then 32.
    ['3 pages', { tg: 1n, num: 2n, page: 0x100n }, 0x10_0000n, 0x10_2fffn],
    ['32 pages', { tg: 1n, scale: 5n, page: 0x103n }, 0x10_3000n, 0x12_2fffn],
    [
      'a block of 2 MiB',
      { tg: 1n, ttl: 2n, num: 0n, scale: 9n, page: 0x200n },
      0x20_0000n,
      0x3f_ffffn,
    ],
    ['an unaligned block', { tg: 1n, ttl: 2n, page: 0x2ffn }, 0x20_0000n, 0x20_0fffn],
    ['all 64-bit addresses', { tg: 3n, num: 31n, scale: 39n }, 0n, (1n << 60n) - 1n],
    ['no wrap', { tg: 1n, num: 1n, page: (1n << 52n) - 1n }, ALL - 0xfffn, ALL],
    ['to the very end', { tg: 1n, num: 1n, page: (1n << 52n) - 2n }, ALL - 0x1fffn, ALL],
  ])('%s', (_, changes, first, last) => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(tell(machine, 0x12n, { ...NONE, ...changes })).toMatchObject({ first, last, asid: 5 });
  });

  test('CERROR_ILL: a granule that names neither range nor level', () => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(tell(machine, 0x12n, { ...NONE, tg: 1n })).toBeUndefined();
  });
});
