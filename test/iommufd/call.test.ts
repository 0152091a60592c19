import { describe, expect, test } from 'vitest';
import { after, askKernel, callKernel, hostBytes, locate } from '../../src/iommufd/call.js';
import type { HostCalls } from '../../src/iommufd/host-calls.js';
import { IOMMU_IOAS_ALLOC } from '../../src/iommufd/ioas-requests.js';
import { IommufdError } from '../../src/iommufd/iommufd-error.js';
import { VFIO_DEVICE_BIND_IOMMUFD } from '../../src/iommufd/vfio-requests.js';
import { IOMMU_VEVENTQ_ALLOC } from '../../src/iommufd/viommu-requests.js';

function kernel(ioctl: (argument: Uint8Array) => unknown): HostCalls {
  return {
    ioctl: (_fd, _request, argument) => ioctl(argument) as number,
    addressOf: () => 0,
  };
}

/** Writes the id 7 where IOMMU_IOAS_ALLOC gives it. */
function giveId(argument: Uint8Array): void {
  new DataView(argument.buffer).setUint32(8, 7, true);
}

/** Answers of an embedder that are no integers, and what the message says of them. */
const NO_INTEGERS: [unknown, string][] = [
  [undefined, 'a value of type undefined'],
  [null, 'a value of type object'],
  ['0', 'a value of type string'],
  [0n, 'a value of type bigint'],
  [true, 'a value of type boolean'],
  [0.5, '0.5'],
  [NaN, 'NaN'],
  [-Infinity, '-Infinity'],
];

