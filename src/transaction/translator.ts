import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { FreshConfigurations } from './configuration.js';
import type { Context } from './context.js';
import type { StreamTable } from './stream.js';
import type { SubstreamTable } from './substream.js';
import { Transactions } from './translate.js';
import type { Translation } from './translation.js';

/**
 * Translates accesses without a cache of any kind: each reads the guest's structures anew. For tools,
 * tests and whoever has a guest's memory, but no guest that runs.
 */
export class Translator extends Transactions {
  /** What the SMMU can do. */
  readonly features: Features;
  private readonly fresh: FreshConfigurations;

  /** @param features must be ones that the library implements: see {@link implementedFeatures}. */
  constructor(memory: GuestMemory, features: Features) {
    const fresh = new FreshConfigurations(memory, features);
    super(memory, features, fresh);
    this.features = features;
    this.fresh = fresh;
  }

  /** Finds STEs. */
  get streams(): StreamTable {
    return this.fresh.streams;
  }

  /** Finds CDs. */
  get substreams(): SubstreamTable {
    return this.fresh.substreams;
  }

  /** The CD that was last found, decoded. */
  get context(): Context {
    return this.fresh.context;
  }

  /**
   * Finds the CD of a stream, without an access: into {@link context} and {@link substreams}, by way
   * of {@link streams}.
   * @returns 0 with a context, {@link BYPASS}, {@link ABORT} when STE.Config says abort, or the
   * number of an event.
   */
  resolve(streamId: number, substreamId: number, result: Translation): number {
    return this.fresh.find(streamId, substreamId, result);
  }
}
