import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QueueError } from '../../docs/examples/queue-error.js';
import { DiskModel, type Rights } from './disk-model.js';
import {
  AVAILABLE,
  BUFFERS,
  descriptor,
  DESCRIPTORS,
  header,
  INDIRECT,
  NEXT,
  TABLE,
  VirtioDriver,
  WRITE,
  type Piece,
} from './virtio-driver.js';

const ID = 'a disk';
const SECTORS = 12;
const SIZE = 64;
/** Pages that buffers lie in. */
const PAGES = 8;

interface Request {
  readonly type: number;
  readonly sector: number;
  /** Bytes of the header that there are. */
  readonly headerBytes: number;
  /** Bytes of data to and from the device. */
  readonly toDevice: number;
  readonly fromDevice: number;
  /** Bytes of the pieces, as long as they last; what remains is the last one. */
  readonly cuts: readonly number[];
  /** Bytes before each piece, used in turn. */
  readonly gaps: readonly number[];
  /** Pieces that have a descriptor in the queue; the others are in an indirect table. */
  readonly direct: number;
  /** An order of all descriptors of the queue, which is that of the table as well. */
  readonly slots: readonly number[];
  /** Pages that become new ones before the request: number and rights. */
  readonly remapped: readonly (readonly [page: number, rights: Rights])[];
}

const bytes = fc
  .tuple(fc.nat(4), fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 511))
  .map(([sectors, more]) => 512 * sectors + more);
const rights = fc.constantFrom<Rights>('write', 'write', 'write', 'read', 'none');

const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constantFrom(0, 0, 0, 0, 1, 1, 1, 1, 4, 8, 8, 11, 0x100),
  sector: fc.oneof({ arbitrary: fc.nat(SECTORS - 4), weight: 9 }, fc.nat(2 * SECTORS)),
  headerBytes: fc.oneof({ arbitrary: fc.constant(16), weight: 15 }, fc.nat(16)),
  toDevice: bytes,
  fromDevice: fc.oneof({ arbitrary: bytes, weight: 4 }, fc.nat(30)),
  cuts: fc.array(fc.oneof(fc.nat(20), fc.nat(900)), { maxLength: 14 }),
  gaps: fc.array(fc.nat(1200), { minLength: 1, maxLength: 6 }),
  direct: fc.oneof(fc.constant(SIZE), fc.constant(0), fc.nat(20)),
  slots: fc.shuffledSubarray(
    Array.from({ length: SIZE }, (_, i) => i),
    { minLength: SIZE },
  ),
  remapped: fc.array(fc.tuple(fc.nat(PAGES - 1), rights), { maxLength: 3 }),
});

/** How often what was met, so that a generator that misses something is found out. */
const met = new Map<string, number>();
function meet(name: string): void {
  met.set(name, (met.get(name) ?? 0) + 1);
}

/** Sets a page up anew in the guest and in the model, with bytes of its own. */
function remap(d: VirtioDriver, model: DiskModel, page: number, rights: Rights): void {
  const iova = BUFFERS + 4096n * BigInt(page);
  if (model.pages[page] !== undefined) {
    d.guest.unmap(iova);
    d.guest.invalidate(iova);
  }
  const seed = d.guest.page() / 4096;
  const bytes = new Uint8Array(4096).map((_, i) => seed + 3 * i + (i >> 6));
  model.pages[page] = { rights, bytes };
  if (rights === 'none') return;
  d.guest.map(iova, 1, rights === 'write');
  d.guest.write(iova, bytes);
}

/** The pieces of `total` bytes from `cursor.at` on. */
function place(cursor: { at: bigint; piece: number }, total: number, request: Request): Piece[] {
  const { cuts, gaps } = request;
  const pieces: Piece[] = [];
  for (let left = total; left > 0;) {
    const length = Math.min(cuts[cursor.piece] ?? left, left);
    cursor.at += BigInt(gaps[cursor.piece % gaps.length]!);
    pieces.push({ iova: cursor.at, length });
    cursor.at += BigInt(length);
    cursor.piece++;
    left -= length;
  }
  return pieces;
}

const iovasOf = (pieces: readonly Piece[]): bigint[] =>
  pieces.flatMap(({ iova, length }) => Array.from({ length }, (_, i) => iova + BigInt(i)));

/** Writes the chain: some descriptors in the queue, some in a table. @returns the head. */
function describeChain(
  d: VirtioDriver,
  readable: readonly Piece[],
  writable: readonly Piece[],
  { direct, slots }: Request,
): number {
  const pieces = [...readable, ...writable];
  const inQueue = Math.min(direct, pieces.length);
  const rest = pieces.length - inQueue;
  const inTable = [0, ...slots.filter((slot) => slot > 0)];
  for (const [i, { iova, length }] of pieces.entries()) {
    const isLast = i === pieces.length - 1;
    const flags = (i < readable.length ? 0 : WRITE) | (isLast ? 0 : NEXT);
    const next = i < inQueue ? slots[i + 1]! : inTable[i - inQueue + 1]!;
    const at =
      i < inQueue
        ? DESCRIPTORS + 16n * BigInt(slots[i]!)
        : TABLE + 16n * BigInt(inTable[i - inQueue]!);
    d.put(at, descriptor(iova, length, flags, isLast ? 0xffff : next));
  }
  if (rest > 0) {
    const at = DESCRIPTORS + 16n * BigInt(slots[inQueue]!);
    d.put(at, descriptor(TABLE, 16 * SIZE, INDIRECT, 0xffff));
    meet(inQueue === 0 ? 'indirect' : 'direct, then indirect');
  } else {
    meet('direct');
  }
  return slots[0]!;
}

