import { expect, test } from 'vitest';
import { Exchange } from '../../src/memory/guest-memory.js';
import { RecordingMemory } from '../../src/memory/recording-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';

function recorded(): [RecordingMemory, SparseMemory] {
  const memory = new SparseMemory([{ base: 0x1_0000_0000, byteLength: 0x1000 }]);
  memory.store(0x1_0000_0010, new Uint32Array([0x11, 0x22, 0x33, 0x44]), 0, 4);
  return [new RecordingMemory(memory), memory];
}

test('reads are passed on and kept in order, with what they gave then', () => {
  const [memory, inner] = recorded();
  const into = new Uint32Array(4);
  expect(memory.load(0x1_0000_0010, into, 1, 3)).toBe(true);
  expect([...into]).toEqual([0, 0x11, 0x22, 0x33]);
  expect(memory.load64(1, 0x18, into)).toBe(true);
  expect([...into]).toEqual([0x33, 0x44, 0x22, 0x33]);
  inner.store(0x1_0000_0010, new Uint32Array([0x99]), 0, 1);
  into.fill(0);
  expect(memory.fetches).toEqual([
    { address: 0x1_0000_0010, words: new Uint32Array([0x11, 0x22, 0x33]), update: false },
    { address: 0x1_0000_0018, words: new Uint32Array([0x33, 0x44]), update: false },
  ]);
});

test('halves of an address may be signed', () => {
  const memory = new SparseMemory([{ base: 0xf_8000_0000, byteLength: 0x1000 }]);
  const recorder = new RecordingMemory(memory);
  expect(recorder.load64(0xf, 0x8000_0008 | 0, new Uint32Array(2))).toBe(true);
  expect(recorder.fetches[0]!.address).toBe(0xf_8000_0008);
});

test('a read that aborts is kept without words', () => {
  const [memory] = recorded();
  expect(memory.load(0x2000, new Uint32Array(2), 0, 2)).toBe(false);
  expect(memory.load64(0, 0x3000, new Uint32Array(2))).toBe(false);
  expect(memory.fetches).toEqual([
    { address: 0x2000, words: new Uint32Array(0), update: false },
    { address: 0x3000, words: new Uint32Array(0), update: false },
  ]);
});

test('an update is kept with what it was to write, whatever became of it', () => {
  const [memory, inner] = recorded();
  const words = new Uint32Array([0, 0x11, 0x22, 0x77, 0x88]);
  expect(memory.compareExchange(0x1_0000_0010, words, 1)).toBe(Exchange.swapped);
  expect(memory.compareExchange(0x1_0000_0010, words, 1)).toBe(Exchange.changed);
  expect(memory.compareExchange(0x2000, words, 1)).toBe(Exchange.aborted);
  const update = { words: new Uint32Array([0x77, 0x88]), update: true };
  expect(memory.fetches).toEqual([
    { address: 0x1_0000_0010, ...update },
    { address: 0x1_0000_0010, ...update },
    { address: 0x2000, ...update },
  ]);
  const into = new Uint32Array(2);
  inner.load(0x1_0000_0010, into, 0, 2);
  expect([...into]).toEqual([0x77, 0x88]);
});

test('a store is passed on and not kept', () => {
  const [memory, inner] = recorded();
  expect(memory.store(0x1_0000_0020, new Uint32Array([1, 2, 3]), 1, 2)).toBe(true);
  expect(memory.store(0x2000, new Uint32Array(1), 0, 1)).toBe(false);
  const into = new Uint32Array(2);
  inner.load(0x1_0000_0020, into, 0, 2);
  expect([[...into], memory.fetches]).toEqual([[2, 3], []]);
});

test('bytes are passed on and not kept', () => {
  const [memory, inner] = recorded();
  const bytes = new Uint8Array(4);
  expect(memory.loadBytes(0x1_0000_0012, bytes, 1, 3)).toBe(true);
  expect([...bytes]).toEqual([0, 0, 0, 0x22]);
  expect(memory.loadBytes(0x2000, bytes, 0, 1)).toBe(false);
  expect(memory.storeBytes(0x1_0000_0021, Uint8Array.from([1, 2, 3]), 1, 2)).toBe(true);
  expect(memory.storeBytes(0x2000, bytes, 0, 1)).toBe(false);
  const into = new Uint32Array(1);
  inner.load(0x1_0000_0020, into, 0, 1);
  expect([[...into], memory.fetches]).toEqual([[0x0003_0200], []]);
});
