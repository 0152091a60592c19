import { IntervalMap } from '../ioas/interval-map.js';
import type { IoasSink, SinkCapabilities } from '../mirror/sink.js';

/**
 * Keeps an IOAS in memory: a sink for device models in this process that look addresses up by
 * themselves, for inspection and for tests. It takes everything, and answers at once.
 */
export class MemorySink implements IoasSink {
  readonly capabilities: SinkCapabilities = {};
  /**
   * What is mapped now; permissions are {@link AreaPermission} bits. Areas that continue each other
   * are joined.
   */
  readonly ioas: IntervalMap = new IntervalMap();

  map(iova: number, address: number, length: number, permissions: number): boolean {
    this.ioas.insert(iova, length, address, permissions);
    return true;
  }

  unmap(iova: number, length: number): boolean {
    this.ioas.remove(iova, length);
    return true;
  }
}