/** Serves one request, and compares all that it should have done. @returns whether the queue lives. */
function run(d: VirtioDriver, model: DiskModel, request: Request): boolean {
  const { type, sector, headerBytes, toDevice, fromDevice } = request;
  for (const [page, rights] of request.remapped) remap(d, model, page, rights);
  const cursor = { at: BUFFERS, piece: 0 };
  const head = header(type, sector).subarray(0, headerBytes);
  const readable = place(cursor, headerBytes < 16 ? headerBytes : 16 + toDevice, request);
  const writable = place(cursor, fromDevice + 1, request);
  const [from, to] = [iovasOf(readable), iovasOf(writable)];
  for (const [i, byte] of head.entries()) {
    const page = model.page(from[i]!);
    page.bytes[Number(from[i]! & 0xfffn)] = byte;
    if (page.rights !== 'none') d.guest.write(from[i]!, Uint8Array.of(byte));
  }
  const first = describeChain(d, readable, writable, request);
  d.offer(first);
  d.told.length = 0;
  d.notify();

  const [status, len] = model.serve(type, sector, from, to);
  meet(`type ${type}, status ${status}`);
  for (const [record] of model.events) meet(`event ${record! & 0xffn}`);
  expect(d.used()).toEqual(status < 0 ? [] : [[first, len]]);
  expect(d.told).toEqual([status < 0 ? QueueError.answerFault : 'interrupt']);
  expect(d.guest.events()).toEqual(model.events);
  for (const [page, { rights, bytes }] of model.pages.entries()) {
    if (rights === 'none') continue;
    const found = d.guest.read(BUFFERS + 4096n * BigInt(page), 4096);
    expect(Buffer.compare(found, bytes)).toBe(0);
  }
  expect(Buffer.compare(d.disk, model.disk)).toBe(0);
  model.events = [];
  return status >= 0;
}

describe('random requests', () => {
  test('do what a model does byte by byte, whatever their layout', () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 8 }), (requests) => {
        const d = new VirtioDriver({ id: ID, sectors: SECTORS, size: SIZE, index: 0xfffd });
        const model = new DiskModel(d.disk, ID);
        for (let page = 0; page < PAGES; page++) remap(d, model, page, 'write');
        for (const one of requests) if (!run(d, model, one)) break;
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ...['direct', 'indirect', 'direct, then indirect', 'event 16', 'event 19'],
    ...['type 0, status 0', 'type 0, status 1', 'type 0, status -1', 'type 1, status 0'],
    ...['type 1, status 1', 'type 4, status 0', 'type 8, status 0', 'type 11, status 2'],
  ])('were met at least five times: %s', (name) => {
    expect(met.get(name) ?? 0).toBeGreaterThanOrEqual(5);
  });
});

describe('a driver that writes anything at all', () => {
  const somewhere = fc.oneof(
    { arbitrary: fc.nat(2 * 4096).map((at) => BUFFERS + BigInt(at)), weight: 9 },
    { arbitrary: fc.constantFrom(TABLE, TABLE + 16n, DESCRIPTORS, AVAILABLE), weight: 3 },
    fc.constantFrom(0n, TABLE + 0xff8n, BUFFERS + 0x1fffn, (1n << 64n) - 16n),
    fc.bigInt(0n, (1n << 64n) - 1n),
  );
  const length = fc.oneof(
    { arbitrary: fc.nat(40), weight: 4 },
    { arbitrary: fc.integer({ min: 1, max: 8 }).map((count) => 16 * count), weight: 8 },
    fc.nat(0xffff_ffff),
  );
  const flags = fc.oneof(
    { arbitrary: fc.constantFrom(NEXT, NEXT, WRITE, WRITE | NEXT, INDIRECT), weight: 15 },
    fc.nat(0xffff),
  );
  const index = fc.oneof({ arbitrary: fc.nat(7), weight: 15 }, fc.nat(0xffff));
  const anything = fc.tuple(somewhere, length, flags, index).map((fields) => descriptor(...fields));
  const eight = fc.array(anything, { minLength: 8, maxLength: 8 });

  test('never makes the device throw, or write where it may not', () => {
    fc.assert(
      fc.property(eight, eight, fc.array(index, { maxLength: 4 }), (queue, table, heads) => {
        const d = new VirtioDriver({ sectors: 4 });
        const before = new Uint8Array(3 * 4096).map((_, i) => 7 * i);
        d.guest.map(BUFFERS, 3, false);
        d.guest.write(BUFFERS, before);
        d.put(DESCRIPTORS, ...queue);
        d.put(TABLE, ...table);
        d.offer(...heads);
        expect(d.notify()).toBe(false);
        expect(Buffer.compare(d.guest.read(BUFFERS, 3 * 4096), before)).toBe(0);
        d.told.forEach(meet);
        expect(d.told.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 300 },
    );
  });

  const { answerFault, order, loop, descriptorIndex, indirectNested, indirectLength } = QueueError;
  test.each([answerFault, order, loop, descriptorIndex, indirectNested, indirectLength])(
    'has to reset it, for one: %s',
    (error) => {
      expect(met.get(error) ?? 0).toBeGreaterThan(0);
    },
  );
});
