import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { RamMemory } from '../../src/memory/ram-memory.js';

interface Machine {
  /** RAM at 0x1000. */
  memory: RamMemory;
  /** Index 0 ends the processor, index 1 tells that it runs, index 2 has what it returned. */
  control: Int32Array;
  exit: Promise<unknown>;
}

/**
 * A machine with one processor, which does `step` again and again. It sees its RAM as integers of
 * `count` bytes in `memory[count]`, and counts in `i` and `torn`.
 */
function machine(step: string): Machine {
  const buffer = new SharedArrayBuffer(64);
  const control = new Int32Array(buffer, 32, 3);
  const worker = new Worker(
    `const { workerData } = require('node:worker_threads');
     const memory = {
       2: new Uint16Array(workerData),
       4: new Uint32Array(workerData),
       8: new BigUint64Array(workerData),
     };
     const control = new Int32Array(workerData, 32, 3);
     let torn = 0;
     Atomics.store(control, 1, 1);
     Atomics.notify(control, 1);
     for (let i = 0; Atomics.load(control, 0) === 0; i++) { ${step}; }
     control[2] = torn;`,
    { eval: true, workerData: buffer },
  );
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  Atomics.wait(control, 1, 0, 10_000);
  return { memory: new RamMemory([{ base: 0x1000, buffer }]), control, exit };
}

/** Does `accesses` for a tenth of a second, and then until `enough`, but no longer than a second. */
function hammer(accesses: () => void, enough: () => boolean): void {
  const start = performance.now();
  let passed = 0;
  while (passed < 100 || (!enough() && passed < 1000)) {
    accesses();
    passed = performance.now() - start;
  }
}

/** Unsigned integers of 2, 4 or 8 bytes in the memory of a machine: how they are seen at once. */
const views = { 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

describe('RamMemory over a SharedArrayBuffer: aligned bytes are one access', () => {
  test.each<[count: 2 | 4 | 8, odd: bigint, even: bigint]>([
    [2, 0x1111n, 0x2222n],
    [4, 0x1111_1111n, 0x2222_2222n],
    [8, 0x1111_1111_1111_1111n, 0x2222_2222_2222_2222n],
    // Two NaN, of which a double may lose some bits.
    [8, 0x7ff1_7ff1_7ff1_7ff1n, 0xfff2_fff2_fff2_fff2n],
  ])('%i that a processor keeps rewriting are loaded old or new', async (count, odd, even) => {
    const n = count === 8 ? 'n' : '';
    const { memory, control, exit } = machine(
      `Atomics.store(memory[${count}], ${8 / count}, i & 1 ? ${odd}${n} : ${even}${n})`,
    );
    // Many loads between two looks at what they gave: only a load can see a half.
    const bytes = new Uint8Array(1000 * count);
    const loaded = new views[count](bytes.buffer);
    const seen = new Set<bigint>();
    let changes = 0;
    hammer(
      () => {
        for (let at = 0; at < bytes.length; at += count) memory.loadBytes(0x1008, bytes, at, count);
        for (let i = 1; i < loaded.length; i++) if (loaded[i] !== loaded[i - 1]) changes++;
        for (const value of new Set<number | bigint>(loaded)) seen.add(BigInt(value));
      },
      // So often did the processor write between two loads.
      () => changes > 1000,
    );
    Atomics.store(control, 0, 1);
    await exit;
    // Before the processor's first store.
    seen.delete(0n);
    expect(seen).toEqual(new Set([odd, even]));
  });

  test.each<[count: 2 | 4 | 8, divisor: string]>([
    [2, '0x101'],
    [4, '0x1010101'],
    [8, '0x101010101010101n'],
  ])('%i that are stored again and again are seen old or new', async (count, divisor) => {
    const { memory, control, exit } = machine(
      `if (Atomics.load(memory[${count}], ${8 / count}) % ${divisor}) torn++`,
    );
    const ones = new Uint8Array(count).fill(0x11);
    const twos = new Uint8Array(count).fill(0x22);
    hammer(
      () => {
        for (let i = 0; i < 1000; i++) memory.storeBytes(0x1008, i & 1 ? ones : twos, 0, count);
      },
      () => true,
    );
    Atomics.store(control, 0, 1);
    await exit;
    expect(control[2]).toBe(0);
  });
});
