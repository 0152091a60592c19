import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_UNMAP,
  IoasMapFlag,
} from '../../src/iommufd/ioas-requests.js';
import { Errno, IommufdError } from '../../src/iommufd/iommufd-error.js';
import { decodeRequest, encodeRequest } from '../../src/iommufd/request.js';
import { splitU64, type Halves } from '../../src/memory/u64.js';
import { hexOf, hexText } from '../sinks/hex.js';

/** What the header says, in the order of the structure; `linux/iommufd.h`, Linux 7.1.8, LP64. */
const MAP_BYTES = `
  28000000 07000000 05000000 00000000
  00f0debc 9a78ff7f 00002000 00000000 00100080 ffff0100`;
const UNMAP_BYTES = '18000000 05000000 00100080 ffff0100 00002000 00000000';
const MAP_FILE_BYTES = `
  28000000 05000000 05000000 0b000000
  00000040 01000000 00002000 00000000 00100080 ffff0100`;

const USER = { high: 0x7fff_789a, low: 0xbcde_f000 };
const IOVA = 0x0001_ffff_8000_1000;

describe('requests on an IOAS', () => {
  test('have the numbers of the ioctls', () => {
    expect(IOMMU_IOAS_MAP.number).toBe(0x3b85);
    expect(IOMMU_IOAS_UNMAP.number).toBe(0x3b86);
    expect(IOMMU_IOAS_MAP_FILE.number).toBe(0x3b8f);
    expect(IoasMapFlag).toEqual({ FIXED_IOVA: 1, WRITEABLE: 2, READABLE: 4 });
  });

  test('IOMMU_IOAS_MAP is 40 bytes', () => {
    const values = { flags: 7, ioas_id: 5, user_va: USER, length: 0x20_0000, iova: IOVA };
    expect(hexOf(encodeRequest(IOMMU_IOAS_MAP, values))).toBe(hexText(MAP_BYTES));
  });

  test('IOMMU_IOAS_UNMAP is 24 bytes', () => {
    const values = { ioas_id: 5, iova: IOVA, length: 0x20_0000 };
    expect(hexOf(encodeRequest(IOMMU_IOAS_UNMAP, values))).toBe(hexText(UNMAP_BYTES));
  });

  test('IOMMU_IOAS_MAP_FILE is 40 bytes', () => {
    const start = { high: 1, low: 0x4000_0000 };
    const values = { flags: 5, ioas_id: 5, fd: 11, start, length: 0x20_0000, iova: IOVA };
    expect(hexOf(encodeRequest(IOMMU_IOAS_MAP_FILE, values))).toBe(hexText(MAP_FILE_BYTES));
  });

  test('overwrite what a buffer held before', () => {
    const buffer = new Uint8Array(40).fill(0xff);
    const values = { flags: 7, ioas_id: 5, user_va: USER, length: 0x20_0000, iova: IOVA };
    expect(encodeRequest(IOMMU_IOAS_MAP, values, buffer)).toBe(buffer);
    expect(hexOf(buffer)).toBe(hexText(MAP_BYTES));
  });

  test('read back every 64-bit value that an independent writer put there', () => {
    const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
    fc.assert(
      fc.property(u64, u64, u64, (address, length, iova) => {
        const bytes = new Uint8Array(40);
        const view = new DataView(bytes.buffer);
        view.setBigUint64(16, address, true);
        view.setBigUint64(24, length, true);
        view.setBigUint64(32, iova, true);
        const half = (value: bigint): Halves => splitU64('value', value, { high: 0, low: 0 });
        const wide = { length: half(length), iova: half(iova) };
        expect(decodeRequest(IOMMU_IOAS_MAP, bytes)).toMatchObject({
          ...wide,
          user_va: half(address),
        });
        expect(decodeRequest(IOMMU_IOAS_MAP_FILE, bytes)).toMatchObject({
          ...wide,
          start: half(address),
        });
        view.setBigUint64(8, iova, true);
        view.setBigUint64(16, length, true);
        expect(decodeRequest(IOMMU_IOAS_UNMAP, bytes)).toMatchObject(wide);
      }),
    );
  });

  test('that are cut short are a mistake of the caller', () => {
    expect(() => decodeRequest(IOMMU_IOAS_UNMAP, new Uint8Array(23))).toThrow(
      new RangeError('bytes has 23 bytes: IOMMU_IOAS_UNMAP has 24'),
    );
  });
});

describe('IommufdError', () => {
  test('names the request and the error number', () => {
    const error = new IommufdError('IOMMU_IOAS_MAP', Errno.EEXIST);
    expect(error).toMatchObject({ name: 'IommufdError', request: 'IOMMU_IOAS_MAP', errno: 17 });
    expect(error.message).toBe('IOMMU_IOAS_MAP failed: EEXIST');
    expect(new IommufdError('IOMMU_DESTROY', 999).message).toBe('IOMMU_DESTROY failed: errno 999');
  });

  test('numbers are those of Linux on arm64 and x86 (asm-generic/errno.h)', () => {
    expect(Errno).toMatchObject({ EPERM: 1, ENOENT: 2, EIO: 5, E2BIG: 7, EBADF: 9, ENOMEM: 12 });
    expect(Errno).toMatchObject({ EFAULT: 14, EBUSY: 16, EEXIST: 17, EINVAL: 22, ENOTTY: 25 });
    expect(Errno).toMatchObject({ ENOSPC: 28, ESPIPE: 29, EDEADLOCK: 35, EOVERFLOW: 75 });
    expect(Errno).toMatchObject({ EMSGSIZE: 90, EOPNOTSUPP: 95, EADDRINUSE: 98, ETIMEDOUT: 110 });
  });
});
