import { IommufdError } from '../iommufd/iommufd-error.js';
import type { Features } from '../registers/features.js';

/** An answer of the host: at once, or later. */
export type HostAnswer<T> = T | PromiseLike<T>;

/**
 * One physical SMMU as the host's kernel shows it to one guest: a vIOMMU over a nest parent of its own.
 * A backend refuses by throwing an {@link IommufdError}, or rejecting with one; then nothing has changed.
 * Objects are the kernel's ids. `IommufdSmmu` is the one for Linux.
 */
export interface PhysicalBackend {
  /** What the hardware can do: the guest is shown no more than that. Default: all that the library can. */
  readonly features?: Features;

  /**
   * Makes a nested HWPT.
   * @param device the kernel's id of the device.
   * @param ste words 0 to 3 of a vSTE (bits 31:0 first), as the kernel accepts it; reused after the answer.
   * @returns its id.
   */
  allocate(device: number, ste: Uint32Array): HostAnswer<number>;

  /** Attaches a device to a nested HWPT, in place of what it was attached to, without a moment between. */
  attach(device: number, hwpt: number): HostAnswer<void>;

  /** Destroys a nested HWPT or vDEVICE that nothing uses any more. */
  destroy(object: number): HostAnswer<void>;

  /**
   * Makes a vDEVICE: from now on commands that name the guest's StreamID reach the device.
   * @returns its id.
   */
  bind(device: number, streamId: number): HostAnswer<number>;

  /**
   * Issues commands, in order, and returns when the hardware has completed them.
   * @param commands 4 words each, with the guest's StreamIDs; reused after the answer.
   * @param count commands, 1 or more.
   * @throws InvalidationError with how many of them the kernel says it has handled.
   */
  invalidate(commands: Uint32Array, count: number): HostAnswer<void>;
}

/** The kernel has refused a batch of invalidations, or a part of it. */
export class InvalidationError extends IommufdError {
  /** Commands that the kernel says it has handled; those before may be checked, but not issued. */
  readonly handled: number;

  constructor(errno: number, handled: number) {
    super('IOMMU_HWPT_INVALIDATE', errno);
    this.handled = handled;
  }
}
