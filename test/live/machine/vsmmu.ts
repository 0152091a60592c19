import {
  MemorySink,
  RecordingSink,
  Smmu,
  type FeatureOptions,
  type GuestMemory,
  type IoasSink,
  type Interrupts,
  type Mirror,
  type SmmuOptions,
  type SmmuState,
  type SmmuStats,
  type StreamHandle,
  type StreamMirror,
  type SyncPolicy,
} from 'vsmmu';
import type { Dma } from '../devices/dma.js';
import { RAM_BASE, RAM_END } from './addresses.js';

/** What may stand between the library and the machine, for mutants and recordings. */
export interface Wrappers {
  /** Makes the vSMMU; one more for each restore into another. */
  readonly smmu?: (options: SmmuOptions) => Smmu;
  /** Around the guest memory that the vSMMU sees. */
  readonly memory?: (memory: GuestMemory, smmu: () => Smmu) => GuestMemory;
  /** Around the sink of a mirror. */
  readonly sink?: (sink: IoasSink) => IoasSink;
  /** Around the accesses of a device. */
  readonly dma?: (dma: Dma, streamId: number) => Dma;
}

/** `inner` next to the memory and the sinks, `outer` around it. */
export function joined(outer: Wrappers, inner: Wrappers = {}): Wrappers {
  const smmu = outer.smmu ?? inner.smmu;
  return {
    ...(smmu === undefined ? {} : { smmu }),
    memory: (memory, smmu) => {
      const wrapped = inner.memory?.(memory, smmu) ?? memory;
      return outer.memory?.(wrapped, smmu) ?? wrapped;
    },
    sink: (sink) => {
      const wrapped = inner.sink?.(sink) ?? sink;
      return outer.sink?.(wrapped) ?? wrapped;
    },
    dma: (dma, streamId) => {
      const wrapped = inner.dma?.(dma, streamId) ?? dma;
      return outer.dma?.(wrapped, streamId) ?? wrapped;
    },
  };
}

export interface VsmmuOptions {
  readonly memory: GuestMemory;
  readonly features: FeatureOptions;
  readonly interrupts: Interrupts;
  readonly wrappers: Wrappers;
  readonly commandsPending: () => void;
}

/** A stream whose IOAS a mirror keeps. */
export interface MirroredStream {
  readonly stream: StreamMirror;
  readonly ioas: MemorySink;
  readonly record: RecordingSink;
}

interface Attached {
  readonly handles: Map<number, StreamHandle>;
  readonly mirrored: Map<number, MirroredStream>;
}

/** The vSMMU of the machine with all that is attached to it: another takes its place at a restore. */
export class Vsmmu {
  /** How often it was saved and restored. */
  restores = 0;
  /** Of those that were replaced. */
  readonly retired: SmmuStats[] = [];
  readonly policies = new Map<number, SyncPolicy>();
  /** Operations of sinks that were replaced. */
  private retiredMaps = 0;
  private retiredUnmaps = 0;
  private readonly options: VsmmuOptions;
  private readonly memory: GuestMemory;
  private smmu: Smmu;
  private mirror: Mirror;
  private attached: Attached = { handles: new Map(), mirrored: new Map() };

  constructor(options: VsmmuOptions) {
    this.options = options;
    const { memory, wrappers } = options;
    this.memory = wrappers.memory?.(memory, () => this.smmu) ?? memory;
    this.smmu = this.make();
    this.mirror = this.makeMirror();
  }

  get current(): Smmu {
    return this.smmu;
  }

  attachHandle(streamId: number): void {
    this.attached.handles.set(streamId, this.smmu.attach(streamId));
  }

  attachMirror(streamId: number, policy: SyncPolicy): void {
    this.policies.set(streamId, policy);
    const ioas = new MemorySink();
    const record = new RecordingSink({
      sink: this.options.wrappers.sink?.(ioas) ?? ioas,
      limit: 0,
    });
    const stream = this.mirror.attach(streamId, { sinks: [record], policy });
    this.attached.mirrored.set(streamId, { stream, ioas, record });
  }

  handle(streamId: number): StreamHandle {
    return this.attached.handles.get(streamId)!;
  }

  mirrored(streamId: number): MirroredStream {
    return this.attached.mirrored.get(streamId)!;
  }

  /**
   * Saves the vSMMU as text, and restores that: by turns into another one, which the devices are attached
   * to anew, and into the same after a reset, to which they stay attached.
   */
  saveAndRestore(): void {
    const text = JSON.stringify(this.smmu.save());
    this.retired.push(this.smmu.stats());
    this.restores++;
    if (this.restores % 2 === 0) {
      this.smmu.reset();
      this.smmu.restore(JSON.parse(text) as SmmuState);
      return;
    }
    const before = this.attached;
    for (const { record } of before.mirrored.values()) {
      this.retiredMaps += record.maps;
      this.retiredUnmaps += record.unmaps;
    }
    this.smmu = this.make();
    this.smmu.restore(JSON.parse(text) as SmmuState);
    this.mirror = this.makeMirror();
    this.attached = { handles: new Map(), mirrored: new Map() };
    for (const streamId of before.handles.keys()) this.attachHandle(streamId);
    for (const streamId of before.mirrored.keys()) {
      this.attachMirror(streamId, this.policies.get(streamId)!);
    }
  }

  /** Maps and unmaps that all sinks were asked for. */
  sinkOperations(): { maps: number; unmaps: number } {
    let [maps, unmaps] = [this.retiredMaps, this.retiredUnmaps];
    for (const { record } of this.attached.mirrored.values()) {
      maps += record.maps;
      unmaps += record.unmaps;
    }
    return { maps, unmaps };
  }

  private make(): Smmu {
    const { features, interrupts, commandsPending } = this.options;
    const options = { memory: this.memory, features, interrupts, commandsPending };
    return this.options.wrappers.smmu?.(options) ?? new Smmu(options);
  }

  private makeMirror(): Mirror {
    return this.smmu.mirror({ ram: [{ base: RAM_BASE, byteLength: RAM_END - RAM_BASE }] });
  }
}
