import { describe, expect, test } from 'vitest';
import { VirtioBlk } from '../../docs/examples/virtio-blk.js';
import {
  BUFFERS,
  DATA,
  descriptor,
  DESCRIPTORS,
  driverWithBuffers,
  FLUSH,
  GET_ID,
  header,
  IN,
  INDIRECT,
  IOERR,
  noise,
  OK,
  OUT,
  STATUS,
  TABLE,
  UNSUPP,
  type VirtioDriver,
  type Piece,
} from './virtio-driver.js';

const NOTHING = new Uint8Array();

describe('requests (virtio 1.2, section 5.2.6)', () => {
  test('IN reads sectors, and used.len counts the status as well', () => {
    const d = driverWithBuffers();
    expect(d.request(IN, 5, NOTHING, 1024)).toEqual([OK, 1025]);
    expect(d.guest.read(DATA, 1024)).toEqual(d.disk.slice(0xa00, 0xe00));
    expect(d.told).toEqual(['interrupt']);
  });

  test('OUT writes sectors, and no others', () => {
    const d = driverWithBuffers();
    const expected = d.disk.slice();
    expected.set(noise(1536), 0x600);
    expect(d.request(OUT, 3, noise(1536), 0)).toEqual([OK, 1]);
    expect(Buffer.compare(d.disk, expected)).toBe(0);
  });

  test('what OUT has written, IN reads', () => {
    const d = driverWithBuffers();
    d.request(OUT, 63, noise(512), 0);
    d.guest.write(DATA, new Uint8Array(512));
    expect(d.request(IN, 63, NOTHING, 512)).toEqual([OK, 513]);
    expect(d.guest.read(DATA, 512)).toEqual(noise(512));
  });

  test('FLUSH succeeds', () => {
    expect(driverWithBuffers().request(FLUSH, 0, NOTHING, 0)).toEqual([OK, 1]);
  });

  test.each([
    ['disk 7', 20, 21, 'disk 7\0\0\0\0\0\0\0\0\0\0\0\0\0\0'],
    ['twenty characters, ok', 20, 21, 'twenty characters, ok'],
    ['disk 7', 4, 5, 'disk'],
    // Byte 20 is not written, and the status is behind it.
    ['disk 7', 21, 20, 'disk 7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff'],
  ])('GET_ID of %s in %i bytes', (id, bytes, len, expected) => {
    const d = driverWithBuffers({ id: id.slice(0, 20) });
    d.guest.write(DATA, new Uint8Array(bytes).fill(0xff));
    expect(d.request(GET_ID, 0, NOTHING, bytes)).toEqual([OK, len]);
    const text = Buffer.from(d.guest.read(DATA, bytes)).toString('latin1');
    expect(text).toBe(expected.slice(0, bytes));
  });

  test.each([2, 3, 5, 9, 11, 13, 0x8000_0000, 0xffff_ffff])('type %i is not supported', (type) => {
    const d = driverWithBuffers();
    expect(d.request(type, 0, NOTHING, 0)).toEqual([UNSUPP, 1]);
    // The status behind data that is not written does not count (2.7.8.2).
    expect(d.request(type, 0, NOTHING, 512)).toEqual([UNSUPP, 0]);
    expect(d.told).toEqual(['interrupt', 'interrupt']);
  });

  test.each([
    [0, 64 * 512, OK],
    [63, 512, OK],
    [64, 0, OK],
    [0, 65 * 512, IOERR],
    [63, 1024, IOERR],
    [64, 512, IOERR],
    [65, 0, IOERR],
    [2 ** 32, 512, IOERR],
    [2 ** 53, 512, IOERR],
    [(1n << 55n) - 1n, 512, IOERR],
    [(1n << 55n) + 1n, 512, IOERR],
    [(1n << 64n) - 1n, 512, IOERR],
    [0, 511, IOERR],
    [0, 513, IOERR],
    [1, 1, IOERR],
  ])('sector %d and %i bytes, of a disk of 64 sectors', (sector, bytes, status) => {
    const d = driverWithBuffers({}, 12);
    const data = { iova: BUFFERS + 0x3000n, length: bytes };
    const head = { iova: BUFFERS, length: 16 };
    const answer = { iova: STATUS, length: 1 };
    const before = d.disk.slice();

    d.guest.write(BUFFERS, header(IN, sector));
    d.chain(DESCRIPTORS, [head], [data, answer]);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, status === OK ? bytes + 1 : bytes === 0 ? 1 : 0]]);
    expect(d.guest.read(STATUS, 1)).toEqual(Uint8Array.of(status));

    d.guest.write(BUFFERS, header(OUT, sector));
    d.chain(DESCRIPTORS, [head, data], [answer]);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
    expect(d.guest.read(STATUS, 1)).toEqual(Uint8Array.of(status));
    // OUT wrote what IN had read, or nothing.
    expect(Buffer.compare(d.disk, before)).toBe(0);
  });

  test('a disk that is read-only is not written (5.2.6.2)', () => {
    const d = driverWithBuffers({ readOnly: true });
    const before = d.disk.slice();
    expect(d.request(OUT, 0, noise(512), 0)).toEqual([IOERR, 1]);
    expect(Buffer.compare(d.disk, before)).toBe(0);
    expect(d.request(IN, 0, NOTHING, 512)).toEqual([OK, 513]);
  });

  test.each([0, 1, 15])('a header of %i bytes is an error', (length) => {
    const d = driverWithBuffers();
    d.chain(DESCRIPTORS, [{ iova: BUFFERS, length }], [{ iova: STATUS, length: 1 }]);
    d.offer(0);
    d.notify();
    expect(d.used()).toEqual([[0, 1]]);
    expect(d.guest.read(STATUS, 1)).toEqual(Uint8Array.of(IOERR));
  });

  test('the capacity is counted in sectors, and a part of one is refused', () => {
    const d = driverWithBuffers();
    expect(d.device.capacity).toBe(64);
    const handle = d.guest.smmu.attach(1);
    const transport = { interrupt: () => undefined, needsReset: () => undefined };
    expect(() => new VirtioBlk(handle, new Uint8Array(513), transport)).toThrow(/513/);
    const id = 'twenty-one characters';
    expect(() => new VirtioBlk(handle, d.disk, transport, { id })).toThrow(/twenty-one/);
  });
});

