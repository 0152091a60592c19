import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VeventFlag, VeventReader } from '../../src/iommufd/vevent-reader.js';
import { bytes } from '../sinks/hex.js';
import { eventBytes, lostBytes, VeventqModel, type Told } from './vevent-model.js';

/** F_TRANSLATION of a read by StreamID 0x42 at 0xffff_8000_0001_2000, sequence number 3. */
const TRANSLATION = bytes(`
  00000000 03000000
  10000000 42000000 00000000 08020000 00200100 0080ffff 00000000 00000000`);

/** Events 4 to 9 are lost; 9 is the latest. */
const LOST_UNTIL_9 = bytes('01000000 09000000');

/** A reader, and what it has told: words of events, numbers of lost ones. */
function reading(): { reader: VeventReader; told: Told[] } {
  const told: Told[] = [];
  const reader = new VeventReader({
    event: (words) => told.push([...words]),
    lost: (count) => told.push(count),
  });
  return { reader, told };
}

/** What a new reader tells of these records. */
function toldOf(...records: Uint8Array[]): Told[] {
  const { reader, told } = reading();
  for (const record of records) reader.push(record);
  return told;
}

describe('a vEVENTQ', () => {
  test('gives the 8 words of a hardware event after a header of 8 bytes', () => {
    expect(toldOf(TRANSLATION)).toEqual([[0x10, 0x42, 0, 0x208, 0x0001_2000, 0xffff_8000, 0, 0]]);
  });

  test('that is empty gives no bytes, and nothing is told', () => {
    expect(toldOf(new Uint8Array(0))).toEqual([]);
  });

  test('gives as many records as fit one read', () => {
    const [a, b] = [eventBytes(1, [1]), eventBytes(2, [2])];
    expect(toldOf(Uint8Array.from([...a, ...b]))).toEqual([
      [1, 0, 0, 0, 0, 0, 0, 0],
      [2, 0, 0, 0, 0, 0, 0, 0],
    ]);
  });

  test('is read from any part of a buffer', () => {
    const odd = new Uint8Array(47).fill(0xee);
    odd.set(TRANSLATION, 3);
    expect(toldOf(odd.subarray(3, 43))).toEqual(toldOf(TRANSLATION));
  });

  test('gives a bare header with flag 1 where events were lost', () => {
    expect(VeventFlag).toEqual({ LOST_EVENTS: 1 });
    expect(toldOf(TRANSLATION, LOST_UNTIL_9)).toEqual([expect.any(Array), 6]);
  });
});

describe('lost events', () => {
  const kept = (sequence: number): Uint8Array => eventBytes(sequence, []);
  const count = (...records: Uint8Array[]): Told[] =>
    toldOf(...records).map((told) => (typeof told === 'number' ? told : []));

  test.each([
    ['none', [kept(3), kept(4)], [[], []]],
    ['those that a gap leaves out', [kept(3), kept(7)], [[], 3, []]],
    ['the one whose number a LOST_EVENTS header has', [kept(3), lostBytes(4)], [[], 1]],
    ['those before it too', [kept(3), lostBytes(6)], [[], 3]],
    ['once, when the next event follows the header', [kept(3), lostBytes(6), kept(7)], [[], 3, []]],
    ['what was lost after the header', [kept(3), lostBytes(6), kept(9)], [[], 3, 2, []]],
    ['what a second header adds', [kept(3), lostBytes(6), lostBytes(8)], [[], 3, 2]],
    ['none where the number wraps', [kept(0x7fff_ffff), kept(0)], [[], []]],
    ['a gap across the wrap', [kept(0x7fff_fffe), kept(1)], [[], 2, []]],
    ['a header across the wrap', [kept(0x7fff_fffe), lostBytes(1)], [[], 3]],
    ['none before a first event', [kept(77)], [[]]],
    ['one at a first LOST_EVENTS header', [lostBytes(77), kept(78)], [1, []]],
    ['one at a first header with number 0', [lostBytes(0), kept(1)], [1, []]],
  ])('are counted: %s', (_, records, expected) => {
    expect(count(...records)).toEqual(expected);
  });

  test('are told before the event that follows them is there', () => {
    const { reader, told } = reading();
    reader.push(kept(3));
    reader.push(kept(5).subarray(0, 8));
    expect(told).toEqual([expect.any(Array), 1]);
  });
});

