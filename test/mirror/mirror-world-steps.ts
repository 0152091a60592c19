/** What a guest, its devices and its VMM do: steps made of small numbers, so that they can shrink. */
import { cfgiCd, cfgiCdAll, cfgiRange, cfgiSte, SYNC } from './mirror-world-commands.js';
import { TLBI_NH_ALL, TLBI_NSNH_ALL, tlbiAsid, tlbiRange } from './mirror-world-commands.js';
import type { WorldCommand } from './mirror-world-commands.js';
import { hex } from './mirror-model-sink.js';
import { announce } from './mirror-world-announce.js';
import { choose, detach, miss, recover, resync, tick } from './mirror-world-device.js';
import { LEAVES, READ_ONLY, STE_MODES } from './mirror-world-guest.js';
import type { World } from './mirror-world.js';

export const KINDS = [
  ...['map', 'unmap', 'tweak', 'block', 'link', 'first', 'cd', 'ste', 'enable', 'abort', 'hole'],
  ...['tlbi', 'cfgi', 'sync', 'miss', 'resync', 'policy', 'detach', 'fail', 'recover', 'tell'],
  ...['tick', 'answer'],
] as const;
export type StepKind = string;

export interface Step {
  readonly kind: StepKind;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

export function take(world: World, { kind, a, b, c, d }: Step): void {
  switch (kind) {
    case 'map':
    case 'unmap':
    case 'tweak':
      pages(world, kind, a, b, c, d);
      break;
    case 'block':
    case 'link':
    case 'first':
      tables(world, kind, a, b, c, d);
      break;
    case 'cd':
    case 'ste':
      configuration(world, kind, a, b, c, d);
      break;
    case 'enable':
      world.enable(!world.isEnabled);
      break;
    case 'abort':
      world.abort(!world.aborts);
      break;
    case 'hole':
      hole(world, a, d);
      break;
    case 'tlbi':
      world.issue(...invalidation(world, a, b, c), ...(d % 2 === 0 ? [SYNC] : []));
      break;
    case 'cfgi':
      world.issue(reconfiguration(world, a, b), ...(d % 2 === 0 ? [SYNC] : []));
      break;
    case 'sync':
      world.issue(SYNC);
      break;
    case 'tell':
      world.tell();
      break;
    default:
      device(world, kind, a, b, c);
  }
}

function pages(world: World, kind: string, a: number, b: number, c: number, d: number): void {
  const { guest, layout } = world;
  const { granule, granuleLog2 } = layout;
  const space = (a >> 4) % 4 === 3 ? 1 : 0;
  const window = a % layout.windows.length;
  const k = (a >> 2) % 4 === 3 ? 1 : 0;
  const { start, pages: usable } = layout.windows[window]!;
  const first = b % usable.length;
  const firstPage = usable[first]!;
  let count = 1;
  while (count < 1 + (b >> 4) && usable[first + count] === firstPage + count) count++;
  const leaf = LEAVES[c % LEAVES.length]!;
  const output = outputs(window, layout.block)[(c >> 3) % 4]!;
  const isReversed = (c >> 5) % 4 === 3;
  // Not congruent with the IOVA where pages are large.
  const shift = (c >> 5) % 4 === 2 ? granule : 0;
  const values = Array.from({ length: count }, (_, i) => {
    const before = guest.page(space, window, k, firstPage + i);
    if (kind === 'unmap') return 0n;
    const page = firstPage + (isReversed ? count - 1 - i : i);
    if (kind === 'map') return BigInt(output + shift + page * granule) | leaf | 3n;
    if ((before & 1n) === 0n) return before;
    // The permission alone, or the output alone.
    return c % 2 === 0 ? before ^ READ_ONLY : before ^ BigInt(2 * granule);
  });
  announce(world, d, {
    what: `${kind} space ${space} window ${window}.${k} pages ${firstPage} to ${firstPage + count}: ${hex(output)} leaf ${c % 8}`,
    asid: space + 1,
    from: start + firstPage * granule,
    bytes: count * granule,
    level: 3,
    granuleLog2,
    write: (isBroken) => {
      values.forEach((value, i) => {
        guest.setPage(space, window, k, firstPage + i, isBroken ? 0n : value);
      });
    },
  });
}

function outputs(window: number, block: number): readonly number[] {
  return [0x4000_0000 + (window % 2) * block, 0x8000_0000, 0x8000_0000 + block, 2 ** 36];
}

function tables(world: World, kind: string, a: number, b: number, c: number, d: number): void {
  const { guest, layout } = world;
  const { block, granuleLog2, startLevel } = layout;
  const space = (a >> 4) % 4 === 3 ? 1 : 0;
  const window = a % layout.windows.length;
  const k = (a >> 2) % 4 === 3 ? 1 : 0;
  const { start, upper } = layout.windows[window]!;
  const leaf = LEAVES[c % LEAVES.length]! | 1n;
  const isFirst = kind === 'first' && startLevel === 1;
  const level = isFirst ? 1 : 2;
  // APTable[1]: no writes; [0]: nothing for unprivileged accesses.
  const apTable = BigInt((c >> 3) % 4) << 61n;
  const next = isFirst ? guest.middle(space, upper, b % 2) : guest.pages(space, window, b % 2);
  const bytes = isFirst ? 2 ** 30 : block;
  const output = isFirst ? 0x4000_0000 * (1 + (b % 2)) : outputs(window, block)[b % 4]!;
  let value = BigInt(next) | 3n | apTable;
  let what = `${kind} to table ${b % 2}, APTable ${(c >> 3) % 4}`;
  if (kind !== 'link' && !(isFirst && (upper || c % 2 === 0))) {
    value = BigInt(output) | leaf;
    what = `block at ${hex(output)} leaf ${c % 8}`;
  }
  if (kind === 'link' && b % 8 === 7) [value, what] = [0n, 'no table'];
  announce(world, d, {
    what: `space ${space} window ${window}.${k} level ${level}: ${what}`,
    asid: space + 1,
    from: Math.floor(start / bytes) * bytes,
    bytes,
    level,
    granuleLog2,
    write: (isBroken) => {
      const word = isBroken ? 0n : value;
      if (isFirst) guest.setFirst(space, window, k, word);
      else guest.setWindow(space, window, k, word);
    },
  });
}

function configuration(
  world: World,
  kind: string,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  const { guest, options } = world;
  const { streamId, substreamId = 0 } = options.streams[a % options.streams.length]!;
  if (kind === 'cd') {
    const slot = (a >> 3) % 4 === 3 ? 1 : substreamId;
    const choice = {
      space: b % 2,
      asid: 1 + ((b >> 1) % 2),
      root: (b >> 2) % 4 === 3 ? 1 : 0,
      valid: (b >> 4) % 8 !== 7,
    };
    guest.setCd(slot, choice);
    world.written(`CD ${slot}: ${JSON.stringify(choice)}`);
    const commands = [
      [cfgiCd(streamId, substreamId, c % 2 === 0), SYNC],
      [cfgiCdAll(streamId), SYNC],
      [cfgiSte(streamId, true), TLBI_NH_ALL, SYNC],
      [cfgiCd(streamId, substreamId, true)],
      [],
    ][d % 5]!;
    if (commands.length > 0) world.issue(...commands);
    return;
  }
  const mode = STE_MODES[b % STE_MODES.length]!;
  guest.setSte(streamId, mode);
  world.written(`STE ${streamId}: ${mode}`);
  const commands = [
    [cfgiSte(streamId, c % 2 === 0), SYNC],
    [cfgiRange(streamId, c % 3), SYNC],
    [cfgiRange(streamId, 31), TLBI_NSNH_ALL, SYNC],
    [cfgiSte(streamId, true)],
    [],
  ][d % 5]!;
  if (commands.length > 0) world.issue(...commands);
}

/** A page of tables or configuration vanishes, or comes back. */
function hole(world: World, a: number, d: number): void {
  const { guest } = world;
  // Who watches writes does not see this: it is made known, as soon as the queue goes on.
  const isTracked = world.attached.some((one) => world.isTracked(one));
  if (isTracked && !world.isSettled) return;
  const places = guest.places();
  const place = places[a % places.length]!;
  const isThere = guest.memory.toggle(place);
  world.written(`${hex(place)} ${isThere ? 'comes back' : 'vanishes'}`);
  if (d % 4 === 0 || isTracked) world.issue(cfgiRange(0, 31), TLBI_NH_ALL, SYNC);
  else if (d % 4 === 1) {
    const { windows } = world.layout;
    const iova = windows[Math.max(0, Math.min(windows.length - 1, (a % places.length) - 2))]!.start;
    const of = { asid: -1, iova, leaf: false, num: 0, scale: 0, ttl: 0 };
    world.issue(tlbiRange({ ...of, granuleLog2: 0 }), SYNC);
  }
}

function invalidation({ layout }: World, a: number, b: number, c: number): WorldCommand[] {
  const { cells, granuleLog2, granule } = layout;
  const asid = [1, 2, 3, -1][b % 4]!;
  const { start } = cells[(b >> 2) % cells.length]!;
  const iova = Math.floor(start / granule) * granule;
  const leaf = c % 2 === 1;
  const of = { asid, iova, leaf };
  switch (a % 6) {
    case 0:
      return [tlbiRange({ ...of, granuleLog2: 0, num: 0, scale: 0, ttl: 0 })];
    case 1:
      return [tlbiRange({ ...of, granuleLog2, num: c % 32, scale: (a + (c >> 2)) % 40, ttl: 0 })];
    case 2:
      return [tlbiAsid(Math.max(1, asid))];
    case 3:
      return [TLBI_NH_ALL];
    case 4:
      return [TLBI_NSNH_ALL];
    default:
      return [tlbiRange({ ...of, granuleLog2, num: c % 4, scale: 0, ttl: 3 })];
  }
}

function reconfiguration({ options }: World, a: number, b: number): WorldCommand {
  const { streamId } = options.streams[b % options.streams.length]!;
  switch (a % 5) {
    case 0:
      return cfgiSte(streamId, (b & 4) === 0);
    case 1:
      return cfgiRange(streamId, (b >> 2) % 3);
    case 2:
      return cfgiRange(streamId, 31);
    case 3:
      return cfgiCd(streamId, (b >> 3) % 2, (b & 4) === 0);
    default:
      return cfgiCdAll(streamId);
  }
}

function device(world: World, kind: string, a: number, b: number, c: number): void {
  const one = world.stream(a);
  const { sinks } = world;
  const sink = sinks[a % sinks.length]!;
  switch (kind) {
    case 'miss':
      if (one !== undefined) miss(world, one, b % world.layout.cells.length, 1 + (c % 3));
      break;
    case 'resync': {
      if (one === undefined) break;
      const { start, end } = world.layout.cells[b % world.layout.cells.length]!;
      if (c % 3 !== 0) resync(world, one, 0, 2 ** 64);
      else resync(world, one, start, end);
      break;
    }
    case 'policy':
      if (one !== undefined)
        choose(world, one, (['demand', 'invalidate', 'tracked'] as const)[b % 3]!);
      break;
    case 'detach':
      if (one === undefined) world.attach(a % world.models.length);
      else detach(world, one);
      break;
    case 'fail':
      sink.faults = {
        skip: b % 4,
        count: 1 + ((b >> 2) % 4),
        how: (['refuse', 'throw', 'reject'] as const)[c % 3]!,
        areas: (c >> 2) % 3,
        only: ([undefined, 'map', 'unmap'] as const)[(c >> 4) % 3],
      };
      world.log.push(`${sink.name} fails: ${JSON.stringify(sink.faults)}`);
      break;
    case 'recover':
      recover(world);
      break;
    case 'tick':
      tick(world);
      break;
    default:
      if (sink.pending.length === 0) break;
      world.log.push(`${sink.name} answers`);
      sink.settle(b);
  }
}
