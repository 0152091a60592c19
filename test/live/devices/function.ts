import type { Dma } from './dma.js';
import type { Chain } from './queue.js';

/** What makes a virtio device the device that it is. */
export interface VirtioFunction {
  /** Device type (virtio 1.2, section 5). */
  readonly type: number;
  /** Feature bits 31:0 of its own. */
  readonly features: number;
  /** Its configuration space. */
  readonly configuration: Uint8Array;
  /**
   * Serves one buffer.
   * @returns bytes written to it, from its first writable one on.
   */
  serve(dma: Dma, chain: Chain): number;
}
