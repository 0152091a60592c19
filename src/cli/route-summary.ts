import { Command, CommandOpcode, type CommandFormat } from '../arch/command.js';
import { get } from '../arch/field.js';
import type { RouteBatch, RouteChange, RouteMoment } from '../fixtures/route-log.js';
import type { RoutePhysical, RouteReplay } from '../fixtures/route-replay.js';
import { fieldRecord, hexDoublewords, type FieldRecord } from './output.js';

/** Batches that are printed in full, of each physical SMMU. */
const FIRST_BATCHES = 5;
/** Commands of a batch that are printed. */
const FIRST_COMMANDS = 16;
/** Changes that are printed, of each physical SMMU. */
const FIRST_CHANGES = 200;

/** Batches with at most so many commands; the last is for all that are larger. */
const SIZES = [1, 2, 8, 64, 512, Infinity];

/** What `vsmmu route` prints: with `--json` as it is. */
export type RouteSummary = ReturnType<typeof summaryOf>;

/** One physical SMMU of a {@link RouteSummary}. */
export type PhysicalSummary = RouteSummary['physical'][number];

/**
 * Sums up what went where.
 * @param records lines of the trace; 0 without one.
 */
export function summaryOf(result: RouteReplay, records: number, seconds: number) {
  const { passthrough, accesses, leftOut, hardwareEvents, stats, mismatches, first } = result;
  const { forwarded, inside, amplification } = passthrough;
  const { commands, failedCommands } = stats;
  const events: Record<string, number> = {};
  for (const [name, { written }] of Object.entries(stats.events)) events[name] = written;
  const devices = result.devices.map(({ streamId, physical, physicalStreamId, attachment }) => ({
    ...{ streamId, physical, physicalStreamId, attached: attachment.kind },
    hwpt: 'hwpt' in attachment ? attachment.hwpt : 0,
  }));
  return {
    ...{ records, commands: result.commands.length, accesses, leftOut, hardwareEvents },
    devices,
    physical: result.physical.map((physical, i) => physicalOf(result, physical, i)),
    emulated: { commands, failedCommands, events },
    ...{ forwarded, inside, amplification, mismatches, first, seconds },
  };
}

function physicalOf({ passthrough }: RouteReplay, physical: RoutePhysical, index: number) {
  const { batches, changes, allocated, destroyed, check } = physical;
  const { translating, dropped, refusals, events, lostEvents } = passthrough.physical[index]!;
  const commands = batches.reduce((sum, { words }) => sum + words.length / 4, 0);
  return {
    ...{ calls: batches.length, commands, dropped, refusals, translating },
    sent: namesOf(batches.filter(({ origin }) => origin === 'guest')),
    madeUp: namesOf(batches.filter(({ origin }) => origin === 'vsmmu')),
    sizes: sizesOf(batches),
    syncs: new Set(batches.map(({ syncs }) => syncs)).size,
    batches: batches.slice(0, FIRST_BATCHES).map(batchOf),
    hwpts: { allocated, destroyed },
    changes: changes.slice(0, FIRST_CHANGES).map(changeOf),
    changeCount: changes.length,
    ...{ events, lostEvents },
    check: {
      tlbi: check.tallies,
      surplus: check.surplus,
      madeUp: check.madeUp,
    },
  };
}

function namesOf(batches: readonly RouteBatch[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { words } of batches) {
    for (let at = 0; at < words.length; at += 4) {
      const name = formatOf(words, at)[0];
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return counts;
}

function sizesOf(batches: readonly RouteBatch[]) {
  const sizes = SIZES.map((most, i) => {
    const least = (SIZES[i - 1] ?? 0) + 1;
    const has = ({ words }: RouteBatch): boolean =>
      words.length / 4 >= least && words.length / 4 <= most;
    return { least, most: most === Infinity ? null : most, batches: batches.filter(has).length };
  });
  return sizes.filter((size) => size.batches > 0);
}

function batchOf(batch: RouteBatch) {
  const { words, origin, errno } = batch;
  const commands: { command: string; fields: FieldRecord; words: string[] }[] = [];
  for (let at = 0; at < Math.min(words.length, 4 * FIRST_COMMANDS); at += 4) {
    const [command, format] = formatOf(words, at);
    const fields = format === undefined ? {} : fieldRecord(words, at, format.fields);
    commands.push({ command, fields, words: hexDoublewords(words.slice(at, at + 4)) });
  }
  return { ...momentOf(batch), origin, errno, count: words.length / 4, commands };
}

function changeOf(change: RouteChange) {
  const { streamId, kind, hwpt, vste } = change;
  return { ...momentOf(change), streamId, attached: kind, hwpt, vste: hexDoublewords(vste) };
}

function momentOf({ commands, syncs, line, cause }: RouteMoment) {
  return { command: commands, syncs, line, cause };
}

function formatOf(words: Uint32Array, at: number): [string, CommandFormat | undefined] {
  const opcode = get(words, at, CommandOpcode);
  const found = Object.entries(Command).find(([, format]) => format.opcode === opcode);
  return found ?? [`0x${opcode.toString(16)}`, undefined];
}
