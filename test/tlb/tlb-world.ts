/**
 * A TLB and beside it a plain list of what was put into it: contexts, tables that the guest changes, and
 * accesses that ask the TLB and walk when it does not know.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { keyOf } from '../../src/tlb/keys.js';
import { TlbInvalidation } from '../../src/tlb/tlb-invalidation.js';
import type { CacheOptions } from '../../src/tlb/cache-options.js';
import { Tlb } from '../../src/tlb/tlb.js';
import { cdOf, keep, lookUp, rangeOf, readAnswer } from './tlb-driver.js';
import {
  answerAt,
  covers,
  halvesOf,
  mayHit,
  nonGlobalOf,
  SHAPES,
  spanLog2Of,
  spanOf,
  tagged,
  verdictOn,
  walkAllows,
  type Leaf,
  type Named,
  type Shape,
} from './tlb-model.js';

interface Region {
  readonly first: bigint;
  readonly shape: Shape;
  readonly isRun: boolean;
}

function region(first: bigint, granuleLog2: number, level: number, isRun = false): Region {
  const shape = SHAPES.find((one) => one.granuleLog2 === granuleLog2 && one.level === level)!;
  return { first, shape, isRun };
}

const PAGE: Region = region(0x1000n, 12, 3);

/** What tables map; a page lies within a block, and rows of the micro-TLB are shared. */
export const REGIONS: readonly Region[] = [
  PAGE,
  region(0x2000n, 12, 3),
  // As far apart as the micro-TLB has rows: its hash is made so.
  ...[1n, 2n, 3n, 4n].map((n) => ({ ...PAGE, first: 0x1000n + (n << 28n) })),
  region(0xffff_8000_0000_1000n, 12, 3),
  region(0x1_0010_0000n, 12, 3, true),
  region(0x1_0020_0000n, 12, 2),
  region(0x1_0020_1000n, 12, 3),
  region(0x2_4000_0000n, 12, 1),
  region(0x4_0000_0000n, 12, 1, true),
  region(0xffff_ff80_0000_0000n, 12, 0),
  region(0x0008_0000_0000_0000n, 16, 1),
];

/** CDs: 2 and 3 are equal. Of the second, TBI is set, and E0PD of the upper half. */
const CONTEXTS = [
  { content: 1, asid: 1, isSpecial: false },
  { content: 2, asid: 1, isSpecial: true },
  { content: 3, asid: 2, isSpecial: false },
  { content: 3, asid: 2, isSpecial: false },
];

interface Fact {
  readonly slot: number;
  readonly asid: number;
  readonly leaf: Leaf;
  /** 'maybe': an invalidation could have ended it. */
  alive: 'yes' | 'maybe' | 'no';
}

export type Ending =
  | { readonly kind: 'all' }
  | { readonly kind: 'asid'; readonly asid: number }
  | {
      readonly kind: 'range';
      readonly asid: number;
      readonly region: number;
      readonly pages: bigint;
    };

export interface Place {
  readonly context: number;
  readonly region: number;
  /** Of 2^42. */
  readonly fraction: bigint;
  readonly tag: number;
}

export type Step =
  | ({ readonly kind: 'access'; readonly access: number; readonly streamId: number } & Place)
  | ({ readonly kind: 'race'; readonly meanwhile: Ending | Place } & Place)
  | {
      readonly kind: 'remap';
      readonly context: number;
      readonly region: number;
      readonly permissions: number;
      readonly nonGlobal: boolean;
    }
  | { readonly kind: 'end'; readonly ending: Ending }
  | { readonly kind: 'reattach'; readonly context: number }
  | { readonly kind: 'close' };

