/**
 * What CMD_SYNC is for: once it is done the guest gives a page that it has unmapped to somebody else,
 * and no device may touch it any more. Accesses here take time, stall, and are resumed.
 */
import { describe, expect, test } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import type { Entry } from '../smmu/smmu-machine.js';
import { nthSeed, Random } from '../transaction/random.js';
import {
  DATA,
  DeviceMachine,
  nhAsid,
  nhVa,
  nhVaa,
  nhVaRange,
  NH_ALL,
  PAGE,
  resume,
  stallTerm,
  STREAM,
  SYNC,
} from './device-machine.js';
import { rounds, SEED, where } from './seed.js';
import { SlowAccess } from './slow-access.js';

const ASID = 5;
const STEPS = 300;
/** Pages of the space. */
const PAGES = 10;

class World {
  readonly machine = new DeviceMachine({ cache: { entries: 32 } });
  accesses: SlowAccess[] = [];
  stalls = 0;
  bytes = 0;
  private readonly random: Random;
  private readonly space: AddressSpaceBuilder;
  private readonly handles: readonly StreamHandle[];
  /** Physical pages by page of the space; 0 for none. */
  private readonly mapped: number[] = [];
  /** Physical pages that are free once so many commands are consumed. */
  private readonly dying: { readonly address: number; readonly after: number }[] = [];
  private readonly free = new Set<number>();
  private nextPage = DATA;
  private enqueued = 0;

  constructor(random: Random) {
    this.random = random;
    this.space = this.machine.space(ASID, { S: 1 });
    const { guest, smmu } = this.machine;
    for (const i of [0, 1]) guest.attach(STREAM + i, this.space);
    for (let page = 0; page < PAGES; page++) {
      this.mapped.push(0);
      if (random.chance(0.7)) this.map(page);
    }
    this.machine.start();
    this.handles = [0, 1].map((i) => smmu.attach(STREAM + i));
  }

  async step(): Promise<void> {
    const { random } = this;
    switch (random.below(6)) {
      case 0:
      case 1: {
        if (this.accesses.length > 8) break;
        const first = random.below(PAGES * PAGE);
        const length = random.between(1, PAGES * PAGE - first);
        this.accesses.push(new SlowAccess(random.pick(this.handles), first, length));
        break;
      }
      case 2: {
        const active = this.accesses.filter(({ isActive }) => isActive);
        if (active.length > 0) await this.end(random.pick(active));
        break;
      }
      case 3:
        this.unmap(random.below(PAGES));
        break;
      case 4:
        this.answerStall();
        break;
      default:
        this.machine.takeEvents();
        // What a resumed access does next may come later than the guest's next step.
        if (random.chance(0.5)) await settle();
    }
    this.reap();
  }

  /** A physical page that is free and that an access has. */
  get misused(): number | undefined {
    for (const access of this.accesses) {
      if (!access.isActive) continue;
      for (const [i, address] of access.addresses.entries()) {
        const end = address + access.lengths[i]!;
        for (let page = address - (address % PAGE); page < end; page += PAGE) {
          if (this.free.has(page)) return page;
        }
      }
    }
    return undefined;
  }

  /** The guest answers, and devices end, until nothing is left. */
  async finish(): Promise<void> {
    for (let i = 0; i < 100 && this.accesses.length > 0; i++) {
      this.machine.takeEvents();
      for (const { stag, streamId } of this.machine.smmu.stalledAccesses) {
        this.command(resume(streamId, stag, 0, 1));
      }
      await settle();
      for (const access of this.accesses.filter(({ isActive }) => isActive)) await this.end(access);
      this.reap();
    }
    expect([this.accesses.length, this.machine.commandsLeft]).toEqual([0, 0]);
  }

  private async end(access: SlowAccess): Promise<void> {
    await access.finish();
    this.bytes += access.result as number;
  }

  /** Accesses that are over, and pages that are free now. */
  private reap(): void {
    this.accesses = this.accesses.filter(({ isOver }) => !isOver);
    const consumed = this.enqueued - this.machine.commandsLeft;
    while (this.dying.length > 0 && this.dying[0]!.after <= consumed) {
      this.free.add(this.dying.shift()!.address);
    }
  }

  private map(page: number): void {
    if (this.mapped[page] !== 0) return;
    this.mapped[page] = this.nextPage;
    this.space.map(page * PAGE, this.nextPage, PAGE);
    // Neighbours in physical memory now and then.
    this.nextPage += PAGE * this.random.pick([1, 2]);
  }

  private unmap(page: number): void {
    const { random } = this;
    const address = this.mapped[page]!;
    if (address === 0 || this.machine.commandsLeft > 100) return;
    this.space.unmap(page * PAGE, PAGE);
    this.mapped[page] = 0;
    const iova = page * PAGE;
    const range = nhVaRange(ASID, iova & ~0x1fff, 0, 1);
    this.command(random.pick([nhVa(ASID, iova), nhVaa(iova), nhAsid(ASID), NH_ALL, range]));
    this.command(SYNC);
    this.dying.push({ address, after: this.enqueued });
    // Mapped anew at once, elsewhere.
    if (random.chance(0.5)) this.map(page);
  }

  private answerStall(): void {
    const { random, machine } = this;
    const { stalledAccesses } = machine.smmu;
    if (stalledAccesses.length === 0 || machine.commandsLeft > 100) return;
    this.stalls++;
    const { stag, streamId, inputLow } = random.pick(stalledAccesses);
    if (random.chance(0.6)) this.map(Math.floor(inputLow / PAGE));
    if (random.chance(0.05)) this.command(stallTerm(streamId));
    else if (random.chance(0.8)) this.command(resume(streamId, stag, 1, 0));
    else this.command(resume(streamId, stag, 0, random.bit() as 0 | 1));
  }

  private command(...entries: readonly Entry[]): void {
    this.enqueued += entries.length;
    this.machine.command(...entries);
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

describe('a page that was unmapped', () => {
  const worlds = rounds(20);
  test(`is not touched after CMD_SYNC, ${worlds} worlds, seed ${SEED}`, async () => {
    const tally = { stalls: 0, bytes: 0 };
    for (let round = 0; round < worlds; round++) {
      const world = new World(new Random(nthSeed(SEED, round)));
      for (let step = 0; step < STEPS; step++) {
        await world.step();
        expect(world.misused, where(round, step)).toBeUndefined();
      }
      await world.finish();
      expect(world.misused, where(round, STEPS)).toBeUndefined();
      tally.stalls += world.stalls;
      tally.bytes += world.bytes;
    }
    expect(tally.stalls, `seed ${SEED}`).toBeGreaterThan(worlds);
    expect(tally.bytes, `seed ${SEED}`).toBeGreaterThan(worlds * PAGE);
  });
});
