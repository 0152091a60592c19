/** How a guest makes a change of its tables known: in order, too late, wrongly, or not at all. */
import { SYNC, tlbiAsid, tlbiRange, type WorldCommand } from './mirror-world-commands.js';
import type { World } from './mirror-world.js';

/** How a change is made known. */
const WAYS = ['named', 'silent', 'late', 'asid', 'break', 'broken', 'any asid', 'other'] as const;

/** A change of the tables, which can be undone for a moment. */
export interface Change {
  readonly what: string;
  readonly asid: number;
  readonly from: number;
  readonly bytes: number;
  readonly level: number;
  readonly granuleLog2: number;
  readonly write: (isBroken: boolean) => void;
}

/** Makes a change, and invalidates in one of several ways. */
export function announce(world: World, d: number, change: Change): void {
  const way = WAYS[d % WAYS.length]!;
  const named = namesOf(change, way, d >> 3);
  if (way === 'break' || way === 'broken') {
    change.write(true);
    world.written(`${change.what}: broken first`);
    if (way === 'break') world.issue(...named, SYNC);
  }
  change.write(false);
  world.written(`${change.what}, ${way}`);
  if (way === 'silent' || way === 'break' || way === 'broken') return;
  if (way === 'late') world.issue(...named);
  else world.issue(...named, SYNC);
}

function namesOf(change: Change, way: string, flavour: number): WorldCommand[] {
  const { asid: own, from, bytes, level, granuleLog2 } = change;
  if (way === 'asid') return [tlbiAsid(own)];
  const asid = way === 'any asid' ? -1 : way === 'other' ? 3 - own : own;
  const leaf = flavour % 2 === 1;
  const ttl = (flavour >> 1) % 4 === 0 ? 0 : level;
  const granules = bytes / 2 ** granuleLog2;
  const isRange = (flavour >> 2) % 4 !== 3;
  const of = { asid, leaf, granuleLog2 };
  // One table: a range of one granule, which the level makes that of the entry.
  if (level < 3 || !isRange) {
    const commands: WorldCommand[] = [];
    const step = level < 3 ? bytes : 2 ** granuleLog2;
    for (let at = from; at < from + bytes; at += step) {
      commands.push(tlbiRange({ ...of, iova: at, num: 0, scale: 0, ttl }));
    }
    return commands;
  }
  const num = Math.min(31, granules - 1);
  const commands = [tlbiRange({ ...of, iova: from, num, scale: 0, ttl })];
  if (granules > 32) {
    const iova = from + 32 * 2 ** granuleLog2;
    commands.push(tlbiRange({ ...of, iova, num: granules - 33, scale: 0, ttl }));
  }
  return commands;
}
