import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HostCalls } from '../../src/iommufd/host-calls.js';
import { allocateIoas, iovaRanges, reservedOf } from '../../src/iommufd/iova-ranges.js';
import { splitU64 } from '../../src/memory/u64.js';
import { ScriptedKernel } from './scripted-kernel.js';

type Range = readonly [start: bigint, last: bigint];

/** A kernel with these ranges: as many as there is room for, EMSGSIZE when there are more. */
function kernelWith(ranges: readonly Range[], alignment = 0x1000n): ScriptedKernel {
  const kernel = new ScriptedKernel();
  kernel.script.set('IOVA_RANGES', ({ argument, view }, data) => {
    const room = view.getUint32(8, true);
    const into = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (const [i, [start, last]] of ranges.slice(0, room).entries()) {
      into.setBigUint64(16 * i, start, true);
      into.setBigUint64(16 * i + 8, last, true);
    }
    const answer = new DataView(argument.buffer);
    answer.setUint32(8, ranges.length, true);
    answer.setBigUint64(24, alignment, true);
    return ranges.length > room ? -90 : 0;
  });
  return kernel;
}

function halves([start, last]: Range) {
  const half = (value: bigint) => splitU64('value', value, { high: 0, low: 0 });
  return { start: half(start), last: half(last) };
}

/** `count` ranges of one page, with holes of one page between them. */
function combs(count: number): Range[] {
  return Array.from({ length: count }, (_, i): Range => {
    const start = BigInt(i) * 0x2000n;
    return [start, start + 0xfffn];
  });
}

/** What SMMUv3 leaves: the MSI window is reserved, and what is above 48 bits. */
const SMMU: Range[] = [
  [0n, 0x7ff_ffffn],
  [0x810_0000n, 0xffff_ffff_ffffn],
];

describe('IOMMU_IOAS_ALLOC', () => {
  test('gives the id of an IOAS', () => {
    const kernel = new ScriptedKernel();
    expect(allocateIoas(kernel, 3)).toBe(1);
    expect(allocateIoas(kernel, 3)).toBe(2);
    expect(kernel.log.map(({ name, fd, view }) => [name, fd, view.getUint32(4, true)])).toEqual([
      ['IOAS_ALLOC', 3, 0],
      ['IOAS_ALLOC', 3, 0],
    ]);
    kernel.fail('IOAS_ALLOC', 12);
    expect(() => allocateIoas(kernel, 3)).toThrow('IOMMU_IOAS_ALLOC failed: ENOMEM');
  });

  test('is a promise when the kernel answers with promises', async () => {
    const kernel = new ScriptedKernel();
    kernel.isLater = true;
    const answer = allocateIoas(kernel, 3);
    await kernel.answer();
    expect(answer).toBeInstanceOf(Promise);
    expect(await answer).toBe(1);
  });
});

