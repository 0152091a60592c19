import { describe, expect, test } from 'vitest';
import * as hwInfo from '../../src/iommufd/hw-info-requests.js';
import * as hwpt from '../../src/iommufd/hwpt-requests.js';
import * as ioas from '../../src/iommufd/ioas-requests.js';
import { IOMMU_DESTROY } from '../../src/iommufd/object-requests.js';
import { decodeRequest, encodeRequest, type IommufdRequest } from '../../src/iommufd/request.js';
import * as vfio from '../../src/iommufd/vfio-requests.js';
import * as viommu from '../../src/iommufd/viommu-requests.js';
import { readFields, writeFields, type ByteLayout } from '../../src/memory/byte-layout.js';
import { hexOf, hexText } from '../sinks/hex.js';

const WIDE = { high: 0x0807_0605, low: 0x0403_0201 };
/** {@link WIDE} as it lies in memory. */
const WIDE_BYTES = '0102030405060708';

interface Row {
  request: IommufdRequest;
  name: string;
  number: number;
  bytes: number;
  /** Every field but the length of the structure, in the order of the header. */
  values: Record<string, number | typeof WIDE>;
  /** The structure by hand: offsets and sizes of `linux/iommufd.h` and `linux/vfio.h`, LP64. */
  text: string;
}

function row<L extends ByteLayout>(
  request: IommufdRequest<L>,
  name: string,
  number: number,
  bytes: number,
  values: Row['values'],
  text: string,
): Row {
  return { request, name, number, bytes, values, text };
}

