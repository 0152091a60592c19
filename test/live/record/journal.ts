import { SeenWords, type WordChange } from './seen-words.js';

/** A line of a recording. */
export type Line = Record<string, unknown> & { readonly kind: string };

/** Where the lines go. */
export interface LineSink {
  line(text: string): void;
}

/** What of a command the journal has to know to write it as one. */
export type CommandName = (address: number, words: Uint32Array, at: number) => string | undefined;

/**
 * The lines of a recording, in their order: changes of memory, calls of the vSMMU, what it does by
 * itself in a call, and the calls that are made of it meanwhile.
 *
 * A change of memory is found when the vSMMU reads. It is put before the call that reads, unless the
 * vSMMU has looked at that word since the call began: then it comes after what the vSMMU did last, or,
 * if it has looked since then as well, after as many reads.
 */
export class Journal {
  /** Things that happened out of any call: the recording does not have them. */
  lost = 0;
  readonly words = new SeenWords();
  private readonly sink: LineSink;
  private readonly frames: Line[] = [];
  private hoisted: Line[] = [];
  private lines: Line[] = [];
  private isInside = false;
  private isEnded = false;
  /** Number of the moment: the vSMMU is called, goes on, or returns. */
  private moment = 1;
  /** The moment at which the outermost call began. */
  private start = 0;
  private reads = 0;

  constructor(sink: LineSink) {
    this.sink = sink;
  }

  /** Nothing more is written. */
  get ended(): boolean {
    return this.isEnded;
  }

  /** No call is under way. */
  get isIdle(): boolean {
    return this.frames.length === 0;
  }

  end(): void {
    this.isEnded = true;
  }

  /** The device call that is under way, if it is one. */
  get device(): Line | undefined {
    const frame = this.isInside ? this.frames.at(-1) : undefined;
    return frame?.kind === 'dma' ? frame : undefined;
  }

  /**
   * A call from outside: `make` makes it, and `conclude` adds to its line what came back. Calls that
   * the vSMMU makes of itself are made and nothing else.
   */
  call<T>(line: Line, make: () => T, conclude: (line: Line, value: T) => void): T {
    if (this.isInside || this.isEnded) return make();
    if (this.frames.length > 0) line.in = this.frames.length;
    this.lines.push(line);
    this.frames.push(line);
    this.pass();
    if (this.frames.length === 1) this.start = this.moment;
    this.isInside = true;
    try {
      const value = make();
      conclude(line, value);
      return value;
    } finally {
      this.frames.pop();
      this.isInside = false;
      this.pass();
      if (this.frames.length === 0) this.flush();
    }
  }

  /** Something that the vSMMU does by itself: `pass` passes it on. */
  outcome<T>(line: Line, pass: () => T, conclude?: (line: Line, value: T) => void): T {
    if (this.isEnded) return pass();
    if (this.frames.length === 0) {
      this.lost++;
      return pass();
    }
    if (this.frames.length > 1) line.in = this.frames.length;
    this.lines.push(line);
    const wasInside = this.isInside;
    this.isInside = false;
    try {
      const value = pass();
      conclude?.(line, value);
      return value;
    } finally {
      this.isInside = wasInside;
      this.pass();
    }
  }

  /** Looks at the vSMMU without a trace. */
  quietly<T>(look: () => T): T {
    const wasInside = this.isInside;
    this.isInside = true;
    try {
      return look();
    } finally {
      this.isInside = wasInside;
    }
  }

  /** The vSMMU has read words; `undefined` for words that are not backed. `name` is that of a command. */
  read(address: number, words: Uint32Array | undefined, at: number, count: number, name?: string) {
    if (this.isEnded) return;
    if (name !== undefined && words !== undefined) {
      const latest = this.words.latest(address, count);
      this.change(latest, commandLine(name, address, words, at));
      this.words.put(address, words, at, count, this.moment);
    } else {
      for (const change of this.words.read(address, words, at, count, this.moment)) {
        this.change(change.seen, memoryLine(change));
      }
    }
    if (this.isInside) this.reads++;
    if (this.frames.length === 0) this.flush();
  }

  /** The vSMMU has written words. */
  wrote(address: number, words: Uint32Array, at: number, count: number): void {
    this.words.put(address, words, at, count, this.moment);
  }

  /** @param seen the moment at which the vSMMU last saw any of the words. */
  private change(seen: number, line: Line): void {
    if (this.frames.length === 0 || seen < this.start) {
      this.hoisted.push(line);
      return;
    }
    line.in = this.frames.length;
    if (seen === this.moment) line.after = this.reads;
    this.lines.push(line);
  }

  private pass(): void {
    this.moment++;
    this.reads = 0;
  }

  private flush(): void {
    for (const line of this.hoisted) this.sink.line(JSON.stringify(line));
    for (const line of this.lines) this.sink.line(JSON.stringify(line));
    this.hoisted = [];
    this.lines = [];
  }
}

function memoryLine({ address, words, count }: WordChange): Line {
  const place = { kind: 'memory', at: hex(address) };
  return words === undefined ? { ...place, hole: 4 * count } : { ...place, bytes: digits(words) };
}

function commandLine(name: string, address: number, words: Uint32Array, at: number): Line {
  const raw = [0, 2].map((i) => hex(words[at + i + 1]! * 2 ** 32, words[at + i]));
  return { kind: 'cmd', name, raw, at: hex(address) };
}

/** Hexadecimal; of two parts, the sum. */
export function hex(value: number | bigint, rest = 0): string {
  return `0x${(BigInt(value) + BigInt(rest)).toString(16)}`;
}

/** Words as the bytes in memory, in hexadecimal digits. */
export function digits(words: Uint32Array): string {
  const bytes = Buffer.alloc(4 * words.length);
  words.forEach((word, i) => bytes.writeUInt32LE(word, 4 * i));
  return bytes.toString('hex');
}
