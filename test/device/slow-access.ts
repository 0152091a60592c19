import type { Segments } from '../../src/device/segments.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';

/** A DMA access that goes on until the test says that it is done. */
export class SlowAccess {
  /** Output addresses of its segments; none when it has not been performed. */
  readonly addresses: number[] = [];
  /** Bytes of each. */
  readonly lengths: number[] = [];
  /** What `dma` has given: bytes, or what it was rejected with. */
  result: unknown;
  private settled = false;
  private resolve!: () => void;
  private reject!: (error: Error) => void;
  private readonly performed: Promise<void>;
  private readonly answered: Promise<void>;

  constructor(handle: StreamHandle, iova: number | bigint, length: number, access = 0) {
    this.performed = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // The promise may be rejected without being waited for.
    this.performed.catch(() => undefined);
    const perform = (segments: Segments): Promise<void> => {
      this.addresses.push(...segments.addresses.subarray(0, segments.count));
      this.lengths.push(...segments.lengths.subarray(0, segments.count));
      return this.performed;
    };
    this.answered = handle.dma(iova, length, access, perform).then(
      (bytes) => void (this.result = bytes),
      (error: unknown) => void (this.result = error),
    );
  }

  /** It is under way. */
  get isActive(): boolean {
    return this.addresses.length > 0 && !this.settled;
  }

  /** `dma` has told how it ended. */
  get isOver(): boolean {
    return this.result !== undefined;
  }

  /** The device is done. Resolves once `dma` has told. */
  async finish(): Promise<void> {
    this.settled = true;
    this.resolve();
    await this.answered;
  }

  /** As {@link finish}, with an error. */
  async fail(): Promise<void> {
    this.settled = true;
    this.reject(new Error('the device is broken'));
    await this.answered;
  }
}
