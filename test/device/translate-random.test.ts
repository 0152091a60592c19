import { describe, expect, test } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import {
  referenceTranslate,
  type ReferenceAccess,
  type ReferenceMachine,
} from '../reference/index.js';
import { R } from '../smmu/smmu-machine.js';
import { nthSeed, Random } from '../transaction/random.js';
import {
  cfgiCd,
  cfgiSte,
  CFGI_ALL,
  DeviceMachine,
  nhAsid,
  nhVa,
  nhVaa,
  NH_ALL,
  NSNH_ALL,
  STREAM,
  SYNC,
} from './device-machine.js';
import { rounds, SEED, where } from './seed.js';

const ASID = 7;
const STEPS = 400;

type Writes = Map<bigint, bigint>;

/** The reference over the same memory; what it writes is noted, for the library to write it. */
function referenceOf(machine: DeviceMachine, writes: Writes): ReferenceMachine {
  return {
    memory: {
      read64: (address) => {
        const words = new Uint32Array(2);
        const at = Number(address);
        if (!machine.ram.load(at, words, 0, 2)) return null;
        return (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
      },
      write64: (address, value) => {
        writes.set(address, value);
        return true;
      },
    },
    idr0: machine.read(R.IDR0),
    idr1: machine.read(R.IDR1),
    idr3: machine.read(R.IDR3),
    idr5: machine.read(R.IDR5),
    aidr: machine.read(R.AIDR),
    cr0: machine.read(R.CR0),
    cr2: machine.read(R.CR2),
    gbpa: machine.read(R.GBPA),
    strtabBase: BigInt(machine.smmu.readRegister(R.STRTAB_BASE, 8)),
    strtabBaseCfg: machine.read(R.STRTAB_BASE_CFG),
  };
}

interface Expected {
  /** What `handle.translate` gives. */
  readonly answer: number;
  /** The event record that follows from it. */
  readonly records: readonly (readonly bigint[])[];
  /** Access flags and dirty states. */
  readonly writes: Writes;
}

function expected(machine: DeviceMachine, iova: bigint, access: number): Expected {
  const writes: Writes = new Map();
  const asked: ReferenceAccess = {
    streamId: STREAM,
    iova,
    write: (access & 1) !== 0,
    instruction: (access & 2) !== 0,
    privileged: (access & 4) !== 0,
  };
  const outcome = referenceTranslate(referenceOf(machine, writes), asked);
  if (outcome.kind === 'ok') return { answer: Number(outcome.pa), records: [], writes };
  if (outcome.kind === 'abort') return { answer: -1, records: [], writes };
  const answer = outcome.response === 'raz-wi' ? -2 : -1;
  return { answer, records: outcome.recorded ? [outcome.record] : [], writes };
}

class RandomGuest {
  readonly machine: DeviceMachine;
  readonly handle: StreamHandle;
  private readonly random: Random;
  private readonly space: AddressSpaceBuilder;
  /** Leaves that may be changed, and others. */
  private readonly pages: bigint[] = [];
  private readonly blocks: bigint[] = [];
  private readonly runs: bigint[] = [];
  private readonly bases = new Set<bigint>();
  private hasGlobals = false;
  private readonly tags: readonly [boolean, boolean];
  private readonly granuleLog2: 12 | 14 | 16;
  /** log2 of the bytes of a block at level 2, and of a contiguous run of pages. */
  private readonly blockLog2: number;
  private readonly runLog2: number;

  /** @param round decides what there must be some of in any run. */
  constructor(random: Random, round: number) {
    this.random = random;
    const caches = [{}, { entries: 4 }, {}, { entries: 0 }];
    this.machine = new DeviceMachine({ cache: caches[round % 4]! });
    this.tags = [random.chance(0.3), random.chance(0.3)];
    this.granuleLog2 = random.pick([12, 12, 14, 16]);
    this.blockLog2 = 2 * this.granuleLog2 - 3;
    // 16, 128 and 32 pages.
    this.runLog2 = { 12: 16, 14: 21, 16: 21 }[this.granuleLog2];
    const cd = {
      ASID,
      A: (round >> 2) & 1,
      R: random.bit(0.8),
      HA: round % 3 === 0 ? 1 : 0,
      HD: random.bit(),
      AFFD: random.bit(0.2),
      WXN: random.bit(0.2),
      PAN: random.bit(0.2),
      EPAN: random.bit(0.2),
      E0PD0: random.bit(0.15),
      E0PD1: random.bit(0.15),
      HAD0: random.bit(0.2),
      HAD1: random.bit(0.2),
      TBI0: this.tags[0] ? 1 : 0,
      TBI1: this.tags[1] ? 1 : 0,
    };
    const { granuleLog2 } = this;
    this.space = this.machine.guest.addressSpace({ granuleLog2, cd });
    this.configure();
    // At least one of each kind.
    for (let i = 0; i < 14; i++) this.addLeaves(i < 3 ? i : random.below(4));
    this.machine.start();
    this.handle = this.machine.smmu.attach(STREAM);
  }

  /** An address in or near what is mapped, often with a tag where tags are ignored. */
  address(): bigint {
    const { random } = this;
    if (random.chance(0.05)) return random.edged(64);
    const [bases, bits] = random.pick([
      [this.pages, this.granuleLog2],
      [this.pages, this.granuleLog2 + 1],
      [this.blocks, this.blockLog2],
      [this.runs, this.runLog2],
    ] as const);
    const base = random.pick(bases) + random.bits(bits);
    const upper = ((base >> 55n) & 1n) === 1n;
    const tagged = upper ? this.tags[1] : this.tags[0];
    if (!random.chance(tagged ? 0.5 : 0.05)) return base;
    return BigInt.asUintN(56, base) | (random.bits(8) << 56n);
  }

  /** Changes what is mapped or the configuration, and invalidates what it has to. */
  change(): void {
    const { random, machine } = this;
    switch (random.below(4)) {
      case 0:
        machine.command(random.pick([cfgiSte(STREAM), CFGI_ALL, cfgiCd(STREAM, 0)]), SYNC);
        break;
      case 1:
        this.configure();
        // Access kinds may be other ones now: what is kept of the STE goes, the TLB stays.
        machine.command(cfgiSte(STREAM), SYNC);
        break;
      default: {
        const page = random.pick(this.pages);
        if (random.chance(0.2)) this.space.unmap(page, 2 ** this.granuleLog2);
        else this.setPage(page);
        const named = [nhVa(ASID, page), nhVaa(page), nhAsid(ASID), NH_ALL, NSNH_ALL];
        machine.command(random.pick(this.hasGlobals ? [nhVaa(page), NH_ALL] : named), SYNC);
      }
    }
    expect(machine.commandsLeft).toBe(0);
  }

  private configure(): void {
    const { random } = this;
    this.machine.guest.attach(STREAM, this.space, {
      PRIVCFG: random.pick([0, 0, 2, 3]),
      INSTCFG: random.pick([0, 0, 2, 3]),
    });
  }

  private addLeaves(kind: number): void {
    const { random, space } = this;
    const upper = random.chance(0.3) ? 0xffff_8000_0000_0000n : 0n;
    const aligned = (1n << BigInt(this.blockLog2)) - 1n;
    let base: bigint;
    do base = upper | (random.bits(random.pick([36, 46])) & ~aligned);
    while (this.bases.has(base));
    this.bases.add(base);
    if (kind === 0) {
      space.map(base, this.place(this.blockLog2), 2 ** this.blockLog2, this.options(2));
      this.blocks.push(base);
    } else if (kind === 1) {
      const options = { ...this.options(3), leaf: { ...this.leaf(), Contiguous: 1 } };
      space.map(base, this.place(this.runLog2), 2 ** this.runLog2, options);
      this.runs.push(base);
    } else {
      for (let i = 0n; i < 4n; i++) {
        this.pages.push(base + (i << BigInt(this.granuleLog2)));
        this.setPage(this.pages.at(-1)!);
      }
    }
  }

  private setPage(page: bigint): void {
    this.space.map(page, this.place(this.granuleLog2), 2 ** this.granuleLog2, this.options(3));
  }

  /** An output address below 2^48, a multiple of 2^`log2`; low ones are as many as high ones. */
  private place(log2: number): number {
    const { random } = this;
    return random.below(2 ** random.pick([4, 48 - log2])) * 2 ** log2;
  }

  private options(level: number) {
    const { random } = this;
    return {
      level,
      leaf: this.leaf(),
      tables: { APTable: random.pick([0, 0, 0, 1, 2]), XNTable: random.bit(0.1) },
    };
  }

  private leaf() {
    const { random } = this;
    const nG = random.bit(0.8);
    if (nG === 0) this.hasGlobals = true;
    return {
      AP: random.below(4),
      UXN: random.bit(0.3),
      PXN: random.bit(0.3),
      AF: random.bit(0.8),
      DBM: random.bit(0.3),
      nG,
    };
  }
}

describe('translate() and the reference', () => {
  const guests = rounds(12);
  test(`agree on every access to random tables, ${guests} guests, seed ${SEED}`, () => {
    const tally = { output: 0, aborted: 0, zeroed: 0, microHits: 0, shadowHits: 0, updates: 0 };
    for (let round = 0; round < guests; round++) {
      const random = new Random(nthSeed(SEED, round));
      const guest = new RandomGuest(random, round);
      const { machine, handle } = guest;
      let iova = guest.address();
      for (let step = 0; step < STEPS; step++) {
        if (random.chance(0.05)) guest.change();
        // The page before is warm.
        if (random.chance(0.5)) iova = (iova & ~0xfffn) | random.bits(12);
        else iova = guest.address();
        const access = random.below(8);
        const { answer, records, writes } = expected(machine, iova, access);
        const asked = iova < 2n ** 53n && random.chance(0.6) ? Number(iova) : iova;
        const at = `${where(round, step)}: ${typeof asked} 0x${iova.toString(16)}, access ${access}`;
        expect(handle.translate(asked, access), at).toBe(answer);
        expect(machine.takeEvents(), at).toEqual(records);
        for (const [address, value] of writes)
          expect(machine.peek(Number(address)), at).toBe(value);
        expect(machine.memory.exchanges, at).toBe(writes.size);
        machine.memory.clear();
        tally.updates += writes.size;
        if (answer >= 0) tally.output++;
        else if (answer === -1) tally.aborted++;
        else tally.zeroed++;
        if (answer < 0) {
          const { outcome, inputHigh, inputLow } = handle.fault;
          const named = (BigInt(inputHigh) << 32n) | BigInt(inputLow);
          expect([outcome, named], at).toEqual([-answer, iova]);
        }
      }
      const { microHits, shadowHits } = machine.smmu.stats().cache;
      tally.microHits += microHits;
      tally.shadowHits += shadowHits;
    }
    for (const [name, count] of Object.entries(tally)) {
      expect(count, `${name}, seed ${SEED}`).toBeGreaterThan(guests);
    }
  });
});
