import { describe, expect, test } from 'vitest';
import type { SinkCapabilities } from '../../src/mirror/sink.js';
import { SinkWriter, type Refusal } from '../../src/mirror/sink-writer.js';
import { AreaSink, areaTexts } from './area-sink.js';
import { columnsOf, limitsOf } from './compare-tables.js';

const PAGE = 4096;

/** A writer with its sink; `held` is mapped through it. Numbers of rows are pages, in hexadecimal. */
function writerOf(
  held: readonly string[],
  capabilities: SinkCapabilities = {},
  most = 100_000,
): { writer: SinkWriter; sink: AreaSink; told: string[]; idles: () => number } {
  const sink = new AreaSink(capabilities);
  const told: string[] = [];
  let idles = 0;
  const note = ({ operation, iova, length, error }: Refusal): void => {
    const why = error instanceof Error ? error.message : String(error);
    told.push(`${operation} ${iova.toString(16)}+${length.toString(16)} ${why}`);
  };
  const writer = new SinkWriter(sink, limitsOf(capabilities, most), note, () => {
    idles++;
  });
  apply(writer, held);
  sink.take();
  return { writer, sink, told, idles: () => idles };
}

/** Brings pages `[from, to)` to what is wanted. */
function apply(writer: SinkWriter, wanted: readonly string[], from = 0, to = 2 ** 52): void {
  const { held, comparison } = writer;
  comparison.compare(held, columnsOf(wanted), PAGE * from, PAGE * to);
  if (!comparison.isEmpty) writer.apply();
}

function retries({ retry }: SinkWriter): string[] {
  return Array.from({ length: retry.count }, (_, i) => {
    return `${(retry.from(i) / PAGE).toString(16)}-${(retry.to(i) / PAGE).toString(16)}`;
  });
}

/** What the writer holds for mapped; bits above the two of permissions are its own marks. */
function heldTexts({ held }: SinkWriter): string[] {
  return areaTexts([...held].map((area) => ({ ...area, permissions: area.permissions & 3 })));
}

/** The writer knows what the sink holds. */
function expectHeld(writer: SinkWriter, sink: AreaSink, ...areas: string[]): void {
  expect(sink.texts).toEqual(areas);
  expect(heldTexts(writer)).toEqual(areas);
  expect(sink.wrongs).toEqual([]);
}

describe('operations on a sink that answers at once', () => {
  test('unmaps come before maps', () => {
    const { writer, sink } = writerOf(['1+1>10 rw', '4+1>40 rw']);
    apply(writer, ['1+1>11 rw', '4+1>40 r']);
    expect(sink.log).toEqual([
      'unmap 1000+4000',
      'map 1000+1000>11000 rw',
      'map 4000+1000>40000 r',
    ]);
    expectHeld(writer, sink, '1000+1000>11000 rw', '4000+1000>40000 r');
    expect([writer.maps, writer.unmaps, writer.isBusy]).toEqual([4, 1, false]);
  });

  test('an area that goes elsewhere is 1 unmap and 1 map', () => {
    const { writer, sink } = writerOf(['1+2>10 rw', '4+1>40 rw']);
    apply(writer, ['1+2>20 r', '4+1>40 rw']);
    expect(sink.log).toEqual(['unmap 1000+2000', 'map 1000+2000>20000 r']);
    expectHeld(writer, sink, '1000+2000>20000 r', '4000+1000>40000 rw');
  });

  test.each(['false', 'throw', 'reject', 'reject false'] as const)(
    'a map that is refused by %s has mapped nothing',
    async (how) => {
      const { writer, sink, told } = writerOf(['1+1>10 rw']);
      sink.refuses = ({ kind }) => (kind === 'map' ? how : undefined);
      apply(writer, ['1+1>20 rw']);
      await sink.release();
      expectHeld(writer, sink);
      expect(retries(writer)).toEqual(['1-2']);
      const why = how === 'throw' || how === 'reject' ? 'refused 3' : 'undefined';
      expect(told).toEqual([`map 1000+1000 ${why}`]);
      expect([writer.refusals, writer.isBusy]).toEqual([1, false]);
    },
  );

  test.each(['false', 'throw', 'reject', 'reject false'] as const)(
    'an unmap that is refused by %s leaves the area, and nothing is mapped over it',
    async (how) => {
      const { writer, sink, told } = writerOf(['1+1>10 rw', '4+1>40 rw']);
      sink.refuses = ({ kind }) => (kind === 'unmap' ? how : undefined);
      apply(writer, ['1+1>20 rw', '4+1>40 rw', '6+1>60 rw']);
      await sink.release();
      expectHeld(writer, sink, '1000+1000>10000 rw', '4000+1000>40000 rw', '6000+1000>60000 rw');
      expect(retries(writer)).toEqual(['1-2']);
      expect(told).toHaveLength(1);
    },
  );

  test('of an unmap of several areas that is refused each is tried alone', () => {
    const { writer, sink, told } = writerOf(['1+1>10 rw', '2+1>30 rw', '5+1>50 rw']);
    sink.refuses = ({ kind, length, iova }) =>
      kind === 'unmap' && (length > PAGE || iova === 0x2000) ? 'false' : undefined;
    apply(writer, []);
    expect(sink.log).toEqual([
      'unmap 1000+5000',
      'unmap 1000+1000',
      'unmap 2000+1000',
      'unmap 5000+1000',
    ]);
    expectHeld(writer, sink, '2000+1000>30000 rw');
    expect(retries(writer)).toEqual(['2-3']);
    expect(told).toEqual(['unmap 1000+5000 undefined', 'unmap 2000+1000 undefined']);
    expect([writer.unmaps, writer.refusals]).toEqual([4, 2]);
  });

  test('of an area that is divided nothing is mapped while its unmap is refused', () => {
    const { writer, sink } = writerOf(['10+10>100 rw'], { unmaps: 'areas' });
    sink.refuses = ({ kind }) => (kind === 'unmap' ? 'throw' : undefined);
    apply(writer, [], 0x14, 0x15);
    expect(sink.log).toEqual(['unmap 10000+10000']);
    expectHeld(writer, sink, '10000+10000>100000 rw');
    expect(retries(writer)).toEqual(['10-20']);
  });

  test('after 256 maps that were refused the sink is asked for no more', () => {
    const wanted = Array.from({ length: 1000 }, (_, i) => `${(2 * i).toString(16)}+1>1 rw`);
    const { writer, sink } = writerOf([]);
    sink.refuses = () => 'false';
    apply(writer, wanted);
    expect(sink.operations).toBe(256);
    // More than 256 ranges become one, which covers all that was wanted.
    expect([writer.retry.from(0), writer.retry.to(writer.retry.count - 1)]).toEqual([
      0,
      PAGE * 1999,
    ]);
    sink.refuses = () => undefined;
    apply(writer, wanted);
    expect(sink.areas).toHaveLength(1000);
  });

  test('there are no more areas than there may be', () => {
    const { writer, sink } = writerOf(['1+1>10 rw'], {}, 2);
    expect(writer.isFull).toBe(false);
    apply(writer, ['1+1>10 rw', '3+1>10 rw', '5+1>10 rw', '7+1>10 rw']);
    expect(sink.log).toEqual(['map 3000+1000>10000 rw']);
    expect(writer.isFull).toBe(true);
    expectHeld(writer, sink, '1000+1000>10000 rw', '3000+1000>10000 rw');
  });
});

