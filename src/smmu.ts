import { SmmuCore } from './core.js';
import { StreamHandle } from './device/stream-handle.js';
import { GuestLog } from './log.js';
import { Mirror } from './mirror/mirror.js';
import type { MirrorOptions } from './mirror/mirror-options.js';
import { Passthrough } from './passthrough/passthrough.js';
import type { PassthroughOptions } from './passthrough/passthrough-options.js';
import { hex } from './memory/hex.js';
import { joinU64, splitU64, type Halves, type U64 } from './memory/u64.js';
import { narrowFeatures } from './registers/feature-narrow.js';
import { chooseFeatures } from './registers/feature-set.js';
import type { Features } from './registers/features.js';
import { Effect } from './registers/frame.js';
import { budgetOf, checkMemory, type SmmuOptions } from './smmu-options.js';
import { restoreState, saveState, type SmmuState } from './state.js';
import { statsOf, type SmmuStats } from './stats.js';
import { checkStreamId, checkSubstreamId } from './stream-id.js';
import type { StalledAccess, StallListener } from './transaction/stall.js';
import { Outcome, Translation } from './transaction/translation.js';
import type { TranslationKeeper } from './tlb/translation-keeper.js';

export type { SmmuOptions } from './smmu-options.js';

/**
 * An emulated SMMUv3: the register frame that a guest's driver programs, its queues, and the
 * translation of the accesses of emulated devices. Nothing that a guest does makes a method throw.
 */
export class Smmu {
  private readonly options: SmmuOptions;
  private readonly budget: number;
  private readonly log: GuestLog;
  private readonly keepers: TranslationKeeper[] = [];
  private readonly mirrors: Mirror[] = [];
  private readonly handles = new Map<number, StreamHandle>();
  private readonly halves: Halves = { high: 0, low: 0 };
  private core: SmmuCore;
  private hardware: Passthrough | undefined;

  /**
   * @throws RangeError when the features do not go together, or the budget is no whole number.
   * @throws TypeError when there is no memory.
   */
  constructor(options: SmmuOptions) {
    checkMemory(options);
    const budget = budgetOf(options);
    this.options = options;
    this.budget = budget;
    this.log = new GuestLog(options.logger);
    this.core = this.assemble(chooseFeatures(options.features));
  }

  /** What the guest sees in the ID registers. */
  get features(): Features {
    return this.core.frame.features;
  }

  /**
   * Narrows the features to what a physical SMMU has as well (see {@link narrowFeatures}).
   * @throws Error once the guest has enabled anything: what it has read must stay true.
   * @throws RangeError when the two have nothing in common.
   */
  narrow(physical: Features): void {
    if (this.core.frozen) {
      throw new Error('the guest has enabled the SMMU: narrow its features before, or reset it');
    }
    this.take(this.assemble(narrowFeatures(this.features, physical)));
  }

  /**
   * Reads a register (IHI 0070, section 6.1).
   * @param offset bytes from the start of page 0.
   * @param size bytes: 4, or 8 for a 64-bit register; any other access reads as 0.
   * @returns a number, or a bigint for 8 bytes.
   */
  readRegister(offset: number, size: number): U64 {
    const { frame } = this.core;
    if (!frame.accepts(offset, size)) {
      this.log.warn('read of no register', { offset: hex(offset), size });
      return size === 8 ? joinU64(0, 0) : 0;
    }
    const word = offset >>> 2;
    if (size === 4) return frame.words[word]!;
    return joinU64(frame.words[word + 1]!, frame.words[word]!);
  }

  /**
   * Writes a register, and does what follows from it: commands are executed, up to the budget.
   * @param offset bytes from the start of page 0.
   * @param size bytes: 4, or 8 for a 64-bit register; any other access is ignored.
   * @param value the bytes as one little-endian number.
   * @throws RangeError when `value` is not an integer of `size` bytes.
   */
  writeRegister(offset: number, size: number, value: U64): void {
    const { halves } = this;
    splitU64('value', value, halves);
    const { high, low } = halves;
    const { frame } = this.core;
    if (!frame.accepts(offset, size)) {
      this.log.warn('write to no register', { offset: hex(offset), size });
      return;
    }
    if (size === 4 && high !== 0) throw new RangeError(`value is ${value}: it must have 32 bits`);
    const word = offset >>> 2;
    let effect = frame.write(word, low);
    if (size === 8) effect = Math.max(effect, frame.write(word + 1, high));
    if (effect !== Effect.none) this.core.react(effect);
  }

  /**
   * Executes up to `budget` commands of the command queue.
   * @returns whether commands remain that could be executed now.
   */
  drain(budget: number): boolean {
    if (!Number.isSafeInteger(budget) || budget < 0) {
      throw new RangeError(`budget is ${budget}: it must be a whole number, 0 or more`);
    }
    return this.core.drain(budget);
  }

