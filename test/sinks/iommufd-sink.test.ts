import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KernelIoas } from '../../src/fixtures/kernel-ioas.js';
import { Errno, IommufdError } from '../../src/iommufd/iommufd-error.js';
import {
  IommufdSink,
  reservedFromIovaRanges,
  type IommufdSinkOptions,
} from '../../src/sinks/iommufd-sink.js';
import { splitU64 } from '../../src/memory/u64.js';
import { hexOf, hexText } from './hex.js';

const RAM = { base: 0x4000_0000, byteLength: 0x1_0000_0000, userAddress: 0x7fff_0000_0000n };
const MEMFD = { base: 0x10_0000_0000, byteLength: 0x4000_0000, fd: 11, fileOffset: 0x1_0000_0000 };

/** A sink, and the system calls that it makes. */
function made(options: Partial<IommufdSinkOptions> = {}) {
  const calls: string[] = [];
  const sink = new IommufdSink({
    fd: 3,
    ioasId: 5,
    regions: [RAM, MEMFD],
    ioctl: (fd, request, argument) => {
      calls.push(`${fd} ${request.toString(16)} ${hexOf(argument)}`);
      return 0;
    },
    ...options,
  });
  return { sink, calls };
}

describe('IommufdSink', () => {
  test('maps memory of the process with IOMMU_IOAS_MAP', () => {
    const { sink, calls } = made();
    expect(sink.map(0x0001_ffff_8000_1000, 0x4000_3000, 0x2000, 3)).toBe(true);
    const argument = `
      28000000 07000000 05000000 00000000
      00300000 ff7f0000 00200000 00000000 00100080 ffff0100`;
    expect(calls).toEqual([`3 3b85 ${hexText(argument)}`]);
  });

  test.each([
    [1, '05'],
    [2, '03'],
    [3, '07'],
  ])('gives permissions %d as flags, FIXED_IOVA with them', (permissions, flags) => {
    const { sink, calls } = made();
    void sink.map(0x1000, 0x4000_0000, 0x1000, permissions);
    expect(calls[0]!.slice('3 3b85 '.length + 8).slice(0, 2)).toBe(flags);
  });

  test('maps memory of a memfd with IOMMU_IOAS_MAP_FILE', () => {
    const { sink, calls } = made();
    expect(sink.map(0x1000, 0x10_0000_2000, 0x3000, 1)).toBe(true);
    const argument = `
      28000000 05000000 05000000 0b000000
      00200000 01000000 00300000 00000000 00100000 00000000`;
    expect(calls).toEqual([`3 3b8f ${hexText(argument)}`]);
  });

  test('unmaps with IOMMU_IOAS_UNMAP', () => {
    const { sink, calls } = made();
    expect(sink.unmap(2 ** 64 - 0x2000, 0x1000)).toBe(true);
    expect(calls).toEqual([
      `3 3b86 ${hexText('18000000 05000000 00e0ffff ffffffff 0010000000000000')}`,
    ]);
  });

  test('unmaps all 2^64 bytes as (0, U64_MAX)', () => {
    const { sink, calls } = made();
    expect(sink.unmap(0, 2 ** 64)).toBe(true);
    expect(calls).toEqual([
      `3 3b86 ${hexText('18000000 05000000 0000000000000000 ffffffffffffffff')}`,
    ]);
  });

  test('loses no bit of a host address', () => {
    const page = 4096n;
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 52n - 2n ** 20n), fc.nat(2 ** 20 - 1), (first, into) => {
        let found = -1n;
        const userAddress = first * page;
        const { sink } = made({
          regions: [{ base: 0, byteLength: 2 ** 32, userAddress }],
          ioctl: (_fd, _request, argument) => {
            found = new DataView(argument.buffer, argument.byteOffset).getBigUint64(16, true);
            return 0;
          },
        });
        void sink.map(0x1000, into * 4096, 4096, 3);
        expect(found).toBe(userAddress + BigInt(into) * page);
      }),
    );
  });

  test('says what it can do', () => {
    const memory = [RAM, MEMFD];
    expect(made().sink.capabilities).toEqual({ unmaps: 'areas', pageSize: 4096, memory });
    const reserved = [{ base: 0x800_0000, byteLength: 0x10_0000 }];
    const { sink } = made({ reserved, pageSize: 65_536, areas: 10 });
    expect(sink.capabilities).toEqual({
      unmaps: 'areas',
      pageSize: 65_536,
      memory,
      reserved,
      areas: 10,
    });
  });

  test('throws what the kernel refuses', () => {
    const { sink } = made({ ioctl: () => -Errno.EEXIST });
    expect(() => sink.map(0x1000, 0x4000_0000, 0x1000, 3)).toThrow(
      new IommufdError('IOMMU_IOAS_MAP', Errno.EEXIST),
    );
    expect(() => sink.map(0x1000, 0x10_0000_0000, 0x1000, 3)).toThrow(
      new IommufdError('IOMMU_IOAS_MAP_FILE', Errno.EEXIST),
    );
    expect(() => sink.unmap(0x1000, 0x1000)).toThrow(
      new IommufdError('IOMMU_IOAS_UNMAP', Errno.EEXIST),
    );
  });

  test('takes ENOENT of an unmap for done: it is gone', () => {
    const { sink } = made({ ioctl: () => -Errno.ENOENT });
    expect(sink.unmap(0x1000, 0x1000)).toBe(true);
    expect(() => sink.map(0x1000, 0x4000_0000, 0x1000, 3)).toThrow('IOMMU_IOAS_MAP failed: ENOENT');
  });

  test('waits for system calls that take time, and rejects with what they refuse', async () => {
    const { sink } = made({ ioctl: () => Promise.resolve(0) });
    expect(await sink.map(0x1000, 0x4000_0000, 0x1000, 3)).toBe(true);
    const busy = made({ ioctl: () => Promise.resolve(-Errno.EBUSY) }).sink;
    await expect(busy.unmap(0x1000, 0x1000)).rejects.toEqual(
      new IommufdError('IOMMU_IOAS_UNMAP', Errno.EBUSY),
    );
    const gone = made({ ioctl: () => Promise.resolve(-Errno.ENOENT) }).sink;
    expect(await gone.unmap(0x1000, 0x1000)).toBe(true);
  });

  test('uses an argument again only after a call that answered at once', () => {
    const seen: ArrayBufferLike[] = [];
    const answers = [0, 0, Promise.resolve(0), 0];
    const { sink } = made({
      ioctl: (_fd, _request, argument) => {
        seen.push(argument.buffer);
        return answers[seen.length - 1]!;
      },
    });
    for (let i = 0; i < 4; i++) void sink.map(0x1000, 0x4000_0000, 0x1000, 3);
    expect(seen[1]).toBe(seen[0]);
    expect(seen[2]).toBe(seen[1]);
    expect(seen[3]).not.toBe(seen[2]);
  });

  test('refuses an area outside the regions, before any call', () => {
    const { sink, calls } = made();
    expect(() => sink.map(0x1000, 0x1000, 0x1000, 3)).toThrow(RangeError);
    expect(calls).toEqual([]);
  });

  test.each<[Partial<IommufdSinkOptions>, string]>([
    [{ fd: -1 }, 'fd is -1: it must be an integer from 0 to 2^31-1'],
    [{ ioasId: 0.5 }, 'ioasId is 0.5: it must be an integer from 0 to 2^31-1'],
    [{ regions: [{ ...MEMFD, fd: 2 ** 31 }] }, 'regions[0].fd is 2147483648: it must be'],
    [{ regions: [{ ...MEMFD, fileOffset: 1 }] }, 'regions[0].fileOffset is 0x1: it must be a'],
    [{ regions: [{ ...RAM, userAddress: 0x1000 }], pageSize: 65_536 }, 'a multiple of 0x10000'],
  ])('refuses %o', (wrong, message) => {
    expect(() => made(wrong)).toThrow(RangeError);
    expect(() => made(wrong)).toThrow(message);
  });

  test('works with the kernel', () => {
    const kernel = new KernelIoas({ ioasId: 5, files: { 11: 2 ** 33 } });
    const { sink } = made({ ioctl: kernel.ioctl });
    void sink.map(0x1000, 0x4000_1000, 0x2000, 3);
    void sink.map(0x3000, 0x10_0000_0000, 0x1000, 1);
    expect(kernel.areas()).toEqual([
      { iova: 0x1000, length: 0x2000, address: 0x7fff_0000_1000n, fd: -1, permissions: 3 },
      { iova: 0x3000, length: 0x1000, address: 0x1_0000_0000n, fd: 11, permissions: 1 },
    ]);
    expect(() => sink.map(0x2000, 0x4000_0000, 0x1000, 3)).toThrow('EEXIST');
    expect(sink.unmap(0, 0x10_0000)).toBe(true);
    expect(sink.unmap(0, 0x10_0000)).toBe(true);
    expect(sink.unmap(0, 2 ** 64)).toBe(true);
    expect(kernel.areas()).toEqual([]);
  });
});

describe('reserved ranges from IOMMU_IOAS_IOVA_RANGES', () => {
  function reserved(...allowed: [bigint, bigint][]) {
    const half = (value: bigint) => splitU64('value', value, { high: 0, low: 0 });
    return reservedFromIovaRanges(
      allowed.map(([start, last]) => ({ start: half(start), last: half(last) })),
    ).map(({ base, byteLength }) => [base, byteLength]);
  }

  test('are what lies between them', () => {
    expect(reserved([0n, 0x7ff_ffffn], [0x810_0000n, 2n ** 48n - 1n])).toEqual([
      [0x800_0000, 0x10_0000],
      [2 ** 48, 2 ** 64 - 2 ** 48],
    ]);
    expect(reserved([0n, 2n ** 64n - 1n])).toEqual([]);
    expect(reserved()).toEqual([[0, 2 ** 64]]);
  });

  test('take in a page that is allowed only in part', () => {
    expect(reserved([0x1800n, 0x4fffn], [0x6000n, 0x6ffen], [0x8000n, 2n ** 64n - 2n])).toEqual([
      [0, 0x2000],
      [0x5000, 0x3000],
      [2 ** 64 - 4096, 4096],
    ]);
  });
});