const context = fc.constantFrom(0, 0, 1, 1, 2, 3);
const regionIndex = fc.oneof(fc.nat(REGIONS.length - 1), fc.constantFrom(0, 2, 8, 9));
const place = fc.record({
  context,
  region: regionIndex,
  fraction: fc.bigInt(0n, (1n << 42n) - 1n),
  tag: fc.constantFrom(0, 0, 0x55, 0xff),
});
const ending: fc.Arbitrary<Ending> = fc.oneof(
  fc.constant({ kind: 'all' as const }),
  fc.record({ kind: fc.constant('asid' as const), asid: fc.constantFrom(1, 2, 3) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      asid: fc.constantFrom(-1, 1, 1, 2, 3),
      region: regionIndex,
      pages: fc.constantFrom(1n, 1n, 2n, 1n << 18n),
    }),
  },
);

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 20,
      arbitrary: fc
        .tuple(place, fc.nat(7), fc.integer({ min: 1, max: 3 }))
        .map(([where, access, streamId]) => ({
          kind: 'access' as const,
          access,
          streamId,
          ...where,
        })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(place, fc.oneof(ending, place))
        .map(([where, meanwhile]) => ({ kind: 'race' as const, meanwhile, ...where })),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('remap' as const),
        context,
        region: regionIndex,
        permissions: fc.constantFrom(63, 27, 9, 127, 91, 0),
        nonGlobal: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: ending.map((one) => ({ kind: 'end' as const, ending: one })) },
    {
      weight: 1,
      arbitrary: fc.oneof(
        context.map((one) => ({ kind: 'reattach' as const, context: one })),
        fc.constant({ kind: 'close' as const }),
      ),
    },
  ),
  { minLength: 10, maxLength: 80, size: 'max' },
);

export class World {
  readonly tlb: Tlb;
  readonly facts: Fact[] = [];
  /** Counted beside the TLB. */
  readonly counts = { hits: 0, misses: 0, races: 0 };
  private readonly invalidation: TlbInvalidation;
  private readonly slots: number[];
  private readonly tables = new Map<string, Leaf>();
  private version = 0;

  constructor(options: CacheOptions) {
    this.tlb = new Tlb(options, 8);
    this.tlb.generations.setOpen(true);
    this.invalidation = new TlbInvalidation(this.tlb);
    this.slots = CONTEXTS.map(({ content, asid }) => this.tlb.attach(cdOf(content), asid));
  }

  perform(step: Step): void {
    const { tlb } = this;
    switch (step.kind) {
      case 'access':
        this.access(step, step.access, step.streamId);
        break;
      case 'race':
        this.race(step, step.meanwhile);
        break;
      case 'remap':
        this.map(step.context, step.region, step.permissions, step.nonGlobal);
        break;
      case 'end':
        this.end(step.ending);
        break;
      case 'reattach':
        this.reattach(step.context);
        break;
      case 'close':
        tlb.generations.setOpen(false);
        for (const { slot, leaf } of this.facts) expect(lookUp(tlb, slot, leaf.first)).toBe(-1);
        tlb.generations.setOpen(true);
    }
    expect(tlb.size).toBeLessThanOrEqual(tlb.limit);
  }

  private access(where: Place, access: number, streamId: number): void {
    const { tlb, slots } = this;
    const slot = slots[where.context]!;
    const address = this.addressOf(where);
    const known = this.facts.filter(
      (fact) =>
        fact.alive !== 'no' &&
        fact.slot === slot &&
        covers(fact.leaf, address) &&
        mayHit(fact.leaf, access),
    );
    const at = lookUp(tlb, slot, address, access);
    if (at >= 0) {
      this.counts.hits++;
      const answer = readAnswer(tlb, at, address);
      expect(known.map(({ leaf }) => answerAt(leaf, address))).toContainEqual(answer);
      return;
    }
    this.counts.misses++;
    // Nothing is lost but to make room.
    if (tlb.limit > 0 && tlb.evictions === 0) {
      expect(known.filter(({ alive }) => alive === 'yes')).toEqual([]);
    }
    let leaf = this.leafOf(where.context, where.region);
    if (!walkAllows(leaf, access)) return;
    if ((access & 1) !== 0 && (leaf.permissions & 64) !== 0) {
      leaf = this.map(where.context, where.region, leaf.permissions & 63, nonGlobalOf(leaf) === 1);
    }
    this.keep(slot, CONTEXTS[where.context]!.asid, leaf, address, streamId);
  }

  private keep(slot: number, asid: number, leaf: Leaf, address: bigint, streamId: number): void {
    const { tlb } = this;
    const at = keep(tlb, slot, leaf, address, streamId);
    expect(at >= 0).toBe(tlb.limit > 0);
    if (at < 0) return;
    expect(readAnswer(tlb, at, address)).toEqual(answerAt(leaf, address));
    // There is one entry for a span.
    for (const fact of this.facts) {
      const isSame = fact.slot === slot && fact.leaf.first === leaf.first;
      if (isSame && spanLog2Of(fact.leaf) === spanLog2Of(leaf)) fact.alive = 'no';
    }
    this.facts.push({ slot, asid, leaf, alive: 'yes' });
  }

