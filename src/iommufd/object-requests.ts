import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** `struct iommu_destroy`. */
export const IommuDestroy = {
  size: [0, 4],
  id: [4, 4],
} as const satisfies ByteLayout;

/**
 * Destroys an object of any kind: IOAS, HWPT, vIOMMU, vDEVICE or vEVENTQ. Refused with
 * EBUSY while another object or an open file uses it, with ENOENT when
 * there is no such id.
 */
export const IOMMU_DESTROY: IommufdRequest<typeof IommuDestroy> = {
  name: 'IOMMU_DESTROY',
  number: 0x3b80,
  byteLength: 8,
  layout: IommuDestroy,
};
