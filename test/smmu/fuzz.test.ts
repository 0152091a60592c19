/**
 * A guest that does anything at any time. Nothing throws or hangs, every step costs a bounded number of
 * memory accesses, and the registers stay what the manual allows.
 */
import { describe, expect, test } from 'vitest';
import { CD, CD_TABLE, STE, STREAM, STREAM_TABLE, words32 } from '../transaction/machine.js';
import { Random } from '../transaction/random.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { Smmu } from '../../src/smmu.js';
import { Translation } from '../../src/transaction/translation.js';
import { CountingMemory } from './counting-memory.js';
import { CMDQ, EVENTQ, NOWHERE, R, RAM, RAM_BYTES } from './smmu-machine.js';

const STEPS = Number(process.env.VSMMU_FUZZ_STEPS ?? 50_000);
const SEED = Number(process.env.VSMMU_FUZZ_SEED ?? Date.now() % 0x1_0000_0000);
/** A guest lives this many steps; then the next one starts. */
const LIFE = 1000;
const BUDGET = 32;
const STALL_MAX = 4;

/**
 * Accesses of one translation: STE with its L1STD, CD with its L1CD, a walk of 5 levels (each with an
 * update that may be tried again), and a record with its message and that of a global error.
 */
const TRANSLATION_LOADS = 16;
const TRANSLATION_STORES = 4;
/** A step: commands with their messages, each of which may retry every stall; then all held stalls. */
const LOADS = BUDGET * (1 + STALL_MAX * TRANSLATION_LOADS) + TRANSLATION_LOADS;
const STORES = BUDGET * (3 + STALL_MAX * TRANSLATION_STORES) + STALL_MAX * TRANSLATION_STORES;

const OFFSETS: readonly number[] = Object.values(R);
const PLACES = [RAM, CMDQ, EVENTQ, STREAM_TABLE, CD_TABLE, 0x43e2_0000, 0x43e3_0000, NOWHERE];
const OPCODES = [1, 2, 3, 4, 5, 6, 0x10, 0x11, 0x12, 0x13, 0x30, 0x40, 0x41, 0x44, 0x45, 0x46];

class Guest {
  readonly memory = new CountingMemory(
    new SparseMemory([
      { base: RAM, byteLength: RAM_BYTES },
      { base: 0, byteLength: 4096 },
    ]),
  );
  readonly smmu: Smmu;
  answers = 0;
  stalls = 0;
  /** Steps done within the current one. */
  steps = 0;
  private depth = 0;
  private readonly random: Random;

  constructor(random: Random) {
    this.random = random;
    this.smmu = new Smmu({
      memory: this.memory,
      commandBudget: BUDGET,
      features: random.pick([
        { STALL_MAX },
        { STALL_MAX },
        { preset: 'qemu' },
        { preset: 'minimal' },
      ]),
      interrupts: {
        message: () => {
          this.interrupted();
          return random.chance(0.5);
        },
        wired: () => {
          this.interrupted();
        },
      },
      deviceCommand: () => {
        this.interrupted();
      },
    });
    this.build();
    if (random.chance(0.8)) this.bringUp();
  }

  step(): void {
    const { random, smmu } = this;
    this.steps++;
    switch (random.weighted([5, 3, 6, 6, 8, 1, 2, 4])) {
      case 0:
        smmu.writeRegister(random.pick(OFFSETS), 4, this.value());
        break;
      case 1:
        this.anyAccess();
        break;
      case 2:
        this.command();
        break;
      case 3:
        this.put(this.place(), [random.pick([this.descriptor(), random.bits(64)])]);
        break;
      case 4:
        this.access();
        break;
      case 5:
        smmu.drain(random.below(BUDGET));
        break;
      case 6:
        this.bringUp();
        break;
      default:
        this.repair();
    }
  }

  /** Now and then the guest does something within the interrupt, or the VMM resets. */
  private interrupted(): void {
    if (this.depth >= 3 || !this.random.chance(0.3)) return;
    this.depth++;
    if (this.random.chance(0.02)) this.smmu.reset();
    else this.step();
    this.depth--;
  }

