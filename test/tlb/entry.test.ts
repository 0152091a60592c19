import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Entry, readEntry, writeAnswer, writeTag } from '../../src/tlb/entry.js';
import { EntryStore } from '../../src/tlb/entry-store.js';
import { AddressHalf } from '../../src/transaction/context.js';
import { Translation } from '../../src/transaction/translation.js';
import { writeEntry } from './tlb-driver.js';
import {
  answerAt,
  answerOf,
  canonical,
  covers,
  halfOf,
  halvesOf,
  leaves,
  mayHit,
  neededOf,
  spanLog2Of,
  spanOf,
  tagged,
  translationAt,
  walkAllows,
  type Leaf,
} from './tlb-model.js';

const ACCESSES = [0, 1, 2, 3, 4, 5, 6, 7];
/** Not at the front: nothing depends on where an entry begins. */
const AT = 32;
const SLOT = 5;

function half(upper: boolean, topByteIgnored: boolean, privilegedOnly: boolean): AddressHalf {
  return Object.assign(new AddressHalf(upper), { topByteIgnored, privilegedOnly });
}

/** The words of an entry for one answer of a walk, by name, unsigned; those that are 0 are left out. */
function wordsOf(
  where: AddressHalf,
  address: bigint,
  spanLog2: number,
  answer: Partial<Translation>,
): Record<string, number> {
  const words = new Int32Array(48).fill(0);
  const { high, low } = halvesOf(address);
  writeTag(words, AT, high, low, spanLog2);
  writeAnswer(words, AT, where, spanLog2, Object.assign(new Translation(), answer));
  expect(words.subarray(0, AT).every((word) => word === 0)).toBe(true);
  const named = Object.entries(Entry).map(([name, at]) => [name, words[AT + at]! >>> 0] as const);
  expect(new Set(Object.values(Entry)).size).toBe(named.length);
  return Object.fromEntries(named.filter(([, word]) => word !== 0));
}

describe('the words of an entry', () => {
  // leaf: span [5:0], leaf [11:6], granule [16:12], level [18:17], SH [20:19], nG [21],
  // Contiguous [22], attribute [30:23].
  test('of a page of 4 KiB', () => {
    const words = wordsOf(half(false, false, false), 0x7f_1234_5678n, 12, {
      outputAddress: 0x9_8765_4678,
      level: 3,
      leafLog2: 12,
      granuleLog2: 12,
      permissions: 0b01_1011,
      attribute: 0xff,
      shareability: 3,
      nonGlobal: 1,
      contiguous: 0,
      descriptorHigh: 0x9,
      descriptorLow: 0x8765_4f47,
    });
    expect(words).toEqual({
      low: 0x1234_5000,
      high: 0x7f,
      lowMask: 0xffff_f000,
      highMask: 0xffff_ffff,
      permissions: 0x1b1b,
      outputLow: 0x8765_4000,
      outputHigh: 9,
      leaf: 0x7fbe_c30c,
      descriptorLow: 0x8765_4f47,
      descriptorHigh: 9,
    });
  });

  test('of a clean block of 2 MiB in an upper half with TBI and E0PD', () => {
    const words = wordsOf(half(true, true, true), 0xabff_8000_1234_5678n, 21, {
      outputAddress: 0x2_4014_5678,
      level: 2,
      leafLog2: 21,
      granuleLog2: 12,
      permissions: 0b101_1011,
      attribute: 0x04,
      shareability: 2,
      nonGlobal: 0,
      contiguous: 0,
      descriptorHigh: 0x0008_0002,
      descriptorLow: 0x4001_04c5,
    });
    // Of the rights, unprivileged ones fall to E0PD and writes to the clean page: 0b1000 is left.
    expect(words).toEqual({
      low: 0x1220_0000,
      high: 0xffff_8000,
      lowMask: 0xffe0_0000,
      highMask: 0x00ff_ffff,
      permissions: 0x5b08,
      outputLow: 0x4000_0000,
      outputHigh: 2,
      leaf: 0x0214_c555,
      descriptorLow: 0x4001_04c5,
      descriptorHigh: 0x0008_0002,
    });
  });

  test('of a contiguous run of 64 KiB, made from its seventh page', () => {
    const words = wordsOf(half(false, false, false), 0x1_0005_6789n, 16, {
      outputAddress: 0x7_00a0_6789,
      level: 3,
      leafLog2: 12,
      granuleLog2: 12,
      permissions: 0b00_1001,
      attribute: 0x44,
      shareability: 0,
      nonGlobal: 1,
      contiguous: 1,
      descriptorHigh: 0x0010_0007,
      descriptorLow: 0x00a0_6f43,
    });
    expect(words).toEqual({
      low: 0x0005_0000,
      high: 1,
      lowMask: 0xffff_0000,
      highMask: 0xffff_ffff,
      permissions: 0x0909,
      outputLow: 0x00a0_0000,
      outputHigh: 7,
      leaf: 0x2266_c310,
      // Of the first page.
      descriptorLow: 0x00a0_0f43,
      descriptorHigh: 0x0010_0007,
    });
  });

  test('of a block of 4 TiB', () => {
    const words = wordsOf(half(true, false, false), 0xffff_fc12_3456_789an, 42, {
      outputAddress: 0x8_0012_3456_789a,
      level: 1,
      leafLog2: 42,
      granuleLog2: 16,
      permissions: 0b11_1111,
      attribute: 0,
      shareability: 2,
      nonGlobal: 1,
      contiguous: 0,
      descriptorHigh: 0,
      descriptorLow: 0x8401,
    });
    expect(words).toEqual({
      high: 0xffff_fc00,
      highMask: 0xffff_fc00,
      permissions: 0x3f3f,
      outputHigh: 0x8_0000,
      offsetHigh: 0x3ff,
      leaf: 0x0033_0aaa,
      descriptorLow: 0x8401,
    });
  });
});

