import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** Types of {@link IOMMU_VIOMMU_ALLOC}. */
export const ViommuType = {
  /** No vIOMMU has this type. */
  DEFAULT: 0,
  ARM_SMMUV3: 1,
  TEGRA241_CMDQV: 2,
} as const;

/** Types of {@link IOMMU_VEVENTQ_ALLOC}. */
export const VeventqType = {
  /** No queue has this type. */
  DEFAULT: 0,
  /** Event records of an SMMUv3. */
  ARM_SMMUV3: 1,
} as const;

/** Largest `veventq_depth` of {@link IOMMU_VEVENTQ_ALLOC}, in events; the least is 1. */
export const MAX_VEVENTQ_DEPTH = 0x8_0000;

/** `struct iommu_viommu_alloc`. */
export const ViommuAlloc = {
  size: [0, 4],
  flags: [4, 4],
  type: [8, 4],
  dev_id: [12, 4],
  hwpt_id: [16, 4],
  out_viommu_id: [20, 4],
  data_len: [24, 4],
  __reserved: [28, 4],
  data_uptr: [32, 8],
} as const satisfies ByteLayout;

/** `struct iommu_vdevice_alloc`. */
export const VdeviceAlloc = {
  size: [0, 4],
  viommu_id: [4, 4],
  dev_id: [8, 4],
  out_vdevice_id: [12, 4],
  virt_id: [16, 8],
} as const satisfies ByteLayout;

/** `struct iommu_veventq_alloc`. */
export const VeventqAlloc = {
  size: [0, 4],
  flags: [4, 4],
  viommu_id: [8, 4],
  type: [12, 4],
  veventq_depth: [16, 4],
  out_veventq_id: [20, 4],
  out_veventq_fd: [24, 4],
  __reserved: [28, 4],
} as const satisfies ByteLayout;

/**
 * Makes a vIOMMU over nest parent `hwpt_id`: the part of the physical SMMU of device `dev_id` that a
 * guest has. EINVAL is a nest parent of another SMMU, EOPNOTSUPP
 * hardware that cannot nest. For an SMMUv3 there is no data.
 */
export const IOMMU_VIOMMU_ALLOC: IommufdRequest<typeof ViommuAlloc> = {
  name: 'IOMMU_VIOMMU_ALLOC',
  number: 0x3b90,
  byteLength: 40,
  layout: ViommuAlloc,
};

/**
 * Makes a vDEVICE: device `dev_id` is `virt_id`, a StreamID, to the guest. EEXIST is
 * a device that has one, or a StreamID that is taken; EINVAL a device behind another
 * SMMU.
 */
export const IOMMU_VDEVICE_ALLOC: IommufdRequest<typeof VdeviceAlloc> = {
  name: 'IOMMU_VDEVICE_ALLOC',
  number: 0x3b91,
  byteLength: 24,
  layout: VdeviceAlloc,
};

/**
 * Makes the queue through which events of a vIOMMU's devices come: `out_veventq_fd` is a file to read
 * them from, and holds the queue until it is closed.
 */
export const IOMMU_VEVENTQ_ALLOC: IommufdRequest<typeof VeventqAlloc> = {
  name: 'IOMMU_VEVENTQ_ALLOC',
  number: 0x3b93,
  byteLength: 32,
  layout: VeventqAlloc,
  signed: ['out_veventq_fd'],
};
