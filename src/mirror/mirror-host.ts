import type { GuestMemory } from '../memory/guest-memory.js';
import type { CachedContext } from '../transaction/configuration-cache.js';
import type { Translation } from '../transaction/translation.js';

/** What a mirror needs of the vSMMU. */
export interface MirrorHost {
  readonly memory: GuestMemory;
  /** Bits of a physical address. */
  readonly outputBits: number;
  /** What accesses of a stream come to: a CD, no translation, or nothing at all. No event is recorded. */
  configurationOf(streamId: number, substreamId: number): CachedContext | 'bypass' | 'none';
  /** As `Smmu.translate`. */
  translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
  ): number;
  /** A CMD_SYNC that had to wait may go on. */
  proceed(): void;
}
