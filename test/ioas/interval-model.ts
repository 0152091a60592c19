import type { Interval, IntervalMap } from '../../src/ioas/interval-map.js';

export const PAGE = 4096;

/** What one page is mapped to. */
interface Page {
  address: number;
  permissions: number;
}

/** An address space as a table of single pages: the second source of truth for IntervalMap. */
export class PageModel {
  readonly base: number;
  readonly pages: (Page | undefined)[];

  /** @param count pages from `base` on that the model can map. */
  constructor(base: number, count: number) {
    this.base = base;
    this.pages = Array.from({ length: count }, () => undefined);
  }

  insert(first: number, count: number, address: number, permissions: number): void {
    for (let i = 0; i < count; i++) {
      this.pages[first + i] = { address: address + PAGE * i, permissions };
    }
  }

  /** Returns how many bytes were mapped. */
  remove(first: number, count: number): number {
    let bytes = 0;
    for (let i = first; i < first + count; i++) {
      if (this.pages[i] !== undefined) bytes += PAGE;
      this.pages[i] = undefined;
    }
    return bytes;
  }

  /** Every mapping, a page at a time, grown as long as the next page continues it. */
  intervals(): Interval[] {
    const found: Interval[] = [];
    let open: Interval | undefined;
    this.pages.forEach((page, i) => {
      const iova = this.base + PAGE * i;
      if (page === undefined) {
        open = undefined;
      } else if (
        open?.permissions === page.permissions &&
        open.address + open.length === page.address
      ) {
        open.length += PAGE;
      } else {
        open = { iova, length: PAGE, address: page.address, permissions: page.permissions };
        found.push(open);
      }
    });
    return found;
  }
}

/** The first way in which `map` is not what the model says, or null. */
export function difference(map: IntervalMap, model: PageModel): string | null {
  const expected = model.intervals();
  const found = [...map];
  if (map.size !== found.length) return `size is ${map.size}, ${found.length} were iterated`;
  for (let i = 0; i < Math.max(expected.length, found.length); i++) {
    const own = JSON.stringify(found[i]);
    const other = JSON.stringify(expected[i]);
    if (own !== other) return `interval ${i}: ${own}, expected ${other}`;
  }
  return null;
}
