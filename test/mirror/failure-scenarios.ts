/** What guests do to their tables, in steps that each end with the CMD_SYNC that tells of it. */
import type { SyncPolicy } from '../../src/mirror/mirror-options.js';
import {
  cfgiCd,
  cfgiSte,
  DEVICE,
  machineWithSpace,
  RO,
  TLBI_NH_ALL,
  tlbiAsid,
  tlbiPages,
  tlbiVa,
  type MirrorMachine,
  type Space,
} from './machine.js';

/** A guest, its steps, and the tables that its device uses now. */
export interface Scenario {
  /** Default `invalidate`. */
  readonly policy?: SyncPolicy;
  readonly machine: MirrorMachine;
  readonly steps: readonly (() => void)[];
  /** `undefined` when it reaches nothing. */
  space(): Space | undefined;
}

export type ScenarioMaker = () => Scenario;

const PA = 0x8000_0000;
const MIB = 2 ** 20;

/** A driver that maps 64 pages one after the other and unmaps them, each with TLBI and CMD_SYNC. */
export function strictDriver(pages = 64): Scenario {
  const { machine, space } = machineWithSpace();
  const iova = (i: number): number => 0x7f_1234_0000 + 4096 * ((i * 27) % pages);
  const steps: (() => void)[] = [];
  for (let i = 0; i < pages; i++) {
    steps.push(() => void machine.map(space, iova(i), PA + 8192 * i).issue(tlbiVa(iova(i))));
  }
  for (let i = 0; i < pages; i++) {
    steps.push(() => void machine.unmap(space, iova(i)).issue(tlbiVa(iova(i))));
  }
  return { machine, steps, space: () => space };
}

/** A driver whose writes to its tables the VMM sees: pages, a table, a block; TLBI only where it unmaps. */
export function watchedDriver(): Scenario {
  const { machine, space } = machineWithSpace();
  const at = 4 * MIB;
  machine.map(space, at, PA, 8);
  const written = (iova: number, level: number, bytes = 8): void => {
    machine.mirror.tableWritten(machine.descriptor(space, iova, level), bytes);
  };
  const steps: (() => void)[] = [];
  for (let i = 4; i < 12; i++) {
    const iova = at + 4096 * i;
    steps.push(() => {
      machine.map(space, iova, PA + 4096 * ((i * 7) % 64));
      written(iova, 3);
    });
  }
  for (let i = 2; i < 10; i += 3) {
    const iova = at + 4096 * i;
    steps.push(() => {
      machine.unmap(space, iova, 2);
      written(iova, 3, 16);
      machine.issue(tlbiPages(iova, 2));
    });
  }
  steps.push(
    () => {
      machine.map(space, at + 2 * MIB, PA + 2 * MIB, 40);
      written(at + 2 * MIB, 2);
    },
    () => {
      machine.block(space, at + 2 * MIB, PA + 2 * MIB);
      written(at + 2 * MIB, 2);
      machine.issue(tlbiPages(at + 2 * MIB, 512));
    },
    () => {
      machine.put(machine.descriptor(space, at, 1), 0n);
      written(at, 1);
      machine.issue(TLBI_NH_ALL);
    },
  );
  return { machine, steps, space: () => space, policy: 'tracked' };
}

/** Blocks become tables and tables blocks; pages change; another CD, another STE, and back. */
export function switches(): Scenario {
  const { machine, space } = machineWithSpace();
  const other = machine.space(9);
  let now: Space | undefined = space;
  const at = 4 * MIB;
  machine.block(space, at, PA).block(space, at + 2 * MIB, PA + 2 * MIB);
  machine.map(other, 32 * MIB, PA, 8).block(other, at, PA + 4 * MIB);
  const steps = [
    () => machine.issue(TLBI_NH_ALL),
    // Break-before-make, and then half of its pages elsewhere.
    () => machine.put(machine.descriptor(space, at, 2), 0n).issue(tlbiVa(at)),
    () =>
      machine
        .map(space, at, PA, 256)
        .map(space, at + MIB, PA + 8 * MIB, 256)
        .issue(tlbiVa(at)),
    // A table becomes a block at once, its neighbour a table.
    () => machine.block(space, at, PA + 4 * MIB).issue(tlbiPages(at, 512)),
    () => {
      machine.put(machine.descriptor(space, at + 2 * MIB, 2), 0n);
      machine.map(space, at + 2 * MIB, PA + 2 * MIB, 40).issue(tlbiPages(at + 2 * MIB, 512));
    },
    () => machine.map(space, at + 0x20_5000, PA, 3, RO).issue(tlbiPages(at + 0x20_5000, 3)),
    () => machine.unmap(space, at + 0x21_0000, 4).issue(tlbiPages(at + 0x21_0000, 4)),
    () => {
      now = other;
      machine.setSte(DEVICE, other.cd).issue(cfgiSte());
    },
    () => machine.unmap(other, 32 * MIB + 0x3000, 2).issue(tlbiAsid(9)),
    () => {
      now = undefined;
      machine.setSte(DEVICE, 0, [0, 3, 1, 0]).issue(cfgiSte());
    },
    () => {
      now = space;
      machine.setSte(DEVICE, space.cd).issue(cfgiSte());
    },
    () => {
      const table = machine.descriptor(space, at, 1);
      machine.put(table, machine.peek(table) | (1n << 62n)).issue(cfgiCd());
    },
    () => machine.put(machine.descriptor(space, 0, 0), 0n).issue(TLBI_NH_ALL),
  ];
  return { machine, steps, space: () => now };
}

/** A large area that is divided, filled in, divided again, and goes as many areas at once. */
export function dividedAreas(): Scenario {
  const { machine, space } = machineWithSpace();
  const base = 8 * MIB;
  const page = (i: number): number => base + 4096 * i;
  machine.map(space, base, PA, 128);
  const steps = [
    () => machine.issue(TLBI_NH_ALL),
    () => machine.unmap(space, page(37)).issue(tlbiVa(page(37))),
    () => machine.unmap(space, page(38)).issue(tlbiVa(page(38))),
    () => machine.map(space, page(37), PA + 8 * MIB, 2).issue(tlbiPages(page(37), 2)),
    () => machine.map(space, page(90), PA + 9 * MIB).issue(tlbiVa(page(90))),
    () => machine.map(space, page(36), PA, 3, RO).issue(tlbiPages(page(32), 8)),
    () => machine.unmap(space, page(30), 16).issue(tlbiPages(page(30), 16)),
    () => machine.unmap(space, page(0), 64).issue(tlbiPages(page(0), 64)),
    () => machine.map(space, page(0), PA + 16 * MIB, 64).issue(tlbiPages(page(0), 64)),
    () => machine.unmap(space, page(0), 128).issue(tlbiPages(page(0), 128)),
    () => machine.map(space, page(3), PA, 5).issue(tlbiPages(page(0), 16)),
  ];
  return { machine, steps, space: () => space };
}