const ROWS: Row[] = [
  row(IOMMU_DESTROY, 'IOMMU_DESTROY', 0x3b80, 8, { id: 0x44332211 }, '08000000 11223344'),
  row(
    ioas.IOMMU_IOAS_ALLOC,
    'IOMMU_IOAS_ALLOC',
    0x3b81,
    12,
    { flags: 0xa1, out_ioas_id: 0xa2 },
    '0c000000 a1000000 a2000000',
  ),
  row(
    ioas.IOMMU_IOAS_IOVA_RANGES,
    'IOMMU_IOAS_IOVA_RANGES',
    0x3b84,
    32,
    {
      ioas_id: 0xa1,
      num_iovas: 0xa2,
      __reserved: 0xa3,
      allowed_iovas: WIDE,
      out_iova_alignment: { high: 0, low: 0x1000 },
    },
    `20000000 a1000000 a2000000 a3000000 ${WIDE_BYTES} 0010000000000000`,
  ),
  row(
    hwpt.IOMMU_HWPT_ALLOC,
    'IOMMU_HWPT_ALLOC',
    0x3b89,
    48,
    {
      flags: 0xa1,
      dev_id: 0xa2,
      pt_id: 0xa3,
      out_hwpt_id: 0xa4,
      __reserved: 0xa5,
      data_type: 0xa6,
      data_len: 0xa7,
      data_uptr: WIDE,
      fault_id: 0xa8,
      __reserved2: 0xa9,
    },
    `30000000 a1000000 a2000000 a3000000 a4000000 a5000000 a6000000 a7000000
     ${WIDE_BYTES} a8000000 a9000000`,
  ),
  row(
    hwInfo.IOMMU_GET_HW_INFO,
    'IOMMU_GET_HW_INFO',
    0x3b8a,
    40,
    {
      flags: 0xa1,
      dev_id: 0xa2,
      data_len: 0xa3,
      data_uptr: WIDE,
      data_type: 0xa4,
      out_max_pasid_log2: 0xa5,
      __reserved: 0xa6,
      __reserved2: 0xa8a7,
      out_capabilities: { high: 0xaa, low: 0xa9 },
    },
    `28000000 a1000000 a2000000 a3000000 ${WIDE_BYTES} a4000000 a5 a6 a7a8 a9000000 aa000000`,
  ),
  row(
    hwpt.IOMMU_HWPT_INVALIDATE,
    'IOMMU_HWPT_INVALIDATE',
    0x3b8d,
    32,
    {
      hwpt_id: 0xa1,
      data_uptr: WIDE,
      data_type: 0xa2,
      entry_len: 0xa3,
      entry_num: 0xa4,
      __reserved: 0xa5,
    },
    `20000000 a1000000 ${WIDE_BYTES} a2000000 a3000000 a4000000 a5000000`,
  ),
  row(
    viommu.IOMMU_VIOMMU_ALLOC,
    'IOMMU_VIOMMU_ALLOC',
    0x3b90,
    40,
    {
      flags: 0xa1,
      type: 0xa2,
      dev_id: 0xa3,
      hwpt_id: 0xa4,
      out_viommu_id: 0xa5,
      data_len: 0xa6,
      __reserved: 0xa7,
      data_uptr: WIDE,
    },
    `28000000 a1000000 a2000000 a3000000 a4000000 a5000000 a6000000 a7000000 ${WIDE_BYTES}`,
  ),
  row(
    viommu.IOMMU_VDEVICE_ALLOC,
    'IOMMU_VDEVICE_ALLOC',
    0x3b91,
    24,
    { viommu_id: 0xa1, dev_id: 0xa2, out_vdevice_id: 0xa3, virt_id: WIDE },
    `18000000 a1000000 a2000000 a3000000 ${WIDE_BYTES}`,
  ),
  row(
    viommu.IOMMU_VEVENTQ_ALLOC,
    'IOMMU_VEVENTQ_ALLOC',
    0x3b93,
    32,
    {
      flags: 0xa1,
      viommu_id: 0xa2,
      type: 0xa3,
      veventq_depth: 0xa4,
      out_veventq_id: 0xa5,
      out_veventq_fd: -2,
      __reserved: 0xa7,
    },
    '20000000 a1000000 a2000000 a3000000 a4000000 a5000000 feffffff a7000000',
  ),
  row(
    vfio.VFIO_DEVICE_BIND_IOMMUFD,
    'VFIO_DEVICE_BIND_IOMMUFD',
    0x3b76,
    24,
    { flags: 0xa1, iommufd: -1, out_devid: 0xa3, token_uuid_ptr: WIDE },
    `18000000 a1000000 ffffffff a3000000 ${WIDE_BYTES}`,
  ),
  row(
    vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
    'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
    0x3b77,
    16,
    { flags: 0xa1, pt_id: 0xa2, pasid: 0xa3 },
    '10000000 a1000000 a2000000 a3000000',
  ),
  row(
    vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT,
    'VFIO_DEVICE_DETACH_IOMMUFD_PT',
    0x3b78,
    12,
    { flags: 0xa1, pasid: 0xa2 },
    '0c000000 a1000000 a2000000',
  ),
];

describe.each(ROWS)('$name', ({ request, name, number, bytes, values, text }) => {
  test('has the number and the size of the header', () => {
    expect(request).toMatchObject({ name, number, byteLength: bytes });
  });

  test('is written as the structure of the header, over whatever lay there', () => {
    const into = new Uint8Array(bytes + 4).fill(0xff);
    encodeRequest(request, values, into);
    expect(hexOf(into)).toBe(hexText(text) + 'ffffffff');
    const length = name.startsWith('VFIO') ? 'argsz' : 'size';
    expect(hexOf(encodeRequest(request, { ...values, [length]: 1 }))).toBe(hexText(text));
  });

  test('is read as the structure of the header', () => {
    const digits = hexText(text).match(/../g) ?? [];
    const structure = Uint8Array.from(digits, (digit) => parseInt(digit, 16));
    const length = name.startsWith('VFIO') ? 'argsz' : 'size';
    expect(decodeRequest(request, structure)).toEqual({ [length]: bytes, ...values });
  });
});

