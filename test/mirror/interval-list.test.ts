import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalList } from '../../src/ioas/interval-list.js';
import type { Area } from './area-sink.js';

const PAGE = 4096;

/** Intervals in a plain array, ascending. */
class ArrayModel {
  all: Area[] = [];

  /** @returns whether nothing was in the way. */
  put(area: Area): boolean {
    const { iova, length } = area;
    if (this.all.some((one) => one.iova < iova + length && one.iova + one.length > iova)) {
      return false;
    }
    this.all.push({ ...area });
    this.all.sort((a, b) => a.iova - b.iova);
    return true;
  }

  drop(from: number, to: number): number {
    let bytes = 0;
    this.all = this.all.flatMap((one) => {
      const end = one.iova + one.length;
      if (end <= from || one.iova >= to) return [one];
      bytes += Math.min(end, to) - Math.max(one.iova, from);
      const left: Area[] = [];
      if (one.iova < from) left.push({ ...one, length: from - one.iova });
      if (end > to) {
        left.push({ ...one, iova: to, length: end - to, address: one.address + to - one.iova });
      }
      return left;
    });
    return bytes;
  }

  /** Index of the first that ends beyond `iova`. */
  seek(iova: number): number {
    const at = this.all.findIndex((one) => one.iova + one.length > iova);
    return at < 0 ? this.all.length : at;
  }
}

/** What the list's cursor stands on. */
function current(list: IntervalList): Area | undefined {
  if (list.isAtEnd) return undefined;
  const { chunk, index } = list;
  return {
    iova: chunk.iovas[index]!,
    length: chunk.lengths[index]!,
    address: chunk.addresses[index]!,
    permissions: chunk.permissions[index]!,
  };
}

type Step =
  | { readonly kind: 'put' | 'drop' | 'seek'; readonly first: number; readonly count: number }
  | { readonly kind: 'next'; readonly count: number };

function stepsOver(pages: number, longest: number, most: number): fc.Arbitrary<Step[]> {
  return fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constantFrom('put' as const, 'drop' as const, 'seek' as const),
        first: fc.nat(pages - 1),
        count: fc.integer({ min: 1, max: longest }),
      }),
      fc.record({ kind: fc.constant('next' as const), count: fc.integer({ min: 1, max: 5 }) }),
    ),
    { maxLength: most },
  );
}

/** Does a step to both, and compares what can be seen of it. */
function take(list: IntervalList, model: ArrayModel, step: Step, base: number): void {
  if (step.kind === 'next') {
    const at = current(list);
    let index =
      at === undefined ? model.all.length : model.all.findIndex((o) => o.iova === at.iova);
    for (let i = 0; i < step.count && index < model.all.length; i++) {
      list.next();
      expect(current(list)).toEqual(model.all[++index]);
    }
    return;
  }
  const from = base + PAGE * step.first;
  const length = PAGE * step.count;
  if (step.kind === 'seek') {
    list.seek(from);
    const index = model.seek(from);
    expect(current(list)).toEqual(model.all[index]);
    expect(list.startAfter(from, step.count)).toBe(model.all[index + step.count]?.iova ?? Infinity);
    list.seek(from);
  } else if (step.kind === 'drop') {
    expect(list.drop(from, from + length)).toBe(model.drop(from, from + length));
    expect([...list]).toEqual(model.all);
    list.seek(from);
    expect(current(list)).toEqual(model.all[model.seek(from)]);
  } else {
    const area = {
      iova: from,
      length,
      address: PAGE * step.first * 3,
      permissions: 1 + (from & 1),
    };
    if (!model.put(area)) return;
    list.put(area.iova, area.length, area.address, area.permissions);
    expect(current(list)).toEqual(area);
    expect([...list]).toEqual(model.all);
  }
  expect(list.size).toBe(model.all.length);
}

describe('a list of intervals', () => {
  test.each([0, 2 ** 64 - 64 * PAGE])('is the array, after any steps, from %d', (base) => {
    fc.assert(
      fc.property(stepsOver(64, 6, 60), (steps) => {
        const list = new IntervalList();
        const model = new ArrayModel();
        for (const step of steps) {
          const end = base + PAGE * ('first' in step ? step.first + step.count : 0);
          if (end > 2 ** 64) continue;
          take(list, model, step, base);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('of several chunks is the array, after any steps', () => {
    fc.assert(
      fc.property(stepsOver(4000, 1500, 25), fc.integer({ min: 1, max: 3 }), (steps, stride) => {
        const list = new IntervalList();
        const model = new ArrayModel();
        for (let page = 0; page < 4000; page += stride) {
          const at = (page * 1597) % 4000;
          const area = { iova: PAGE * at, length: PAGE, address: PAGE * page, permissions: 3 };
          list.put(area.iova, area.length, area.address, area.permissions);
          model.all.push(area);
        }
        model.all.sort((a, b) => a.iova - b.iova);
        for (const step of steps) take(list, model, step, 0);
      }),
      { numRuns: 25 },
    );
  });

  test('keeps neighbours that continue each other apart', () => {
    const list = new IntervalList();
    list.put(0x2000, PAGE, 0x9000, 3);
    list.put(0x1000, PAGE, 0x8000, 3);
    expect([...list]).toEqual([
      { iova: 0x1000, length: PAGE, address: 0x8000, permissions: 3 },
      { iova: 0x2000, length: PAGE, address: 0x9000, permissions: 3 },
    ]);
  });

  test('drop of the middle of an interval leaves both ends, with their addresses', () => {
    const list = new IntervalList();
    list.put(0x1000, 0x5000, 0x8000, 1);
    expect(list.drop(0x2000, 0x4000)).toBe(0x2000);
    expect([...list]).toEqual([
      { iova: 0x1000, length: 0x1000, address: 0x8000, permissions: 1 },
      { iova: 0x4000, length: 0x2000, address: 0xb000, permissions: 1 },
    ]);
  });

  test('the cursor of an empty list is at its end', () => {
    const list = new IntervalList();
    list.seek(0);
    expect([list.isAtEnd, list.startAfter(0, 0), list.drop(0, 2 ** 64)]).toEqual([
      true,
      Infinity,
      0,
    ]);
  });

  test('clear forgets all of several chunks', () => {
    const list = new IntervalList();
    for (let i = 0; i < 2000; i++) list.put(0x2000 * i, PAGE, 0, 3);
    list.clear();
    list.put(0x3000, PAGE, 0, 3);
    list.seek(0);
    expect([list.size, current(list)?.iova]).toEqual([1, 0x3000]);
  });
});