  /** What a driver does about errors: PROD back to CONS, events read, all acknowledged. */
  private repair(): void {
    const { smmu } = this;
    const prod = Number(smmu.readRegister(R.CMDQ_CONS, 4)) & 0xf_ffff;
    smmu.writeRegister(R.CMDQ_PROD, 4, prod);
    smmu.writeRegister(R.EVENTQ_CONS, 4, smmu.readRegister(R.EVENTQ_PROD, 4));
    smmu.writeRegister(R.GERRORN, 4, smmu.readRegister(R.GERROR, 4));
  }

  /** A stream with its tables; half of the time its faults stall: CD.S, bit 44. */
  private build(): void {
    const { random } = this;
    this.put(STREAM_TABLE + 64 * STREAM, STE);
    this.put(CD_TABLE, [CD[0]! | (random.chance(0.5) ? 1n << 44n : 0n), ...CD.slice(1)]);
    this.put(0x43e2_0000, [0x43e3_0003n]);
    this.put(0x43e3_0000, [0x8000_0f45n]);
  }

  /** Registers and tables as they are after a driver's start, whatever was before. */
  private bringUp(): void {
    const { smmu } = this;
    this.build();
    smmu.writeRegister(R.CR0, 4, 0);
    smmu.writeRegister(R.GERRORN, 4, Number(smmu.readRegister(R.GERROR, 4)));
    smmu.writeRegister(R.STRTAB_BASE, 8, BigInt(STREAM_TABLE));
    smmu.writeRegister(R.STRTAB_BASE_CFG, 4, this.random.pick([8, 8, 0x1_0188]));
    smmu.writeRegister(R.CMDQ_BASE, 8, BigInt(CMDQ + this.random.below(20)));
    smmu.writeRegister(R.EVENTQ_BASE, 8, BigInt(EVENTQ + this.random.below(5)));
    smmu.writeRegister(R.IRQ_CTRL, 4, 7);
    smmu.writeRegister(R.CR0, 4, 0xd);
  }

  private anyAccess(): void {
    const { random, smmu } = this;
    const offset = random.pick([random.below(0x2_0010), 4 * random.below(0x100), random.u32(), -4]);
    const size = random.pick([4, 4, 8, 8, 1, 2, 3, 16]);
    if (random.chance(0.5)) smmu.readRegister(offset, size);
    else smmu.writeRegister(offset, size, size === 8 ? random.edged(64) : this.value());
  }

  private value(): number {
    const { random } = this;
    return random.pick([random.u32(), random.below(32), Number(random.edged(32)), 0xd, RAM]);
  }

  /** An entry where CONS is, and PROD behind it; often well-formed. */
  private command(): void {
    const { random, smmu } = this;
    const index = Number(smmu.readRegister(R.CMDQ_PROD, 4));
    const low =
      BigInt(random.chance(0.95) ? random.pick(OPCODES) : random.below(256)) |
      (BigInt(random.pick([STREAM, STREAM, random.below(256)])) << 32n) |
      (random.chance(0.3) ? random.edged(24) << 8n : BigInt(random.below(4)) << 12n);
    const high = random.pick([0n, BigInt(random.below(8)), random.edged(64), BigInt(RAM + 64)]);
    this.put(CMDQ + 16 * (index & 0x7ff), [low, high]);
    smmu.writeRegister(R.CMDQ_PROD, 4, (index + 1) & 0xf_ffff);
  }

  private access(): void {
    const { random } = this;
    const streamId = random.pick([STREAM, STREAM, random.below(256), random.u32()]);
    const substreamId = random.pick([-1, -1, -1, random.below(8), random.below(2 ** 20)]);
    const iova = random.pick([0x1000n + random.bits(12), random.edged(64)]);
    const high = Number(iova >> 32n);
    const low = Number(iova & 0xffff_ffffn);
    const listener = (answer: Translation) => {
      expect([0, 1, 2]).toContain(answer.outcome);
      this.answers++;
      this.interrupted();
    };
    const outcome = this.smmu.translate(
      streamId,
      substreamId,
      high,
      low,
      random.below(8),
      new Translation(),
      random.chance(0.7) ? listener : undefined,
    );
    expect([0, 1, 2, 3]).toContain(outcome);
    if (outcome === 3) this.stalls++;
  }

