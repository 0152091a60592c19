import { describe, expect, test } from 'vitest';
import { QueueError } from '../../docs/examples/queue-error.js';
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
  WRITE,
} from './virtio-driver.js';

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, (digits) => parseInt(digits, 16));
}

describe('bytes of the rings (virtio 1.2, sections 2.7.5 to 2.7.8)', () => {
  test('an IN request of 512 bytes, word by word', () => {
    const { guest, device, disk, told } = flushingDriver();
    // Descriptors 2, 5 and 1: 16 bytes at 0x500000, NEXT; 512 at 0x500e00, NEXT and WRITE; the status.
    guest.write(0x10_0020n, bytes('00005000 00000000 10000000 0100 0500'));
    guest.write(0x10_0050n, bytes('000e5000 00000000 00020000 0300 0100'));
    guest.write(0x10_0010n, bytes('bc2a5000 00000000 01000000 0200 0000'));
    guest.write(0x50_0000n, bytes('00000000 00000000 0300000000000000'));
    guest.write(0x50_2abcn, bytes('ff'));
    // flags 0, idx 1, ring[0] 2; and the flags of the used ring are those of before.
    guest.write(0x20_0000n, bytes('0000 0100 0200'));
    expect(device.process(1)).toBe(false);
    expect(guest.read(0x30_0000n, 12)).toEqual(bytes('0000 0100 02000000 01020000'));
    expect(guest.read(0x50_0e00n, 512)).toEqual(disk.slice(0x600, 0x800));
    expect(guest.read(0x50_2abcn, 1)).toEqual(bytes('00'));
    expect(told).toEqual(['interrupt']);
    expect(guest.events()).toEqual([]);
  });

  test('the same in an indirect table: the chain in the queue is one descriptor', () => {
    const { guest, device, disk } = flushingDriver();
    // 48 bytes at 0x400000, INDIRECT; WRITE means nothing in it (2.7.5.3.2), nor does next.
    guest.write(0x10_0070n, bytes('00004000 00000000 30000000 0600 ffff'));
    guest.write(0x40_0000n, bytes('00005000 00000000 10000000 0100 0200'));
    guest.write(0x40_0020n, bytes('000e5000 00000000 00020000 0300 0100'));
    guest.write(0x40_0010n, bytes('bc2a5000 00000000 01000000 0200 0000'));
    guest.write(0x50_0000n, bytes('00000000 00000000 3f00000000000000'));
    guest.write(0x50_2abcn, bytes('ff'));
    guest.write(0x20_0000n, bytes('0000 0100 0700'));
    expect(device.process(1)).toBe(false);
    expect(guest.read(0x30_0000n, 12)).toEqual(bytes('0000 0100 07000000 01020000'));
    expect(guest.read(0x50_0e00n, 512)).toEqual(disk.slice(-512));
    expect(guest.read(0x50_2abcn, 1)).toEqual(bytes('00'));
  });
});

describe('rings', () => {
  test('the index counts on from 0xffff to 0, the slots go round (2.7.6, 2.7.8)', () => {
    const d = flushingDriver({ size: 4, index: 0xfff0 });
    d.put(DESCRIPTORS, flushHeader(1), flushStatus, flushHeader(3), flushStatus);
    for (let i = 0; i < 40; i++) {
      d.offer(0, 2);
      d.notify();
      expect(d.used()).toEqual([
        [0, 1],
        [2, 1],
      ]);
    }
    expect(d.get16(USED + 2n)).toBe((0xfff0 + 80) & 0xffff);
    expect(new Set(d.told)).toEqual(new Set(['interrupt']));
  });

  test.each([1, 2, 1024, 32_768])('a queue of %i descriptors', (size) => {
    const d = flushingDriver({ size });
    const last = size - 1;
    d.put(DESCRIPTORS + 16n * BigInt(last), descriptor(TABLE, 32, INDIRECT));
    d.put(TABLE, flushHeader(1), flushStatus);
    for (let i = 0; i < 3; i++) {
      d.offer(last);
      d.notify();
      expect(d.used()).toEqual([[last, 1]]);
    }
  });

  test('as many chains as the queue has descriptors may be available, and no more', () => {
    const d = flushingDriver({ size: 2 });
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.offer(0, 0);
    d.notify();
    expect(d.used()).toHaveLength(2);
    d.offer(0, 0, 0);
    d.notify();
    expect(d.used()).toEqual([]);
    expect(d.told).toEqual(['interrupt', QueueError.availableIndex]);
  });

  test('a budget leaves the rest for later, also around the end of the index', () => {
    const d = flushingDriver({ index: 0xfffe });
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.offer(0, 0, 0);
    expect(d.notify(2)).toBe(true);
    expect(d.used()).toHaveLength(2);
    expect(d.notify(2)).toBe(false);
    expect(d.used()).toHaveLength(1);
    expect(d.notify(2)).toBe(false);
    expect(d.told).toEqual(['interrupt', 'interrupt']);
  });

  test('NO_INTERRUPT keeps interrupts back (2.7.7)', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.guest.write(AVAILABLE, Uint8Array.of(1, 0));
    d.offer(0);
    d.notify();
    expect(d.used()).toHaveLength(1);
    expect(d.told).toEqual([]);
  });

  test('NO_NOTIFY is set while the device serves, and cleared when it returns (2.7.10)', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, flushHeader(1), flushStatus);
    d.offer(0);
    const { memory } = d.guest;
    const load = memory.loadBytes.bind(memory);
    const seen: number[] = [];
    memory.loadBytes = (address, into, at, count) => {
      // Descriptors and the header are the only accesses of 16 bytes.
      if (count === 16) seen.push(d.get16(USED));
      return load(address, into, at, count);
    };
    d.notify();
    expect(seen).toEqual([1, 1, 1]);
    expect(d.get16(USED)).toBe(0);
  });
});

