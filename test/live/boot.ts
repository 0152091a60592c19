import type { GuestFiles, PageSize } from './guest/packages.js';
import { CommandTap } from './machine/command-tap.js';
import type { TransportName } from './machine/connect.js';
import { Machine } from './machine/machine.js';
import { makeScratch, removeScratch } from './machine/scratch.js';
import type { MachineListener } from './machine/transport.js';
import { joined, type Wrappers } from './machine/vsmmu.js';
import { Counters } from './report/counters.js';
import type { Check, Finished, Scenario, ScenarioRun } from './scenarios/scenario.js';

/** How a scenario is run. */
export interface BootOptions {
  readonly guest: GuestFiles;
  readonly pageSize: PageSize;
  readonly limitSeconds: number;
  readonly transport: TransportName;
  readonly wrappers: Wrappers;
  readonly listeners?: readonly MachineListener[];
  readonly isChecked: boolean;
  /** Ends the run at the first difference from the reference: it has failed. */
  readonly stopsAtDifference?: boolean;
  /** Gets the lines of the guest's console as they come. */
  readonly onLine?: (line: string) => void;
}

/** How a run has ended. */
export interface BootResult extends Finished {
  readonly scenario: Scenario;
  readonly run: ScenarioRun;
  readonly checks: readonly Check[];
  readonly seconds: number;
}

/** The SMMU that scenarios start from: everything that Linux drives and the machine can serve. */
const FEATURES = {
  preset: 'full',
  ATS: 0,
  PRI: 0,
  PRIQS: 0,
  // Access flags would have to be set in one step with the guest's processors: not in a file.
  HTTU: 0,
  MSI: 0,
  SIDSIZE: 16,
  OAS: 48,
  // An index and its wrap bit in one byte.
  CMDQS: 7,
  EVENTQS: 7,
} as const;

const SPINS = 30;
const NAP_MS = 0.05;
const SLICE_MS = 10;

/** Boots a guest, and lets it run its scenario to the end. */
export async function boot(scenario: Scenario, options: BootOptions): Promise<BootResult> {
  const start = performance.now();
  const folder = makeScratch();
  const run = scenario.prepare({ pageSize: options.pageSize, folder });
  const counters = new Counters();
  const machine = new Machine(folder, {
    guest: options.guest,
    cpus: run.cpus ?? 1,
    features: { ...FEATURES, ...run.features },
    kernelArguments: run.kernelArguments ?? 'iommu.strict=1',
    script: run.script,
    devices: run.devices,
    transport: options.transport,
    // The count comes last: of commands as the guest wrote them, whatever others make of them.
    wrappers: joined(options.wrappers, joined(run.wrappers ?? {}, counting(counters))),
    listeners: [counters, ...(options.listeners ?? [])],
    isChecked: options.isChecked,
  });
  const checks: Check[] = [];
  try {
    await attempt(machine, run, options, checks);
    const finished = { machine, counters, log: machine.console.text };
    checks.push(...run.checks(finished));
    const seconds = (performance.now() - start) / 1000;
    return { ...finished, scenario, run, checks, seconds };
  } finally {
    removeScratch(folder);
  }
}

function counting(counters: Counters): Wrappers {
  const look = (words: Uint32Array, at: number): void => {
    counters.commands.look(words, at);
  };
  return { memory: (memory, smmu) => new CommandTap(memory, smmu, look) };
}

/** Runs the machine to its end; what goes wrong is one more check. */
async function attempt(
  machine: Machine,
  run: ScenarioRun,
  options: BootOptions,
  checks: Check[],
): Promise<void> {
  try {
    await machine.start();
    await serveUntilEnd(machine, run, options, checks);
  } catch (error) {
    const seen = error instanceof Error ? (error.stack ?? error.message) : String(error);
    checks.push({ name: 'the machine ran', isRight: false, seen });
  } finally {
    await machine.close();
  }
}

async function serveUntilEnd(
  machine: Machine,
  run: ScenarioRun,
  options: BootOptions,
  checks: Check[],
): Promise<void> {
  const limit = performance.now() + 1000 * options.limitSeconds;
  const nap = new Int32Array(new SharedArrayBuffer(4));
  let idle = 0;
  while (machine.qemu?.exit === undefined) {
    const slice = performance.now() + SLICE_MS;
    // After some rounds without work, short naps leave the processor to QEMU.
    while (performance.now() < slice) {
      if (machine.serve()) {
        idle = 0;
        run.served?.({ machine });
        continue;
      }
      const wait = machine.wait(slice - performance.now());
      if (wait !== undefined) await wait;
      else if (++idle > SPINS) Atomics.wait(nap, 0, 0, NAP_MS);
    }
    readConsole(machine, run, options);
    await new Promise((resolve) => setImmediate(resolve));
    // A CMD_SYNC that waited for a mirror may have been completed by a timer.
    machine.publish();
    if (options.stopsAtDifference === true && machine.differences.count > 0) return;
    if (performance.now() > limit) {
      const seen = `after ${options.limitSeconds} s`;
      checks.push({ name: 'the guest ended in time', isRight: false, seen });
      return;
    }
  }
  readConsole(machine, run, options);
  const { exit } = machine.qemu;
  checks.push({ name: 'QEMU ended well', isRight: exit === 0, seen: String(exit) });
}

function readConsole(machine: Machine, run: ScenarioRun, options: BootOptions): void {
  for (const line of machine.console.lines()) {
    // The guest runs: QEMU has opened what it needs.
    machine.ram.unlink();
    options.onLine?.(line);
    const mark = /^@@(\w+)/.exec(line);
    if (mark === null || mark[1] === 'END') continue;
    run.mark?.(mark[1]!, { machine });
    machine.publish();
    machine.console.type('go');
  }
}
