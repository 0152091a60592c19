import { describe, expect, test } from 'vitest';
import type { IoasSink } from '../../src/mirror/sink.js';
import { MemorySink } from '../../src/sinks/memory-sink.js';
import { RecordingSink } from '../../src/sinks/recording-sink.js';

describe('RecordingSink', () => {
  test('remembers operations in order, and counts them and their bytes', () => {
    const sink = new RecordingSink();
    expect(sink.map(0x1000, 0x8000_0000, 0x2000, 3)).toBe(true);
    expect(sink.unmap(0x1000, 0x4000)).toBe(true);
    expect(sink.map(0x5000, 0x9000_0000, 0x1000, 1)).toBe(true);
    expect(sink.operations).toEqual([
      { kind: 'map', iova: 0x1000, address: 0x8000_0000, length: 0x2000, permissions: 3 },
      { kind: 'unmap', iova: 0x1000, address: 0, length: 0x4000, permissions: 0 },
      { kind: 'map', iova: 0x5000, address: 0x9000_0000, length: 0x1000, permissions: 1 },
    ]);
    expect(sink).toMatchObject({ maps: 2, unmaps: 1, mappedBytes: 0x3000, unmappedBytes: 0x4000 });
  });

  test('passes operations on, and answers back, promises and errors included', async () => {
    const memory = new MemorySink();
    const passing = new RecordingSink({ sink: memory });
    void passing.map(0x1000, 0x8000_0000, 0x2000, 3);
    void passing.unmap(0x1000, 0x1000);
    expect([...memory.ioas]).toEqual([
      { iova: 0x2000, length: 0x1000, address: 0x8000_1000, permissions: 3 },
    ]);

    const refusing: IoasSink = {
      capabilities: { unmaps: 'area' },
      map: () => Promise.resolve(false),
      unmap: () => {
        throw new Error('no');
      },
    };
    const recording = new RecordingSink({ sink: refusing });
    expect(recording.capabilities).toEqual({ unmaps: 'area' });
    expect(await recording.map(0, 0, 0x1000, 1)).toBe(false);
    expect(() => recording.unmap(0, 0x1000)).toThrow('no');
    expect(recording.operations).toHaveLength(2);
  });

  test('says that it can do what it is told to say', () => {
    expect(new RecordingSink().capabilities).toEqual({});
    const capabilities = { pageSize: 65_536 };
    expect(new RecordingSink({ capabilities }).capabilities).toBe(capabilities);
    expect(new RecordingSink({ sink: new MemorySink(), capabilities }).capabilities).toBe(
      capabilities,
    );
  });

  test('counts only beyond its limit', () => {
    const sink = new RecordingSink({ limit: 1 });
    void sink.map(0x1000, 0, 0x1000, 1);
    void sink.map(0x2000, 0, 0x1000, 1);
    void sink.unmap(0x1000, 0x2000);
    expect(sink.operations.map(({ iova }) => iova)).toEqual([0x1000]);
    expect(sink).toMatchObject({ maps: 2, unmaps: 1 });
  });

  test('starts afresh when it is cleared', () => {
    const sink = new RecordingSink({ limit: 1 });
    void sink.map(0x1000, 0, 0x1000, 1);
    void sink.unmap(0x1000, 0x1000);
    sink.clear();
    expect(sink).toMatchObject({ operations: [], maps: 0, unmaps: 0 });
    expect(sink).toMatchObject({ mappedBytes: 0, unmappedBytes: 0 });
    void sink.map(0x3000, 0, 0x1000, 1);
    expect(sink.operations).toHaveLength(1);
  });

  test.each([-1, 1.5, NaN])('refuses limit %d', (limit) => {
    expect(() => new RecordingSink({ limit })).toThrow(
      new RangeError(`limit is ${limit}: it must be an integer, 0 or more`),
    );
  });
});
