import { describe, expect, test } from 'vitest';
import { Exchange } from '../../src/memory/guest-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';

const TERABYTE = 2 ** 40;

function load(memory: SparseMemory, address: number, count: number): number[] | false {
  const words = new Uint32Array(count);
  return memory.load(address, words, 0, count) && [...words];
}

describe('SparseMemory: pages', () => {
  test('nothing exists at first', () => {
    const memory = new SparseMemory();
    expect(memory.byteLength).toBe(0);
    expect(memory.pageAddresses()).toEqual([]);
    expect(load(memory, 0, 1)).toBe(false);
  });

  test('a page is added with its bytes, little-endian', () => {
    const memory = new SparseMemory();
    const bytes = new Uint8Array(4096);
    bytes.set([0x01, 0x02, 0x03, 0x84], 0xffc);
    memory.addPage(0x8000_0000, bytes);
    expect(load(memory, 0x8000_0ffc, 1)).toEqual([0x8403_0201]);
  });

  test('the bytes may lie anywhere in their buffer, and are copied', () => {
    const memory = new SparseMemory();
    const bytes = new Uint8Array(8192).subarray(3, 3 + 4096);
    bytes[0] = 7;
    memory.addPage(0x1000, bytes);
    bytes[0] = 8;
    expect(load(memory, 0x1000, 1)).toEqual([7]);
  });

  test('a page without bytes is zeros', () => {
    const memory = new SparseMemory();
    memory.addPage(0x1000);
    expect(load(memory, 0x1ff8, 2)).toEqual([0, 0]);
    expect(load(memory, 0x1ffc, 2)).toBe(false);
  });

  test('a page that is added again replaces the first, also when it was just read', () => {
    const memory = new SparseMemory();
    memory.addPage(0x1000, new Uint8Array(4096).fill(1));
    expect(load(memory, 0x1000, 1)).toEqual([0x0101_0101]);
    memory.addPage(0x1000, new Uint8Array(4096).fill(2));
    expect(load(memory, 0x1000, 1)).toEqual([0x0202_0202]);
    expect(memory.byteLength).toBe(4096);
  });

  test('a page that is removed is a hole, also when it was just read', () => {
    const memory = new SparseMemory();
    memory.addPage(0x1000);
    expect(load(memory, 0x1000, 1)).toEqual([0]);
    memory.removePage(0x1000);
    expect(load(memory, 0x1000, 1)).toBe(false);
    expect(memory.byteLength).toBe(0);
  });

  test('pages are listed in ascending order, up to the last below 2^52', () => {
    const memory = new SparseMemory();
    const last = 0x000f_ffff_ffff_f000;
    for (const page of [last, 0x1_0000_0000, 0, 0x2000]) memory.addPage(page);
    expect(memory.pageAddresses()).toEqual([0, 0x2000, 0x1_0000_0000, last]);
    expect(memory.byteLength).toBe(4 * 4096);
  });

  test.each([
    [0x1234, '0x1234'],
    [-4096, '-0x1000'],
    [2 ** 52, '0x10000000000000'],
    [0.5, '0x0.8'],
    [NaN, 'NaN'],
  ])('no page is at %d: the message has the address in hexadecimal', (address, hex) => {
    const add = (): void => {
      new SparseMemory().addPage(address);
    };
    expect(add).toThrow(RangeError);
    expect(add).toThrow(/address is /);
    expect(add).toThrow(hex);
  });

  test.each([0, 4095, 4097])('%i bytes are no page', (length) => {
    const add = (): void => {
      new SparseMemory().addPage(0x1000, new Uint8Array(length));
    };
    expect(add).toThrow(RangeError);
    expect(add).toThrow(`bytes has ${length} bytes`);
  });
});

