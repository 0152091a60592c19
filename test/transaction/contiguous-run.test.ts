/** Contiguous runs (DDI 0487, section D8.6): how far an answer holds is read, not believed. */
import { describe, expect, test } from 'vitest';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { chooseFeatures } from '../../src/registers/feature-set.js';
import { Context } from '../../src/transaction/context.js';
import { Translation } from '../../src/transaction/translation.js';
import { Walker } from '../../src/transaction/walk.js';
import { words32 } from './machine.js';

const TABLE = 0x10_0000;
const CONTIGUOUS = 1n << 52n;

/** Leaves with a Contiguous bit: granule, level, bytes of a leaf and of a run, and TG0. */
const RUNS = [
  { granule: '4K', level: 3, leafLog2: 12, runLog2: 16, tg0: 0n },
  { granule: '4K', level: 2, leafLog2: 21, runLog2: 25, tg0: 0n },
  { granule: '4K', level: 1, leafLog2: 30, runLog2: 34, tg0: 0n },
  { granule: '16K', level: 3, leafLog2: 14, runLog2: 21, tg0: 2n },
  { granule: '16K', level: 2, leafLog2: 25, runLog2: 30, tg0: 2n },
  { granule: '64K', level: 3, leafLog2: 16, runLog2: 21, tg0: 1n },
  { granule: '64K', level: 2, leafLog2: 29, runLog2: 34, tg0: 1n },
] as const;
type Run = (typeof RUNS)[number];

interface Options {
  /** Of an input address; without it as many that the table has four runs. */
  readonly inputBits?: number;
  /** Bits of word 0 of the CD. */
  readonly word0?: bigint;
  readonly bigEndian?: boolean;
  readonly ds?: boolean;
  /** Output address of the run. */
  readonly output?: bigint;
  /** Bits of every descriptor besides the usual ones. */
  readonly bits?: bigint;
  /** Physical address size. Default: 6, 52 bits. */
  readonly ips?: bigint;
}

function swapped(value: bigint): bigint {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.readBigUInt64BE();
}

/** A table of {@link TABLE} whose second run (the first, when there is no other) is a contiguous one. */
class Tables {
  readonly run: Run;
  readonly entries: number;
  /** Index of the first leaf of the run. */
  readonly first: number;
  readonly memory = new SparseMemory([{ base: TABLE, byteLength: 0x10_000 }]);
  readonly context = new Context();
  readonly result = new Translation();
  /** Descriptors read. */
  loads = 0;
  /** The number of the read that fails. */
  failing = -1;
  private readonly walker: Walker;
  private readonly bigEndian: boolean;

  constructor(run: Run, options: Options = {}) {
    const { leafLog2, runLog2, level, tg0 } = run;
    this.run = run;
    this.entries = 2 ** (runLog2 - leafLog2);
    this.bigEndian = options.bigEndian ?? false;
    const inputBits = options.inputBits ?? runLog2 + 2;
    this.first = inputBits > runLog2 ? this.entries : 0;
    // T0SZ, TG0, ENDI [15], EPD1 [30], V [31], IPS [34:32], AA64 [41]; DS is bit 58 of word 2.
    const ips = (options.ips ?? 6n) << 32n;
    const word0 =
      0x200_c000_0000n | ips | BigInt(64 - inputBits) | (tg0 << 6n) | (options.word0 ?? 0n);
    const endi = this.bigEndian ? 1n << 15n : 0n;
    const cd = [
      word0 | endi,
      BigInt(TABLE),
      options.ds === true ? 1n << 58n : 0n,
      0n,
      0n,
      0n,
      0n,
      0n,
    ];
    this.context.decode(words32(cd), 0, chooseFeatures());
    expect(this.context.lower.startLevel).toBe(level);

    // AF, SH, AP[1] and, at level 3, a page.
    const usual = 0x441n | (level === 3 ? 2n : 0n) | CONTIGUOUS | (options.bits ?? 0n);
    const output = options.output ?? 5n << BigInt(runLog2);
    for (let i = 0; i < this.entries; i++) {
      this.put(i, usual + output + (BigInt(i) << BigInt(leafLog2)));
    }
    const { memory } = this;
    this.walker = new Walker(
      new Proxy(memory, {
        get: (_, name) => {
          if (name !== 'load64') return Reflect.get(memory, name) as unknown;
          return (high: number, low: number, into: Uint32Array) =>
            // What an aborted read leaves behind may look right.
            memory.load64(high, low, into) && ++this.loads !== this.failing;
        },
      }),
    );
  }

