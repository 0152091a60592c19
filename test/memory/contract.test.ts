import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Exchange, type GuestMemory } from '../../src/memory/guest-memory.js';
import { DRIVERS, RANGES, wordAt } from './drivers.js';

const LAST_PAGE = 0x000f_ffff_ffff_f000;

function load(memory: GuestMemory, address: number, count: number): number[] | false {
  const words = new Uint32Array(count);
  return memory.load(address, words, 0, count) && [...words];
}

/** The words at `address` as they were made. */
function made(address: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => wordAt(address + 4 * i));
}

describe.each(DRIVERS)('$name: load', ({ make }) => {
  test('a word is little-endian', () => {
    // Bytes 0x10, 0x11, 0x12, 0x13: 0x40000030 modulo 251 is 16.
    expect(load(make(), 0x4000_0030, 1)).toEqual([0x1312_1110]);
  });

  test('words go to the given index, and only there', () => {
    const into = new Uint32Array(5).fill(0xdead_beef);
    expect(make().load(0x4000_0030, into, 2, 2)).toBe(true);
    expect([...into]).toEqual([0xdead_beef, 0xdead_beef, 0x1312_1110, 0x1716_1514, 0xdead_beef]);
  });

  test.each([1, 2, 3, 16, 1024, 1025, 2000])(
    '%i words from an address that is a multiple of 4',
    (count) => {
      expect(load(make(), 0x4000_0004, count)).toEqual(made(0x4000_0004, count));
    },
  );

  test.each(RANGES)(
    'the first and the last words of the range at $base',
    ({ base, byteLength }) => {
      const memory = make();
      const last = base + byteLength - 4;
      expect(load(memory, base, 2)).toEqual(made(base, 2));
      expect(load(memory, last, 1)).toEqual(made(last, 1));
    },
  );

  test('ranges that touch are one', () => {
    const memory = make();
    expect(load(memory, 0x4000_1ff8, 4)).toEqual(made(0x4000_1ff8, 4));
    expect(load(memory, 0x4000_1ffc, 2)).toEqual(made(0x4000_1ffc, 2));
    expect(load(memory, 0x4000_0000, 0xc00)).toEqual(made(0x4000_0000, 0xc00));
  });

  test('a range goes on over 4 GiB', () => {
    expect(load(make(), 0xffff_fff8, 4)).toEqual(made(0xffff_fff8, 4));
    expect(load(make(), 0xffff_fffc, 2)).toEqual(made(0xffff_fffc, 2));
  });

  test.each([
    ['before the first range', 0x3fff_fffc, 1],
    ['from before the first range into it', 0x3fff_fffc, 2],
    ['at the end of a range', 0x4000_3000, 2],
    ['over the end of a range', 0x4000_2ffc, 2],
    ['through two ranges that touch, over the end', 0x4000_1ff8, 0x403],
    ['from one range over a hole into another', 0x4000_2ff8, 16],
    ['between ranges', 0x8000_0000, 2],
    ['at address 0', 0, 2],
    ['at the low 32 bits of a range above 4 GiB', 0x2345_6000, 2],
    ['at 2^52', 2 ** 52, 2],
    ['over 2^52', 2 ** 52 - 4, 2],
  ])('%s is an external abort', (_, address, count) => {
    expect(load(make(), address, count)).toBe(false);
  });

  test('an abort leaves the next load right', () => {
    const memory = make();
    expect(load(memory, 0x8000_0000, 2)).toBe(false);
    expect(load(memory, LAST_PAGE, 2)).toEqual(made(LAST_PAGE, 2));
    expect(load(memory, 0x4000_2ffc, 2)).toBe(false);
    expect(load(memory, 0x4000_2ffc, 1)).toEqual(made(0x4000_2ffc, 1));
  });

  test('any load gives the words that lie there, or aborts', () => {
    const memory = make();
    const near = fc
      .constantFrom(...RANGES)
      .chain(({ base, byteLength }) =>
        fc.integer({ min: -8, max: byteLength / 4 + 8 }).map((word) => base + 4 * word),
      );
    const backed = (address: number): boolean =>
      RANGES.some(({ base, byteLength }) => address >= base && address < base + byteLength);
    fc.assert(
      fc.property(near, fc.integer({ min: 1, max: 40 }), (address, count) => {
        const all = Array.from({ length: count }, (_, i) => address + 4 * i).every(backed);
        expect(load(memory, address, count)).toEqual(all && made(address, count));
      }),
      { numRuns: 500 },
    );
  });
});

