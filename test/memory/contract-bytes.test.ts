import { describe, expect, test } from 'vitest';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { byteAt, DRIVERS, RANGES } from './drivers.js';

/** Counts on both sides of where an implementation may copy in another way. */
const COUNTS = [1, 2, 3, 4, 7, 8, 9, 15, 31, 32, 33, 63, 64, 65, 255, 256, 4095, 4096, 4097, 8000];

function loadBytes(memory: GuestMemory, address: number, count: number): number[] | false {
  const bytes = new Uint8Array(count);
  return memory.loadBytes(address, bytes, 0, count) && [...bytes];
}

/** The bytes at `address` as they were made. */
function made(address: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => byteAt(address + i));
}

describe.each(DRIVERS)('$name: loadBytes', ({ make }) => {
  test('words that were stored are seen as little-endian bytes', () => {
    const memory = make();
    memory.store(0x4000_0008, new Uint32Array([0x0403_0201, 0xfffe_fd80]), 0, 2);
    expect(loadBytes(memory, 0x4000_0008, 8)).toEqual([1, 2, 3, 4, 0x80, 0xfd, 0xfe, 0xff]);
    expect(loadBytes(memory, 0x4000_000a, 4)).toEqual([3, 4, 0x80, 0xfd]);
    expect(loadBytes(memory, 0x4000_000c, 4)).toEqual([0x80, 0xfd, 0xfe, 0xff]);
    expect(loadBytes(memory, 0x4000_000e, 2)).toEqual([0xfe, 0xff]);
    expect(loadBytes(memory, 0x4000_000b, 1)).toEqual([4]);
  });

  test.each([
    ['a NaN', [0, 0, 0, 0, 1, 2, 0xf0, 0x7f]],
    ['a negative NaN', [1, 2, 3, 4, 5, 6, 0xf8, 0xff]],
    ['minus infinity', [0, 0, 0, 0, 0, 0, 0xf0, 0xff]],
    ['minus zero', [0, 0, 0, 0, 0, 0, 0, 0x80]],
  ])('eight bytes that a double would read as %s are whole', (_, bytes) => {
    const memory = make();
    expect(memory.storeBytes(0x4000_0010, Uint8Array.from(bytes), 0, 8)).toBe(true);
    expect(loadBytes(memory, 0x4000_0010, 8)).toEqual(bytes);
  });

  test('bytes go to the given index, and only there', () => {
    const into = new Uint8Array(5).fill(0xee);
    // 0x40000030 modulo 251 is 16.
    expect(make().loadBytes(0x4000_0030, into, 2, 2)).toBe(true);
    expect([...into]).toEqual([0xee, 0xee, 0x10, 0x11, 0xee]);
  });

  test.each(COUNTS)('%i bytes from any address', (count) => {
    const memory = make();
    for (const address of [0x4000_0000, 0x4000_0001, 0x4000_0002, 0x4000_0007, 0x4000_0ffd]) {
      expect(loadBytes(memory, address, count)).toEqual(made(address, count));
    }
  });

  test.each(RANGES)(
    'the first and the last bytes of the range at $base',
    ({ base, byteLength }) => {
      const memory = make();
      for (const count of [1, 2, 3, 4, 8, 100]) {
        const last = base + byteLength - count;
        expect(loadBytes(memory, base, count)).toEqual(made(base, count));
        expect(loadBytes(memory, last, count)).toEqual(made(last, count));
      }
    },
  );

  test.each([1, 2, 3, 4, 5, 7])('ranges that touch are one, also %i bytes before the end', (to) => {
    const memory = make();
    expect(loadBytes(memory, 0x4000_2000 - to, 8)).toEqual(made(0x4000_2000 - to, 8));
    expect(loadBytes(memory, 0x1_0000_0000 - to, 8)).toEqual(made(0x1_0000_0000 - to, 8));
    expect(loadBytes(memory, 0x4000_2000 - to, 0x800)).toEqual(made(0x4000_2000 - to, 0x800));
  });

  test('all of two ranges that touch, and of one over 4 GiB', () => {
    const memory = make();
    expect(loadBytes(memory, 0x4000_0000, 0x3000)).toEqual(made(0x4000_0000, 0x3000));
    expect(loadBytes(memory, 0xffff_f000, 0x2000)).toEqual(made(0xffff_f000, 0x2000));
  });

  test.each([
    ['before the first range', 0x3fff_ffff, 1],
    ['from before the first range into it', 0x3fff_ffff, 2],
    ['at the end of a range', 0x4000_3000, 1],
    ['over the end of a range', 0x4000_2fff, 2],
    ['much over the end of a range', 0x4000_2fff, 0x1000],
    ['through two ranges that touch, over the end', 0x4000_1ff8, 0x100a],
    ['from one range over a hole into another', 0xffff_fff0, 0x2345_6080],
    ['at address 0', 0, 2],
    ['at the low 32 bits of a range above 4 GiB', 0x2345_6000, 2],
    ['over 2^52', 2 ** 52 - 1, 2],
    ['at 2^52', 2 ** 52, 1],
    ['at 2^53', 2 ** 53, 1],
    ['at the last 64-bit address', 2 ** 64, 8],
  ])('%s is an external abort', (_, address, count) => {
    const memory = make();
    const into = new Uint8Array(Math.min(count, 0x2000));
    expect(memory.loadBytes(address, into, 0, count)).toBe(false);
    // Also when the last access was to a range that is there.
    expect(loadBytes(memory, 0x1_2345_6000, 1)).toEqual(made(0x1_2345_6000, 1));
    expect(memory.loadBytes(address, into, 0, count)).toBe(false);
    expect(loadBytes(memory, 0x4000_2ffe, 2)).toEqual(made(0x4000_2ffe, 2));
  });

  test.each([0, 0x4000_0001, 0x4000_3000, 2 ** 52, 2 ** 64])(
    'no bytes from %i are not an abort, and nothing is read',
    (address) => {
      const into = new Uint8Array([7]);
      expect(make().loadBytes(address, into, 0, 0)).toBe(true);
      expect(make().loadBytes(address, into, 1, 0)).toBe(true);
      expect([...into]).toEqual([7]);
    },
  );
});

