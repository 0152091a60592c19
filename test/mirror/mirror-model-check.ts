/** What is to be true of the sinks of a mirrored stream, at any time and when all is done. */
import type { StreamModel } from './mirror-model.js';
import {
  canHold,
  heldBy,
  isCovered,
  isEqual,
  known,
  MIXED,
  NOTHING,
  partOf,
} from './mirror-model-held.js';
import { print, printValues, unitsOf, type Held } from './mirror-model-held.js';
import { hex, type Area, type ModelSink } from './mirror-model-sink.js';
import type { Value, Values } from './mirror-model-tables.js';
import type { Attached } from './mirror-world-options.js';
import type { World } from './mirror-world.js';

/** What a stream on demand may be given by a value: writes of clean pages go through the SMMU. */
function onDemand({ permissions, clean }: Value): number {
  return clean ? permissions & ~2 : permissions;
}

function says(value: Value, held: Held, isDemand: boolean): boolean {
  if (value.address !== held.address) return false;
  if (value.permissions === held.permissions && (!isDemand || !value.clean)) return true;
  return isDemand && held.permissions > 0 && (held.permissions & ~onDemand(value)) === 0;
}

function isDemand({ mirror, policy }: Attached): boolean {
  return (mirror?.servedBy ?? policy) === 'demand';
}

/** The first cell of `area` that it maps as the tables never did since it was last named. */
export function maySay(
  { layout, isMixing }: World,
  one: Attached,
  sink: ModelSink,
  area: Area,
): number | undefined {
  const { model } = one;
  const end = area.iova + area.length;
  if (isMixing) return undefined;
  let at = area.iova;
  for (let i = layout.cellAt(area.iova); at < end; i++) {
    const cell = layout.cells[i];
    if (cell === undefined || cell.start > at) return at;
    const held = partOf(area, cell.start);
    const demand = isDemand(one);
    const isAllowed = model.allowed[i]!.some((value) => says(value, held, demand));
    if (!isAllowed) {
      const value = demand ? model.cached[i]!.find((old) => says(old, held, true)) : undefined;
      if (value === undefined) {
        if (sink.isLeftOver(cell.start, held)) {
          at = cell.end;
          continue;
        }
        return cell.start;
      }
      // A translation that was kept: nothing has named it yet.
      model.allowed[i] = [...model.allowed[i]!, value];
      const fresh = model.fresh[i];
      if (fresh !== undefined) model.fresh[i] = [...fresh, value];
    }
    at = cell.end;
  }
  return undefined;
}

/** The first cell of `[from, to)` that `sink` could keep, and that the guest has not changed. */
export function mustStay(
  world: World,
  one: Attached,
  sink: ModelSink,
  from: number,
  to: number,
): number | undefined {
  const { model, isDetached } = one;
  const { unmaps = 'any', areas } = sink.capabilities;
  // After a refusal what is held may be in doubt.
  const isOpen = unmaps === 'any' && areas === undefined && !sink.hasRefused;
  if (!isOpen || isDetached || world.isMixing) return undefined;
  const held = heldBy(world, sink);
  for (const unit of unitsOf(world, sink)) {
    const cells = unit.map((i) => world.layout.cells[i]!);
    if (cells[0]!.start >= to || cells.at(-1)!.end <= from) continue;
    const isChanged = unit.some((i) => {
      const demand = isDemand(one);
      const values = demand ? [...model.allowed[i]!, ...model.cached[i]!] : model.allowed[i]!;
      return values.some(
        ({ address, permissions, clean, isNew }) =>
          address !== held[i]!.address ||
          permissions !== held[i]!.permissions ||
          (demand && (clean || isNew)),
      );
    });
    if (held[unit[0]!] !== NOTHING && !isChanged) return cells[0]!.start;
  }
  return undefined;
}

