import type { Features } from '../registers/features.js';
import { checkByteOrder, checkCalls, checkFd, checkId, checkInteger } from './arguments.js';
import { after, callKernel } from './call.js';
import { featuresOfHardware, readHardwareInfo, type HardwareInfo } from './hardware-info.js';
import type { HostCalls } from './host-calls.js';
import { HwptAllocFlag, HwptDataType, IOMMU_HWPT_ALLOC } from './hwpt-requests.js';
import { IOMMU_DESTROY } from './object-requests.js';
import type { HostAnswer } from '../passthrough/backend.js';
import { VFIO_DEVICE_BIND_IOMMUFD } from './vfio-requests.js';
import {
  IOMMU_VEVENTQ_ALLOC,
  IOMMU_VIOMMU_ALLOC,
  MAX_VEVENTQ_DEPTH,
  VeventqType,
  ViommuType,
} from './viommu-requests.js';

/** How an {@link IommufdSmmu} is opened. */
export interface IommufdSmmuOptions {
  /** The way into the kernel. */
  readonly calls: HostCalls;
  /** File descriptor of `/dev/iommu`. */
  readonly fd: number;
  /**
   * The IOAS that guest RAM is mapped in, at its guest-physical addresses: what {@link allocateIoas} gave.
   * Several SMMUs of a VM share one.
   */
  readonly ioasId: number;
  /** File descriptor of the first device, opened from `/dev/vfio/devices`, not bound yet. */
  readonly deviceFd: number;
  /** Events that the vEVENTQ has room for, 1 to 2^19. Default: there is no vEVENTQ. */
  readonly veventqDepth?: number;
}

/** The kernel's objects that one physical SMMU has for a guest. */
export interface SmmuObjects {
  /** Id of the first device. */
  readonly firstDevice: number;
  readonly hardware: HardwareInfo;
  readonly features: Features;
  /** Id of the vIOMMU. */
  readonly viommu: number;
  /** File descriptor of the vEVENTQ, when there is one. */
  readonly veventqFd: number | undefined;
  /** Ids of what was made, in this order: nest parent, vIOMMU, vEVENTQ. */
  readonly made: number[];
}

/**
 * Checks what {@link IommufdSmmu.open} was given.
 * @throws TypeError or RangeError naming the option.
 * @throws Error on a big-endian host.
 */
export function checkSmmuOptions(options: IommufdSmmuOptions): void {
  checkByteOrder();
  checkCalls(options.calls);
  checkFd('options.fd', options.fd);
  checkId('options.ioasId', options.ioasId);
  checkFd('options.deviceFd', options.deviceFd);
  if (options.veventqDepth !== undefined) {
    const remedy = 'leave it out for no vEVENTQ';
    checkInteger('options.veventqDepth', options.veventqDepth, 1, MAX_VEVENTQ_DEPTH, remedy);
  }
}

/**
 * Makes the objects of a physical SMMU, in the order in which each needs the one before. When a step
 * fails, what was made is destroyed, the last first; the device stays bound until its file is closed.
 * @throws IommufdError of the step that failed (the promise rejects with it).
 * @throws RangeError when a guest cannot do with the hardware: see {@link featuresOfHardware}.
 */
export async function makeSmmuObjects(options: IommufdSmmuOptions): Promise<SmmuObjects> {
  const { calls, fd, ioasId, veventqDepth } = options;
  const firstDevice = await bindDevice(calls, fd, options.deviceFd);
  const hardware = await readHardwareInfo(calls, fd, firstDevice);
  const features = featuresOfHardware(hardware);
  const made: number[] = [];
  try {
    const parent = await callKernel(calls, fd, IOMMU_HWPT_ALLOC, {
      flags: HwptAllocFlag.NEST_PARENT,
      dev_id: firstDevice,
      pt_id: ioasId,
      data_type: HwptDataType.NONE,
    });
    made.push(parent.out_hwpt_id);
    const { out_viommu_id: viommu } = await callKernel(calls, fd, IOMMU_VIOMMU_ALLOC, {
      type: ViommuType.ARM_SMMUV3,
      dev_id: firstDevice,
      hwpt_id: parent.out_hwpt_id,
    });
    made.push(viommu);
    let veventqFd: number | undefined;
    if (veventqDepth !== undefined) {
      const queue = await callKernel(calls, fd, IOMMU_VEVENTQ_ALLOC, {
        viommu_id: viommu,
        type: VeventqType.ARM_SMMUV3,
        veventq_depth: veventqDepth,
      });
      made.push(queue.out_veventq_id);
      veventqFd = queue.out_veventq_fd;
    }
    return { firstDevice, hardware, features, viommu, veventqFd, made };
  } catch (error) {
    await destroyAll(calls, fd, made);
    throw error;
  }
}

/**
 * Hands a device to the iommufd `fd` (VFIO_DEVICE_BIND_IOMMUFD).
 * @returns the kernel's id of the device.
 * @throws IommufdError, or rejects with it, when the kernel refuses.
 */
export function bindDevice(calls: HostCalls, fd: number, deviceFd: number): HostAnswer<number> {
  return after(
    callKernel(calls, deviceFd, VFIO_DEVICE_BIND_IOMMUFD, { iommufd: fd }),
    ({ out_devid }) => out_devid,
  );
}

/** Destroys what a failed opening has made. The failure is what the embedder hears of, not what follows it. */
async function destroyAll(calls: HostCalls, fd: number, made: readonly number[]): Promise<void> {
  for (const id of [...made].reverse()) {
    try {
      await callKernel(calls, fd, IOMMU_DESTROY, { id });
    } catch {
      // The kernel keeps it until `fd` is closed.
    }
  }
}
