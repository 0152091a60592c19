import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { readEntry } from '../tlb/entry.js';
import type { Tlb } from '../tlb/tlb.js';
import type { Configurations } from './configuration.js';
import type { Context } from './context.js';
import { NEEDED } from './permissions.js';
import { Transactions } from './translate.js';
import { Outcome, type Translation } from './translation.js';

/** Translates accesses as {@link Transactions} does, and keeps what walks find in a TLB. */
export class CachedTransactions extends Transactions {
  /** Accesses that came here although the micro-TLB knew the answer. */
  microHits = 0;
  private readonly tlb: Tlb;

  constructor(memory: GuestMemory, features: Features, configurations: Configurations, tlb: Tlb) {
    super(memory, features, configurations);
    this.tlb = tlb;
  }

  override configure(frame: Uint32Array): void {
    super.configure(frame);
    this.tlb.generations.setOpen(this.isEnabled);
  }

  /**
   * Finds or makes the TLB entry that answers an access, after the micro-TLB had none.
   * @param slot where translations of `context` are kept; -1 when they are not.
   * @param high bits 63:32 of the input address, signed as `low` is.
   * @param access {@link Access} bits after what the STE overrides.
   * @param result is filled when a walk is done: see {@link Walker.walk}.
   * @returns where the entry begins in the words of the TLB's store; -1 when the walk faults, or what
   * it finds is not kept.
   */
  fill(
    slot: number,
    context: Context,
    streamId: number,
    high: number,
    low: number,
    access: number,
    result: Translation,
  ): number {
    const { tlb } = this;
    const found = tlb.find(slot, high, low, NEEDED[access]!);
    if (found >= 0) return found;
    const { walker } = this;
    const { ticket } = tlb;
    this.walks++;
    if (walker.walk(context, high, low, access, result) !== 0) return -1;
    const revived = tlb.revive(ticket, result);
    if (revived >= 0) return revived;
    const half = (high & 0x0080_0000) === 0 ? context.lower : context.upper;
    const spanLog2 =
      result.contiguous === 1 ? walker.spanLog2(context, half, result) : result.leafLog2;
    return tlb.insert(ticket, slot, streamId, half, high, low, spanLog2, result);
  }

  /** Asks the TLB, and walks when it does not know. */
  protected override answer(result: Translation): number {
    const { tlb } = this;
    if (tlb.limit === 0) return super.answer(result);
    const { slot, context } = this.configurations;
    const { streamId, access } = result;
    const high = result.inputHigh | 0;
    const low = result.inputLow | 0;
    let at = tlb.probe(slot, high, low, NEEDED[access]!);
    if (at >= 0) this.microHits++;
    else at = this.fill(slot, context, streamId, high, low, access, result);
    if (at >= 0) readEntry(tlb.store.words, at, high, low, result);
    else if (result.event !== 0) return this.fault(context, result);
    return (result.outcome = Outcome.translated);
  }
}