export function checkStream(world: World, one: Attached): void {
  const { sinks, model, isDetached } = one;
  const mirror = one.mirror!;
  const { isSettled } = world;
  const isInStep = mirror.isInStep;
  for (const sink of sinks) {
    const areas = known(sink, [...mirror.areas(sink)]);
    const expected = known(sink, sink.areas);
    if (!isEqual(areas, expected)) {
      world.complain(`${sink.name}: areas() is ${print(areas)}, not ${print(expected)}`);
    }
    const isIdle = sink.pending.length === 0 && world.task === undefined && !world.isMixing;
    if (isIdle && sink.hasRefused && !sink.isReported) world.complain(`${sink.name}: no report`);
    const wrong = isDetached
      ? sink.areas.length === 0
        ? undefined
        : 'not empty'
      : differenceOf(world, one, sink, isIdle);
    const mayDiffer = sink.hasRefused && !(isSettled && isInStep);
    if (wrong !== undefined && !mayDiffer && (isIdle || !isDetached)) {
      world.complain(`${sink.name}: ${wrong}`);
    }
    if (!sink.hasRefused || !isIdle) continue;
    if (wrong === undefined) sink.mayBeOver = true;
    if (!isSettled || !isInStep) continue;
    sink.isInStep();
  }
  const isBusy = sinks.some(({ pending }) => pending.length > 0);
  if (isBusy && isInStep) world.complain(`stream ${model.streamId}: in step, with sinks busy`);
  if (isSettled && !isInStep && sinks.every(({ hasRefused }) => !hasRefused)) {
    world.complain(`stream ${model.streamId}: not in step`);
  }
  if (isDetached) return;
  if (mirror.servedBy !== one.policy && !(one.isLimited && mirror.servedBy === 'demand')) {
    world.complain(`stream ${model.streamId}: served by ${mirror.servedBy}, not ${one.policy}`);
  }
}

/** What a sink holds that it may not, or does not hold that it must. */
function differenceOf(
  world: World,
  one: Attached,
  sink: ModelSink,
  isIdle: boolean,
): string | undefined {
  const { model } = one;
  const held = heldBy(world, sink);
  const demand = isDemand(one);
  // What finds no room may end anywhere.
  const isFew = sink.capabilities.areas !== undefined;
  const outside = sink.areas.find(({ iova, length }) => !isCovered(world, iova, iova + length));
  if (outside !== undefined) return `${hex(outside.iova)} is mapped, which the guest never names`;
  for (const unit of unitsOf(world, sink)) {
    const isHeld = unit.some((i) => held[i] !== NOTHING);
    for (const i of unit) {
      const values = (isIdle ? model.fresh[i] : undefined) ?? model.allowed[i]!;
      const found = held[i]!;
      const start = hex(world.layout.cells[i]!.start);
      if (found === MIXED && isIdle && !isFew) return `${start} is mapped in part`;
      if (found === MIXED || !isHeld || world.isMixing) continue;
      if (found === NOTHING) return `${start} is not mapped, but its neighbours`;
      const isSaid = values.some(
        (value) =>
          says(value, found, demand && value.source === 'tables') ||
          // The policy may be new.
          (!isIdle && says(value, found, false)),
      );
      if (!isSaid) {
        return `${start} is ${hex(found.address)} ${found.permissions}, not ${printValues(values)}`;
      }
    }
    if (isHeld || !isIdle) continue;
    const start = world.layout.cells[unit[0]!]!.start;
    const isMissed = unit.some((i) => {
      const { start: from, end } = world.layout.cells[i]!;
      const values = model.allowed[i]!;
      if (!sink.missed.has(i) || !isMapped(values)) return false;
      // What the guest has put there since may lie where the sink maps nothing.
      return values.every(({ address }) => canHold(sink, from, address, end - from));
    });
    if (isMissed) return `${hex(start)} was missed, and is not mapped`;
    if (mustHold(world, model, sink, unit, demand)) return `${hex(start)} is not mapped`;
  }
  return undefined;
}

/** Whether the tables have said nothing else lately: what is not named may be looked up all the same. */
function isMapped(values: Values): boolean {
  return values.every(({ permissions, isNew }) => permissions !== 0 && !isNew);
}

/** Whether there is but one thing that a unit can say, and that is a mapping that the sink can have. */
function mustHold(
  world: World,
  model: StreamModel,
  sink: ModelSink,
  unit: readonly number[],
  demand: boolean,
): boolean {
  const { cells } = world.layout;
  const isFew = sink.capabilities.areas !== undefined;
  const first = (model.fresh[unit[0]!] ?? model.allowed[unit[0]!]!)[0]!;
  const start = cells[unit[0]!]!.start;
  for (const i of unit) {
    for (const value of model.fresh[i] ?? model.allowed[i]!) {
      if (demand && (value.source === 'tables' || isFew)) return false;
      if (value.permissions === 0 || value.permissions !== first.permissions) return false;
      if (value.address - first.address !== cells[i]!.start - start) return false;
    }
  }
  return canHold(sink, start, first.address, cells[unit.at(-1)!]!.end - start);
}
