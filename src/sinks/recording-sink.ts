import type { IoasSink, SinkAnswer, SinkCapabilities } from '../mirror/sink.js';

/** An operation that a sink was asked for. */
export interface SinkOperation {
  readonly kind: 'map' | 'unmap';
  /** First IOVA, in bytes. */
  readonly iova: number;
  /** Guest-physical address in bytes; 0 for an unmap. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** {@link AreaPermission} bits; 0 for an unmap. */
  readonly permissions: number;
}

/** How a {@link RecordingSink} is made. */
export interface RecordingSinkOptions {
  /** Where operations go on to, and where answers come from. Without it every operation is done. */
  readonly sink?: IoasSink;
  /** What the sink says that it can do; by default what `sink` says, or everything. */
  readonly capabilities?: SinkCapabilities;
  /** Operations that are remembered; those that follow are only counted. Default 65,536. */
  readonly limit?: number;
}

/** Remembers what a mirror asks of a sink, in order: for tests, and to see what a guest causes. */
export class RecordingSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  /** The operations in the order in which they were asked for, refused ones included. */
  readonly operations: SinkOperation[] = [];
  /** Maps that were asked for. */
  maps = 0;
  /** Unmaps that were asked for. */
  unmaps = 0;
  /** Bytes that maps named. */
  mappedBytes = 0;
  /** Bytes that unmaps named, holes included. */
  unmappedBytes = 0;
  private readonly sink: IoasSink | undefined;
  private readonly limit: number;

  /** @throws RangeError when `limit` is not an integer of 0 or more. */
  constructor({ sink, capabilities, limit = 65_536 }: RecordingSinkOptions = {}) {
    if (!Number.isSafeInteger(limit) || limit < 0) {
      throw new RangeError(`limit is ${limit}: it must be an integer, 0 or more`);
    }
    this.sink = sink;
    this.capabilities = capabilities ?? sink?.capabilities ?? {};
    this.limit = limit;
  }

  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    this.maps++;
    this.mappedBytes += length;
    this.remember({ kind: 'map', iova, address, length, permissions });
    return this.sink === undefined || this.sink.map(iova, address, length, permissions);
  }

  unmap(iova: number, length: number): SinkAnswer {
    this.unmaps++;
    this.unmappedBytes += length;
    this.remember({ kind: 'unmap', iova, address: 0, length, permissions: 0 });
    return this.sink === undefined || this.sink.unmap(iova, length);
  }

  /** Forgets the operations, and counts from 0 again. */
  clear(): void {
    this.operations.length = 0;
    this.maps = 0;
    this.unmaps = 0;
    this.mappedBytes = 0;
    this.unmappedBytes = 0;
  }

  private remember(operation: SinkOperation): void {
    if (this.operations.length < this.limit) this.operations.push(operation);
  }
}
