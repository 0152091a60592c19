import { expect, test } from 'vitest';
import { AreaPermission } from '../../src/mirror/sink.js';
import { MemorySink } from '../../src/sinks/memory-sink.js';

test('MemorySink keeps areas as intervals, with their permissions', () => {
  const sink = new MemorySink();
  expect(sink.capabilities).toEqual({});
  expect(sink.map(0x1000, 0x8000_0000, 0x2000, AreaPermission.read)).toBe(true);
  expect(sink.map(0x3000, 0x8000_2000, 0x1000, AreaPermission.read)).toBe(true);
  expect(sink.map(2 ** 64 - 4096, 0x9000_0000, 0x1000, AreaPermission.write)).toBe(true);
  expect([...sink.ioas]).toEqual([
    { iova: 0x1000, length: 0x3000, address: 0x8000_0000, permissions: 1 },
    { iova: 2 ** 64 - 4096, length: 0x1000, address: 0x9000_0000, permissions: 2 },
  ]);
});

test('MemorySink unmaps any range, parts of areas and holes included', () => {
  const sink = new MemorySink();
  sink.map(0x1000, 0x8000_0000, 0x3000, 3);
  expect(sink.unmap(0x2000, 0x1000)).toBe(true);
  expect([...sink.ioas]).toEqual([
    { iova: 0x1000, length: 0x1000, address: 0x8000_0000, permissions: 3 },
    { iova: 0x3000, length: 0x1000, address: 0x8000_2000, permissions: 3 },
  ]);
  expect(sink.unmap(0, 2 ** 64)).toBe(true);
  expect(sink.ioas.size).toBe(0);
});