describe('chains', () => {
  test('a chain may have all descriptors of the queue, in any order', () => {
    const d = flushingDriver({ size: 4 });
    d.put(DESCRIPTORS, descriptor(BUFFERS + 5n, 1, NEXT, 1), descriptor(BUFFERS + 6n, 10, NEXT, 3));
    d.put(DESCRIPTORS + 32n, descriptor(BUFFERS, 5, NEXT, 0), flushStatus);
    d.offer(2);
    d.notify();
    expect(d.used()).toEqual([[2, 1]]);
  });

  test('normal descriptors may come before an indirect one (2.7.5.3.2)', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, descriptor(BUFFERS, 3, NEXT, 1), descriptor(TABLE, 48, INDIRECT));
    d.put(TABLE, descriptor(BUFFERS + 3n, 13, NEXT, 2), descriptor(0n, 0), flushStatus);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
  });

  test('an indirect table may be longer than the queue', () => {
    const d = flushingDriver({ size: 2 });
    d.put(DESCRIPTORS, descriptor(TABLE, 16 * 17, INDIRECT));
    const pieces = Array.from({ length: 16 }, (_, i) => ({ iova: BUFFERS + BigInt(i), length: 1 }));
    d.chain(TABLE, pieces, [{ iova: STATUS, length: 1 }]);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
  });

  test('a table of 65,536 descriptors, of which the chain uses two', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, descriptor(TABLE, 0x10_0000, INDIRECT));
    d.put(TABLE, flushHeader(1), flushStatus);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
  });

  test('an indirect table may lie anywhere, across pages as well', () => {
    const d = flushingDriver();
    d.guest.map(TABLE + 0x1000n);
    d.put(DESCRIPTORS, descriptor(TABLE + 0xff3n, 32, INDIRECT));
    d.put(TABLE + 0xff3n, flushHeader(1), flushStatus);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
  });

  test('descriptors may have no bytes at all', () => {
    const d = flushingDriver();
    d.put(DESCRIPTORS, descriptor(0n, 0, NEXT, 1), flushHeader(2), descriptor(0n, 0, NEXT, 3));
    d.put(
      DESCRIPTORS + 48n,
      descriptor(0n, 0, NEXT | WRITE, 4),
      descriptor(STATUS, 1, WRITE | NEXT, 5),
    );
    d.put(DESCRIPTORS + 80n, descriptor(1n << 63n, 0, WRITE));
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
  });

  test('a chain may have 2^32 bytes (2.7.5.2): its status is the last one', () => {
    const d = flushingDriver();
    const length = 2 ** 32 - 16;
    const last = BUFFERS + 0xffff_ffefn;
    d.guest.map(last & ~0xfffn);
    d.put(DESCRIPTORS, flushHeader(1), descriptor(BUFFERS, length, WRITE));
    d.offer(0);
    d.notify();
    expect(d.guest.read(last, 1)).toEqual(Uint8Array.of(0));
    expect(d.used()).toEqual([[0, 0]]);
  });

  test('everything may be in the upper half of the address space', () => {
    const d = flushingDriver();
    const upper = 0xffff_8000_0000_0000n;
    for (const part of [DESCRIPTORS, AVAILABLE, USED, TABLE, BUFFERS, STATUS]) {
      d.guest.map(upper + part, 1, true, d.guest.mappings.get(part >> 12n)!.address);
    }
    const [descriptors, available, used] = [DESCRIPTORS, AVAILABLE, USED].map((at) => upper + at);
    d.device.enableQueue({
      size: 8,
      descriptors: descriptors!,
      available: available!,
      used: used!,
    });
    d.put(DESCRIPTORS, descriptor(upper + TABLE, 32, INDIRECT));
    d.put(TABLE, descriptor(upper + BUFFERS, 16, NEXT, 1), descriptor(upper + STATUS, 1, WRITE));
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
    expect(d.guest.events()).toEqual([]);
  });
});
