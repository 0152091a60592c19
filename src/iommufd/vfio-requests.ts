import type { ByteLayout } from '../memory/byte-layout.js';
import type { IommufdRequest } from './request.js';

/** Flags of {@link VFIO_DEVICE_BIND_IOMMUFD}. */
export const VfioBindFlag = {
  /** `token_uuid_ptr` points to the token of a virtual function. */
  TOKEN: 1,
} as const;

/** Flags of {@link VFIO_DEVICE_ATTACH_IOMMUFD_PT} and {@link VFIO_DEVICE_DETACH_IOMMUFD_PT}. */
export const VfioAttachFlag = {
  /** For the PASID in `pasid` only. */
  PASID: 1,
} as const;

/** `struct vfio_device_bind_iommufd`. */
export const VfioBindIommufd = {
  argsz: [0, 4],
  flags: [4, 4],
  iommufd: [8, 4],
  out_devid: [12, 4],
  token_uuid_ptr: [16, 8],
} as const satisfies ByteLayout;

/** `struct vfio_device_attach_iommufd_pt`. */
export const VfioAttachIommufdPt = {
  argsz: [0, 4],
  flags: [4, 4],
  pt_id: [8, 4],
  pasid: [12, 4],
} as const satisfies ByteLayout;

/** `struct vfio_device_detach_iommufd_pt`. */
export const VfioDetachIommufdPt = {
  argsz: [0, 4],
  flags: [4, 4],
  pasid: [8, 4],
} as const satisfies ByteLayout;

/**
 * Hands a device, whose `/dev/vfio/devices` file the request goes to, to `iommufd`: `out_devid` is its
 * id there. It is undone by closing the file, and only by that.
 */
export const VFIO_DEVICE_BIND_IOMMUFD: IommufdRequest<typeof VfioBindIommufd> = {
  name: 'VFIO_DEVICE_BIND_IOMMUFD',
  number: 0x3b76,
  byteLength: 24,
  layout: VfioBindIommufd,
  signed: ['iommufd'],
};

/**
 * Attaches the device to a HWPT or an IOAS, in place of what it was attached to; when it is refused
 * that stays. ENOENT is a stage-1 vSTE for a device without a vDEVICE.
 */
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT: IommufdRequest<typeof VfioAttachIommufdPt> = {
  name: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  number: 0x3b77,
  byteLength: 16,
  layout: VfioAttachIommufdPt,
};

/** Detaches the device: its DMA is blocked. */
export const VFIO_DEVICE_DETACH_IOMMUFD_PT: IommufdRequest<typeof VfioDetachIommufdPt> = {
  name: 'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  number: 0x3b78,
  byteLength: 12,
  layout: VfioDetachIommufdPt,
};