/** An entry of {@link SLOT} made from the walk for one address. */
function storeOf(leaf: Leaf, from: bigint): EntryStore {
  const store = new EntryStore();
  store.grow(4);
  writeEntry(store.words, AT, SLOT, leaf, from);
  return store;
}

function isCovered(store: EntryStore, address: bigint, slot = SLOT): boolean {
  const { high, low } = halvesOf(address);
  return store.covers(AT, slot, high, low);
}

/** An address of the leaf, a fraction of 2^42 into it; tagged when the top byte is ignored. */
function addressIn(leaf: Leaf, fraction: bigint, tag: number): bigint {
  const address = leaf.first + ((fraction * spanOf(leaf)) >> 42n);
  return leaf.topByteIgnored ? tagged(address, tag) : address;
}

const fraction = fc.bigInt(0n, (1n << 42n) - 1n);
const tag = fc.nat(255);

describe('an entry of any leaf', () => {
  test('answers each of its addresses as the walk would', () => {
    fc.assert(
      fc.property(
        leaves,
        fraction,
        tag,
        fc.array(fc.tuple(fraction, tag)),
        (leaf, f, t, others) => {
          const store = storeOf(leaf, addressIn(leaf, f, t));
          for (const [fraction2, tag2] of [[0n, t], [(1n << 42n) - 1n, t], ...others] as const) {
            const address = addressIn(leaf, fraction2, tag2);
            const { high, low } = halvesOf(address);
            const result = new Translation();
            readEntry(store.words, AT, high, low, result);
            expect(answerOf(result)).toEqual(answerAt(leaf, address));
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  test('covers the addresses from its first to its last, and no other', () => {
    fc.assert(
      fc.property(leaves, fraction, tag, fc.bigInt(0n, 63n), (leaf, f, t, bit) => {
        const store = storeOf(leaf, addressIn(leaf, f, t));
        const last = leaf.first + spanOf(leaf) - 1n;
        const near = [leaf.first, last, leaf.first - 1n, last + 1n].map((a) =>
          BigInt.asUintN(64, a),
        );
        const far = [leaf.first ^ (1n << bit), last ^ (1n << bit), f << 22n];
        for (const untagged of [...near, ...far]) {
          for (const address of [untagged, tagged(untagged, t), canonical(untagged)]) {
            expect(isCovered(store, address), address.toString(16)).toBe(covers(leaf, address));
            expect(isCovered(store, address, SLOT + 1)).toBe(false);
          }
        }
        // Hand-written bounds, should the model be wrong.
        expect(isCovered(store, near[0]!) && isCovered(store, near[1]!)).toBe(true);
        expect(isCovered(store, near[2]!) || isCovered(store, near[3]!)).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });

  test('lets a hit use what the walk allows, but no write to a clean page', () => {
    fc.assert(
      fc.property(leaves, (leaf) => {
        const store = storeOf(leaf, leaf.first);
        for (const access of ACCESSES) {
          const isUsable = (store.words[AT + Entry.permissions]! & neededOf(access)) !== 0;
          expect(isUsable).toBe(mayHit(leaf, access));
        }
      }),
    );
  });

  test('takes the answer of a later walk as if it were new', () => {
    fc.assert(
      fc.property(leaves, leaves, fraction, (before, other, f) => {
        const { permissions, attribute, shareability } = other;
        // Bits 63:53 are no address with any granule.
        const bits = before.bits ^ (other.bits & (0x7ffn << 53n));
        const output = before.output ^ ((1n << 47n) & ~(spanOf(before) - 1n));
        const after = { ...before, permissions, attribute, shareability, bits, output };
        const store = storeOf(before, before.first);
        const address = addressIn(after, f, 0);
        const result = translationAt(after, address);
        writeAnswer(store.words, AT, halfOf(after), spanLog2Of(after), result);
        expect([...store.words]).toEqual([...storeOf(after, after.first).words]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('E0PD and clean pages', () => {
  const page: Leaf = {
    shape: { granuleLog2: 12, level: 3, leafLog2: 12, runLog2: 4 },
    isRun: false,
    topByteIgnored: false,
    privilegedOnly: false,
    first: 0x1000n,
    output: 0x8000_0000n,
    bits: 0x0008_0000_0000_0fc3n,
    permissions: 0b111_1111,
    attribute: 0xff,
    shareability: 3,
  };

  test.each<[string, Partial<Leaf>, usable: number[]]>([
    ['a clean page', {}, [0, 2, 4, 6]],
    ['a dirty page', { permissions: 0b011_1111 }, ACCESSES],
    ['a clean page with E0PD', { privilegedOnly: true }, [4, 6]],
    ['a dirty page with E0PD', { permissions: 63, privilegedOnly: true }, [4, 5, 6, 7]],
    ['nothing', { permissions: 0 }, []],
    ['a clean page that only privileged code writes', { permissions: 0b101_0000 }, []],
  ])('%s', (_, changes, usable) => {
    const leaf = { ...page, ...changes };
    const { words } = storeOf(leaf, leaf.first);
    expect(
      ACCESSES.filter((access) => (words[AT + Entry.permissions]! & neededOf(access)) !== 0),
    ).toEqual(usable);
    // Whoever reads the answer sees all that the walk gave.
    expect(words[AT + Entry.permissions]! >> 8).toBe(leaf.permissions);
    expect(usable.every((access) => walkAllows(leaf, access))).toBe(true);
  });
});
