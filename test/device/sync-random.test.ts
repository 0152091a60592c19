import { describe, expect, test } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import { R, type Entry } from '../smmu/smmu-machine.js';
import { nthSeed, Random } from '../transaction/random.js';
import {
  ALL_ON,
  BLOCK,
  cfgiCd,
  cfgiCdAll,
  cfgiSte,
  cfgiSteRange,
  CFGI_ALL,
  DATA,
  DeviceMachine,
  nhAsid,
  nhVa,
  nhVaa,
  nhVaRange,
  NH_ALL,
  NSNH_ALL,
  PAGE,
  STREAM,
  SYNC_IRQ,
} from './device-machine.js';
import { rounds, SEED, where } from './seed.js';
import { SlowAccess } from './slow-access.js';

const STEPS = 250;
const CMDQEN = 8;
const ASIDS = [5, 6, 7];
/** Pages of 4 KiB, some global, then two blocks; in the upper half as well. */
const PAGES = 12;
const GLOBAL_PAGES = [3, 4, 9];
const BLOCKS = [BLOCK, 2 * BLOCK];
const UPPER = 0xffff_8000_0000_0000n;

/** What leaves an access uses, and under which names, by the model. */
interface Used {
  readonly access: SlowAccess;
  readonly streamId: number;
  readonly context: number;
  readonly asid: number;
  /** First and last page; empty when nothing translated. */
  readonly leaves: readonly { first: bigint; last: bigint; isGlobal: boolean }[];
  /** Something that it uses was invalidated. */
  isAwaited: boolean;
}

/** A command, and which accesses it names; a CMD_SYNC names none. */
interface Step {
  readonly entry: Entry;
  readonly names?: (used: Used) => boolean;
}

/** A device: its handle, and the names of what it translates by. */
interface Device {
  readonly handle: StreamHandle;
  readonly context: number;
  readonly asid: number;
  readonly bypasses: boolean;
}

class World {
  readonly machine: DeviceMachine;
  accesses: Used[] = [];
  /** Commands that are not consumed yet, by the model. */
  pending: Step[] = [];
  syncs = 0;
  waits = 0;
  private isOn = true;
  private readonly random: Random;
  private readonly devices: Device[] = [];

  constructor(random: Random) {
    this.random = random;
    const cache = random.pick([{}, { entries: 6 }, { entries: 0 }]);
    this.machine = new DeviceMachine({ cache });
    const { guest, smmu } = this.machine;
    const spaces = ASIDS.map((asid) => {
      const space = this.machine.space(asid);
      for (const half of [0n, UPPER]) {
        for (let i = 0; i < PAGES; i++) {
          const leaf = { nG: GLOBAL_PAGES.includes(i) ? 0 : 1 };
          space.map(half + BigInt(i * PAGE), DATA + 2 * i * PAGE, PAGE, { leaf });
        }
        for (const block of BLOCKS) space.map(half + BigInt(block), DATA + block, BLOCK);
      }
      return space;
    });
    // Two streams of one CD, one of another ASID, one that bypasses, one with substreams.
    guest.attach(STREAM, spaces[0]!);
    guest.attach(STREAM + 1, spaces[0]!);
    guest.attach(STREAM + 2, spaces[1]!);
    guest.bypass(STREAM + 3);
    guest.attachSubstreams(
      STREAM + 4,
      new Map([
        [0, spaces[2]!],
        [1, spaces[0]!],
      ]),
    );
    this.machine.start();
    const handles = [0, 1, 2, 3, 4].map((i) => smmu.attach(STREAM + i));
    const device = (handle: StreamHandle, asid: number, context = 0, bypasses = false): void => {
      this.devices.push({ handle, asid, context, bypasses });
    };
    device(handles[0]!, 5);
    device(handles[1]!, 5);
    device(handles[2]!, 6);
    device(handles[3]!, -1, 0, true);
    device(handles[4]!, 7);
    device(handles[4]!.substream(1), 5, 1);
  }

  async step(): Promise<void> {
    const { random, machine } = this;
    const kind = random.below(12);
    if (kind < 4) this.begin();
    else if (kind < 8) await this.end();
    else if (kind < 11) this.enqueue();
    else {
      this.isOn = !this.isOn;
      machine.write(R.CR0, this.isOn ? ALL_ON : ALL_ON & ~CMDQEN);
    }
    this.run();
  }

  /** Ends all accesses, and the queue. */
  async finish(): Promise<void> {
    this.isOn = true;
    this.machine.write(R.CR0, ALL_ON);
    while (this.accesses.length > 0) await this.end();
    this.run();
  }

  /** What the command queue does. */
  private run(): void {
    while (this.isOn && this.pending.length > 0) {
      const { names } = this.pending[0]!;
      if (names === undefined) {
        if (this.accesses.some((used) => used.isAwaited)) {
          this.waits++;
          return;
        }
        this.syncs++;
      } else {
        for (const used of this.accesses) if (names(used)) used.isAwaited = true;
      }
      this.pending.shift();
    }
  }

  private begin(): void {
    const { random } = this;
    if (this.accesses.length >= 12) return;
    const { handle, context, asid, bypasses } = random.pick(this.devices);
    const half = random.pick([0n, 0n, UPPER]);
    let [first, length] = [PAGE * random.below(PAGES), 1];
    if (random.chance(0.3)) {
      first = random.pick(BLOCKS) + PAGE * random.below(512);
      length = random.chance(0.5) ? 1 : 3 * BLOCK - first - random.below(PAGE);
    } else if (random.chance(0.5)) {
      length = PAGES * PAGE - first - random.below(PAGE);
    }
    length = random.chance(0.5) ? length : random.between(1, length);
    const iova = bypasses ? DATA + first : half + BigInt(first);
    const access = new SlowAccess(handle, iova, length, random.below(2));
    expect(access.isActive).toBe(true);
    const leaves = bypasses ? [] : leavesOf(half, first, first + length - 1);
    const { streamId } = handle;
    this.accesses.push({ access, streamId, context, asid, leaves, isAwaited: false });
  }

