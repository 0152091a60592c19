import { Event } from '../arch/event.js';
import { get, getAddress, getAligned } from '../arch/field.js';
import { Register, StreamTableFormat, wordOf } from '../arch/registers.js';
import { L1STD_BYTES, L1std, Ste, STE_BYTES } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { Reason } from './reason.js';
import { illegalSte } from './ste-rules.js';
import type { Translation } from './translation.js';

const { STRTAB_BASE, STRTAB_BASE_CFG } = Register;

/** Splits that STRTAB_BASE_CFG.SPLIT may name; any other value behaves as the first. */
const SPLITS: readonly number[] = [6, 8, 10];

/**
 * Finds and checks STEs: StreamID to STE, linear and 2-level (IHI 0070, sections 3.3 and 5.2).
 * Where the architecture leaves the answer to an address beyond the output address size open,
 * it is an external abort.
 */
export class StreamTable {
  /** The STE last fetched. */
  readonly ste = new Uint32Array(STE_BYTES / 4);
  /** Physical address of the STE last fetched, in bytes. */
  steAddress = NaN;
  /** log2 of the StreamIDs that the table covers. */
  log2Size = 0;
  /** log2 of the StreamIDs that one L1STD covers; 0 for a linear table. */
  split = 0;
  /** Physical address of the first STE or L1STD, in bytes. */
  base = NaN;

  private readonly memory: GuestMemory;
  private readonly features: Features;
  /** Addresses at or above it abort: 2^OAS. */
  private readonly outputLimit: number;
  /** 2^log2Size. */
  private streams = 1;
  private readonly l1std = new Uint32Array(L1STD_BYTES / 4);

  constructor(memory: GuestMemory, features: Features) {
    this.memory = memory;
    this.features = features;
    this.outputLimit = 2 ** features.OAS;
  }

  /** Takes over STRTAB_BASE and STRTAB_BASE_CFG from a register frame. */
  configure(frame: Uint32Array): void {
    const config = wordOf(STRTAB_BASE_CFG);
    const literal = get(frame, config, STRTAB_BASE_CFG.fields.LOG2SIZE);
    const split = get(frame, config, STRTAB_BASE_CFG.fields.SPLIT);
    const twoLevel =
      this.features.ST_LEVEL !== 0 &&
      get(frame, config, STRTAB_BASE_CFG.fields.FMT) === StreamTableFormat.twoLevel;
    this.log2Size = Math.min(literal, this.features.SIDSIZE);
    this.streams = 2 ** this.log2Size;
    this.split = !twoLevel ? 0 : SPLITS.includes(split) ? split : SPLITS[0]!;
    const address = getAddress(frame, wordOf(STRTAB_BASE), STRTAB_BASE.fields.ADDR);
    // The literal LOG2SIZE decides the alignment, not the one that SIDSIZE caps.
    const alignLog2 = twoLevel ? Math.max(6, literal - this.split + 3) : literal + 6;
    this.base = address - (address % 2 ** alignLog2);
  }

  /**
   * Fetches the STE of `streamId` into {@link ste} and checks it.
   * @returns 0 when it is valid and legal, else the number of the event, with reason, fetch address
   * and (for C_BAD_STREAMID) nothing said about recording in `result`.
   */
  fetch(streamId: number, result: Translation): number {
    const event = this.locate(streamId, result);
    if (event !== 0) return event;
    if (
      this.steAddress >= this.outputLimit ||
      !this.memory.load(this.steAddress, this.ste, 0, STE_BYTES / 4)
    ) {
      result.reason = Reason.steFetch;
      result.fetchAddress = this.steAddress;
      return Event.F_STE_FETCH.id;
    }
    if (get(this.ste, 0, Ste.V) === 0) {
      result.reason = Reason.steInvalid;
      return Event.C_BAD_STE.id;
    }
    const rule = illegalSte(this.ste, 0, this.features);
    if (rule !== 0) {
      result.reason = Reason.illegalSte + rule;
      return Event.C_BAD_STE.id;
    }
    return 0;
  }

  /** Sets {@link steAddress}, by way of the L1STD in a 2-level table. */
  private locate(streamId: number, result: Translation): number {
    if (streamId >= this.streams) {
      result.reason = Reason.streamIdRange;
      return Event.C_BAD_STREAMID.id;
    }
    if (this.split === 0) {
      this.steAddress = this.base + STE_BYTES * streamId;
      return 0;
    }
    const address = this.base + L1STD_BYTES * (streamId >>> this.split);
    if (address >= this.outputLimit || !this.memory.load(address, this.l1std, 0, 2)) {
      result.reason = Reason.l1stdFetch;
      result.fetchAddress = address;
      return Event.F_STE_FETCH.id;
    }
    const span = get(this.l1std, 0, L1std.Span);
    if (span === 0 || span > 11 || span > this.split + 1) {
      result.reason = Reason.streamIdNoLevel2;
      return Event.C_BAD_STREAMID.id;
    }
    const index = streamId & ((1 << this.split) - 1);
    const entries = 1 << (span - 1);
    if (index >= entries) {
      result.reason = Reason.streamIdSpan;
      return Event.C_BAD_STREAMID.id;
    }
    const level2 = getAligned(this.l1std, 0, L1std.L2Ptr, STE_BYTES * entries);
    this.steAddress = level2 + STE_BYTES * index;
    return 0;
  }
}
