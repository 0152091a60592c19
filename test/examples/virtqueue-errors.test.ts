import { describe, expect, test } from 'vitest';
import { QueueError } from '../../docs/examples/queue-error.js';
import type { VirtqueueLayout } from '../../docs/examples/virtqueue.js';
import { faultRecord } from './smmu-guest.js';
import {
  AVAILABLE,
  BUFFERS,
  descriptor,
  DESCRIPTORS,
  flushHeader,
  flushingDriver,
  flushStatus,
  INDIRECT,
  NEXT,
  STATUS,
  TABLE,
  USED,
  type VirtioDriver,
  WRITE,
} from './virtio-driver.js';

interface Mistake {
  readonly name: string;
  readonly error: QueueError;
  /** Descriptors of the queue, from 0 on; the chain begins at 0. */
  readonly queue: readonly Uint8Array[];
  /** Descriptors at {@link TABLE}. */
  readonly table?: readonly Uint8Array[];
}

const indirect = (bytes: number, flags = 0): Uint8Array =>
  descriptor(TABLE, bytes, INDIRECT | flags);
const back = descriptor(BUFFERS, 1, NEXT, 0);
const { descriptorIndex, loop, order, tooLong, noAnswer } = QueueError;
const { indirectLength, indirectNested, indirectNext } = QueueError;

const MISTAKES: readonly Mistake[] = [
  { name: 'next is the size of the queue', error: descriptorIndex, queue: [flushHeader(8)] },
  { name: 'next is 0xffff', error: descriptorIndex, queue: [flushHeader(0xffff)] },
  {
    name: 'next is the length of the table',
    error: descriptorIndex,
    queue: [indirect(32)],
    table: [flushHeader(2), flushStatus, flushStatus],
  },
  { name: 'a descriptor that follows itself', error: loop, queue: [flushHeader(0)] },
  { name: 'a loop of two descriptors', error: loop, queue: [flushHeader(1), back] },
  { name: 'a loop in a table', error: loop, queue: [indirect(48)], table: [flushHeader(1), back] },
  {
    name: 'readable after writable',
    error: order,
    queue: [descriptor(STATUS, 1, WRITE | NEXT, 1), descriptor(BUFFERS, 16)],
  },
  {
    name: 'readable in a table, after writable in the queue',
    error: order,
    queue: [descriptor(STATUS, 1, WRITE | NEXT, 1), indirect(16)],
    table: [descriptor(BUFFERS, 16)],
  },
  {
    name: 'a chain of 2^32 + 1 bytes',
    error: tooLong,
    queue: [flushHeader(1), descriptor(BUFFERS, 2 ** 32 - 16, WRITE | NEXT, 2), flushStatus],
  },
  ...[0, 8, 15, 17, 24, 0x10_0010, 0xffff_fff0].map((bytes) => ({
    name: `a table of ${bytes} bytes`,
    error: indirectLength,
    queue: [indirect(bytes)],
    table: [flushHeader(1), flushStatus],
  })),
  { name: 'INDIRECT and NEXT', error: indirectNext, queue: [indirect(32, NEXT), flushStatus] },
  {
    name: 'a table in a table',
    error: indirectNested,
    queue: [indirect(32)],
    table: [flushHeader(1), indirect(32)],
  },
  {
    name: 'nothing to write the status to',
    error: noAnswer,
    queue: [descriptor(BUFFERS, 16)],
  },
  {
    name: 'no byte to write the status to',
    error: noAnswer,
    queue: [flushHeader(1), descriptor(STATUS, 0, WRITE)],
  },
];

describe('a driver that makes a mistake has to reset the device', () => {
  test.each(MISTAKES)('$name', ({ error, queue, table = [] }) => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, ...queue);
    d.put(TABLE, ...table);
    d.offer(0);
    expect(d.notify()).toBe(false);
    expect(d.told).toEqual([error]);
    expect(d.used()).toEqual([]);
    expect(d.guest.read(STATUS, 1)).toEqual(Uint8Array.of(0xff));
    expect(d.guest.events()).toEqual([]);
  });

  test('the available index goes back (2.7.6.1)', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.offer(0, 0);
    d.notify();
    d.guest.write(AVAILABLE + 2n, Uint8Array.of(1, 0));
    d.notify();
    expect(d.told).toEqual(['interrupt', QueueError.availableIndex]);
    expect(d.used()).toHaveLength(2);
  });

  test('the available ring names a descriptor that is not there', () => {
    const d = flushingDriver();
    d.offer(8);
    d.notify();
    expect(d.told).toEqual([QueueError.descriptorIndex]);
  });

  const LAYOUTS: readonly (readonly [Partial<VirtqueueLayout>, QueueError])[] = [
    [{ size: 0 }, QueueError.size],
    [{ size: 3 }, QueueError.size],
    [{ size: 0x1_0000 }, QueueError.size],
    [{ descriptors: DESCRIPTORS + 8n }, QueueError.alignment],
    [{ available: AVAILABLE + 1n }, QueueError.alignment],
    [{ used: 0x30_0002 }, QueueError.alignment],
  ];
  test.each(LAYOUTS)('the transport was told %o', (other, error) => {
    const d = flushingDriver();
    d.device.enableQueue(d.layout(other));
    expect(d.told).toEqual([error]);
    d.offer(0);
    expect(d.notify()).toBe(false);
    expect(d.told).toEqual([error]);
  });

  test('what came before the mistake is served, what comes after it is not, until the reset', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, flushHeader(1), flushStatus, flushHeader(2));
    d.offer(0, 2, 0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
    d.offer(0);
    d.notify();
    expect(d.told).toEqual([QueueError.loop]);
    d.device.reset();
    d.notify();
    d.device.enableQueue(d.layout({ index: 4 }));
    d.guest.write(USED + 2n, Uint8Array.of(4, 0));
    d.used();
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
    expect(d.told).toEqual([QueueError.loop, 'interrupt']);
    expect(d.guest.events()).toEqual([]);
  });
});

