import { Cerror, Command } from '../arch/command.js';
import { get, getAddress } from '../arch/field.js';
import { Register } from '../arch/registers.js';
import type { GlobalErrors } from '../event/global-error.js';
import type { InterruptSender } from '../event/interrupts.js';
import type { Features } from '../registers/features.js';
import { TlbRange } from '../tlb/tlb-range.js';
import type { TranslationKeeper } from '../tlb/translation-keeper.js';
import type { CommandExecutor } from './command-queue.js';
import { decodeTlbRange } from './decode-tlb-range.js';
import { WAITS } from './hardware-side.js';

const { GERROR } = Register;
const MSI_ERROR = GERROR.fields.MSI_CMDQ_ABT_ERR;

/** What to do with a stalled transaction. */
export const StallAction = { retry: 0, abort: 1, zero: 2 } as const;

/** What commands reach besides configuration and translations: stalled transactions, devices with ATS. */
export interface CommandTargets {
  /** CMD_RESUME: answers the stalled transaction `stag` of a stream; unknown ones are passed over. */
  resume(streamId: number, stag: number, action: number): void;
  /** CMD_STALL_TERM: every stalled transaction of a stream is to abort. */
  terminateStalls(streamId: number): void;
  /**
   * CMD_SYNC, before its signal: what came before it must be done.
   * @returns `false` when something is not done yet: the queue is resumed when it is.
   */
  synchronize(): boolean;
  /** CMD_ATC_INV and CMD_PRI_RESP, which only devices with ATS understand. */
  deviceCommand(words: Uint32Array, opcode: number): void;
}

/** Carries out commands for emulated devices (IHI 0070, section 4). */
export class CommandEmulator implements CommandExecutor {
  private readonly targets: CommandTargets;
  private readonly keepers: TranslationKeeper;
  private readonly errors: GlobalErrors;
  private readonly sender: InterruptSender;
  private readonly features: Features;
  private readonly range = new TlbRange();

  /** Nothing is ever held. */
  readonly stoppedAt = 0;

  constructor(
    targets: CommandTargets,
    keepers: TranslationKeeper,
    errors: GlobalErrors,
    sender: InterruptSender,
    features: Features,
  ) {
    this.targets = targets;
    this.keepers = keepers;
    this.errors = errors;
    this.sender = sender;
    this.features = features;
  }

  execute(words: Uint32Array, opcode: number): number {
    switch (opcode) {
      case Command.CFGI_STE.opcode:
      case Command.CFGI_STE_RANGE.opcode: {
        const [first, last] = configuredStreams(words, opcode);
        this.keepers.invalidateStreams(first, last);
        break;
      }
      case Command.CFGI_CD.opcode: {
        const substreamId = get(words, 0, Command.CFGI_CD.fields.SubstreamID);
        this.invalidateContext(words, substreamId);
        break;
      }
      case Command.CFGI_CD_ALL.opcode:
        this.invalidateContext(words, -1);
        break;
      case Command.TLBI_NH_ALL.opcode:
      case Command.TLBI_NSNH_ALL.opcode:
        this.keepers.invalidateAll();
        break;
      case Command.TLBI_NH_ASID.opcode: {
        const asid = get(words, 0, Command.TLBI_NH_ASID.fields.ASID);
        this.keepers.invalidateAsid(asid);
        break;
      }
      case Command.TLBI_NH_VA.opcode:
        return this.invalidateRange(words, get(words, 0, Command.TLBI_NH_VA.fields.ASID));
      case Command.TLBI_NH_VAA.opcode:
        return this.invalidateRange(words, -1);
      case Command.SYNC.opcode:
        return this.synchronize(words) ? Cerror.NONE : WAITS;
      case Command.RESUME.opcode:
        this.resume(words);
        break;
      case Command.STALL_TERM.opcode:
        this.targets.terminateStalls(get(words, 0, Command.STALL_TERM.fields.StreamID));
        break;
      case Command.ATC_INV.opcode:
      case Command.PRI_RESP.opcode:
        this.targets.deviceCommand(words, opcode);
        break;
      default:
        // PREFETCH_CONFIG and PREFETCH_ADDR are hints, and not taken.
        break;
    }
    return Cerror.NONE;
  }

  endsRun(): boolean {
    return false;
  }

  flush(): number {
    return Cerror.NONE;
  }

  cancel(): void {
    // Nothing is held.
  }

  private invalidateContext(words: Uint32Array, substreamId: number): void {
    const streamId = get(words, 0, Command.CFGI_CD.fields.StreamID);
    this.keepers.invalidateContext(streamId, substreamId);
  }

  private invalidateRange(words: Uint32Array, asid: number): number {
    const { range } = this;
    if (!decodeTlbRange(words, this.features, range)) return Cerror.ILL;
    range.asid = asid;
    this.keepers.invalidateRange(range);
    return Cerror.NONE;
  }

  private resume(words: Uint32Array): void {
    const { StreamID, STAG, Ac, Ab } = Command.RESUME.fields;
    const aborts = get(words, 0, Ab) === 1 || this.features.TERM_MODEL === 1;
    const action =
      get(words, 0, Ac) === 1 ? StallAction.retry : aborts ? StallAction.abort : StallAction.zero;
    this.targets.resume(get(words, 0, StreamID), get(words, 0, STAG), action);
  }

  /** Completion signals (IHI 0070, section 4.7): effects first, then the signal; CONS follows. */
  private synchronize(words: Uint32Array): boolean {
    const { CS, MSIAddress, MSIData } = Command.SYNC.fields;
    if (!this.targets.synchronize()) return false;
    const signal = get(words, 0, CS);
    if (signal === 1) {
      const address = getAddress(words, 0, MSIAddress) % 2 ** this.features.OAS;
      if (this.features.MSI === 1 && address !== 0) {
        if (!this.sender.message(address, get(words, 0, MSIData))) this.errors.activate(MSI_ERROR);
      }
      this.sender.completed();
    }
    if (signal === 2 && this.features.SEV === 1) this.sender.sendEvent();
    return true;
  }
}

/** First and last StreamID that CFGI_STE, or CFGI_STE_RANGE with its aligned block of them, names. */
export function configuredStreams(
  words: Uint32Array,
  opcode: number,
): [first: number, last: number] {
  const streamId = get(words, 0, Command.CFGI_STE.fields.StreamID);
  if (opcode === Command.CFGI_STE.opcode) return [streamId, streamId];
  const log2 = get(words, 0, Command.CFGI_STE_RANGE.fields.Range) + 1;
  const count = 2 ** log2;
  const first = log2 === 32 ? 0 : streamId - (streamId % count);
  return [first, first + count - 1];
}
