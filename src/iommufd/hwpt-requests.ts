import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** Flags of {@link IOMMU_HWPT_ALLOC}. */
export const HwptAllocFlag = {
  /** The HWPT is a stage 2 that a vIOMMU can be made over. */
  NEST_PARENT: 1,
  /** The hardware keeps track of what devices write. */
  DIRTY_TRACKING: 2,
  /** `fault_id` names a fault queue. */
  FAULT_ID_VALID: 4,
  /** Can be attached to a PASID. */
  PASID: 8,
} as const;

/** What `data_uptr` of {@link IOMMU_HWPT_ALLOC} points to. */
export const HwptDataType = {
  /** To nothing. */
  NONE: 0,
  VTD_S1: 1,
  /** To a {@link HwptArmSmmuv3}. */
  ARM_SMMUV3: 2,
  AMD_GUEST: 3,
} as const;

/** What the array of {@link IOMMU_HWPT_INVALIDATE} holds. */
export const HwptInvalidateDataType = {
  VTD_S1: 0,
  /** Commands for a vIOMMU: {@link ViommuArmSmmuv3Invalidate}. */
  ARM_SMMUV3: 1,
} as const;

/** `struct iommu_hwpt_alloc`. */
export const HwptAlloc = {
  size: [0, 4],
  flags: [4, 4],
  dev_id: [8, 4],
  pt_id: [12, 4],
  out_hwpt_id: [16, 4],
  __reserved: [20, 4],
  data_type: [24, 4],
  data_len: [28, 4],
  data_uptr: [32, 8],
  fault_id: [40, 4],
  __reserved2: [44, 4],
} as const satisfies ByteLayout;

/** `struct iommu_hwpt_arm_smmuv3`: bits 63:0 and 127:64 of a vSTE. */
export const HwptArmSmmuv3 = {
  ste0: [0, 8],
  ste1: [8, 8],
} as const satisfies ByteLayout;

/** Bytes of {@link HwptArmSmmuv3}. */
export const HWPT_ARM_SMMUV3_BYTES = 16;

/** `struct iommu_hwpt_invalidate`. */
export const HwptInvalidate = {
  size: [0, 4],
  hwpt_id: [4, 4],
  data_uptr: [8, 8],
  data_type: [16, 4],
  entry_len: [20, 4],
  entry_num: [24, 4],
  __reserved: [28, 4],
} as const satisfies ByteLayout;

/** `struct iommu_viommu_arm_smmuv3_invalidate`: bits 63:0 and 127:64 of a guest's command. */
export const ViommuArmSmmuv3Invalidate = {
  cmd0: [0, 8],
  cmd1: [8, 8],
} as const satisfies ByteLayout;

/** Bytes of {@link ViommuArmSmmuv3Invalidate}: what `entry_len` says. */
export const VIOMMU_ARM_SMMUV3_INVALIDATE_BYTES = 16;

/**
 * Makes a HWPT for device `dev_id`: over an IOAS a stage 2, over a vIOMMU (both `pt_id`) a nested
 * one, whose stage 1 is that of the vSTE in {@link HwptArmSmmuv3}. EIO is a vSTE that
 * the kernel does not accept.
 */
export const IOMMU_HWPT_ALLOC: IommufdRequest<typeof HwptAlloc> = {
  name: 'IOMMU_HWPT_ALLOC',
  number: 0x3b89,
  byteLength: 48,
  layout: HwptAlloc,
};

/**
 * Issues `entry_num` commands of a guest, `entry_len` bytes each, to the physical SMMU of vIOMMU
 * `hwpt_id`, and waits for them. When it fails `entry_num` comes back as how many were handled, of
 * which the hardware may have seen fewer.
 */
export const IOMMU_HWPT_INVALIDATE: IommufdRequest<typeof HwptInvalidate> = {
  name: 'IOMMU_HWPT_INVALIDATE',
  number: 0x3b8d,
  byteLength: 32,
  layout: HwptInvalidate,
};