  /** Between a miss and the end of its walk something happens: what the walk found is not kept. */
  private race(where: Place, meanwhile: Ending | Place): void {
    const { tlb, slots } = this;
    const slot = slots[where.context]!;
    const address = this.addressOf(where);
    if (lookUp(tlb, slot, address) >= 0) return;
    const { ticket } = tlb;
    if ('kind' in meanwhile) {
      this.end(meanwhile);
    } else {
      const other = slots[meanwhile.context]!;
      if (lookUp(tlb, other, this.addressOf(meanwhile)) >= 0) return;
    }
    this.counts.races++;
    const leaf = this.leafOf(where.context, where.region);
    const { size } = tlb;
    expect(keep(tlb, slot, leaf, address, 1, ticket)).toBe(-1);
    expect(tlb.size).toBe(size);
  }

  private end(one: Ending): void {
    const { invalidation, facts } = this;
    if (one.kind === 'all') {
      invalidation.invalidateAll();
      for (const fact of facts) fact.alive = 'no';
    } else if (one.kind === 'asid') {
      invalidation.invalidateAsid(one.asid);
      for (const fact of facts) {
        if (fact.asid === one.asid && nonGlobalOf(fact.leaf) === 1) fact.alive = 'no';
      }
    } else {
      const { first } = REGIONS[one.region]!;
      const last = first + 4096n * one.pages - 1n;
      const named: Named = { asid: one.asid, first, last, granuleLog2: 0, level: 0 };
      invalidation.invalidateRange(rangeOf(named));
      for (const fact of facts) {
        const verdict = verdictOn(fact.leaf, fact.asid, named);
        if (verdict === 'must') fact.alive = 'no';
        if (verdict === 'may' && fact.alive === 'yes') fact.alive = 'maybe';
      }
    }
  }

  /** CFGI_CD, and the CD is fetched again: into any slot. */
  private reattach(index: number): void {
    const { tlb, slots, facts } = this;
    const { content, asid } = CONTEXTS[index]!;
    tlb.detach(slots[index]!);
    for (const fact of facts) if (fact.slot === slots[index]) fact.alive = 'no';
    slots[index] = tlb.attach(cdOf(content), asid);
  }

  private addressOf({ context: index, region: at, fraction, tag }: Place): bigint {
    const leaf = this.leafOf(index, at);
    const address = leaf.first + ((fraction * spanOf(leaf)) >> 42n);
    return leaf.topByteIgnored ? tagged(address, tag) : address;
  }

  private leafOf(index: number, at: number): Leaf {
    const { content } = CONTEXTS[index]!;
    return this.tables.get(`${content}/${at}`) ?? this.map(index, at, 63, true);
  }

  private map(index: number, at: number, permissions: number, nonGlobal: boolean): Leaf {
    const { content, isSpecial } = CONTEXTS[index]!;
    const { first, shape, isRun } = REGIONS[at]!;
    const version = BigInt(++this.version);
    const upper = (first & (1n << 55n)) !== 0n;
    const span = BigInt(shape.leafLog2 + (isRun ? shape.runLog2 : 0));
    const leaf: Leaf = {
      shape,
      isRun,
      topByteIgnored: isSpecial,
      privilegedOnly: isSpecial && upper,
      first,
      output: (version << span) % (1n << 48n),
      bits:
        (shape.level === 3 ? 3n : 1n) |
        (nonGlobal ? 1n << 11n : 0n) |
        (isRun ? 1n << 52n : 0n) |
        ((version << 55n) % (1n << 64n)),
      permissions,
      attribute: this.version & 0xff,
      shareability: [0, 2, 3][this.version % 3]!,
    };
    this.tables.set(`${content}/${at}`, leaf);
    return leaf;
  }
}

/** Keys of all spans that a world can have, in its slots. */
export function keysOfWorlds(): number[] {
  return [1, 2, 3, 4].flatMap((slot) =>
    REGIONS.map(({ first, shape, isRun }) => {
      const { high, low } = halvesOf(first);
      return keyOf(slot, high, low, shape.leafLog2 + (isRun ? shape.runLog2 : 0));
    }),
  );
}
