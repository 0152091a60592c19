import { get } from '../arch/field.js';
import { Ste } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { Context } from './context.js';
import { Access } from './permissions.js';
import { Reason } from './reason.js';
import { StreamTable } from './stream.js';
import { SubstreamTable } from './substream.js';
import type { Translation } from './translation.js';

/** Instead of the number of an event: STE.Config says abort, and nothing is recorded. */
export const ABORT = -2;

/** Where a {@link Translator} has the configuration of a stream from. */
export interface Configurations {
  /** The CD that {@link find} found, decoded. */
  readonly context: Context;
  /** Where a TLB keeps translations through that CD. */
  readonly slot: number;
  /** What the STE that {@link find} found says of accesses and events. */
  readonly attributes: StreamAttributes;
  /**
   * Finds the CD that accesses of a stream use.
   * @param substreamId -1 without SubstreamID.
   * @returns 0 with a context, `BYPASS`, {@link ABORT}, or the number of an event with its reason.
   */
  find(streamId: number, substreamId: number, result: Translation): number;
  /** Takes over STRTAB_* from a register frame. */
  configure(frame: Uint32Array): void;
}

/** What an STE says besides where its CDs are. */
export class StreamAttributes {
  /** {@link Access} bits that STE.PRIVCFG and INSTCFG clear. */
  clears = 0;
  /** {@link Access} bits that they set. */
  sets = 0;
  /** MEV: equal events may be merged. */
  merges = false;

  /** Takes over the STE at `words[0]`. */
  decode(words: Uint32Array, features: Features): void {
    this.merges = get(words, 0, Ste.MEV) === 1;
    this.clears = 0;
    this.sets = 0;
    if (features.ATTR_PERMS_OVR === 0) return;
    const privilege = get(words, 0, Ste.PRIVCFG);
    const instruction = get(words, 0, Ste.INSTCFG);
    if (privilege >= 2) this.clears |= Access.privileged;
    if (instruction >= 2) this.clears |= Access.instruction;
    if (privilege === 3) this.sets |= Access.privileged;
    if (instruction === 3) this.sets |= Access.instruction;
  }
}

/** Reads the stream table and the CD table anew each time: what tools and tests want. */
export class FreshConfigurations implements Configurations {
  readonly context = new Context();
  readonly slot = -1;
  readonly attributes = new StreamAttributes();
  /** Finds STEs. */
  readonly streams: StreamTable;
  /** Finds CDs. */
  readonly substreams: SubstreamTable;
  private readonly features: Features;

  constructor(memory: GuestMemory, features: Features) {
    this.features = features;
    this.streams = new StreamTable(memory, features);
    this.substreams = new SubstreamTable(memory, features);
  }

  configure(frame: Uint32Array): void {
    this.streams.configure(frame);
  }

  find(streamId: number, substreamId: number, result: Translation): number {
    const { streams, substreams } = this;
    result.reason = Reason.none;
    const event = streams.fetch(streamId, result);
    if (event !== 0) return event;
    this.attributes.decode(streams.ste, this.features);
    if ((get(streams.ste, 0, Ste.Config) & 0b100) === 0) {
      result.reason = Reason.configAbort;
      return ABORT;
    }
    const chosen = substreams.select(streams.ste, substreamId, result);
    if (chosen !== 0) return chosen;
    const broken = substreams.fetch(streams.ste, substreams.index, result);
    if (broken === 0) this.context.decode(substreams.cd, 0, this.features);
    return broken;
  }
}