describe('layouts: the device assumes nothing (2.7.4.1)', () => {
  /** Pieces of the given lengths, each `gap` bytes behind the other. */
  function pieces(iova: bigint, lengths: readonly number[], gap = 3): Piece[] {
    let at = iova;
    return lengths.map((length) => {
      const piece = { iova: at, length };
      at += BigInt(length + gap);
      return piece;
    });
  }

  function writeTo(d: VirtioDriver, to: readonly Piece[], bytes: Uint8Array): void {
    let done = 0;
    for (const { iova, length } of to) {
      d.guest.write(iova, bytes.subarray(done, done + length));
      done += length;
    }
  }

  function readFrom(d: VirtioDriver, from: readonly Piece[]): number[] {
    return from.flatMap(({ iova, length }) => [...d.guest.read(iova, length)]);
  }

  const SPLITS: readonly (readonly [string, readonly number[], readonly number[]])[] = [
    ['the header and the data in one descriptor', [528], [513]],
    ['the header byte by byte', [...Array<number>(16).fill(1), 512], [512, 1]],
    ['the header and a part of the data in one', [17, 511], [1, 512]],
    ['the header over two, the end with data', [9, 8, 511], [511, 2]],
    ['empty ones in between', [0, 16, 0, 0, 512, 0], [0, 512, 0, 1, 0]],
    ['many', Array<number>(66).fill(8), Array<number>(57).fill(9)],
  ];

  test.each(SPLITS)('%s', (_, toDevice, fromDevice) => {
    const d = driverWithBuffers({ size: 256 }, 6);
    for (const table of [DESCRIPTORS, TABLE]) {
      // Not aligned, and across a page from somewhere in the middle.
      const out = pieces(BUFFERS + 0xf01n, toDevice);
      const answer = pieces(BUFFERS + 0x3f0fn, [1]);
      writeTo(d, out, Uint8Array.from([...header(OUT, 9), ...noise(512)]));
      offer(d, table, d.chain(table, out, answer));
      expect(d.used()).toEqual([[0, 1]]);
      expect(readFrom(d, answer)).toEqual([OK]);
      expect(d.disk.slice(9 * 512, 10 * 512)).toEqual(noise(512));

      const head = pieces(BUFFERS + 0xffn, [16]);
      const back = pieces(BUFFERS + 0x3fffn, fromDevice);
      writeTo(d, head, header(IN, 9));
      offer(d, table, d.chain(table, head, back));
      expect(d.used()).toEqual([[0, 513]]);
      expect(readFrom(d, back)).toEqual([...noise(512), OK]);
      expect(d.guest.events()).toEqual([]);
    }
  });

  function offer(d: VirtioDriver, table: bigint, count: number): void {
    if (table !== DESCRIPTORS) d.put(DESCRIPTORS, descriptor(table, 16 * count, INDIRECT));
    d.offer(0);
    d.notify();
  }
});