describe('SparseMemory: zero-filled ranges', () => {
  const ranges = [
    { base: 0x4000_0000, byteLength: TERABYTE },
    { base: 0x000f_0000_0000_0000, byteLength: 2 ** 48 },
  ];

  test('reads are zeros and make no page', () => {
    const memory = new SparseMemory(ranges);
    for (const address of [
      0x4000_0000,
      0x4000_0000 + TERABYTE - 8,
      0x000f_8000_0000_0ff8,
      2 ** 52 - 8,
    ]) {
      expect(load(memory, address, 2)).toEqual([0, 0]);
    }
    expect(load(memory, 0x4000_0ff8, 0x2000)).toEqual(new Array(0x2000).fill(0));
    expect(memory.byteLength).toBe(0);
    expect(memory.pageAddresses()).toEqual([]);
  });

  test('outside the ranges there are holes', () => {
    const memory = new SparseMemory(ranges);
    expect(load(memory, 0x3fff_fff8, 2)).toBe(false);
    expect(load(memory, 0x4000_0000 + TERABYTE, 2)).toBe(false);
    expect(load(memory, 0x4000_0000 + TERABYTE - 4, 2)).toBe(false);
    expect(load(memory, 2 ** 52, 1)).toBe(false);
    expect(memory.byteLength).toBe(0);
  });

  test('a write makes its page, and only that', () => {
    const memory = new SparseMemory(ranges);
    const address = 0x4000_0000 + 512 * 2 ** 30 + 0x5008;
    expect(memory.store(address, new Uint32Array([1, 2]), 0, 2)).toBe(true);
    expect(memory.byteLength).toBe(4096);
    expect(memory.pageAddresses()).toEqual([address - 8]);
    expect(load(memory, address - 8, 6)).toEqual([0, 0, 1, 2, 0, 0]);
  });

  test('pages that were read before do not share what is written later', () => {
    const memory = new SparseMemory(ranges);
    expect(load(memory, 0x4000_0000, 2)).toEqual([0, 0]);
    memory.store(0x4000_0000, new Uint32Array([1]), 0, 1);
    expect(load(memory, 0x4000_1000, 1)).toEqual([0]);
    expect(load(memory, 0x4000_0000, 1)).toEqual([1]);
  });

  test('a terabyte of which 100 pages are written takes 400 KiB', () => {
    const memory = new SparseMemory(ranges);
    for (let i = 0; i < 100; i++) {
      memory.store(0x4000_0000 + i * 10 * 2 ** 30, new Uint32Array([i]), 0, 1);
    }
    expect(memory.byteLength).toBe(100 * 4096);
    expect(load(memory, 0x4000_0000 + 99 * 10 * 2 ** 30, 1)).toEqual([99]);
  });

  test('an exchange makes the page it writes to', () => {
    const memory = new SparseMemory(ranges);
    const outcome = memory.compareExchange(0x4000_0008, new Uint32Array([0, 0, 5, 6]), 0);
    expect(outcome).toBe(Exchange.swapped);
    expect(memory.byteLength).toBe(4096);
    expect(load(memory, 0x4000_0008, 2)).toEqual([5, 6]);
  });

  test('bytes are read as zeros, and a page is made for those that are written', () => {
    const memory = new SparseMemory(ranges);
    const bytes = Uint8Array.from([1, 2, 3]);
    expect(memory.loadBytes(0x4000_0ffe, bytes, 0, 3)).toBe(true);
    expect([...bytes]).toEqual([0, 0, 0]);
    expect(memory.pageAddresses()).toEqual([]);
    expect(memory.storeBytes(0x4000_1ffe, Uint8Array.from([1, 2, 3]), 0, 3)).toBe(true);
    expect(memory.pageAddresses()).toEqual([0x4000_1000, 0x4000_2000]);
    expect(load(memory, 0x4000_1ffc, 2)).toEqual([0x0201_0000, 3]);
  });

  test('a store that aborts makes no page', () => {
    const memory = new SparseMemory(ranges);
    const end = 0x4000_0000 + TERABYTE;
    expect(memory.storeBytes(end - 0x1001, new Uint8Array(0x1002), 0, 0x1002)).toBe(false);
    expect(memory.store(end - 0x1004, new Uint32Array(0x402), 0, 0x402)).toBe(false);
    expect(memory.byteLength).toBe(0);
  });

  test('a page of a range may be added with bytes, and reads as zeros when it is removed', () => {
    const memory = new SparseMemory(ranges);
    memory.addPage(0x4000_0000, new Uint8Array(4096).fill(3));
    expect(load(memory, 0x4000_0000, 1)).toEqual([0x0303_0303]);
    memory.removePage(0x4000_0000);
    expect(load(memory, 0x4000_0000, 1)).toEqual([0]);
  });

  test.each([
    ['base', { base: 0x1004, byteLength: 0x1000 }, '0x1004'],
    ['length', { base: 0x1000, byteLength: 0x800 }, '0x800'],
    ['negative base', { base: -0x1000, byteLength: 0x1000 }, '-0x1000'],
    ['base beyond 2^53', { base: 2 ** 60, byteLength: 0x1000 }, '0x1000000000000000'],
  ])('a %s that is no page is refused, with its value in hexadecimal', (_, range, hex) => {
    expect(() => new SparseMemory([range])).toThrow(RangeError);
    expect(() => new SparseMemory([range])).toThrow(`zeroFilled: ${hex} is not`);
  });
});
