import { describe, expect, test } from 'vitest';
import type { Segments } from '../../src/device/segments.js';
import { Reason } from '../../src/transaction/reason.js';
import { device, noting, segmentsOf, settle, ASID, type Segment } from './dma-device.js';
import { BLOCK, DATA, nhVa, PAGE, STREAM, SYNC } from './device-machine.js';

describe('dma()', () => {
  test('gives the segments of the access, and then the bytes', async () => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    await expect(handle.dma(0x1800, PAGE, 1, noting(calls))).resolves.toBe(PAGE);
    await expect(handle.dma(BigInt(BLOCK), BLOCK, 0, noting(calls))).resolves.toBe(BLOCK);
    expect(calls).toEqual([
      [
        [DATA + 0x800, 0x800],
        [DATA + 2 * PAGE, 0x800],
      ],
      [[DATA + BLOCK, BLOCK]],
    ]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('performs at once when nothing stalls, and waits for what it returns', async () => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    let finish!: () => void;
    const waits = handle.dma(0x1000, 16, 0, (segments) => {
      noting(calls)(segments);
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    expect(calls).toEqual([[[DATA, 16]]]);
    let result: number | undefined;
    const then = waits.then((bytes) => (result = bytes));
    await settle();
    expect([result, machine.smmu.stats().underWay]).toEqual([undefined, 1]);
    finish();
    await then;
    expect([result, machine.smmu.stats().underWay]).toEqual([16, 0]);
  });

  test('has segments of its own: accesses at a time do not mix', async () => {
    const { handle } = device();
    const seen: Segments[] = [];
    const keep = async (segments: Segments): Promise<void> => {
      seen.push(segments);
      await Promise.resolve();
    };
    await Promise.all([handle.dma(0x1000, 16, 0, keep), handle.dma(0x2000, 8, 0, keep)]);
    expect(seen.map(segmentsOf)).toEqual([[[DATA, 16]], [[DATA + 2 * PAGE, 8]]]);
  });

  test('that faults at once does not perform', async () => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    await expect(handle.dma(0x5000, 16, 1, noting(calls))).resolves.toBe(0);
    expect(handle.fault).toMatchObject({ event: 0x10, inputLow: 0x5000, access: 1 });
    expect(calls).toEqual([]);
    expect(machine.takeEvents()).toHaveLength(1);
    expect(machine.smmu.stats().underWay).toBe(0);
  });

  test('that faults in the middle performs what is before it', async () => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    await expect(handle.dma(0x2ff0, 0x20, 0, noting(calls))).resolves.toBe(0x10);
    expect(calls).toEqual([[[DATA + 3 * PAGE - 0x10, 0x10]]]);
    expect(handle.fault).toMatchObject({ event: 0x10, inputLow: 0x3000 });
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x3000n]);
  });

  test('with CD.A=0 ends at a fault: there is no address to give', async () => {
    const { machine, handle } = device({ A: 0 });
    const calls: Segment[][] = [];
    await expect(handle.dma(0x2ff0, 0x20, 0, noting(calls))).resolves.toBe(0x10);
    await expect(handle.dma(0x3000, 0x20, 0, noting(calls))).resolves.toBe(0);
    expect(handle.fault).toMatchObject({ outcome: 2, event: 0x10 });
    expect(calls).toHaveLength(1);
    expect(machine.takeEvents()).toHaveLength(2);
  });

  test('of nothing is nothing', async () => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    await expect(handle.dma(0x5000, 0, 0, noting(calls))).resolves.toBe(0);
    expect(calls).toEqual([]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('ends at 2^64', async () => {
    const { machine, space, handle } = device();
    space.map(0xffff_ffff_ffff_f000n, DATA, PAGE);
    const calls: Segment[][] = [];
    const last = 0xffff_ffff_ffff_fff8n;
    await expect(handle.dma(last, 8, 0, noting(calls))).resolves.toBe(8);
    await expect(handle.dma(last, 9, 0, noting(calls))).resolves.toBe(8);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.endOfSpace });
    expect(calls).toEqual([[[DATA + 0xff8, 8]], [[DATA + 0xff8, 8]]]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('of a stream that bypasses is one segment', async () => {
    const { machine, handle } = device();
    machine.guest.bypass(STREAM);
    const calls: Segment[][] = [];
    await expect(handle.dma(DATA + 1, 5 * PAGE, 0, noting(calls))).resolves.toBe(5 * PAGE);
    expect(calls).toEqual([[[DATA + 1, 5 * PAGE]]]);
  });

  test('passes on what perform throws, or is rejected with', async () => {
    const { machine, handle } = device();
    const broken = new Error('the disk is broken');
    const thrown = handle.dma(0x1000, 16, 0, () => {
      throw broken;
    });
    await expect(thrown).rejects.toBe(broken);
    const rejected = handle.dma(0x1000, 16, 0, () => Promise.reject(broken));
    await expect(rejected).rejects.toBe(broken);
    expect(machine.smmu.stats().underWay).toBe(0);
  });

  test('passes on what memory throws; nothing is under way then', async () => {
    const { machine, handle } = device();
    const broken = new Error('the memory is broken');
    await expect(handle.dma(0x1000, 16, 0, () => undefined)).resolves.toBe(16);
    // The first page is warm: the walk of the second one throws.
    machine.memory.load64 = () => {
      throw broken;
    };
    await expect(handle.dma(0x1000, 2 * PAGE, 0, () => undefined)).rejects.toBe(broken);
    expect(machine.smmu.stats().underWay).toBe(0);
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expect(machine.commandsLeft).toBe(0);
  });

  test.each<[iova: number | bigint, length: number, access: number, message: string]>([
    [-1, 1, 0, 'iova is -1:'],
    [2n ** 64n, 1, 0, 'iova is 18446744073709551616:'],
    [0.5, 0, 0, 'iova is 0.5:'],
    [0x1000, -1, 0, 'length is -1:'],
    [0x1000, 1.5, 0, 'length is 1.5:'],
    [0x1000, NaN, 0, 'length is NaN:'],
    [0x1000, 1, 8, 'access is 8:'],
    [0x1000, 1, -1, 'access is -1:'],
    [0x1000, 0, 8, 'access is 8:'],
  ])('of iova %s, length %d, access %d is a RangeError', async (iova, length, access, message) => {
    const { machine, handle } = device();
    const calls: Segment[][] = [];
    const attempt = handle.dma(iova, length, access, noting(calls));
    await expect(attempt).rejects.toThrow(RangeError);
    await expect(handle.dma(iova, length, access, noting(calls))).rejects.toThrow(message);
    expect(calls).toEqual([]);
    expect(machine.takeEvents()).toEqual([]);
  });
});
