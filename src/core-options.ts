import type { Interrupts } from './event/interrupts.js';
import type { GuestLog } from './log.js';
import type { GuestMemory } from './memory/guest-memory.js';
import type { Mirror } from './mirror/mirror.js';
import type { CacheOptions } from './tlb/cache-options.js';
import type { TranslationKeeper } from './tlb/translation-keeper.js';

/** What a `SmmuCore` needs of its surroundings. */
export interface CoreOptions {
  readonly memory: GuestMemory;
  readonly cache: CacheOptions;
  readonly interrupts: Interrupts;
  readonly budget: number;
  readonly commandsPending: () => void;
  readonly registersChanged: () => void;
  readonly deviceCommand: (words: Uint32Array) => void;
  readonly log: GuestLog;
  /** Who keeps translations; the list may change. */
  readonly keepers: readonly TranslationKeeper[];
  /** Those of them that a CMD_SYNC waits for; the list may change. */
  readonly mirrors: readonly Mirror[];
}
