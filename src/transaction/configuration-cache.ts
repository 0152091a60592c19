import { CD_BYTES } from '../arch/cd.js';
import { get } from '../arch/field.js';
import { Ste, STE_BYTES } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import type { Tlb } from '../tlb/tlb.js';
import { ABORT, StreamAttributes, type Configurations } from './configuration.js';
import { Context } from './context.js';
import { accessOverrides } from './permissions.js';
import { Reason } from './reason.js';
import { StreamTable } from './stream.js';
import { BYPASS, SubstreamTable } from './substream.js';
import { Translation } from './translation.js';

const NO_OVERRIDES = accessOverrides(0, 0);
/** An access without SubstreamID faults: the STE must be asked each time. */
const ASK = 1;

/** A CD that was found, with the words it was decoded from. */
export class CachedContext {
  /** Where translations through it are kept; -1 once the CD is not to be used any more. */
  slot = -1;
  /** The access that the STE makes of an access. */
  effective: Uint8Array = NO_OVERRIDES.effective;
  /** The permission that an access needs after that. */
  needed: Uint8Array = NO_OVERRIDES.needed;
  /** Decoded. */
  readonly context = new Context();
  /** As in memory when it was fetched. */
  readonly words = new Uint32Array(CD_BYTES / 4);
}

/** A legal STE that was found, with the CDs below it that were. */
export class CachedStream {
  readonly streamId: number;
  /** As in memory when it was fetched. */
  readonly words = new Uint32Array(STE_BYTES / 4);
  readonly attributes = new StreamAttributes();
  /** By index in the CD table. */
  readonly contexts = new Map<number, CachedContext>();
  /** What an access without SubstreamID comes to: 0 for CD 0, `BYPASS`, {@link ABORT}, or `ASK`. */
  plain = ASK;

  constructor(streamId: number) {
    this.streamId = streamId;
  }
}

/**
 * Keeps the STEs and CDs that transactions used until a command names them (IHI 0070, sections 3.21 and
 * 4.3). Only legal ones are kept: whatever faults is read again by the next access, as if it had never
 * been there. The number is bounded; the one that was found first goes first.
 */
export class ConfigurationCache implements Configurations {
  /** The streams that are kept, oldest first. */
  readonly streams = new Map<number, CachedStream>();
  /** STEs fetched from memory. */
  steFetches = 0;
  /** CDs fetched from memory. */
  cdFetches = 0;

  private readonly table: StreamTable;
  private readonly substreams: SubstreamTable;
  private readonly features: Features;
  private readonly limit: number;
  private readonly ignored = new Translation();
  private contextCount = 0;
  /** The stream and CD of the last access: the next one is nearly always theirs. */
  private last: CachedStream | undefined;
  private lastIndex = -1;
  private found = new CachedContext();

  private readonly tlb: Tlb;

  /** @param limit streams, and contexts, that are kept at most. */
  constructor(memory: GuestMemory, features: Features, tlb: Tlb, limit: number) {
    this.features = features;
    this.tlb = tlb;
    this.limit = limit;
    this.table = new StreamTable(memory, features);
    this.substreams = new SubstreamTable(memory, features);
  }

  get context(): Context {
    return this.found.context;
  }

  /** The CD that {@link find} found. */
  get cached(): CachedContext {
    return this.found;
  }

  get slot(): number {
    return this.found.slot;
  }

  get attributes(): StreamAttributes {
    return this.last!.attributes;
  }

  configure(frame: Uint32Array): void {
    this.table.configure(frame);
  }

  find(streamId: number, substreamId: number, result: Translation): number {
    result.reason = Reason.none;
    let stream = this.last;
    if (stream?.streamId !== streamId) {
      stream = this.streams.get(streamId);
      if (stream === undefined) {
        const event = this.fetchStream(streamId, result);
        if (event !== 0) return event;
        stream = this.streams.get(streamId)!;
      }
      this.last = stream;
      this.lastIndex = -1;
    }
    let index = 0;
    if (stream.plain === ABORT) {
      result.reason = Reason.configAbort;
      return ABORT;
    }
    if (substreamId >= 0 || stream.plain === ASK) {
      const event = this.substreams.select(stream.words, substreamId, result);
      if (event !== 0) return event;
      index = this.substreams.index;
    } else if (stream.plain === BYPASS) {
      return BYPASS;
    }
    if (index === this.lastIndex) return 0;
    let cached = stream.contexts.get(index);
    if (cached === undefined) {
      const event = this.fetchContext(stream, index, result);
      if (event !== 0) return event;
      cached = stream.contexts.get(index)!;
    }
    this.found = cached;
    this.lastIndex = index;
    return 0;
  }

