import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { joinU64, type U64 } from '../../src/memory/u64.js';
import { HostRegions } from '../../src/sinks/host-regions.js';

interface Region {
  base: number;
  byteLength: number;
  start: U64;
}

function regionsOf(regions: Region[], alignment = 4096): HostRegions<Region> {
  return new HostRegions(regions, ({ start }) => ['start', start], alignment);
}

describe('regions of guest RAM', () => {
  const low = { base: 0, byteLength: 0x1000_0000, start: 0x7f00_0000_0000n };
  const high = { base: 0x1_0000_0000, byteLength: 0x2_0000_0000, start: 0xffff_fff0_0000_0000n };

  test('place a guest-physical address in the host', () => {
    const regions = regionsOf([high, low]);
    const found = { high: 0, low: 0 };
    expect(regions.locate(0x2000, 0x1000, found)).toBe(low);
    expect(joinU64(found.high, found.low)).toBe(0x7f00_0000_2000n);
    expect(regions.locate(0x2_ffff_f000, 0x1000, found)).toBe(high);
    expect(joinU64(found.high, found.low)).toBe(0xffff_fff1_ffff_f000n);
  });

  test('are exact for all 64 bits of a host address', () => {
    const page = 4096n;
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 64n - 1n),
        fc.bigInt(0n, 2n ** 39n),
        fc.bigInt(1n, 2n ** 28n),
        fc.bigInt(0n, 2n ** 28n),
        (anywhere, base, pages, into) => {
          const bytes = pages * page;
          const start = anywhere > 2n ** 64n - bytes ? 2n ** 64n - bytes : anywhere;
          const offset = (into % pages) * page;
          const region = { base: Number(base * page), byteLength: Number(bytes), start };
          const found = { high: 0, low: 0 };
          const address = Number(base * page + offset);
          regionsOf([region], 1).locate(address, 4096, found);
          expect(joinU64(found.high, found.low)).toBe(start + offset);
        },
      ),
    );
  });

  test.each([
    ['outside them', 0x1000_0000, 0x1000],
    ['that begins in a hole', 0xffff_f000, 0x2000],
    ['that leaves its region', 0x0fff_f000, 0x2000],
  ])('do not place an area %s', (_, address, length) => {
    const locate = () => regionsOf([low, high]).locate(address, length, { high: 0, low: 0 });
    expect(locate).toThrow(RangeError);
    expect(locate).toThrow(
      `address is 0x${address.toString(16)}, length 0x${length.toString(16)}: an area lies in one of the regions`,
    );
  });

  test('that touch are different regions', () => {
    const next = { base: 0x1000_0000, byteLength: 0x1000, start: 0 };
    const regions = regionsOf([low, next]);
    expect(regions.at(0x0fff_ffff)).toBe(low);
    expect(regions.at(0x1000_0000)).toBe(next);
    expect(() => regions.locate(0x0fff_f000, 0x2000, { high: 0, low: 0 })).toThrow(RangeError);
  });

  test.each<[Partial<Region>, string]>([
    [{ base: 0x800 }, 'regions[0].base is 0x800: it must be a multiple of 4096, 0 or more'],
    [{ base: -4096 }, 'regions[0].base is -0x1000: it must be a multiple of 4096, 0 or more'],
    [{ byteLength: 0 }, 'regions[0].byteLength is 0x0: it must be a multiple of 4096, more than 0'],
    [{ byteLength: 100 }, 'regions[0].byteLength is 0x64: it must be a multiple of 4096'],
    [{ base: 2 ** 52 - 4096 }, 'regions[0] ends at 0x10000000001000: physical addresses have'],
    [{ start: -1 }, 'regions[0].start is -1: it must be an integer from 0 to 2^53-1'],
    [{ start: 2 ** 60 }, 'give a bigint above that'],
    [{ start: 0x1800 }, 'regions[0].start is 0x1800: it must be a multiple of 0x1000'],
    [{ start: 2n ** 64n - 4096n }, 'regions[0].start is 0xfffffffffffff000: 0x2000 bytes from'],
  ])('refuse %o', (wrong, message) => {
    const make = () => regionsOf([{ base: 0x1000, byteLength: 0x2000, start: 0, ...wrong }]);
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });

  test('may end at the last byte of the host', () => {
    const start = 2n ** 64n - 8192n;
    expect(() => regionsOf([{ base: 0, byteLength: 8192, start }])).not.toThrow();
  });

  test('refuse to overlap', () => {
    const again = { base: 0x0fff_f000, byteLength: 0x2000, start: 0 };
    expect(() => regionsOf([again, low])).toThrow(
      'regions: those at 0x0 and 0xffff000 overlap: give each address once',
    );
  });
});