describe('operations on a sink that answers later', () => {
  test('maps wait for all unmaps, and go out together', async () => {
    const { writer, sink, idles } = writerOf(['1+1>10 rw', '3+1>30 rw', '5+1>50 rw'], {
      unmaps: 'area',
    });
    sink.isSlow = true;
    apply(writer, ['1+1>11 rw', '3+1>31 rw', '5+1>50 rw']);
    expect(sink.take()).toEqual(['unmap 1000+1000', 'unmap 3000+1000']);
    await sink.release(1);
    expect(sink.take()).toEqual([]);
    expect(heldTexts(writer)).toEqual(sink.texts);
    await sink.release(1);
    expect(sink.take()).toEqual(['map 1000+1000>11000 rw', 'map 3000+1000>31000 rw']);
    expect([writer.isBusy, idles()]).toEqual([true, 0]);
    await sink.release();
    expect([writer.isBusy, idles()]).toEqual([false, 1]);
    expectHeld(writer, sink, '1000+1000>11000 rw', '3000+1000>31000 rw', '5000+1000>50000 rw');
  });

  test('what is held changes when the sink has answered, not before', async () => {
    const { writer, sink } = writerOf(['1+1>10 rw']);
    sink.isSlow = true;
    apply(writer, []);
    expect(heldTexts(writer)).toEqual(['1000+1000>10000 rw']);
    await sink.release();
    expectHeld(writer, sink);
  });

  test('of an unmap of several areas that is refused later each is tried alone', async () => {
    const { writer, sink, told, idles } = writerOf(['1+1>10 rw', '2+1>30 rw']);
    sink.isSlow = true;
    sink.refuses = ({ length }) => (length > PAGE ? 'reject' : undefined);
    apply(writer, ['2+1>31 rw'], 0, 8);
    await sink.release(0);
    expect(sink.take()).toEqual(['unmap 1000+2000', 'unmap 1000+1000', 'unmap 2000+1000']);
    await sink.release();
    expect(sink.take()).toEqual(['map 2000+1000>31000 rw']);
    await sink.release();
    expectHeld(writer, sink, '2000+1000>31000 rw');
    expect([told.length, idles(), writer.retry.isEmpty]).toEqual([1, 1, true]);
  });

  test('there are no more areas than there may be, those under way included', async () => {
    const { writer, sink } = writerOf(['1+1>10 rw'], {}, 3);
    sink.isSlow = true;
    apply(writer, ['1+1>10 rw', '3+1>10 rw', '5+1>10 rw', '7+1>10 rw']);
    await sink.release();
    expectHeld(writer, sink, '1000+1000>10000 rw', '3000+1000>10000 rw', '5000+1000>10000 rw');
    expect(writer.isFull).toBe(true);
  });
});

describe('a sink that answers what is no answer', () => {
  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a number', 0],
    ['an object', {}],
    ['a promise of undefined', Promise.resolve(undefined)],
    ['a promise of a string', Promise.resolve('done')],
  ])('%s has refused', async (_, answer) => {
    const told: string[] = [];
    const sink = { capabilities: {}, map: () => answer as boolean, unmap: () => true };
    const writer = new SinkWriter(
      sink,
      limitsOf({}),
      ({ error }) => told.push((error as Error).message),
      () => undefined,
    );
    apply(writer, ['1+1>10 rw']);
    for (let i = 0; i < 4; i++) await Promise.resolve();
    expect(told).toEqual([expect.stringContaining('it must be a boolean, or a promise of one')]);
    expect([writer.held.size, writer.isBusy]).toEqual([0, false]);
    expect(retries(writer)).toEqual(['1-2']);
  });
});
