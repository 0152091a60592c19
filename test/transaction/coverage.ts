import type { ReferenceOutcome } from '../reference/index.js';
import type { Translator } from '../../src/transaction/translator.js';
import type { Translation } from '../../src/transaction/translation.js';

/** How often something was reached in a run, by its name. */
export class Coverage {
  private readonly counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.counts.set(name, this.of(name) + count);
  }

  of(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  /** All counts, sorted by name, a line for every six. */
  report(): string {
    const entries = [...this.counts]
      .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
      .map(([name, count]) => `${name} ${count}`);
    const lines = [];
    for (let i = 0; i < entries.length; i += 6) lines.push(entries.slice(i, i + 6).join(' | '));
    return lines.join('\n');
  }
}

const GRANULES: Readonly<Record<number, string>> = { 12: '4K', 14: '16K', 16: '64K' };

/** Counts one access, by the reference's answer where that says it, else by the library's. */
export function cover(
  coverage: Coverage,
  result: Translation,
  translator: Translator,
  reference: ReferenceOutcome,
  upper: boolean,
): void {
  coverage.add('accesses');
  coverage.add(`reason ${result.reason}`);
  switch (reference.kind) {
    case 'abort':
      coverage.add('silent abort');
      return;
    case 'fault':
      coverage.add(`event 0x${reference.event.toString(16)}`);
      if (reference.response !== 'abort') coverage.add(reference.response);
      if (!reference.recorded) coverage.add('not recorded');
      return;
    case 'ok':
  }
  const { leaf } = reference;
  if (leaf === null) {
    coverage.add('bypass');
    return;
  }
  const granule = GRANULES[leaf.granuleLog2]!;
  const { context } = translator;
  const half = upper ? context.upper : context.lower;
  coverage.add('translated');
  coverage.add(`${granule} leaf at level ${leaf.level}`);
  if (leaf.contiguous) coverage.add(`${granule} contiguous at level ${leaf.level}`);
  coverage.add(upper ? 'upper half' : 'lower half');
  coverage.add(`start level ${half.startLevel}`);
  if (context.bigEndian) coverage.add('big-endian');
  if (reference.pa >= 1n << 48n) coverage.add('output address beyond 48 bits');
}

/** What a run of 100,000 accesses must reach, and how often at least. */
export const MINIMUMS: readonly (readonly [name: string, minimum: number])[] = [
  ['translated', 20_000],
  // Every event that stage 1 can give (IHI 0070, section 7.3)
  ...[0x02, 0x03, 0x04, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13].map(
    (event) => [`event 0x${event.toString(16)}`, 300] as const,
  ),
  ['silent abort', 1000],
  ['bypass', 500],
  ['stall', 500],
  ['raz-wi', 500],
  ['not recorded', 500],
  // Every size of leaf (DDI 0487, section D8.3)
  ...leafMinimums('4K', [0, 1, 2, 3]),
  ...leafMinimums('16K', [1, 2, 3]),
  ...leafMinimums('64K', [1, 2, 3]),
  ...contiguousMinimums('4K', [1, 2, 3]),
  ...contiguousMinimums('16K', [2, 3]),
  ...contiguousMinimums('64K', [2, 3]),
  ['lower half', 5000],
  ['upper half', 5000],
  ['big-endian', 2000],
  ...[-1, 0, 1, 2, 3].map((level) => [`start level ${level}`, 200] as const),
  ['output address beyond 48 bits', 500],
  ['access flag update', 300],
  ['dirty state update', 300],
  ['sparse machine', 100],
  ['ram machine', 100],
  ['shared machine', 100],
  // Every Reason (names 1 to 31)
  ...Array.from({ length: 31 }, (_, i) => [`reason ${i + 1}`, 20] as const),
  // STE rules that can be broken without stage 2: 4 needs it, 5 DPT, 6 EL2, 11 to 23 stage 2
  ...[1, 2, 3, 7, 8, 9, 10].map((rule) => [`reason ${100 + rule}`, 20] as const),
  // CD rules
  ...Array.from({ length: 13 }, (_, i) => [`reason ${201 + i}`, 20] as const),
];

function leafMinimums(granule: string, levels: readonly number[]) {
  return levels.map((level) => [`${granule} leaf at level ${level}`, 100] as const);
}

function contiguousMinimums(granule: string, levels: readonly number[]) {
  return levels.map((level) => [`${granule} contiguous at level ${level}`, 50] as const);
}