describe('a fault in the queue: one event record, and the driver has to reset the device', () => {
  /** A queue with a FLUSH in a table, whose parts lie across pages: `flags` and the rest of each ring. */
  function across(): VirtioDriver {
    const d = flushingDriver();
    for (const part of [AVAILABLE, USED]) d.guest.map(part + 0x1000n);
    d.device.enableQueue(d.layout({ available: AVAILABLE + 0xffen, used: USED + 0xffcn }));
    d.put(DESCRIPTORS, indirect(32));
    d.put(TABLE, flushHeader(1), flushStatus);
    d.guest.write(AVAILABLE + 0xffen, Uint8Array.of(0, 0, 1, 0, 0, 0));
    return d;
  }

  test('without a fault it is served', () => {
    const d = across();
    d.notify();
    expect(d.told).toEqual(['interrupt']);
    expect([...d.guest.read(USED + 0xffcn, 12)]).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
  });

  const FAULTS: readonly (readonly [string, bigint, bigint, QueueError])[] = [
    ['idx of the available ring', AVAILABLE + 0x1000n, 0n, QueueError.availableFault],
    ['flags of the available ring', AVAILABLE, 0xffen, QueueError.availableFault],
    ['the descriptor table', DESCRIPTORS, 0n, QueueError.descriptorFault],
    ['the indirect table', TABLE, 0n, QueueError.descriptorFault],
  ];
  test.each(FAULTS)('%s is not mapped', (_, page, offset, error) => {
    const d = across();
    d.guest.unmap(page);
    d.notify();
    expect(d.told).toEqual([error]);
    expect(d.guest.events()).toEqual([faultRecord(0x10, 'read', page + offset)]);
  });

  test.each([
    ['flags and idx of the used ring', USED, 0xffcn],
    ['an element of the used ring', USED + 0x1000n, 0n],
  ])('%s may not be written', (_, page, offset) => {
    const d = across();
    d.guest.map(page, 1, false);
    d.notify();
    expect(d.told).toEqual([QueueError.usedFault]);
    expect(d.guest.events()).toEqual([faultRecord(0x13, 'write', page + offset)]);
    expect(d.guest.read(page, 4096)).toEqual(new Uint8Array(4096));
  });

  test('an entry of the available ring lies on a page that is not mapped', () => {
    const d = flushingDriver({ size: 4096, index: 3000 });
    d.guest.unmap(AVAILABLE + 0x1000n);
    d.guest.write(AVAILABLE + 2n, Uint8Array.of(3001 & 0xff, 3001 >> 8));
    d.notify();
    expect(d.told).toEqual([QueueError.availableFault]);
    expect(d.guest.events()).toEqual([faultRecord(0x10, 'read', AVAILABLE + 4n + 6000n)]);
  });

  test('half a descriptor of an indirect table lies on a page that is not mapped', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, descriptor(TABLE + 0xff8n, 16, INDIRECT));
    d.offer(0);
    d.notify();
    expect(d.told).toEqual([QueueError.descriptorFault]);
    expect(d.guest.events()).toEqual([faultRecord(0x10, 'read', TABLE + 0x1000n)]);
  });

  test('the status byte lies where a number is not exact any more', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, flushHeader(1), descriptor(2n ** 53n - 8n, 10, WRITE));
    d.offer(0);
    d.notify();
    expect(d.told).toEqual([QueueError.answerFault]);
    expect(d.guest.events()).toEqual([faultRecord(0x10, 'write', 2n ** 53n + 1n)]);
  });

  test('the status byte may not be written', () => {
    const d = flushingDriver();
    d.guest.map(STATUS, 1, false);
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.offer(0);
    d.notify();
    expect(d.told).toEqual([QueueError.answerFault]);
    expect(d.used()).toEqual([]);
    expect(d.guest.events()).toEqual([faultRecord(0x13, 'write', STATUS)]);
  });
});
