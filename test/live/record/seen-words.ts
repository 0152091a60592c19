const PAGE = 4096;
const PAGE_WORDS = PAGE / 4;
const Known = { nothing: 0, value: 1, hole: 2 } as const;

/** Words that the vSMMU has found changed. */
export interface WordChange {
  readonly address: number;
  /** `undefined` when they are not backed by memory. */
  readonly words: Uint32Array | undefined;
  readonly count: number;
  /** The moment at which it last saw any of them; 0 for never. */
  readonly seen: number;
}

interface Page {
  readonly words: Uint32Array;
  readonly known: Uint8Array;
  readonly seen: Float64Array;
}

/** The words of guest memory as the vSMMU saw or wrote them last, and when that was. */
export class SeenWords {
  private readonly pages = new Map<number, Page>();

  /** Pages that there are. */
  get size(): number {
    return this.pages.size;
  }

  /** Addresses of the pages of which a word is known, ascending; with what is known. */
  known(): { address: number; words: Uint32Array }[] {
    return [...this.pages]
      .filter(([, { known }]) => known.includes(Known.value))
      .sort(([a], [b]) => a - b)
      .map(([number, { words }]) => ({ address: number * PAGE, words }));
  }

  /** The vSMMU reads words. @returns those that are not as it knew them. */
  read(
    address: number,
    words: Uint32Array | undefined,
    at: number,
    count: number,
    moment: number,
  ): WordChange[] {
    const changes: { from: number; end: number; seen: number }[] = [];
    for (let i = 0; i < count; i++) {
      const { page, index } = this.place(address + 4 * i);
      const known = words === undefined ? Known.hole : Known.value;
      const value = words?.[at + i] ?? 0;
      const seen = page.seen[index]!;
      page.seen[index] = moment;
      if (page.known[index] === known && page.words[index] === value) continue;
      page.known[index] = known;
      page.words[index] = value;
      const last = changes.at(-1);
      if (last?.end === i && last.seen === seen) last.end++;
      else changes.push({ from: i, end: i + 1, seen });
    }
    return changes.map(({ from, end, seen }) => ({
      address: address + 4 * from,
      words: words?.slice(at + from, at + end),
      count: end - from,
      seen,
    }));
  }

  /** The words are so. */
  put(address: number, words: Uint32Array, at: number, count: number, moment: number): void {
    this.read(address, words, at, count, moment);
  }

  /** The latest moment at which any of the words was seen; 0 for never. */
  latest(address: number, count: number): number {
    let latest = 0;
    for (let i = 0; i < count; i++) {
      const { page, index } = this.place(address + 4 * i);
      latest = Math.max(latest, page.seen[index]!);
    }
    return latest;
  }

  private place(address: number): { page: Page; index: number } {
    const number = Math.floor(address / PAGE);
    let page = this.pages.get(number);
    if (page === undefined) {
      const words = new Uint32Array(PAGE_WORDS);
      const [known, seen] = [new Uint8Array(PAGE_WORDS), new Float64Array(PAGE_WORDS)];
      page = { words, known, seen };
      this.pages.set(number, page);
    }
    return { page, index: (address % PAGE) >>> 2 };
  }
}
