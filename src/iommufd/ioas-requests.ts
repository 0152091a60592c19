import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** Flags of {@link IOMMU_IOAS_MAP} and {@link IOMMU_IOAS_MAP_FILE}. */
export const IoasMapFlag = {
  /** Map at `iova`; without it the kernel chooses, and writes its choice there. */
  FIXED_IOVA: 1,
  /** Devices may write. */
  WRITEABLE: 2,
  /** Devices may read. */
  READABLE: 4,
} as const;

/** `struct iommu_ioas_alloc`. */
export const IoasAlloc = {
  size: [0, 4],
  flags: [4, 4],
  out_ioas_id: [8, 4],
} as const satisfies ByteLayout;

/** `struct iommu_iova_range`: a range of IOVAs; `last` is inclusive. */
export const IommuIovaRange = {
  start: [0, 8],
  last: [8, 8],
} as const satisfies ByteLayout;

/** Bytes of {@link IommuIovaRange}. */
export const IOVA_RANGE_BYTES = 16;

/** `struct iommu_ioas_iova_ranges`. */
export const IoasIovaRanges = {
  size: [0, 4],
  ioas_id: [4, 4],
  num_iovas: [8, 4],
  __reserved: [12, 4],
  allowed_iovas: [16, 8],
  out_iova_alignment: [24, 8],
} as const satisfies ByteLayout;

/** `struct iommu_ioas_map`. */
export const IoasMap = {
  size: [0, 4],
  flags: [4, 4],
  ioas_id: [8, 4],
  __reserved: [12, 4],
  user_va: [16, 8],
  length: [24, 8],
  iova: [32, 8],
} as const satisfies ByteLayout;

/** `struct iommu_ioas_unmap`. */
export const IoasUnmap = {
  size: [0, 4],
  ioas_id: [4, 4],
  iova: [8, 8],
  length: [16, 8],
} as const satisfies ByteLayout;

/** `struct iommu_ioas_map_file`. */
export const IoasMapFile = {
  size: [0, 4],
  flags: [4, 4],
  ioas_id: [8, 4],
  fd: [12, 4],
  start: [16, 8],
  length: [24, 8],
  iova: [32, 8],
} as const satisfies ByteLayout;

/** Makes an IOAS: an empty set of mappings. `flags` is 0. */
export const IOMMU_IOAS_ALLOC: IommufdRequest<typeof IoasAlloc> = {
  name: 'IOMMU_IOAS_ALLOC',
  number: 0x3b81,
  byteLength: 12,
  layout: IoasAlloc,
};

/**
 * Asks which IOVAs can be mapped. `allowed_iovas` points to an array of {@link IommuIovaRange}, and
 * `num_iovas` is how many it has room for; it comes back as how many there are, together with
 * EMSGSIZE when these are more.
 */
export const IOMMU_IOAS_IOVA_RANGES: IommufdRequest<typeof IoasIovaRanges> = {
  name: 'IOMMU_IOAS_IOVA_RANGES',
  number: 0x3b84,
  byteLength: 32,
  layout: IoasIovaRanges,
};

/** Maps memory of this process at IOVAs: makes an area. */
export const IOMMU_IOAS_MAP: IommufdRequest<typeof IoasMap> = {
  name: 'IOMMU_IOAS_MAP',
  number: 0x3b85,
  byteLength: 40,
  layout: IoasMap,
};

/** Unmaps whole areas; `length` comes back as the bytes that were removed. */
export const IOMMU_IOAS_UNMAP: IommufdRequest<typeof IoasUnmap> = {
  name: 'IOMMU_IOAS_UNMAP',
  number: 0x3b86,
  byteLength: 24,
  layout: IoasUnmap,
};

/** Maps a part of a memfd at IOVAs: makes an area. */
export const IOMMU_IOAS_MAP_FILE: IommufdRequest<typeof IoasMapFile> = {
  name: 'IOMMU_IOAS_MAP_FILE',
  number: 0x3b8f,
  byteLength: 40,
  layout: IoasMapFile,
  signed: ['fd'],
};
