import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** Flags of {@link IOMMU_GET_HW_INFO}. */
export const HwInfoFlag = {
  /** `data_type` says what is asked for; without it the kernel chooses. Older kernels refuse the flag. */
  INPUT_TYPE: 1,
} as const;

/** What {@link IOMMU_GET_HW_INFO} has filled in. */
export const HwInfoType = {
  /** As an answer: nothing. As a question: what the hardware is. */
  DEFAULT: 0,
  INTEL_VTD: 1,
  /** A {@link HwInfoArmSmmuv3}. */
  ARM_SMMUV3: 2,
  TEGRA241_CMDQV: 3,
  AMD: 4,
} as const;

/** Bits of `out_capabilities`. */
export const HwCapability = {
  /** HWPTs can keep track of what a device writes. */
  DIRTY_TRACKING: 1,
  /** The device has the execute permission of PASIDs. */
  PCI_PASID_EXEC: 2,
  /** The device has the privileged mode of PASIDs. */
  PCI_PASID_PRIV: 4,
  /** The device cannot use ATS; when it is 0 nothing is known. */
  PCI_ATS_NOT_SUPPORTED: 8,
} as const;

/** `struct iommu_hw_info`; the `in_data_type` of a question is the `out_data_type` of its answer. */
export const HwInfo = {
  size: [0, 4],
  flags: [4, 4],
  dev_id: [8, 4],
  data_len: [12, 4],
  data_uptr: [16, 8],
  data_type: [24, 4],
  out_max_pasid_log2: [28, 1],
  __reserved: [29, 1],
  __reserved2: [30, 2],
  out_capabilities: [32, 8],
} as const satisfies ByteLayout;

/** `struct iommu_hw_info_arm_smmuv3`: raw values of the physical SMMU's registers. */
export const HwInfoArmSmmuv3 = {
  flags: [0, 4],
  __reserved: [4, 4],
  idr0: [8, 4],
  idr1: [12, 4],
  idr2: [16, 4],
  idr3: [20, 4],
  idr4: [24, 4],
  idr5: [28, 4],
  iidr: [32, 4],
  aidr: [36, 4],
} as const satisfies ByteLayout;

/** Bytes of {@link HwInfoArmSmmuv3}. */
export const HW_INFO_ARM_SMMUV3_BYTES = 40;

/**
 * Asks what the IOMMU of device `dev_id` is. `data_uptr` points to `data_len` bytes for the answer;
 * `data_len` comes back as the bytes that the kernel has, copied or not.
 */
export const IOMMU_GET_HW_INFO: IommufdRequest<typeof HwInfo> = {
  name: 'IOMMU_GET_HW_INFO',
  number: 0x3b8a,
  byteLength: 40,
  layout: HwInfo,
};
