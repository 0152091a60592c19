import { describe, expect, test } from 'vitest';
import { AccessorMemory, type MemoryAccessor } from '../../src/memory/accessor-memory.js';
import { Exchange } from '../../src/memory/guest-memory.js';

type Call = [method: string, address: number, bytes: number[], more?: number[]];

/** An accessor that answers as told and notes how it was called. */
function recorder(answers: { read?: boolean; write?: boolean; exchange?: number }): {
  accessor: MemoryAccessor;
  calls: Call[];
} {
  const calls: Call[] = [];
  const accessor: MemoryAccessor = {
    read(address, bytes) {
      calls.push(['read', address, [bytes.length]]);
      bytes.forEach((_, i) => (bytes[i] = i + 1));
      return answers.read ?? true;
    },
    write(address, bytes) {
      calls.push(['write', address, [...bytes]]);
      return answers.write ?? true;
    },
  };
  if (answers.exchange !== undefined) {
    accessor.compareExchange = (address, expected, replacement) => {
      calls.push(['compareExchange', address, [...expected], [...replacement]]);
      return answers.exchange!;
    };
  }
  return { accessor, calls };
}

describe('AccessorMemory: load and store', () => {
  test.each([1, 2, 3, 16, 1024])('%i words are one read of exactly their bytes', (count) => {
    const { accessor, calls } = recorder({});
    const into = new Uint32Array(count);
    expect(new AccessorMemory(accessor).load(0x000f_ffff_ffff_0000, into, 0, count)).toBe(true);
    expect(calls).toEqual([['read', 0x000f_ffff_ffff_0000, [4 * count]]]);
    expect(into[0]).toBe(0x0403_0201);
  });

  test('more than 4 KiB is read in pieces that follow each other', () => {
    const { accessor, calls } = recorder({});
    expect(new AccessorMemory(accessor).load(0x1000, new Uint32Array(2050), 0, 2050)).toBe(true);
    expect(calls).toEqual([
      ['read', 0x1000, [4096]],
      ['read', 0x2000, [4096]],
      ['read', 0x3000, [8]],
    ]);
  });

  test('words are written little-endian', () => {
    const { accessor, calls } = recorder({});
    const from = new Uint32Array([0, 0x0403_0201, 0x8807_0605]);
    expect(new AccessorMemory(accessor).store(0x1000, from, 1, 2)).toBe(true);
    expect(calls).toEqual([['write', 0x1000, [1, 2, 3, 4, 5, 6, 7, 0x88]]]);
  });

  test('a read that fails ends the load', () => {
    const { accessor, calls } = recorder({ read: false });
    expect(new AccessorMemory(accessor).load(0, new Uint32Array(2048), 0, 2048)).toBe(false);
    expect(calls.length).toBe(1);
  });

  test('a write that fails ends the store', () => {
    const { accessor, calls } = recorder({ write: false });
    expect(new AccessorMemory(accessor).store(0, new Uint32Array(2048), 0, 2048)).toBe(false);
    expect(calls.length).toBe(1);
  });
});

describe('AccessorMemory: compareExchange', () => {
  const words = new Uint32Array([9, 0x0403_0201, 0x0807_0605, 0x1413_1211, 0x1817_1615]);

  test.each(Object.values(Exchange))(
    'is handed to the accessor as bytes, and its answer %i is handed back',
    (exchange) => {
      const { accessor, calls } = recorder({ exchange });
      expect(new AccessorMemory(accessor).compareExchange(0x1_0000_0008, words, 1)).toBe(exchange);
      const expected = [1, 2, 3, 4, 5, 6, 7, 8];
      const replacement = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
      expect(calls).toEqual([['compareExchange', 0x1_0000_0008, expected, replacement]]);
    },
  );

  test('without one in the accessor: read, compare, write', () => {
    const { accessor, calls } = recorder({});
    expect(new AccessorMemory(accessor).compareExchange(8, words, 1)).toBe(Exchange.swapped);
    expect(calls).toEqual([
      ['read', 8, [8]],
      ['write', 8, [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]],
    ]);
  });

  test.each([
    ['low', new Uint32Array([0x0403_0200, 0x0807_0605, 0, 0])],
    ['high', new Uint32Array([0x0403_0201, 0x0807_0604, 0, 0])],
  ])('another %s half is not written over', (_, others) => {
    const { accessor, calls } = recorder({});
    expect(new AccessorMemory(accessor).compareExchange(8, others, 0)).toBe(Exchange.changed);
    expect(calls).toEqual([['read', 8, [8]]]);
  });

  test('a read that fails aborts', () => {
    const { accessor } = recorder({ read: false });
    expect(new AccessorMemory(accessor).compareExchange(8, words, 1)).toBe(Exchange.aborted);
  });

  test('a write that fails aborts', () => {
    const { accessor } = recorder({ write: false });
    expect(new AccessorMemory(accessor).compareExchange(8, words, 1)).toBe(Exchange.aborted);
  });
});

describe('AccessorMemory refuses', () => {
  const read = (): boolean => true;

  test.each([
    ['nothing', undefined, 'accessor.read'],
    ['null', null, 'accessor.read'],
    ['an object without read', { write: read }, 'accessor.read'],
    ['an object without write', { read }, 'accessor.write'],
    ['a write that is no function', { read, write: true }, 'accessor.write'],
  ])('%s, naming the method', (_, accessor, message) => {
    const make = (): AccessorMemory => new AccessorMemory(accessor as never);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`${message} is not a function`);
  });
});

describe('AccessorMemory: loadBytes and storeBytes', () => {
  test.each([1, 3, 8, 100, 5000])(
    '%i bytes are one read, into the array of the caller',
    (count) => {
      const arrays: Uint8Array[] = [];
      const memory = new AccessorMemory({
        read: (_, bytes) => (arrays.push(bytes.fill(5)), true),
        write: () => true,
      });
      const into = new Uint8Array(count + 3);
      expect(memory.loadBytes(0x000f_ffff_ffff_0001, into, 2, count)).toBe(true);
      expect(arrays.map(({ buffer, byteOffset, length }) => [buffer, byteOffset, length])).toEqual([
        [into.buffer, 2, count],
      ]);
      expect([...into]).toEqual([0, 0, ...new Array<number>(count).fill(5), 0]);
    },
  );

  test('bytes are one write, of exactly them', () => {
    const { accessor, calls } = recorder({});
    const from = Uint8Array.from([1, 2, 3, 4, 5]);
    expect(new AccessorMemory(accessor).storeBytes(0x1003, from, 1, 3)).toBe(true);
    expect(calls).toEqual([['write', 0x1003, [2, 3, 4]]]);
  });

  test('a read or a write that fails is an external abort', () => {
    const memory = new AccessorMemory(recorder({ read: false, write: false }).accessor);
    expect(memory.loadBytes(0, new Uint8Array(8), 0, 8)).toBe(false);
    expect(memory.storeBytes(0, new Uint8Array(8), 0, 8)).toBe(false);
  });

  test('no bytes are no call', () => {
    const { accessor, calls } = recorder({ read: false, write: false });
    expect(new AccessorMemory(accessor).loadBytes(0, new Uint8Array(8), 0, 0)).toBe(true);
    expect(new AccessorMemory(accessor).storeBytes(0, new Uint8Array(8), 0, 0)).toBe(true);
    expect(calls).toEqual([]);
  });
});
