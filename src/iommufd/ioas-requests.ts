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
};
