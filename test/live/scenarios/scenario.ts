import type { FeatureOptions } from 'vsmmu';
import type { DeviceOptions, Machine } from '../machine/machine.js';
import type { PageSize } from '../guest/packages.js';
import type { Wrappers } from '../machine/vsmmu.js';
import type { Counters } from '../report/counters.js';

/** One thing that must be so. */
export interface Check {
  readonly name: string;
  readonly isRight: boolean;
  /** What was seen, when that says more. */
  readonly seen?: string;
}

/** What a finished run can be asked. */
export interface Finished {
  readonly machine: Machine;
  readonly counters: Counters;
  /** All that the guest has written to its console. */
  readonly log: string;
}

/** What the host knows while the guest runs. */
export interface Running {
  readonly machine: Machine;
}

/** A scenario that has been set up for one run. */
export interface ScenarioRun {
  readonly devices: readonly DeviceOptions[];
  /** What the guest does: a shell script. */
  readonly script: string;
  readonly features?: FeatureOptions;
  readonly cpus?: number;
  /** Default: strict invalidation. */
  readonly kernelArguments?: string;
  /** What this scenario puts between the library and the machine. */
  readonly wrappers?: Wrappers;
  /** The guest has said `mark NAME`, and waits. */
  mark?(name: string, running: Running): void;
  /** Called each time that the guest has been served. */
  served?(running: Running): void;
  checks(finished: Finished): Check[];
  /** Lines of the guest's log that matter here. */
  readonly relevant: RegExp;
}

/** What a scenario is set up with. */
export interface Setting {
  readonly pageSize: PageSize;
  /** For files; it goes away after the run. */
  readonly folder: string;
}

/** A kind of boot. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  prepare(setting: Setting): ScenarioRun;
}