  /**
   * Translates one access of an emulated device into `result`; a fault is recorded.
   * @param streamId StreamID of the device, below 2^32.
   * @param substreamId SubstreamID (PASID) of the access, or -1 without one.
   * @param inputHigh bits 63:32 of the address.
   * @param inputLow bits 31:0 of the address.
   * @param access {@link Access} bits.
   * @param answered gets the answer of an access that stalls. Without it the device cannot wait: what
   * would stall aborts, and its event record says so (Stall=0).
   * @returns an {@link Outcome}.
   */
  translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
    answered?: StallListener,
  ): number {
    return this.core.translate(
      streamId,
      substreamId,
      inputHigh,
      inputLow,
      access,
      result,
      answered,
    );
  }

  /**
   * Attaches an emulated device: the handle that it does its DMA through.
   * @param streamId StreamID of the device, below 2^32.
   * @throws RangeError when `streamId` is out of range.
   * @throws Error when a device with this StreamID is attached already.
   */
  attach(streamId: number): StreamHandle {
    checkStreamId(streamId);
    if (this.handles.has(streamId)) {
      throw new Error(`stream ${hex(streamId)} is attached already: detach its handle first`);
    }
    if (this.hardware?.deviceOf(streamId) !== undefined) {
      throw new Error(`stream ${hex(streamId)} is passed through: detach its device first`);
    }
    const release = (): void => void this.handles.delete(streamId);
    const handle = new StreamHandle(this.core, streamId, -1, release);
    this.handles.set(streamId, handle);
    return handle;
  }

  /**
   * As {@link translate}, for devices that can wait: the promise is fulfilled with the answer, at once
   * or when the guest has decided over a stalled access. It is never rejected for what a guest does.
   * @throws RangeError when the StreamID, SubstreamID or IOVA is out of range.
   */
  transact(streamId: number, substreamId: number, iova: U64, access: number): Promise<Translation> {
    checkStreamId(streamId);
    checkSubstreamId(substreamId);
    const { high, low } = splitU64('iova', iova, { high: 0, low: 0 });
    const result = new Translation();
    return new Promise((resolve) => {
      const outcome = this.translate(streamId, substreamId, high, low, access, result, resolve);
      if (outcome !== Outcome.stalled) resolve(result);
    });
  }

  /** The accesses that wait for the guest, oldest first; after a restore nobody waits for them yet. */
  get stalledAccesses(): readonly StalledAccess[] {
    return [...this.core.stalls.accesses.values()];
  }

  /**
   * Tells who waits for the stalled access `stag`.
   * @throws RangeError when there is none.
   */
  adopt(stag: number, answered: StallListener): void {
    const access = this.core.stalls.accesses.get(stag);
    if (access === undefined) throw new RangeError(`stag is ${stag}: no such access is stalled`);
    access.answered = answered;
  }

  /**
   * A mirror: keeps the IOAS of emulated devices in step with the guest's tables, in sinks.
   * @throws TypeError or RangeError when an option is missing or out of range.
   */
  mirror(options: MirrorOptions): Mirror {
    const mirror = new Mirror(this.core, options);
    this.keepers.push(mirror);
    this.mirrors.push(mirror);
    return mirror;
  }

  /**
   * Passthrough: devices whose DMA hardware translates. There is one of it for a vSMMU.
   * @throws Error when there is one already.
   */
  passthrough(options: PassthroughOptions = {}): Passthrough {
    if (this.hardware !== undefined) {
      throw new Error('this vSMMU has its passthrough already: add physical SMMUs to that one');
    }
    const hardware = new Passthrough(options, {
      narrow: (features) => {
        this.narrowTo(features);
      },
      isEmulated: (streamId) => this.handles.has(streamId),
    });
    this.hardware = hardware;
    hardware.connect(this.core.pair(hardware));
    return hardware;
  }

  /** Tells `keeper` of all invalidations from now on. @returns a function that ends it. */
  addKeeper(keeper: TranslationKeeper): () => void {
    this.keepers.push(keeper);
    return () => {
      const at = this.keepers.indexOf(keeper);
      if (at >= 0) this.keepers.splice(at, 1);
    };
  }

  /** Back to the state after power-on: stalled accesses abort, nothing cached remains. */
  reset(): void {
    const { core } = this;
    for (const keeper of this.keepers) keeper.invalidateAll();
    this.take(this.assemble(this.features));
    core.retire();
  }

  /**
   * The state, as plain values that JSON can carry, for {@link restore} over the same memory. To be
   * called between register writes, not out of a callback.
   */
  save(): SmmuState {
    return saveState(this.core);
  }

  /**
   * Takes over a state that {@link save} gave, into a vSMMU that the guest has not enabled yet. From
   * there on it behaves as the saved one would have. Devices whose accesses were stalled must
   * {@link adopt} them.
   * @throws RangeError when the state is damaged, of another version or of other features; nothing has
   * changed then.
   * @throws Error when this vSMMU is in use.
   */
  restore(state: SmmuState): void {
    if (this.core.frozen) throw new Error('this vSMMU is in use: restore into a fresh one');
    const core = this.assemble(this.features);
    restoreState(core, state);
    for (const keeper of this.keepers) keeper.invalidateAll();
    this.take(core);
    if (core.commands.isPending) this.options.commandsPending?.();
  }

  /** What has happened since the construction or the last reset. */
  stats(): SmmuStats {
    return statsOf(this.core);
  }

  /** As {@link narrow}, unless the guest sees no more than `physical` has already. */
  private narrowTo(physical: Features): void {
    const narrowed = narrowFeatures(this.features, physical);
    const names = Object.keys(narrowed) as (keyof Features)[];
    if (names.every((name) => narrowed[name] === this.features[name])) return;
    this.narrow(physical);
  }

  private take(core: SmmuCore): void {
    this.core = core;
    this.hardware?.connect(core.pair(this.hardware));
    for (const handle of this.handles.values()) handle.connect(core);
    for (const mirror of this.mirrors) mirror.reconfigure(core);
  }

  private assemble(features: Features): SmmuCore {
    const { memory, cache, interrupts, commandsPending, registersChanged, deviceCommand } =
      this.options;
    return new SmmuCore(features, {
      memory,
      cache: cache ?? {},
      interrupts: interrupts ?? {},
      budget: this.budget,
      commandsPending: () => commandsPending?.(),
      registersChanged: () => registersChanged?.(),
      deviceCommand: (words) => deviceCommand?.(words),
      log: this.log,
      keepers: this.keepers,
      mirrors: this.mirrors,
    });
  }
}