  /** Replaces the descriptor of leaf number `i` of the run. */
  put(i: number, descriptor: bigint): this {
    const words = words32([this.bigEndian ? swapped(descriptor) : descriptor]);
    expect(this.memory.store(TABLE + 8 * (this.first + i), words, 0, 2)).toBe(true);
    return this;
  }

  descriptor(i: number): bigint {
    const words = new Uint32Array(2);
    this.memory.load(TABLE + 8 * (this.first + i), words, 0, 2);
    const value = (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
    return this.bigEndian ? swapped(value) : value;
  }

  change(i: number, bits: bigint): this {
    return this.put(i, this.descriptor(i) ^ bits);
  }

  /** log2 of the bytes that the answer for leaf number `i` holds for; undefined when it faults. */
  spanLog2(i: number): number | undefined {
    const { context, walker, result } = this;
    const address = BigInt(this.first + i) << BigInt(this.run.leafLog2);
    const high = Number(address >> 32n);
    const low = Number(BigInt.asIntN(32, address));
    if (walker.walk(context, high, low, 0, result) !== 0) return undefined;
    const before = Object.assign({}, result);
    this.loads = 0;
    const span = walker.spanLog2(context, context.lower, result);
    expect(Object.assign({}, result)).toEqual(before);
    return span;
  }
}

describe.each(RUNS)('a run of $granule leaves at level $level', (run) => {
  const { leafLog2, runLog2 } = run;
  const entries = 2 ** (runLog2 - leafLog2);
  /** Leaves that are asked: all are too many. */
  const asked = [0, 1, entries / 2, entries - 1];

  test('is one of 2^$runLog2 bytes, from whichever leaf it is seen', () => {
    const tables = new Tables(run);
    for (let i = 0; i < entries; i++) {
      expect([i, tables.spanLog2(i), tables.loads]).toEqual([i, runLog2, entries]);
      expect(tables.result.contiguous).toBe(1);
    }
  });

  test('without the Contiguous bit is so many leaves, and nothing is read', () => {
    const tables = new Tables(run);
    for (let i = 0; i < entries; i++) tables.change(i, CONTIGUOUS);
    expect([tables.spanLog2(0), tables.spanLog2(3), tables.loads]).toEqual([leafLog2, leafLog2, 0]);
  });

  test('in which one descriptor differs in one bit, whichever, is so many leaves', () => {
    for (let bit = 0n; bit < 64n; bit++) {
      const other = Number((bit * 7n + 3n) % BigInt(entries));
      const tables = new Tables(run).change(other, 1n << bit);
      for (const i of asked) {
        if (i !== other) expect([bit, i, tables.spanLog2(i)]).toEqual([bit, i, leafLog2]);
      }
      // The odd one stands alone as well, if it translates at all.
      expect([undefined, leafLog2]).toContain(tables.spanLog2(other));
    }
  });

  test.each<[string, (tables: Tables) => unknown]>([
    ['one that is invalid', (tables) => tables.put(2, 0n)],
    ['the last one invalid', (tables) => tables.put(entries - 1, 0n)],
    ['the first one invalid', (tables) => tables.put(0, 0n)],
    ['one read-only: AP[2]', (tables) => tables.change(2, 1n << 7n)],
    ['one of another attribute', (tables) => tables.change(2, 1n << 2n)],
    ['one of another shareability', (tables) => tables.change(2, 3n << 8n)],
    ['one non-global', (tables) => tables.change(2, 1n << 11n)],
    ['one without the Contiguous bit', (tables) => tables.change(2, CONTIGUOUS)],
    ['one that goes where its neighbour does', (tables) => tables.put(2, tables.descriptor(3))],
    [
      'two whose outputs are exchanged',
      (tables) => {
        const [second, third] = [tables.descriptor(2), tables.descriptor(3)];
        tables.put(2, third).put(3, second);
      },
    ],
    [
      'one that goes to the next run',
      (tables) => tables.put(2, tables.descriptor(2) + (1n << BigInt(runLog2))),
    ],
  ])('with %s is so many leaves', (_, spoil) => {
    const tables = new Tables(run);
    spoil(tables);
    for (const i of asked) {
      const span = tables.spanLog2(i);
      if (tables.descriptor(i) !== 0n) expect([i, span]).toEqual([i, leafLog2]);
    }
  });

  test('whose output is not aligned to it is so many leaves', () => {
    for (const leaves of [1n, BigInt(entries / 2), BigInt(entries - 1)]) {
      const output = (8n << BigInt(runLog2)) + (leaves << BigInt(leafLog2));
      const tables = new Tables(run, { output });
      for (const i of asked) expect([i, tables.spanLog2(i)]).toEqual([i, leafLog2]);
    }
  });

  test('that goes beyond the physical addresses is so many leaves: there they fault', () => {
    // IPS of 32 bits.
    const tables = new Tables(run, { output: 0n, ips: 0n });
    expect(tables.spanLog2(0)).toBe(runLog2 > 32 ? leafLog2 : runLog2);
    const last = runLog2 > 32 ? undefined : runLog2;
    expect(tables.spanLog2(entries - 1)).toBe(last);
  });

  test('whose outputs go down is so many leaves', () => {
    const tables = new Tables(run);
    const descriptors = Array.from({ length: entries }, (_, i) => tables.descriptor(i));
    descriptors.reverse().forEach((descriptor, i) => tables.put(i, descriptor));
    for (const i of asked) expect([i, tables.spanLog2(i)]).toEqual([i, leafLog2]);
  });

  test('with CD.HA is so many leaves: each marks its own descriptor', () => {
    const tables = new Tables(run, { word0: 1n << 43n });
    for (const i of asked) {
      expect([tables.spanLog2(i), tables.loads, tables.result.contiguous]).toEqual([
        leafLog2,
        0,
        1,
      ]);
    }
  });

  test('of access flags that are clear is a run where they do not matter: CD.AFFD', () => {
    const tables = new Tables(run, { word0: 1n << 35n });
    for (let i = 0; i < entries; i++) tables.change(i, 1n << 10n);
    expect(tables.spanLog2(1)).toBe(runLog2);
    tables.change(0, 1n << 10n);
    expect(tables.spanLog2(1)).toBe(leafLog2);
  });

  test('in big-endian tables is the same', () => {
    const tables = new Tables(run, { bigEndian: true });
    for (const i of asked) expect([i, tables.spanLog2(i)]).toEqual([i, runLog2]);
    tables.change(2, 1n << 54n);
    for (const i of asked) expect([i, tables.spanLog2(i)]).toEqual([i, leafLog2]);
  });

  test('that fills the input range is one; beyond it there is no other half of a run', () => {
    expect(new Tables(run, { inputBits: runLog2 }).spanLog2(1)).toBe(runLog2);
    const smallest = run.granule === '64K' ? 17 : 16;
    if (runLog2 - 1 < smallest) return;
    // What follows the table looks as if the run went on.
    expect(new Tables(run, { inputBits: runLog2 - 1 }).spanLog2(1)).toBe(leafLog2);
  });

  test('of which a descriptor cannot be read any more is so many leaves', () => {
    const tables = new Tables(run);
    tables.failing = 3;
    expect([tables.spanLog2(0), tables.loads]).toEqual([leafLog2, 3]);
  });

  test('with RES0 bits in its descriptors is one as long as all have them', () => {
    if (run.level === 3) return;
    const bits = 1n << 16n; // nT
    expect(new Tables(run, { bits }).spanLog2(1)).toBe(runLog2);
    expect(new Tables(run, { bits }).change(3, bits).spanLog2(1)).toBe(leafLog2);
  });
});

describe('52-bit output', () => {
  test.each(RUNS.filter(({ granule }) => granule === '64K'))(
    'a run of 64K leaves at level $level: bits 51:48 are in [15:12]',
    (run) => {
      const tables = new Tables(run, { bits: 0xan << 12n });
      expect(tables.spanLog2(1)).toBe(run.runLog2);
      expect(tables.result.outputAddress).toBe(
        0xa * 2 ** 48 + 5 * 2 ** run.runLog2 + 2 ** run.leafLog2,
      );
      tables.change(0, 1n << 12n);
      expect(tables.spanLog2(1)).toBe(run.leafLog2);
    },
  );

  test.each(RUNS.filter(({ granule }) => granule !== '64K'))(
    'a run of $granule leaves at level $level with DS: bits 51:50 are in [9:8]',
    (run) => {
      const tables = new Tables(run, { ds: true, bits: (2n << 8n) | (1n << 48n) });
      expect(tables.spanLog2(1)).toBe(run.runLog2);
      expect(tables.result.outputAddress).toBe(
        0x9 * 2 ** 48 + 5 * 2 ** run.runLog2 + 2 ** run.leafLog2,
      );
      tables.change(0, 1n << 8n);
      expect(tables.spanLog2(1)).toBe(run.leafLog2);
    },
  );
});

describe('levels whose blocks have no Contiguous bit', () => {
  test.each([
    ['4K blocks at level 0, with DS', 48, 0n, true, 39],
    ['16K blocks at level 1, with DS', 47, 2n, true, 36],
    ['64K blocks at level 1', 48, 1n, false, 42],
  ])('%s stand alone', (_, inputBits, tg0, ds, leafLog2) => {
    const memory = new SparseMemory([{ base: TABLE, byteLength: 0x10_000 }]);
    const block = words32([0x441n | CONTIGUOUS]);
    for (let i = 0; i < 32; i++) memory.store(TABLE + 8 * i, block, 0, 2);
    const context = new Context();
    const word0 = 0x206_c000_0000n | BigInt(64 - inputBits) | (tg0 << 6n);
    const word2 = ds ? 1n << 58n : 0n;
    const cd = words32([word0, BigInt(TABLE), word2, 0n, 0n, 0n, 0n, 0n]);
    context.decode(cd, 0, chooseFeatures());
    const walker = new Walker(memory);
    const result = new Translation();
    expect(walker.walk(context, 0, 0x1234, 0, result)).toBe(0);
    expect([result.leafLog2, result.contiguous]).toEqual([leafLog2, 0]);
    expect(walker.spanLog2(context, context.lower, result)).toBe(leafLog2);
  });
});

describe('a run below another table, in the upper half', () => {
  test('is found where the last walk ended', () => {
    const memory = new SparseMemory([{ base: TABLE, byteLength: 0x10_000 }]);
    const put = (address: number, ...words: bigint[]): void => {
      expect(memory.store(address, words32(words), 0, 2 * words.length)).toBe(true);
    };
    // T1SZ 34, TG1 4K: levels 2 and 3. The run is number 2 of the last table.
    const word0 = 0x206_80a2_4000n;
    const context = new Context();
    const cd = words32([word0, 0n, BigInt(TABLE), 0n, 0n, 0n, 0n, 0n]);
    context.decode(cd, 0, chooseFeatures());
    put(TABLE + 8 * 511, BigInt(TABLE + 0x1000) | 3n);
    const page = 0x443n | CONTIGUOUS;
    for (let i = 0n; i < 16n; i++) {
      put(TABLE + 0x1000 + 8 * Number(32n + i), page | 0x8765_0000n | (i << 12n));
    }
    const walker = new Walker(memory);
    const result = new Translation();
    for (let i = 0; i < 16; i++) {
      const low = 0xffe2_0000 + 0x1000 * i;
      expect(walker.walk(context, -1, low | 0, 0, result)).toBe(0);
      expect(result.outputAddress).toBe(0x8765_0000 + 0x1000 * i);
      expect(walker.spanLog2(context, context.upper, result)).toBe(16);
    }
  });
});
