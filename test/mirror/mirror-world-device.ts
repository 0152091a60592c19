/** What devices and the VMM do in a mirror's world, and how it ends. */
import type { SyncPolicy } from '../../src/mirror/mirror-options.js';
import { canHold, heldBy } from './mirror-model-held.js';
import { hex } from './mirror-model-sink.js';
import { cfgiRange, SYNC, TLBI_NSNH_ALL } from './mirror-world-commands.js';
import type { Attached } from './mirror-world-options.js';
import type { World } from './mirror-world.js';

const SPACE = 2 ** 64;

/** A device finds nothing, or too little permission, in a cell. */
export function miss(world: World, one: Attached, cell: number, permissions: number): void {
  const { model, sinks } = one;
  const { cells, granule } = world.layout;
  const { start, end } = cells[cell]!;
  // Any byte: here one of the last page.
  const iova = BigInt(end - 4096) + 0xabcn;
  const known = world.isEnabled ? [...model.cached[cell]!, ...model.now[cell]!] : model.now[cell]!;
  const wasBusy = sinks.some(({ pending }) => pending.length > 0);
  const isAllowed = world.call(`miss ${hex(start)} ${permissions}`, () => {
    const answer = one.mirror!.miss(iova, permissions);
    world.update();
    return answer;
  });
  // Who bypasses the SMMU reaches more than RAM.
  if (known.some(({ source }) => source === 'bypass')) return;
  const allows = known.map((value) => (value.permissions & permissions) === permissions);
  if (isAllowed ? !allows.includes(true) : !allows.includes(false)) {
    world.complain(`miss ${hex(start)}: ${isAllowed}`);
  }
  if (!isAllowed || one.mirror!.servedBy !== 'demand' || wasBusy) return;
  for (const sink of sinks) {
    const { pageSize = 4096, areas } = sink.capabilities;
    if (sink.hasRefused || areas !== undefined || pageSize > granule) continue;
    const all = [...model.cached[cell]!, ...model.now[cell]!];
    if (all.every(({ address }) => canHold(sink, start, address, end - start))) {
      sink.missed.add(cell);
      if (sink.pending.length > 0 || sink.faults.count > 0) continue;
      const held = heldBy(world, sink)[cell]!;
      if ((held.permissions & permissions) === permissions) continue;
      world.complain(`${sink.name}: ${hex(start)} was missed, and is ${held.permissions}`);
    }
  }
  world.check();
}

/** The VMM has the tables read again. */
export function resync(world: World, one: Attached, from: number, to: number): void {
  one.model.reread(from, to);
  const isAll = to === SPACE;
  const isInStep = world.call(`sync ${hex(from)} to ${hex(to)}`, () =>
    isAll ? one.mirror!.sync() : one.mirror!.sync(BigInt(from), to - from),
  );
  if (isInStep !== one.mirror!.isInStep) world.complain('sync() does not return isInStep');
  world.check();
}

export function choose(world: World, one: Attached, policy: SyncPolicy): void {
  one.policy = policy;
  one.isLimited = false;
  one.model.reread(0, SPACE);
  world.call(`policy ${policy}`, () => {
    one.mirror!.policy = policy;
  });
}

export function detach(world: World, one: Attached): void {
  one.isDetached = true;
  world.call(`detach ${world.models.indexOf(one.model)}`, () => {
    one.mirror!.detach();
  });
}

/** Sinks refuse nothing from now on; the next CMD_SYNC finds that out. */
export function recover(world: World): void {
  world.log.push('sinks recover');
  for (const sink of world.sinks) sink.recover();
  world.issue(SYNC);
}

export function tick(world: World): void {
  const { task } = world;
  if (task === undefined) return;
  world.task = undefined;
  world.call('tick', task);
}

/** Lets everything come to its end; a step is done where sinks may have to answer. */
export function* finish(world: World): Generator<void> {
  recover(world);
  yield* settle(world);
  world.tell();
  yield* settle(world);
  world.guest.memory.restore();
  world.written('no holes');
  world.issue(cfgiRange(0, 31), TLBI_NSNH_ALL, SYNC);
  yield* settle(world);
  for (const one of world.attached) {
    if (one.isDetached) continue;
    resync(world, one, 0, SPACE);
    yield* settle(world);
    if (!one.mirror!.isInStep) world.complain('not in step in the end');
    checkTablePages(world);
  }
  world.check();
  checkStats(world);
  for (const one of world.attached) {
    if (one.isDetached) continue;
    detach(world, one);
    yield* settle(world);
  }
  for (const { name, areas } of world.sinks) {
    if (areas.length > 0) world.complain(`${name}: not empty in the end`);
  }
  if (world.tablePages.size > 0) world.complain('table pages in the end');
  checkStats(world);
  world.check();
}

function* settle(world: World): Generator<void> {
  for (let i = 0; !world.isSettled; i++) {
    if (i > 10_000) throw new Error(`it never ends, after:\n  ${world.log.join('\n  ')}`);
    if (world.task !== undefined) tick(world);
    for (const sink of world.sinks) if (sink.pending.length > 0) sink.settle(i);
    yield;
  }
}

/** The pages that the VMM was told of are those of the tables of tracked streams. */
export function checkTablePages(world: World): void {
  const tracked = world.attached.filter((one) => world.isTracked(one));
  if (!world.isSettled || world.notices.length > 0) return;
  if (tracked.some(({ model }) => !model.isCertain)) return;
  const expected = new Set<number>();
  for (const { model } of tracked) {
    for (const [address, bytes] of model.tables) {
      for (let at = address - (address % 4096); at < address + bytes; at += 4096) expected.add(at);
    }
  }
  const told = print(world.tablePages);
  if (told !== print(expected)) world.complain(`table pages ${told}, not ${print(expected)}`);
  if (told !== print(world.mirror.tablePages()))
    world.complain('tablePages() is not what was told');
}

function checkStats(world: World): void {
  const { mirror, sinks, attached } = world;
  const stats = mirror.stats();
  const sum = (of: 'maps' | 'unmaps' | 'refusals'): number =>
    sinks.reduce((total, sink) => total + sink[of], 0);
  const areas = sinks.reduce((total, sink) => total + sink.areas.length, 0);
  const streams = attached.filter(({ isDetached }) => !isDetached).length;
  const expected = { maps: sum('maps'), unmaps: sum('unmaps'), refusals: sum('refusals') };
  for (const [name, value] of Object.entries({ ...expected, areas, streams })) {
    const found = stats[name as keyof typeof stats];
    if (found !== value) world.complain(`stats().${name} is ${found}, not ${value}`);
  }
}

function print(pages: Iterable<number>): string {
  return [...pages]
    .sort((a, b) => a - b)
    .map(hex)
    .join(' ');
}