describe('a file descriptor', () => {
  test('is an integer from -2^31 to 2^31-1', () => {
    const bind = (iommufd: number) => encodeRequest(vfio.VFIO_DEVICE_BIND_IOMMUFD, { iommufd });
    expect([...bind(-(2 ** 31)).subarray(8, 12)]).toEqual([0, 0, 0, 0x80]);
    expect([...bind(2 ** 31 - 1).subarray(8, 12)]).toEqual([0xff, 0xff, 0xff, 0x7f]);
    for (const wrong of [2 ** 31, -(2 ** 31) - 1, 0.5, NaN, Infinity]) {
      expect(() => bind(wrong)).toThrow(
        new RangeError(`iommufd is ${wrong}: it must be an integer from -2^31 to 2^31-1`),
      );
    }
  });
});

describe('data that requests point to', () => {
  test('an IOVA range is two words of 64 bits', () => {
    const bytes = new Uint8Array(ioas.IOVA_RANGE_BYTES);
    writeFields(bytes, 0, ioas.IommuIovaRange, { start: WIDE, last: 0xa1 });
    expect(hexOf(bytes)).toBe(hexText(`${WIDE_BYTES} a100000000000000`));
  });

  test('a vSTE and a command are two words of 64 bits', () => {
    const bytes = new Uint8Array(hwpt.HWPT_ARM_SMMUV3_BYTES);
    writeFields(bytes, 0, hwpt.HwptArmSmmuv3, { ste0: WIDE, ste1: 0xa1 });
    expect(hexOf(bytes)).toBe(hexText(`${WIDE_BYTES} a100000000000000`));
    const command = new Uint8Array(hwpt.VIOMMU_ARM_SMMUV3_INVALIDATE_BYTES);
    writeFields(command, 0, hwpt.ViommuArmSmmuv3Invalidate, { cmd0: WIDE, cmd1: 0xa1 });
    expect(hexOf(command)).toBe(hexText(`${WIDE_BYTES} a100000000000000`));
  });

  test('hardware information is ten words of 32 bits', () => {
    const bytes = new Uint8Array(hwInfo.HW_INFO_ARM_SMMUV3_BYTES);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 40; at += 4) view.setUint32(at, 0x100 + at, true);
    expect(readFields(bytes, 0, hwInfo.HwInfoArmSmmuv3)).toEqual({
      flags: 0x100,
      __reserved: 0x104,
      idr0: 0x108,
      idr1: 0x10c,
      idr2: 0x110,
      idr3: 0x114,
      idr4: 0x118,
      idr5: 0x11c,
      iidr: 0x120,
      aidr: 0x124,
    });
  });
});

describe('constants', () => {
  test('are those of the headers', () => {
    expect(hwpt.HwptAllocFlag).toEqual({
      NEST_PARENT: 1,
      DIRTY_TRACKING: 2,
      FAULT_ID_VALID: 4,
      PASID: 8,
    });
    expect(hwpt.HwptDataType).toEqual({ NONE: 0, VTD_S1: 1, ARM_SMMUV3: 2, AMD_GUEST: 3 });
    expect(hwpt.HwptInvalidateDataType).toEqual({ VTD_S1: 0, ARM_SMMUV3: 1 });
    expect(hwInfo.HwInfoFlag).toEqual({ INPUT_TYPE: 1 });
    expect(hwInfo.HwInfoType).toEqual({
      DEFAULT: 0,
      INTEL_VTD: 1,
      ARM_SMMUV3: 2,
      TEGRA241_CMDQV: 3,
      AMD: 4,
    });
    expect(hwInfo.HwCapability).toEqual({
      DIRTY_TRACKING: 1,
      PCI_PASID_EXEC: 2,
      PCI_PASID_PRIV: 4,
      PCI_ATS_NOT_SUPPORTED: 8,
    });
    expect(viommu.ViommuType).toEqual({ DEFAULT: 0, ARM_SMMUV3: 1, TEGRA241_CMDQV: 2 });
    expect(viommu.VeventqType).toEqual({ DEFAULT: 0, ARM_SMMUV3: 1 });
    expect(viommu.MAX_VEVENTQ_DEPTH).toBe(2 ** 19);
    expect(vfio.VfioBindFlag).toEqual({ TOKEN: 1 });
    expect(vfio.VfioAttachFlag).toEqual({ PASID: 1 });
  });
});
