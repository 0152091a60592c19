import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Exchange } from '../../src/memory/guest-memory.js';
import { RamMemory } from '../../src/memory/ram-memory.js';

const atomicLoad: (words: Uint32Array, index: number) => number = Atomics.load.bind(Atomics);
const atomicExchange: typeof Atomics.compareExchange = Atomics.compareExchange.bind(Atomics);

/** A processor of the guest that comes in between: after each load of the SMMU it does its next step. */
function afterEachLoad(steps: (() => void)[]): void {
  vi.spyOn(Atomics, 'load').mockImplementation(((words: Uint32Array, index: number) => {
    const value = atomicLoad(words, index);
    steps.shift()?.();
    return value;
  }) as typeof Atomics.load);
}

/** 4 KiB of RAM at 0x1000, shared with the guest, which sees it as 64-bit values. */
function machine(): { memory: RamMemory; guest: BigUint64Array } {
  const buffer = new SharedArrayBuffer(0x1000);
  return {
    memory: new RamMemory([{ base: 0x1000, buffer }]),
    guest: new BigUint64Array(buffer),
  };
}

function load(memory: RamMemory, address: number, count: number): number[] {
  const words = new Uint32Array(count);
  memory.load(address, words, 0, count);
  return [...words];
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('RamMemory over a SharedArrayBuffer: each aligned pair of words is one access', () => {
  test('a value stored while it is read is seen old or new', () => {
    for (let loads = 0; loads < 4; loads++) {
      const { memory, guest } = machine();
      guest[0] = 0x1111_1111_1111_1111n;
      const wait = Array.from({ length: loads }, () => () => undefined);
      afterEachLoad([...wait, () => (guest[0] = 0x2222_2222_2222_2222n)]);
      const [low, high] = load(memory, 0x1000, 2);
      vi.restoreAllMocks();
      expect(low).toBe(high);
    }
  });

  test('a value that is replaced and put back while it is read is never seen half', () => {
    const { memory, guest } = machine();
    guest[0] = 0x1111_1111_1111_1111n;
    afterEachLoad([
      () => (guest[0] = 0x2222_2222_2222_2222n),
      () => (guest[0] = 0x1111_1111_1111_1111n),
    ]);
    const [low, high] = load(memory, 0x1000, 2);
    expect(low).toBe(high);
  });

  test('pairs are aligned by address, also when a load starts in the middle of one', () => {
    for (let loads = 0; loads < 8; loads++) {
      const { memory, guest } = machine();
      guest[1] = 0x1111_1111_1111_1111n;
      const wait = Array.from({ length: loads }, () => () => undefined);
      afterEachLoad([...wait, () => (guest[1] = 0x2222_2222_2222_2222n)]);
      const [, low, high] = load(memory, 0x1004, 3);
      vi.restoreAllMocks();
      expect(low).toBe(high);
    }
  });

  test('sixteen words are eight pairs', () => {
    const { memory, guest } = machine();
    for (let i = 0; i < 8; i++) guest[i] = 0x1_0000_0001n * BigInt(i);
    expect(load(memory, 0x1000, 16)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].flatMap((value) => [value, value]),
    );
  });

  test('a value that another thread keeps rewriting is not seen half', async () => {
    const buffer = new SharedArrayBuffer(64);
    const memory = new RamMemory([{ base: 0x1000, buffer }]);
    const control = new Int32Array(buffer, 32, 2);
    // Counts up in both halves at once; control[0] stops it, control[1] tells that it runs.
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
       const value = new BigUint64Array(workerData, 0, 1);
       const control = new Int32Array(workerData, 32, 2);
       Atomics.store(control, 1, 1);
       Atomics.notify(control, 1);
       for (let i = 1n; Atomics.load(control, 0) === 0; i++) {
         Atomics.store(value, 0, (i << 32n) | i);
       }`,
      { eval: true, workerData: buffer },
    );
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    Atomics.wait(control, 1, 0, 10_000);
    const words = new Uint32Array(2);
    const seen = new Set<number>();
    let torn = 0;
    const end = performance.now() + 400;
    while (performance.now() < end) {
      for (let i = 0; i < 1000; i++) {
        memory.load(0x1000, words, 0, 2);
        if (words[0] !== words[1]) torn++;
      }
      seen.add(words[0]!);
    }
    Atomics.store(control, 0, 1);
    await exit;
    expect(torn).toBe(0);
    expect(seen.size).toBeGreaterThan(1);
  });
});

describe('RamMemory over a SharedArrayBuffer: compareExchange', () => {
  const expected = [0x8000_0f45, 0x0060_0000] as const;

  /** A machine with one descriptor, and the exchange that sets its bit 10 (AF). */
  function descriptor(): { guest: BigUint64Array; setAccessFlag: () => number } {
    const { memory, guest } = machine();
    guest[0] = 0x0060_0000_8000_0b45n;
    const words = new Uint32Array([0x8000_0b45, 0x0060_0000, ...expected]);
    return { guest, setAccessFlag: () => memory.compareExchange(0x1000, words, 0) };
  }

  /** The guest's store comes just before the SMMU's exchange of a half, or of the whole. */
  function beforeExchange(store: () => void): void {
    vi.spyOn(Atomics, 'compareExchange').mockImplementationOnce(((...args: unknown[]) => {
      store();
      return Reflect.apply(atomicExchange, Atomics, args) as number;
    }) as typeof Atomics.compareExchange);
  }

  test('swaps when nobody comes in between', () => {
    const { guest, setAccessFlag } = descriptor();
    expect(setAccessFlag()).toBe(Exchange.swapped);
    expect(guest[0]).toBe(0x0060_0000_8000_0f45n);
  });

  test('is `changed` when the guest replaced the half before: its store stays', () => {
    const { guest, setAccessFlag } = descriptor();
    beforeExchange(() => (guest[0] = 0n));
    expect(setAccessFlag()).toBe(Exchange.changed);
    expect(guest[0]).toBe(0n);
  });

  test('is `changed` when the guest replaced the other half only: nothing is written', () => {
    const { guest, setAccessFlag } = descriptor();
    beforeExchange(() => (guest[0] = 0x0040_0000_8000_0b45n));
    expect(setAccessFlag()).toBe(Exchange.changed);
    expect(guest[0]).toBe(0x0040_0000_8000_0b45n);
  });

  test('both halves at once are replaced, or refused before anything is written', () => {
    const { memory, guest } = machine();
    let outcome: unknown;
    try {
      outcome = memory.compareExchange(0x1000, new Uint32Array([0, 0, 1, 2]), 0);
    } catch (error) {
      outcome = error;
    }
    const swapped = outcome === Exchange.swapped && guest[0] === 0x2_0000_0001n;
    const refused = outcome instanceof RangeError && guest[0] === 0n;
    expect(swapped || refused).toBe(true);
  });
});