  private async end(): Promise<void> {
    const { random, accesses } = this;
    if (accesses.length === 0) return;
    const [used] = accesses.splice(random.below(accesses.length), 1);
    if (random.chance(0.8)) await used!.access.finish();
    else await used!.access.fail();
  }

  private enqueue(): void {
    if (this.pending.length > 100) return;
    const steps = Array.from({ length: this.random.between(1, 3) }, () => this.command());
    this.pending.push(...steps);
    this.machine.command(...steps.map(({ entry }) => entry));
  }

  private command(): Step {
    const { random } = this;
    const asid = random.pick(ASIDS);
    const streamId = STREAM + random.below(5);
    const half = random.pick([0n, 0n, UPPER]);
    const offset = random.chance(0.7)
      ? PAGE * random.below(PAGES + 1)
      : random.pick(BLOCKS) + PAGE * random.pick([0, 1, 511, 512]);
    const iova = half + BigInt(offset);
    const page = iova >> 12n;
    switch (random.below(14)) {
      case 0:
        return { entry: random.pick([NH_ALL, NSNH_ALL]), names: ({ leaves }) => leaves.length > 0 };
      case 1:
        return {
          entry: nhAsid(asid),
          names: (used) => used.asid === asid && used.leaves.some(({ isGlobal }) => !isGlobal),
        };
      case 2:
      case 3:
        return { entry: nhVa(asid, iova), names: (used) => usesPages(used, asid, page, page) };
      case 4:
        return { entry: nhVaa(iova), names: (used) => usesPages(used, -1, page, page) };
      case 5: {
        const [num, scale] = [random.below(4), random.below(4)];
        const last = page + BigInt((num + 1) * 2 ** scale) - 1n;
        // Of one page without a level it would be illegal.
        if (num === 0 && scale === 0) return { entry: SYNC_IRQ };
        return {
          entry: nhVaRange(asid, iova, num, scale),
          names: (used) => usesPages(used, asid, page, last),
        };
      }
      case 6:
        return { entry: cfgiSte(streamId), names: (used) => used.streamId === streamId };
      case 7: {
        const log2 = random.between(1, 3);
        const block = Math.floor(streamId / 2 ** log2);
        return {
          entry: cfgiSteRange(streamId, log2 - 1),
          names: (used) => Math.floor(used.streamId / 2 ** log2) === block,
        };
      }
      case 8:
        return { entry: CFGI_ALL, names: () => true };
      case 9: {
        const context = random.below(2);
        return {
          entry: cfgiCd(streamId, context),
          names: (used) => used.streamId === streamId && used.context === context,
        };
      }
      case 10:
        return { entry: cfgiCdAll(streamId), names: (used) => used.streamId === streamId };
      default:
        return { entry: SYNC_IRQ };
    }
  }
}

/** The leaves of the addresses `first` to `last` of a half. */
function leavesOf(half: bigint, first: number, last: number): Used['leaves'] {
  const leaves: { first: bigint; last: bigint; isGlobal: boolean }[] = [];
  for (let at = first; at <= last;) {
    const bytes = at >= BLOCK ? BLOCK : PAGE;
    const start = at - (at % bytes);
    const page = (half + BigInt(start)) >> 12n;
    const isGlobal = bytes === PAGE && GLOBAL_PAGES.includes(start / PAGE);
    leaves.push({ first: page, last: page + BigInt(bytes / PAGE) - 1n, isGlobal });
    at = start + bytes;
  }
  return leaves;
}

function usesPages(used: Used, asid: number, first: bigint, last: bigint): boolean {
  return used.leaves.some((leaf) => {
    const isNamed = asid < 0 || used.asid === asid || leaf.isGlobal;
    return isNamed && leaf.first <= last && first <= leaf.last;
  });
}

describe('CMD_SYNC', () => {
  const worlds = rounds(25);
  test(`passes exactly when nothing that was invalidated is in use, ${worlds} worlds, seed ${SEED}`, async () => {
    const tally = { syncs: 0, waits: 0 };
    for (let round = 0; round < worlds; round++) {
      const world = new World(new Random(nthSeed(SEED, round)));
      const { machine } = world;
      for (let step = 0; step < STEPS; step++) {
        await world.step();
        expect(machine.commandsLeft, where(round, step)).toBe(world.pending.length);
        expect(machine.smmu.drain(7), where(round, step)).toBe(false);
        expect(machine.wires.length, where(round, step)).toBe(world.syncs);
        expect(machine.smmu.stats().underWay, where(round, step)).toBe(world.accesses.length);
      }
      await world.finish();
      expect([machine.commandsLeft, machine.pendingCalls], where(round, STEPS)).toEqual([0, 0]);
      expect(machine.read(R.GERROR), where(round, STEPS)).toBe(0);
      expect(machine.takeEvents(), where(round, STEPS)).toEqual([]);
      tally.syncs += world.syncs;
      tally.waits += world.waits;
    }
    expect(tally.syncs, `seed ${SEED}`).toBeGreaterThan(10 * worlds);
    expect(tally.waits, `seed ${SEED}`).toBeGreaterThan(10 * worlds);
  });
});
