import type { Interrupts } from './event/interrupts.js';
import type { Logger } from './log.js';
import type { GuestMemory } from './memory/guest-memory.js';
import type { FeatureOptions } from './registers/feature-set.js';
import type { CacheOptions } from './tlb/cache-options.js';

/** How a `Smmu` is embedded. */
export interface SmmuOptions {
  /** The guest's memory. */
  readonly memory: GuestMemory;
  /** What the guest sees in the ID registers. Default: everything that the library implements. */
  readonly features?: FeatureOptions;
  /** Where interrupts go. Default: nowhere; messages to RAM are written all the same. */
  readonly interrupts?: Interrupts;
  /** How many translations are kept. Default: 65,536. */
  readonly cache?: CacheOptions;
  /** Commands that a register write executes at most; 0 leaves all of them to `Smmu.drain`. Default 1024. */
  readonly commandBudget?: number;
  /** Called when a register write leaves commands behind: call `Smmu.drain` some time later. */
  readonly commandsPending?: () => void;
  /**
   * Called when registers have changed by themselves, since what the guest waited for is done: a CMD_SYNC
   * that waited for an access, a sink or hardware (CMDQ_CONS), an SMMUEN that waited for passthrough devices
   * (CR0ACK). A VMM whose guest reads registers out of memory publishes them then.
   */
  readonly registersChanged?: () => void;
  /** Called with each CMD_ATC_INV and CMD_PRI_RESP (4 words, reused): devices with an ATC want them. */
  readonly deviceCommand?: (words: Uint32Array) => void;
  /** A pino logger, or anything like it. Default: silence. */
  readonly logger?: Logger;
}

const DEFAULT_BUDGET = 1024;
const MEMORY_METHODS = [
  'load',
  'load64',
  'store',
  'compareExchange',
  'loadBytes',
  'storeBytes',
] as const;

/** @throws TypeError when there is no memory. */
export function checkMemory({ memory }: SmmuOptions): void {
  for (const method of MEMORY_METHODS) {
    if (typeof (memory as Partial<GuestMemory> | undefined)?.[method] !== 'function') {
      throw new TypeError(`options.memory has no method ${method}: pass a GuestMemory`);
    }
  }
}

/**
 * The command budget.
 * @throws RangeError when it is no whole number.
 */
export function budgetOf({ commandBudget = DEFAULT_BUDGET }: SmmuOptions): number {
  if (Number.isSafeInteger(commandBudget) && commandBudget >= 0) return commandBudget;
  throw new RangeError(
    `options.commandBudget is ${commandBudget}: it must be a whole number, 0 or more`,
  );
}
