import Table from 'cli-table3';
import pc from 'picocolors';
import type { SmmuStats } from 'vsmmu';
import type { BootResult } from '../boot.js';

/** Whether every check of a run is right. */
export function isPassed({ checks }: BootResult): boolean {
  return checks.every(({ isRight }) => isRight);
}

/** Prints what a run has come to: the guest's lines, the checks, and what the vSMMU did. */
export function printRun(result: BootResult, isVerbose: boolean): void {
  const { log, run, checks, machine, seconds } = result;
  const lines = log.split('\n').filter((line) => isVerbose || run.relevant.test(line));
  for (const line of lines) console.log(pc.dim(`  | ${line}`));
  for (const { name, isRight, seen } of checks) {
    const verdict = isRight ? pc.green('PASS') : pc.red('FAIL');
    console.log(`${verdict} ${name}${seen === undefined || seen === '' ? '' : ` (${seen})`}`);
  }
  for (const text of machine.differences.first) console.log(pc.red(`  difference: ${text}`));
  console.log(activity(result).toString());
  console.log(`${result.scenario.name}: ${seconds.toFixed(1)} s\n`);
}

/** What the vSMMU did in a run, as a table. */
function activity({ machine, counters }: BootResult): Table.Table {
  const { vsmmu, qtest } = machine;
  const all = [...vsmmu.retired, vsmmu.current.stats()];
  const sum = (of: (stats: SmmuStats) => number): number =>
    all.reduce((total, stats) => total + of(stats), 0);
  const sinks = vsmmu.sinkOperations();
  const rows: [string, string][] = [
    ['register writes seen', pairs(counters.writes)],
    ['registers published', pairs(counters.published)],
    ['commands', pairs(named(all, ({ commands }) => commands))],
    [
      'ranges invalidated, most pages',
      `${counters.commands.ranges}, ${counters.commands.mostPages}`,
    ],
    ['CMD_SYNCs by message', String(counters.commands.messages)],
    ['commands that failed', String(sum(({ failedCommands }) => failedCommands))],
    ['translations', String(sum(({ translations }) => translations))],
    ['micro-TLB hits', String(sum(({ cache }) => cache.microHits))],
    ['shadow cache hits', String(sum(({ cache }) => cache.shadowHits))],
    ['walks', String(sum(({ walks }) => walks))],
    ['STE and CD fetches', `${sum((s) => s.steFetches)} and ${sum((s) => s.cdFetches)}`],
    ['mirror maps and unmaps', `${sinks.maps} and ${sinks.unmaps}`],
    ['events written', pairs(named(all, (stats) => eventCounts(stats, 'written')))],
    ['events lost or merged', pairs(named(all, lostEvents))],
    ['interrupts', pairs(counters.interrupts)],
    [
      'requests of devices',
      [...machine.devices.values()]
        .map(({ name, counts }) => `${name} ${counts.requests}`)
        .join(', '),
    ],
    ['DMA compared with the reference', String(machine.differences.compared)],
    ['saved and restored', String(vsmmu.restores)],
    ['stores and interrupts through QEMU', String(qtest.commands)],
  ];
  const table = new Table({ style: { head: [], border: [] }, colWidths: [36, 70], wordWrap: true });
  table.push(...rows.filter(([, value]) => value !== '' && value !== '0'));
  return table;
}

function eventCounts(
  stats: SmmuStats,
  kind: 'written' | 'overflowed' | 'merged',
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(stats.events).map(([name, event]) => [name, event[kind]]),
  );
}

function lostEvents({ events }: SmmuStats): Record<string, number> {
  return Object.fromEntries(
    Object.entries(events).map(([name, event]) => [
      name,
      event.merged + event.overflowed + event.discarded + event.aborted,
    ]),
  );
}

function named(
  all: readonly SmmuStats[],
  of: (stats: SmmuStats) => Readonly<Record<string, number>>,
): Map<string, number> {
  const totals = new Map<string, number>();
  for (const stats of all) {
    for (const [name, count] of Object.entries(of(stats))) {
      if (count > 0) totals.set(name, (totals.get(name) ?? 0) + count);
    }
  }
  return totals;
}

function pairs(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}