describe('IOMMU_IOAS_IOVA_RANGES', () => {
  test('gives the ranges and the alignment', () => {
    const kernel = kernelWith(SMMU, 0x1_0000n);
    expect(iovaRanges(kernel, 3, 7)).toEqual({ ranges: SMMU.map(halves), alignment: 0x1_0000 });
    const { fd, view } = kernel.log[0]!;
    expect([fd, view.getUint32(4, true), view.getUint32(12, true)]).toEqual([3, 7, 0]);
  });

  test('of an IOAS without HWPTs are everything, aligned to 1', () => {
    const everything: Range = [0n, 2n ** 64n - 1n];
    expect(iovaRanges(kernelWith([everything], 1n), 3, 7)).toEqual({
      ranges: [halves(everything)],
      alignment: 1,
    });
    expect(iovaRanges(kernelWith([]), 3, 7)).toMatchObject({ ranges: [] });
  });

  test.each([31, 32, 33, 1000, 65_536])('can be %i', async (count) => {
    const ranges = combs(count);
    const expected = { ranges: ranges.map(halves), alignment: 0x1000 };
    const kernel = kernelWith(ranges);
    expect(iovaRanges(kernel, 3, 7)).toEqual(expected);
    expect(kernel.log.length).toBe(count <= 32 ? 1 : 2);
    const later = kernelWith(ranges);
    later.isLater = true;
    const answer = iovaRanges(later, 3, 7);
    await later.answer();
    expect(await answer).toEqual(expected);
  });

  test('more than 65,536 are EMSGSIZE, after few calls', () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('IOVA_RANGES', ({ argument, view }) => {
      new DataView(argument.buffer).setUint32(8, view.getUint32(8, true) + 1, true);
      return -90;
    });
    expect(() => iovaRanges(kernel, 3, 7)).toThrow('IOMMU_IOAS_IOVA_RANGES failed: EMSGSIZE');
    expect(kernel.log.length).toBeLessThanOrEqual(12);
    expect(() => iovaRanges(kernelWith(combs(65_537)), 3, 7)).toThrow('EMSGSIZE');
  });

  test('that need no more room than there was are EMSGSIZE', () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('IOVA_RANGES', () => -90);
    expect(() => iovaRanges(kernel, 3, 7)).toThrow('EMSGSIZE');
    expect(kernel.log.length).toBe(1);
  });

  test('more than there was room for, without a refusal, are EPROTO', () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('IOVA_RANGES', ({ argument }) => {
      new DataView(argument.buffer).setUint32(8, 0xffff_ffff, true);
      return 0;
    });
    expect(() => iovaRanges(kernel, 3, 7)).toThrow('IOMMU_IOAS_IOVA_RANGES failed: EPROTO');
  });

  test('out of order, or with an alignment that is no power of two, are EPROTO', () => {
    const refused = (ranges: Range[], alignment?: bigint) => {
      expect(() => iovaRanges(kernelWith(ranges, alignment), 3, 7)).toThrow('EPROTO');
    };
    refused([[0x2000n, 0x1fffn]]);
    refused([...SMMU].reverse());
    refused([[0n, 0x1000n], [0x1000n, 0x1fffn]]); // prettier-ignore
    refused([[0n, 2n ** 64n - 1n], [0n, 2n ** 64n - 1n]]); // prettier-ignore
    refused(SMMU, 0n);
    refused(SMMU, 0x3000n);
  });

  test('of an IOAS that is none are refused', () => {
    const kernel = new ScriptedKernel();
    kernel.fail('IOVA_RANGES', 2);
    expect(() => iovaRanges(kernel, 3, 7)).toThrow('IOMMU_IOAS_IOVA_RANGES failed: ENOENT');
  });

  test('are not asked for with what cannot be a file or an id', () => {
    const kernel = new ScriptedKernel();
    expect(() => iovaRanges(kernel, -1, 7)).toThrow(RangeError);
    expect(() => iovaRanges(kernel, 3, 0)).toThrow('ioasId is 0');
    expect(() => iovaRanges({} as HostCalls, 3, 7)).toThrow(
      new TypeError('calls has no method ioctl: pass a HostCalls'),
    );
    expect(() => allocateIoas(kernel, 2 ** 31)).toThrow('fd is 2147483648');
    expect(kernel.log).toEqual([]);
  });
});

describe('reserved ranges', () => {
  const reserved = (ranges: readonly Range[]) =>
    reservedOf(ranges.map(halves)).map(({ base, byteLength }) => [base, byteLength]);

  test('are the holes', () => {
    expect(reserved(SMMU)).toEqual([
      [0x800_0000, 0x10_0000],
      [2 ** 48, 2 ** 64 - 2 ** 48],
    ]);
    expect(reserved([])).toEqual([[0, 2 ** 64]]);
    expect(reserved([[0n, 2n ** 64n - 1n]])).toEqual([]);
  });

  test('and what is allowed are all IOVAs, for any ranges of pages', () => {
    const page = fc.bigInt(0n, 2n ** 52n - 1n);
    fc.assert(
      fc.property(fc.uniqueArray(page, { maxLength: 20 }), (edges) => {
        const sorted = [...edges].sort((a, b) => (a < b ? -1 : 1));
        const ranges: Range[] = [];
        for (let i = 0; i + 1 < sorted.length; i += 2) {
          ranges.push([sorted[i]! << 12n, (sorted[i + 1]! << 12n) - 1n]);
        }
        let at = 0n;
        const holes: bigint[][] = [];
        for (const [start, last] of ranges) {
          if (start > at) holes.push([at, start - at]);
          at = last + 1n;
        }
        holes.push([at, 2n ** 64n - at]);
        expect(reserved(ranges).map((hole) => hole.map(BigInt))).toEqual(holes);
      }),
    );
  });

  test('of ranges out of order are an embedder mistake', () => {
    expect(() => reserved([...SMMU].reverse())).toThrow(
      new RangeError(
        'ranges[1] is 0x0 to 0x7ffffff: ranges must be ascending and disjoint, as iovaRanges gives them',
      ),
    );
  });
});