describe.each(DRIVERS)('$name: load64', ({ make }) => {
  /** The value at `high:low`, as load64 gives it. */
  function load64(memory: GuestMemory, high: number, low: number): number[] | false {
    const words = new Uint32Array(3).fill(0xdead_beef);
    if (!memory.load64(high, low, words)) return false;
    expect(words[2]).toBe(0xdead_beef);
    return [...words.subarray(0, 2)];
  }

  test.each(RANGES)(
    'the first and the last value of the range at $base',
    ({ base, byteLength }) => {
      const memory = make();
      // In this order the last value is looked up with the range of the first already known.
      for (const address of [base, base + byteLength - 8, base + 8]) {
        const high = Math.floor(address / 2 ** 32);
        expect(load64(memory, high, address % 2 ** 32)).toEqual(made(address, 2));
        expect(load64(memory, high, address | 0)).toEqual(made(address, 2));
      }
    },
  );

  test.each([
    ['before a range', 0, 0x3fff_fff8],
    ['at the end of a range', 0, 0x4000_3000],
    ['at address 0', 0, 0],
    ['at the low half of a range above 4 GiB', 0, 0x2345_6000],
    ['at the low half of a range below it', 1, 0x4000_0000],
    ['at 2^52', 0x10_0000, 0],
    ['at the last address', 0xffff_ffff, 0xffff_fff8],
    ['at the last address, signed', -1, -8],
  ])('%s is an external abort, also after a load that was none', (_, high, low) => {
    const memory = make();
    expect(load64(memory, high, low)).toBe(false);
    for (const { base } of RANGES) {
      expect(load64(memory, Math.floor(base / 2 ** 32), base | 0)).toEqual(made(base, 2));
      expect(load64(memory, high, low)).toBe(false);
    }
  });

  test('what was stored is seen', () => {
    const memory = make();
    expect(load64(memory, 1, 0x2345_6008)).toEqual(made(0x1_2345_6008, 2));
    memory.store(0x1_2345_6008, new Uint32Array([1, 2]), 0, 2);
    expect(load64(memory, 1, 0x2345_6008)).toEqual([1, 2]);
  });
});

describe.each(DRIVERS)('$name: store', ({ make }) => {
  test('words are read back as little-endian, and their neighbours are left alone', () => {
    const memory = make();
    const from = new Uint32Array([0, 0x0403_0201, 0xfffe_fdfc, 0]);
    expect(memory.store(0x4000_0008, from, 1, 2)).toBe(true);
    expect(load(memory, 0x4000_0004, 4)).toEqual([
      wordAt(0x4000_0004),
      0x0403_0201,
      0xfffe_fdfc,
      wordAt(0x4000_0010),
    ]);
  });

  test('ranges that touch are one', () => {
    const memory = make();
    expect(memory.store(0x4000_1ffc, new Uint32Array([1, 2]), 0, 2)).toBe(true);
    expect(load(memory, 0x4000_1ff8, 4)).toEqual([wordAt(0x4000_1ff8), 1, 2, wordAt(0x4000_2004)]);
  });

  test('many words at once', () => {
    const memory = make();
    const from = Uint32Array.from({ length: 2000 }, (_, i) => 3 * i);
    expect(memory.store(0x4000_0004, from, 0, 2000)).toBe(true);
    expect(load(memory, 0x4000_0004, 2000)).toEqual([...from]);
  });

  test('the last page below 2^52', () => {
    const memory = make();
    expect(memory.store(2 ** 52 - 8, new Uint32Array([1, 2]), 0, 2)).toBe(true);
    expect(load(memory, 2 ** 52 - 8, 2)).toEqual([1, 2]);
  });

  test.each([
    ['before a range', 0x3fff_fffc, 2],
    ['at the end of a range', 0x4000_3000, 1],
    ['over the end of a range', 0x4000_2ffc, 2],
    ['between ranges', 0x8000_0000, 2],
    ['over 2^52', 2 ** 52 - 4, 2],
  ])('%s is an external abort', (_, address, count) => {
    expect(make().store(address, new Uint32Array(count), 0, count)).toBe(false);
  });
});

describe.each(DRIVERS)('$name: compareExchange', ({ make, exchangesBoth }) => {
  const address = 0x1_2345_6ff8;
  const [low, high] = made(address, 2) as [number, number];

  /** What became of an exchange at index 1 of the array, and what memory holds then. */
  function exchange(words: [number, number, number, number]): [number, number[] | false] {
    const memory = make();
    const outcome = memory.compareExchange(address, new Uint32Array([0, ...words]), 1);
    return [outcome, load(memory, address, 2)];
  }

  test('the low half is replaced when both halves are as expected', () => {
    expect(exchange([low, high, 0x400, high])).toEqual([Exchange.swapped, [0x400, high]]);
  });

  test('the high half is replaced when both halves are as expected', () => {
    expect(exchange([low, high, low, 0xffff_ffff])).toEqual([Exchange.swapped, [low, 0xffff_ffff]]);
  });

  test.runIf(exchangesBoth)('both halves are replaced', () => {
    expect(exchange([low, high, 1, 2])).toEqual([Exchange.swapped, [1, 2]]);
  });

  test('a value is replaced by itself', () => {
    expect(exchange([low, high, low, high])).toEqual([Exchange.swapped, [low, high]]);
  });

  test.each([
    ['low', 1, 0],
    ['high', 0, 1],
  ])('another %s half: changed, and nothing is written', (_, lowBit, highBit) => {
    const expected: [number, number] = [low ^ lowBit, high ^ highBit];
    const unchanged = [Exchange.changed, [low, high]];
    expect(exchange([...expected, 0x400, expected[1]])).toEqual(unchanged);
    expect(exchange([...expected, expected[0], 0x400])).toEqual(unchanged);
  });

  test.each([0x3fff_fff8, 0x4000_3000, 0x8000_0000, 0, 2 ** 52])(
    'at %i, outside memory, it is aborted',
    (hole) => {
      const outcome = make().compareExchange(hole, new Uint32Array(4), 0);
      expect(outcome).toBe(Exchange.aborted);
    },
  );

  test('the codes are 0 swapped, 1 changed, 2 aborted', () => {
    expect(Exchange).toEqual({ swapped: 0, changed: 1, aborted: 2 });
  });
});