describe('a call that answers at once', () => {
  test('gives the fields that the kernel wrote, at once', () => {
    const asked: unknown[] = [];
    const calls: HostCalls = {
      ioctl: (fd, request, argument) => {
        asked.push([fd, request, [...argument]]);
        giveId(argument);
        return 0;
      },
      addressOf: () => 0,
    };
    const answer = callKernel(calls, 5, IOMMU_IOAS_ALLOC, {});
    expect(answer).toEqual({ size: 12, flags: 0, out_ioas_id: 7 });
    expect(asked).toEqual([[5, 0x3b81, [12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]]);
  });

  test('is done when the answer is more than 0', () => {
    expect(
      callKernel(
        kernel(() => 3),
        5,
        IOMMU_IOAS_ALLOC,
        {},
      ),
    ).toMatchObject({ size: 12 });
  });

  test('throws the IommufdError of a negative answer', () => {
    const call = () =>
      callKernel(
        kernel(() => -12),
        5,
        IOMMU_IOAS_ALLOC,
        {},
      );
    expect(call).toThrow(new IommufdError('IOMMU_IOAS_ALLOC', 12));
    expect(call).toThrow('IOMMU_IOAS_ALLOC failed: ENOMEM');
  });

  test.each(NO_INTEGERS)('that is %s is a TypeError', (result, what) => {
    expect(() =>
      callKernel(
        kernel(() => result),
        5,
        IOMMU_IOAS_ALLOC,
        {},
      ),
    ).toThrow(
      new TypeError(
        `calls.ioctl answered IOMMU_IOAS_ALLOC with ${what}: it must be 0 or more, or a negated error number`,
      ),
    );
  });

  test('fills in argsz where VFIO has it, and takes a negative file descriptor', () => {
    let words: number[] = [];
    const calls = kernel((argument) => {
      words = [...new Int32Array(argument.slice().buffer)];
      return 0;
    });
    expect(callKernel(calls, 5, VFIO_DEVICE_BIND_IOMMUFD, { iommufd: -1 })).toMatchObject({
      argsz: 24,
      iommufd: -1,
    });
    expect(words).toEqual([24, 0, -1, 0, 0, 0]);
  });

  test('gives a file descriptor with its sign', () => {
    const calls = kernel((argument) => {
      new DataView(argument.buffer).setInt32(24, -9, true);
      return 0;
    });
    expect(callKernel(calls, 5, IOMMU_VEVENTQ_ALLOC, {})).toMatchObject({ out_veventq_fd: -9 });
  });

  test('does not happen when a value does not fit', () => {
    const calls = kernel(() => {
      throw new Error('called');
    });
    expect(() => callKernel(calls, 5, IOMMU_IOAS_ALLOC, { flags: 2 ** 32 })).toThrow(RangeError);
  });

  test('that throws lets what it threw through', () => {
    const calls = kernel(() => {
      throw new Error('no such library');
    });
    expect(() => callKernel(calls, 5, IOMMU_IOAS_ALLOC, {})).toThrow('no such library');
  });
});

describe('a call that answers with a promise', () => {
  test('gives a promise of the fields', async () => {
    const calls = kernel(async (argument) => {
      await Promise.resolve();
      giveId(argument);
      return 0;
    });
    const answer = callKernel(calls, 5, IOMMU_IOAS_ALLOC, {});
    expect(answer).toBeInstanceOf(Promise);
    expect(await answer).toEqual({ size: 12, flags: 0, out_ioas_id: 7 });
  });

  test('rejects with the IommufdError of a negative answer', async () => {
    const calls = kernel(() => Promise.resolve(-16));
    const expected = new IommufdError('IOMMU_IOAS_ALLOC', 16);
    await expect(callKernel(calls, 5, IOMMU_IOAS_ALLOC, {})).rejects.toEqual(expected);
  });

  test.each(NO_INTEGERS)('of %s rejects with a TypeError', async (result, what) => {
    const calls = kernel(() => Promise.resolve(result));
    await expect(callKernel(calls, 5, IOMMU_IOAS_ALLOC, {})).rejects.toThrow(
      `calls.ioctl answered IOMMU_IOAS_ALLOC with ${what}`,
    );
  });

  test('that rejects rejects with the same', async () => {
    const calls = kernel(() => Promise.reject(new Error('worker gone')));
    await expect(callKernel(calls, 5, IOMMU_IOAS_ALLOC, {})).rejects.toThrow('worker gone');
  });

  test('has an argument of its own', () => {
    const seen = new Set<ArrayBufferLike>();
    const calls = kernel((argument) => {
      seen.add(argument.buffer);
      return new Promise(() => undefined);
    });
    for (let i = 0; i < 3; i++) void callKernel(calls, 5, IOMMU_IOAS_ALLOC, {});
    expect(seen.size).toBe(3);
  });
});

describe('askKernel', () => {
  test('leaves a refusal to its caller', async () => {
    const argument = hostBytes(12);
    expect(
      askKernel(
        kernel(() => -90),
        5,
        IOMMU_IOAS_ALLOC,
        argument,
      ),
    ).toBe(-90);
    const later = kernel(() => Promise.resolve(-90));
    expect(await askKernel(later, 5, IOMMU_IOAS_ALLOC, argument)).toBe(-90);
  });
});

describe('after', () => {
  test('goes on at once with what is there, and later with a promise', async () => {
    expect(after(3, (value) => value + 1)).toBe(4);
    expect(after(undefined, () => 'done')).toBe('done');
    expect(await after(Promise.resolve(3), (value) => after(value, (inner) => inner + 1))).toBe(4);
  });
});

describe('the address of a buffer', () => {
  const at = (address: unknown): HostCalls => ({
    ioctl: () => 0,
    addressOf: () => address as number,
  });

  test('is a number or a bigint, split in two halves', () => {
    const bytes = hostBytes(16);
    expect(locate(at(0x1_2345_6789), bytes)).toEqual({ high: 1, low: 0x2345_6789 });
    expect(locate(at(0xffff_8000_0000_1000n), bytes)).toEqual({ high: 0xffff_8000, low: 0x1000 });
  });

  test('is an embedder mistake when it is none', () => {
    expect(() => locate(at('0x1000'), hostBytes(16))).toThrow(TypeError);
    expect(() => locate(at(-1), hostBytes(16))).toThrow('calls.addressOf(bytes) is -1');
    expect(() => locate(at(2n ** 64n), hostBytes(16))).toThrow(RangeError);
  });
});