describe.each(DRIVERS)('$name: storeBytes', ({ make }) => {
  test('bytes that were stored are seen as little-endian words, and neighbours are left alone', () => {
    const memory = make();
    memory.store(0x4000_0008, new Uint32Array([0x1111_1111, 0x2222_2222, 0x3333_3333]), 0, 3);
    const from = Uint8Array.from([0, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0]);
    expect(memory.storeBytes(0x4000_000b, from, 1, 5)).toBe(true);
    const words = new Uint32Array(3);
    expect(memory.load(0x4000_0008, words, 0, 3)).toBe(true);
    expect([...words]).toEqual([0xa011_1111, 0xa4a3_a2a1, 0x3333_3333]);
  });

  test.each([
    [1, 0x4000_0009, [0x1111_a011, 0x2222_2222]],
    [2, 0x4000_000a, [0xa1a0_1111, 0x2222_2222]],
    [2, 0x4000_000b, [0xa011_1111, 0x2222_22a1]],
    [4, 0x4000_000c, [0x1111_1111, 0xa3a2_a1a0]],
    [8, 0x4000_0008, [0xa3a2_a1a0, 0xa7a6_a5a4]],
  ])('%i bytes at %i', (count, address, words) => {
    const memory = make();
    memory.store(0x4000_0008, new Uint32Array([0x1111_1111, 0x2222_2222]), 0, 2);
    const from = Uint8Array.from({ length: 8 }, (_, i) => 0xa0 + i);
    expect(memory.storeBytes(address, from, 0, count)).toBe(true);
    const into = new Uint32Array(3).fill(0xdead_beef);
    expect(memory.load64(0, 0x4000_0008, into)).toBe(true);
    expect([...into]).toEqual([...words, 0xdead_beef]);
  });

  test.each(COUNTS)('%i bytes to any address, and none beside them', (count) => {
    const from = Uint8Array.from({ length: count + 2 }, (_, i) => 3 * i + 1);
    for (const address of [0x4000_0008, 0x4000_0009, 0x4000_000a, 0x4000_0fff]) {
      const memory = make();
      expect(memory.storeBytes(address, from, 1, count)).toBe(true);
      expect(loadBytes(memory, address - 1, count + 2)).toEqual([
        byteAt(address - 1),
        ...from.subarray(1, count + 1),
        byteAt(address + count),
      ]);
    }
  });

  test.each([1, 2, 3, 4, 5, 7])('ranges that touch are one, also %i bytes before the end', (to) => {
    const memory = make();
    for (const end of [0x4000_2000, 0x1_0000_0000]) {
      expect(memory.storeBytes(end - to, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]), 0, 8)).toBe(
        true,
      );
      expect(loadBytes(memory, end - 8, 16)).toEqual([
        ...made(end - 8, 8 - to),
        ...[1, 2, 3, 4, 5, 6, 7, 8],
        ...made(end + 8 - to, to),
      ]);
    }
  });

  test('the last bytes below 2^52', () => {
    const memory = make();
    expect(memory.storeBytes(2 ** 52 - 3, Uint8Array.from([1, 2, 3]), 0, 3)).toBe(true);
    expect(loadBytes(memory, 2 ** 52 - 3, 3)).toEqual([1, 2, 3]);
  });

  test.each([
    ['before a range', 0x3fff_fffd, 4],
    ['at the end of a range', 0x4000_3000, 1],
    ['over the end of a range', 0x4000_2fff, 2],
    ['much over the end of a range', 0x4000_2fff, 0x1000],
    ['through two ranges that touch, over the end', 0x4000_1ff8, 0x1009],
    ['over the end of a range that goes over 4 GiB', 0xffff_fff8, 0x1009],
    ['over 2^52', 2 ** 52 - 7, 8],
    ['at 2^52', 2 ** 52, 1],
    ['at the last 64-bit address', 2 ** 64, 8],
  ])('%s is an external abort, and nothing is written', (_, address, count) => {
    const memory = make();
    expect(memory.storeBytes(address, new Uint8Array(count).fill(0xee), 0, count)).toBe(false);
    for (const { base, byteLength } of RANGES) {
      expect(loadBytes(memory, base, byteLength)).toEqual(made(base, byteLength));
    }
  });

  test.each([0, 0x4000_0001, 0x4000_3000, 2 ** 52, 2 ** 64])(
    'no bytes to %i are not an abort, and nothing is written',
    (address) => {
      const memory = make();
      expect(memory.storeBytes(address, new Uint8Array([1]), 0, 0)).toBe(true);
      expect(loadBytes(memory, 0x4000_0000, 8)).toEqual(made(0x4000_0000, 8));
    },
  );
});