describe('any stream', () => {
  const word = fc.integer({ min: 0, max: 0xffff_ffff });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.array(word, { minLength: 8, maxLength: 8 }) },
    { weight: 1, arbitrary: fc.integer({ min: 40, max: 200 }) },
  );
  const streams = {
    depth: fc.integer({ min: 1, max: 4 }),
    first: fc.oneof(fc.constantFrom(0, 0x7fff_ffff, 0x7fff_fffd), fc.nat(0x7fff_ffff)),
    steps: fc.array(step, { maxLength: 60 }),
  };

  /** The bytes of all reads, and what happened to the events that devices made. */
  function run(depth: number, first: number, steps: (number[] | number)[]): VeventqModel {
    const queue = new VeventqModel(depth, first);
    for (const one of steps) {
      if (typeof one === 'number') queue.read(one);
      else queue.event(one);
    }
    while (queue.read(40) > 0);
    return queue;
  }

  /** Numbers of lost events that follow one another, added up. */
  function summed(told: readonly Told[]): Told[] {
    const sums: Told[] = [];
    for (const one of told) {
      const last = sums.at(-1);
      if (typeof one === 'number' && typeof last === 'number') sums[sums.length - 1] = last + one;
      else sums.push(one);
    }
    return sums;
  }

  test('tells each event of the devices, or that it was lost, once and in its place', () => {
    fc.assert(
      fc.property(streams.depth, streams.first, streams.steps, (depth, first, steps) => {
        const queue = run(depth, first, steps);
        expect(summed(toldOf(...queue.reads))).toEqual(queue.happened);
      }),
    );
  });

  test('tells the same however it is cut', () => {
    const cuts = fc.array(fc.nat(100), { maxLength: 60 });
    fc.assert(
      fc.property(
        streams.depth,
        streams.first,
        streams.steps,
        cuts,
        (depth, first, steps, lengths) => {
          const { reads } = run(depth, first, steps);
          const stream = Uint8Array.from(reads.flatMap((read) => [...read]));
          const { reader, told } = reading();
          let at = 0;
          for (const length of lengths) {
            // A copy that is overwritten afterwards: the reader has kept what it needs.
            const piece = stream.slice(at, at + length);
            reader.push(piece);
            piece.fill(0xff);
            at += length;
          }
          reader.push(stream.subarray(Math.min(at, stream.length)));
          expect(told).toEqual(toldOf(stream));
        },
      ),
    );
  });
});

describe('a VeventReader', () => {
  const STOPPED =
    'This VeventReader has not read its last bytes to the end: ' +
    'make a new one, and give it the bytes of the next read';

  test('gives the same array for every event', () => {
    const seen = new Set<Uint32Array>();
    const reader = new VeventReader({ event: (words) => seen.add(words), lost: () => undefined });
    for (const sequence of [1, 2, 3]) reader.push(eventBytes(sequence, [sequence]));
    expect(seen.size).toBe(1);
  });

  test.each([
    [2, '0x2'],
    [3, '0x3'],
    [0x8000_0000, '0x80000000'],
  ])('ends at a header with flags %i, which it does not know', (flags, text) => {
    const { reader, told } = reading();
    const unknown = eventBytes(0x1b, [0x10]);
    new DataView(unknown.buffer).setUint32(0, flags, true);
    const chunk = Uint8Array.from([...eventBytes(0x1a, [7]), ...unknown, ...eventBytes(0x1c, [8])]);
    expect(() => {
      reader.push(chunk);
    }).toThrow(
      `The header of event 0x1b has flags ${text}: only LOST_EVENTS, 0x1, is known, and not what follows the others`,
    );
    expect(told).toEqual([[7, 0, 0, 0, 0, 0, 0, 0]]);
    expect(() => {
      reader.push(eventBytes(0x1c, []));
    }).toThrow(STOPPED);
    expect(told).toHaveLength(1);
  });

  test.each(['event', 'lost'] as const)('ends when `%s` throws', (thrower) => {
    const fail = (): never => {
      throw new Error('full');
    };
    const handlers = { event: () => undefined, lost: () => undefined, [thrower]: fail };
    const reader = new VeventReader(handlers);
    const records = Uint8Array.from([...lostBytes(1), ...eventBytes(2, [])]);
    expect(() => {
      reader.push(records);
    }).toThrow('full');
    expect(() => {
      reader.push(records);
    }).toThrow(STOPPED);
  });

  test('is not called by its own handlers', () => {
    const inner: unknown[] = [];
    const reader: VeventReader = new VeventReader({
      lost: () => undefined,
      event: () => {
        try {
          reader.push(TRANSLATION);
        } catch (error) {
          inner.push((error as Error).message);
        }
      },
    });
    reader.push(TRANSLATION);
    expect(inner).toEqual([STOPPED]);
  });

  test('refuses what is no Uint8Array, and goes on', () => {
    const { reader, told } = reading();
    for (const wrong of ['00', [0], new ArrayBuffer(8), undefined]) {
      expect(() => {
        reader.push(wrong as unknown as Uint8Array);
      }).toThrow(new TypeError(`bytes is a ${typeof wrong}: give a Uint8Array of what was read`));
    }
    reader.push(TRANSLATION);
    expect(told).toHaveLength(1);
  });
});