  private place(): number {
    const near = this.random.pick([STREAM_TABLE + 64 * STREAM, CD_TABLE, 0x43e3_0000]);
    const base = this.random.chance(0.6) ? near : this.random.pick(PLACES);
    return base + 8 * this.random.below(this.random.chance(0.7) ? 8 : 512);
  }

  private descriptor(): bigint {
    const { random } = this;
    const flags = random.pick([0n, 1n, 3n, 0x745n, 0xf43n, 0x3n, 0xf45n]);
    // CD.S is bit 44.
    const stalling = CD[0]! | (1n << 44n);
    return random.pick([...STE, ...CD, stalling, BigInt(random.pick(PLACES)) | flags]);
  }

  private put(address: number, words: readonly bigint[]): void {
    const from = words32(words);
    this.memory.store(address, from, 0, from.length);
  }
}

/** What the manual says of registers at any time; words by hand. */
function checkRegisters(smmu: Smmu): void {
  const read = (offset: number): number => Number(smmu.readRegister(offset, 4));
  const log2 = (base: number, idr1Shift: number): number =>
    Math.min(read(base) & 0x1f, (read(R.IDR1) >>> idr1Shift) & 0x1f);
  expect(read(R.CR0ACK)).toBe(read(R.CR0));
  expect(read(R.IRQ_CTRLACK)).toBe(read(R.IRQ_CTRL));
  expect(read(R.CR0) & ~0x1f).toBe(0);
  expect(read(R.GERROR) & ~0x1fd).toBe(0);
  expect(read(R.GBPA) & ~0x001f_3f1f).toBe(0);
  const error = read(R.CMDQ_CONS) >>> 24;
  expect(error & ~0x7f).toBe(0);
  expect(read(R.CMDQ_CONS) & 0xff_ffff).toBeLessThan(2 ** (log2(R.CMDQ_BASE, 21) + 1));
  expect(read(R.EVENTQ_PROD) & 0x7fff_ffff).toBeLessThan(2 ** (log2(R.EVENTQ_BASE, 16) + 1));
  expect(read(R.CMDQ_PROD) & ~0xf_ffff).toBe(0);
  expect(read(R.EVENTQ_CONS) & 0x7ff0_0000).toBe(0);
}

describe('any guest', () => {
  test(`${STEPS} random steps, seed ${SEED}`, () => {
    // The seed repeats a failure: VSMMU_FUZZ_SEED.
    console.info(`fuzz: VSMMU_FUZZ_SEED=${SEED} VSMMU_FUZZ_STEPS=${STEPS}`);
    let translated = 0;
    let commands = 0;
    let stalled = 0;
    for (let done = 0, life = 0; done < STEPS; done += LIFE, life++) {
      const guest = new Guest(new Random((SEED + life) >>> 0));
      const { memory, smmu } = guest;
      for (let i = 0; i < Math.min(LIFE, STEPS - done); i++) {
        memory.clear();
        guest.steps = 0;
        guest.step();
        expect(memory.loads.length).toBeLessThanOrEqual(LOADS * guest.steps);
        expect(memory.stores).toBeLessThanOrEqual(STORES * guest.steps);
        expect(memory.exchanges).toBeLessThanOrEqual(LOADS * guest.steps);
        if (i % 5 === 0) checkRegisters(smmu);
        if (i % 100 === 0) restoreElsewhere(smmu, memory);
      }
      translated += smmu.stats().translations;
      commands += Object.values(smmu.stats().commands).reduce((sum, count) => sum + count, 0);
      stalled += guest.stalls;
      smmu.reset();
      // Each access that stalled was answered once.
      expect(guest.answers).toBe(guest.stalls);
      expect(smmu.stalledAccesses).toEqual([]);
    }
    // The guests get somewhere.
    console.info({ translated, commands, stalled });
    if (STEPS < 10_000) return;
    expect(translated).toBeGreaterThan(STEPS / 20);
    expect(commands).toBeGreaterThan(STEPS / 50);
    expect(stalled).toBeGreaterThan(STEPS / 2500);
  });
});

function restoreElsewhere(smmu: Smmu, memory: CountingMemory): void {
  const state = JSON.parse(JSON.stringify(smmu.save())) as ReturnType<Smmu['save']>;
  const other = new Smmu({ memory, features: smmu.features });
  other.restore(state);
  expect(other.save()).toEqual(state);
}