  /** Whether the STE of a stream, as far as it is kept, allows equal events to be merged. */
  mergesEvents(streamId: number): boolean {
    return this.streams.get(streamId)?.attributes.merges ?? false;
  }

  /** Drops the STEs `first` to `last` with all their CDs. */
  invalidateStreams(first: number, last: number): void {
    if (last - first < this.streams.size) {
      for (let streamId = first; streamId <= last; streamId++) this.drop(streamId);
    } else {
      for (const streamId of this.streams.keys()) {
        if (streamId >= first && streamId <= last) this.drop(streamId);
      }
    }
  }

  /** Drops CD number `index` of a stream, or all of its CDs for -1. */
  invalidateContext(streamId: number, index: number): void {
    this.lastIndex = -1;
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    if (index < 0) {
      this.dropContexts(stream);
      return;
    }
    const cached = stream.contexts.get(index);
    if (cached === undefined) return;
    this.contextCount--;
    stream.contexts.delete(index);
    this.end(cached);
  }

  /** Puts an STE into the cache as if it had been fetched; the words must be those of a legal one. */
  keepStream(streamId: number, words: Uint32Array): CachedStream {
    if (this.streams.size >= this.limit) this.drop(this.streams.keys().next().value!);
    const stream = new CachedStream(streamId);
    stream.words.set(words);
    stream.attributes.decode(words, this.features);
    stream.plain = this.plainAccess(words);
    this.streams.set(streamId, stream);
    return stream;
  }

  /** Puts a CD into the cache as if it had been fetched; the words must be those of a legal one. */
  keepContext(stream: CachedStream, index: number, words: Uint32Array): void {
    if (this.contextCount >= this.limit) this.dropOldestContexts();
    const cached = new CachedContext();
    cached.words.set(words);
    cached.context.decode(words, 0, this.features);
    const overrides = accessOverrides(stream.attributes.clears, stream.attributes.sets);
    cached.effective = overrides.effective;
    cached.needed = overrides.needed;
    cached.slot = this.tlb.attach(cached.words, cached.context.asid);
    stream.contexts.set(index, cached);
    this.contextCount++;
  }

  private fetchStream(streamId: number, result: Translation): number {
    this.steFetches++;
    const event = this.table.fetch(streamId, result);
    if (event === 0) this.keepStream(streamId, this.table.ste);
    return event;
  }

  private fetchContext(stream: CachedStream, index: number, result: Translation): number {
    this.cdFetches++;
    const event = this.substreams.fetch(stream.words, index, result);
    if (event === 0) this.keepContext(stream, index, this.substreams.cd);
    return event;
  }

  private plainAccess(words: Uint32Array): number {
    if ((get(words, 0, Ste.Config) & 0b100) === 0) return ABORT;
    const event = this.substreams.select(words, -1, this.ignored);
    return event === 0 || event === BYPASS ? event : ASK;
  }

  private drop(streamId: number): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    this.dropContexts(stream);
    this.streams.delete(streamId);
    if (this.last === stream) this.last = undefined;
  }

  private dropContexts(stream: CachedStream): void {
    this.contextCount -= stream.contexts.size;
    for (const cached of stream.contexts.values()) this.end(cached);
    stream.contexts.clear();
  }

  private end(cached: CachedContext): void {
    this.tlb.detach(cached.slot);
    cached.slot = -1;
  }

  /** Makes room by emptying the stream that was found first and has contexts. */
  private dropOldestContexts(): void {
    for (const stream of this.streams.values()) {
      if (stream.contexts.size === 0) continue;
      this.dropContexts(stream);
      this.lastIndex = -1;
      return;
    }
  }
}
