import type { PassthroughDevice } from './passthrough-device.js';
import type { PhysicalSmmu } from './physical-smmu.js';

/** Something that the host has refused. */
export interface PassthroughReport {
  readonly physical: PhysicalSmmu;
  /** What was asked for. */
  readonly operation: 'allocate' | 'attach' | 'destroy' | 'bind' | 'invalidate';
  /** The device that it was asked for; none for invalidations and shared HWPTs. */
  readonly device?: PassthroughDevice;
  /** What the backend threw, or rejected with. */
  readonly error: unknown;
}

/** How passthrough is embedded. */
export interface PassthroughOptions {
  /** Told of each refusal of the host. What it means for the guest the guest is told by itself. Default: nobody. */
  readonly report?: (report: PassthroughReport) => void;
}

/** How commands are sent to a physical SMMU. */
export interface PhysicalOptions {
  /**
   * Times that a batch is sent again when the host refuses it for what may pass (anything but EIO), before
   * the guest's command queue stops. Default 0.
   */
  readonly retries?: number;
  /** Every batch is sent twice: an erratum of some hardware, whose first invalidation may be lost. Default `false`. */
  readonly issueTwice?: boolean;
}

/** A passthrough device. */
export interface PassthroughDeviceOptions {
  /** The physical SMMU that it is behind. */
  readonly physical: PhysicalSmmu;
  /** The kernel's id of the device: what the backend knows it by. */
  readonly device: number;
}
