/** What worlds differ in, and the streams in them. */
import type { SyncPolicy } from '../../src/mirror/mirror-options.js';
import type { SinkCapabilities } from '../../src/mirror/sink.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import type { StreamModel } from './mirror-model.js';
import type { ModelSink } from './mirror-model-sink.js';
import type { GranuleLog2 } from './mirror-world-layout.js';

export interface SinkOptions extends Omit<SinkCapabilities, 'reserved' | 'memory'> {
  readonly isReserved?: boolean;
  readonly hasMemory?: boolean;
  readonly answers?: 'now' | 'later' | 'mixed';
}

export interface StreamOptions {
  readonly streamId: number;
  readonly substreamId?: number;
  readonly privileged?: boolean;
  readonly policy: SyncPolicy;
  readonly sinks: readonly SinkOptions[];
}

export interface WorldOptions {
  readonly granuleLog2: GranuleLog2;
  readonly upper: 'top' | 'bottom' | 'none';
  readonly bigEndian: boolean;
  readonly httu: number;
  readonly compares: boolean;
  /** Code of IDR5.OAS and its bits. */
  readonly oas: 32 | 40;
  readonly streams: readonly StreamOptions[];
  /** The VMM tells of each write to a table at once; else some time later. */
  readonly tellsAtOnce: boolean;
  readonly tables?: number;
  readonly work?: number;
}

/** A stream that is mirrored, or was. */
export interface Attached {
  readonly model: StreamModel;
  readonly sinks: readonly ModelSink[];
  policy: SyncPolicy;
  mirror: StreamMirror | undefined;
  isDetached: boolean;
  /** A limit was reported since the policy was set. */
  isLimited: boolean;
}
