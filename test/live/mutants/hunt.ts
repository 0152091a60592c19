import Table from 'cli-table3';
import pc from 'picocolors';
import { boot, type BootOptions, type BootResult } from '../boot.js';
import { SCENARIOS } from '../scenarios/index.js';
import type { Mutant } from './mutant.js';

/** What became of a mutant. */
export interface Hunted {
  readonly mutant: Mutant;
  readonly strikes: number;
  readonly isCaught: boolean;
  /** What failed first. */
  readonly by: string;
  readonly seconds: number;
}

/** Runs the scenario of a mutant with it, up to the first difference. */
export async function hunt(mutant: Mutant, options: BootOptions): Promise<Hunted> {
  const scenario = SCENARIOS.find(({ name }) => name === mutant.scenario);
  if (scenario === undefined) throw new Error(`no scenario ${mutant.scenario}`);
  const fault = mutant.make();
  const result = await boot(scenario, {
    ...options,
    wrappers: fault.wrappers,
    stopsAtDifference: true,
  });
  const strikes = fault.strikes();
  const by = failureOf(result);
  const isCaught = strikes > 0 && by !== undefined;
  const verdict = isCaught ? pc.green('PASS') : pc.red('FAIL');
  console.log(`${verdict} mutant ${mutant.name}: ${mutant.title} (${result.seconds.toFixed(1)} s)`);
  return { mutant, strikes, isCaught, by: by ?? 'nothing', seconds: result.seconds };
}

/** What the mutants came to, as a table. */
export function huntTable(hunted: readonly Hunted[]): string {
  const table = new Table({
    head: ['mutant', 'scenario', 'strikes', 'caught by'],
    style: { head: [], border: [] },
    colWidths: [14, 11, 10, 70],
    wordWrap: true,
  });
  for (const { mutant, strikes, isCaught, by } of hunted) {
    table.push([mutant.name, mutant.scenario, strikes, isCaught ? by : 'NOT CAUGHT']);
  }
  return table.toString();
}

function failureOf({ machine, checks }: BootResult): string | undefined {
  return machine.differences.first[0] ?? checks.find(({ isRight }) => !isRight)?.name;
}
