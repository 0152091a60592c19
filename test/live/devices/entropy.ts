import { randomFillSync } from 'node:crypto';
import type { Dma } from './dma.js';
import type { VirtioFunction } from './function.js';
import type { Chain } from './queue.js';

/** virtio-rng (virtio 1.2, section 5.4): fills every buffer that it gets. */
export class Entropy implements VirtioFunction {
  readonly type = 4;
  readonly features = 0;
  readonly configuration = new Uint8Array(0);
  /** Bytes given. */
  bytes = 0;

  serve(dma: Dma, chain: Chain): number {
    let written = 0;
    for (const { iova, length, isWritable } of chain.pieces) {
      if (!isWritable) continue;
      const done = dma.write(iova, randomFillSync(Buffer.alloc(length)));
      written += done;
      if (done < length) break;
    }
    this.bytes += written;
    return written;
  }
}
