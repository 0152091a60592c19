import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import { boot, type BootOptions } from './boot.js';
import { defaultCache, guestFiles, type PageSize } from './guest/packages.js';
import { Unavailable } from './guest/unavailable.js';
import { TRANSPORTS, type TransportName } from './machine/connect.js';
import { qemuVersion } from './machine/qemu.js';
import { requireVfioUser } from './machine/vfio-user-support.js';
import { hunt, huntTable, type Hunted } from './mutants/hunt.js';
import { MUTANTS } from './mutants/index.js';
import { LiveRecording } from './record/live-recording.js';
import { isPassed, printRun } from './report/print.js';
import { SCENARIOS } from './scenarios/index.js';

interface Settings {
  readonly cache: string;
  readonly pages: PageSize | 'all';
  readonly transport: TransportName;
  readonly limit: number;
  readonly times: number;
  readonly mutants?: boolean;
  readonly record?: string;
  readonly reference: boolean;
  readonly verbose?: boolean;
  readonly follow?: boolean;
}

const program = new Command('test:live')
  .description('Boots a stock Linux whose SMMU and devices are in this process.')
  .argument('[names...]', `scenarios, of ${list(SCENARIOS)}; or mutants, of ${list(MUTANTS)}`)
  .option('--cache <folder>', 'where the guest is kept (VSMMU_LIVE_CACHE)', defaultCache())
  .addOption(
    new Option('--pages <size>', "of the guest's kernel")
      .choices(['4k', '16k', 'all'])
      .default('4k'),
  )
  .addOption(
    new Option('--transport <name>', 'how the guest reaches registers')
      .choices(TRANSPORTS)
      .default('polling'),
  )
  .option('--limit <seconds>', 'of each boot', positive, 120)
  .option('--times <count>', 'how often each is run', positive, 1)
  .option('--mutants', 'runs faulty vSMMUs instead, each of which must fail')
  .option('--record <folder>', 'records each scenario, for vsmmu replay')
  .option('--no-reference', 'does not compare DMA with the reference: to measure')
  .option('--verbose', "prints all of the guest's log")
  .option('--follow', "prints the guest's log as it comes")
  .action(main);

await program.parseAsync();

async function main(names: string[], settings: Settings): Promise<void> {
  const known = (settings.mutants === true ? MUTANTS : SCENARIOS).map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) program.error(`unknown: ${unknown.join(', ')}`);
  try {
    await runAll(names, settings);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const isRequired = process.env.VSMMU_LIVE === 'required';
    console.log(`${isRequired ? pc.red('FAIL') : pc.yellow('SKIP')} ${error.message}`);
    process.exitCode = isRequired ? 1 : 0;
  }
}

async function runAll(names: string[], settings: Settings): Promise<void> {
  const version = await qemuVersion();
  if (settings.transport === 'vfio-user') await requireVfioUser(version);
  const sizes: PageSize[] = settings.pages === 'all' ? ['4k', '16k'] : [settings.pages];
  const start = performance.now();
  const failed: string[] = [];
  let runs = 0;
  for (const pageSize of sizes) {
    const guest = await guestFiles(settings.cache, pageSize);
    console.log(`QEMU ${version}, ${guest.kernel}, pages of ${pageSize}`);
    const options: BootOptions = {
      guest,
      pageSize,
      transport: settings.transport,
      limitSeconds: settings.limit,
      wrappers: {},
      isChecked: settings.reference,
      ...(settings.follow === true ? { onLine: console.log } : {}),
    };
    for (let time = 0; time < settings.times; time++) {
      const bad = await (settings.mutants === true
        ? runMutants(names, options)
        : runScenarios(names, options, settings.verbose === true, settings.record));
      runs += bad.runs;
      failed.push(...bad.failed.map((name) => `${name} (${pageSize})`));
    }
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const verdict = failed.length === 0 ? pc.green('PASS') : pc.red(`FAIL ${failed.join(', ')}`);
  console.log(`${verdict}: ${runs} runs in ${seconds} s`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

interface Round {
  readonly runs: number;
  readonly failed: string[];
}

async function runScenarios(
  names: string[],
  options: BootOptions,
  isVerbose: boolean,
  record: string | undefined,
): Promise<Round> {
  const failed: string[] = [];
  const chosen = SCENARIOS.filter(({ name }) => names.length === 0 || names.includes(name));
  for (const scenario of chosen) {
    console.log(pc.bold(`${scenario.name}: ${scenario.title}`));
    const recording =
      record === undefined ? undefined : new LiveRecording(join(record, scenario.name));
    const result = await boot(scenario, { ...options, ...recording?.hooks });
    printRun(result, isVerbose);
    if (recording !== undefined) console.log(recording.close(result));
    if (!isPassed(result)) failed.push(scenario.name);
  }
  return { runs: chosen.length, failed };
}

async function runMutants(names: string[], options: BootOptions): Promise<Round> {
  const chosen = MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name));
  const hunted: Hunted[] = [];
  for (const mutant of chosen) hunted.push(await hunt(mutant, options));
  console.log(huntTable(hunted));
  const failed = hunted.filter(({ isCaught }) => !isCaught).map(({ mutant }) => mutant.name);
  return { runs: chosen.length, failed };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('it must be a number above 0');
  return value;
}

function list(named: readonly { readonly name: string }[]): string {
  return named.map(({ name }) => name).join(', ');
}
