import { Register } from './arch/registers.js';
import { StallAction, type CommandTargets } from './command/emulate.js';
import type { HandleHost } from './device/translating-handle.js';
import type { AccessesUnderWay } from './device/under-way.js';
import type { Invalidations } from './invalidations.js';
import type { Mirror } from './mirror/mirror.js';
import type { RegisterFrame } from './registers/frame.js';
import { nobody, type StalledAccess, type StallTable } from './transaction/stall.js';
import { Outcome, Translation } from './transaction/translation.js';

/** What {@link EmulatedTargets} reach. */
export interface TargetParts {
  readonly frame: RegisterFrame;
  readonly stalls: StallTable;
  readonly accessesUnderWay: AccessesUnderWay;
  readonly invalidations: Invalidations;
  /** Those that a CMD_SYNC waits for; the list may change. */
  readonly mirrors: readonly Mirror[];
  readonly deviceCommand: (words: Uint32Array) => void;
}

const { CR0 } = Register;

/** What commands reach of emulated devices besides configuration and translations. */
export class EmulatedTargets implements CommandTargets {
  private readonly host: Pick<HandleHost, 'translate'>;
  private readonly parts: TargetParts;
  private isSyncWaiting = false;

  constructor(host: Pick<HandleHost, 'translate'>, parts: TargetParts) {
    this.host = host;
    this.parts = parts;
  }

  resume(streamId: number, stag: number, action: number): void {
    const access = this.parts.stalls.take(streamId, stag);
    if (access === undefined) return;
    if (action === StallAction.retry) this.retry(access);
    else access.answer(action === StallAction.zero ? Outcome.zeroed : Outcome.aborted);
  }

  /** @param streamId all streams, without one. */
  terminateStalls(streamId?: number): void {
    for (const access of this.parts.stalls.takeAll(streamId)) access.answer(Outcome.aborted);
  }

  synchronize(): boolean {
    const { accessesUnderWay, mirrors, invalidations } = this.parts;
    let isDone = !accessesUnderWay.mustWait;
    // One that waited already has tried once what sinks had refused.
    const retries = !this.isSyncWaiting;
    for (const mirror of mirrors) isDone = mirror.flush(true, retries) && isDone;
    this.isSyncWaiting = !isDone;
    if (isDone && invalidations.isNew) {
      invalidations.isNew = false;
      this.retryUntold();
    }
    return isDone;
  }

  deviceCommand(words: Uint32Array): void {
    const { frame, deviceCommand } = this.parts;
    // Both are consumed without effect while SMMUEN is 0 (IHI 0070, section 4.5).
    if (frame.get('CR0', CR0.fields.SMMUEN) === 1) deviceCommand(words);
  }

  /** A stall that the guest was not told of yet may be based on what was invalidated: it is retried. */
  private retryUntold(): void {
    const { accesses } = this.parts.stalls;
    if (accesses.size === 0) return;
    for (const access of [...accesses.values()]) {
      // Who gets an answer may end other stalls.
      const waits = accesses.get(access.stag) === access;
      if (access.recorded || !waits) continue;
      accesses.delete(access.stag);
      this.retry(access);
    }
  }

  private retry(access: StalledAccess): void {
    const result = new Translation();
    const { streamId, substreamId, inputHigh, inputLow, answered } = access;
    const outcome = this.host.translate(
      streamId,
      substreamId,
      inputHigh,
      inputLow,
      access.access,
      result,
      answered ?? nobody,
    );
    if (outcome !== Outcome.stalled) answered?.(result);
  }
}
