import type { Features } from '../registers/features.js';
import type { Translation } from '../transaction/translation.js';

/**
 * What passthrough sees of its vSMMU. STEs are all that it can read of the guest's memory: a CD is
 * nothing that it could get at.
 */
export interface PassthroughHost {
  readonly features: Features;
  /** SMMUEN. */
  readonly isEnabled: boolean;
  /** GBPA.ABORT: what becomes of accesses while SMMUEN is 0. */
  readonly globalAbort: boolean;
  /** The STE last fetched, when it is valid and legal. */
  readonly ste: Uint32Array;
  /** Fetches an STE. @returns 0, or the number of the event that its lack comes to; `fault` has the rest. */
  fetchSte(streamId: number, fault: Translation): number;
  /** Records a fault of a device for the guest, as far as registers let it be recorded. */
  recordFault(fault: Translation, event: number): void;
  /** Puts a record of the hardware, 8 words, into the guest's event queue. */
  recordEvent(words: Uint32Array): void;
  /** Records were lost before they came here: the guest's event queue overflows. */
  overflow(): void;
  /** A command, or a flush, may be tried again. */
  proceed(): void;
  /** A command, or a flush, that had to wait has come to `cerror`. */
  answer(cerror: number): void;
  /** All devices meet what the registers say, or at least abort. */
  followed(): void;
  /** Something was thrown that nobody else hears of: by the embedder's report, or a backend that is wrong. */
  failed(error: unknown): void;
}
