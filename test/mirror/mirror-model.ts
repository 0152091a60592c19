/**
 * What may be mapped in the sinks of a mirrored stream: for each cell the values that it had, by the
 * slow reference, since an invalidation that named it was completed.
 */
import { CDS, STREAM_TABLE } from './mirror-world-guest.js';
import type { Named } from './mirror-world-commands.js';
import type { ModelSink } from './mirror-model-sink.js';
import {
  BYTES,
  Words,
  type CellReader,
  type Evaluated,
  type Value,
  type Values,
} from './mirror-model-tables.js';

export class StreamModel {
  readonly reader: CellReader;
  readonly streamId: number;
  readonly substreamId: number;
  readonly privileged: boolean;
  readonly sinks: ModelSink[] = [];
  /** By cell: what sinks may say. */
  allowed: Values[];
  /** By cell: what they may say once the invalidations so far are complete. */
  fresh: (Values | undefined)[];
  /** By cell: what a translation may say, which CFGI commands and syncs do not change. */
  cached: Values[];
  /** By cell: what the tables say. */
  now: readonly Values[] = [];
  tables: ReadonlyMap<number, number> = new Map();
  /** There is one state of STE and CD that it can be in. */
  isCertain = true;
  private freshCached: (Values | undefined)[];
  private enabledNow: readonly Values[] = [];
  private stes: Words[] = [];
  private cds: Words[] = [];

  constructor(reader: CellReader, streamId: number, substreamId: number, privileged: boolean) {
    this.reader = reader;
    this.streamId = streamId;
    this.substreamId = substreamId;
    this.privileged = privileged;
    const count = reader.layout.cells.length;
    this.allowed = new Array<Values>(count).fill([]);
    this.cached = new Array<Values>(count).fill([]);
    this.fresh = new Array<Values | undefined>(count).fill(undefined);
    this.freshCached = new Array<Values | undefined>(count).fill(undefined);
  }

  /** Takes up what memory and registers say now. */
  update(): void {
    const { machine } = this.reader;
    remember(this.stes, new Words(machine, STREAM_TABLE + BYTES * this.streamId, BYTES));
    remember(this.cds, new Words(machine, CDS, 2 * BYTES));
    const enabled = this.evaluateAll(machine.cr0 | 1);
    const effective = (machine.cr0 & 1) === 1 ? enabled : this.evaluateAll(machine.cr0);
    this.enabledNow = enabled.cells;
    this.now = effective.cells;
    this.tables = effective.tables;
    this.isCertain = this.stes.length === 1 && this.cds.length === 1;
    for (let i = 0; i < this.now.length; i++) {
      this.allowed[i] = union(this.allowed[i]!, this.now[i]!);
      this.cached[i] = union(this.cached[i]!, this.enabledNow[i]!);
      if (this.fresh[i] !== undefined) this.fresh[i] = union(this.fresh[i]!, this.now[i]!);
      const before = this.freshCached[i];
      if (before !== undefined) this.freshCached[i] = union(before, this.enabledNow[i]!);
    }
  }

  /** A command was executed. */
  execute(named: Named): void {
    switch (named.kind) {
      case 'range':
      case 'asid':
      case 'all':
        this.name((cell, value) => this.isNamed(named, cell, value), true);
        break;
      case 'streams':
        if (this.streamId >= named.first && this.streamId <= named.last) this.forget(true);
        break;
      case 'cd':
        if (this.streamId !== named.streamId) break;
        if (named.index < 0 || named.index === Math.max(0, this.substreamId)) this.forget(false);
        break;
      case 'sync':
        this.complete();
        break;
    }
  }

  /** Everything in `[from, to)` is read again. */
  reread(from: number, to: number): void {
    const { cells } = this.reader.layout;
    this.name((cell) => cells[cell]!.start < to && cells[cell]!.end > from, false);
  }

  /** What was named so far is done. */
  complete(): void {
    for (let i = 0; i < this.allowed.length; i++) {
      this.allowed[i] = this.fresh[i] ?? this.allowed[i]!;
      this.cached[i] = this.freshCached[i] ?? this.cached[i]!;
    }
    this.fresh.fill(undefined);
    this.freshCached.fill(undefined);
  }

  /** STE or CD are read again. */
  private forget(isSte: boolean): void {
    if (isSte) this.stes = [this.stes.at(-1)!];
    this.cds = [this.cds.at(-1)!];
    this.update();
    this.name(() => true, false);
  }

  private name(matches: (cell: number, value: Value) => boolean, isTlbi: boolean): void {
    for (let i = 0; i < this.allowed.length; i++) {
      const before = this.fresh[i] ?? this.allowed[i]!;
      const kept = before.filter((value) => !matches(i, value));
      if (kept.length < before.length) {
        this.fresh[i] = union(kept, this.now[i]!);
        for (const { missed } of this.sinks) missed.delete(i);
      }
      if (!isTlbi) continue;
      const cached = this.freshCached[i] ?? this.cached[i]!;
      const rest = cached.filter((value) => !matches(i, value));
      if (rest.length < cached.length) this.freshCached[i] = union(rest, this.enabledNow[i]!);
    }
  }

  /** Whether a TLBI must end `value` (IHI 0070, section 4.4). */
  private isNamed(named: Named, index: number, value: Value): boolean {
    if (named.kind === 'all') return true;
    if (named.kind === 'asid') return value.asid === named.asid && !value.global;
    if (named.kind !== 'range') return false;
    const { asid, from, to, leaf, granuleLog2, level } = named;
    const { cells, granuleLog2: granule } = this.reader.layout;
    const { start, end } = cells[index]!;
    if (granuleLog2 !== 0 && granuleLog2 !== granule) return false;
    if (asid >= 0 && asid !== value.asid && !value.global) return false;
    // What is new is found by the walk that the old value, or nothing, gives way to.
    const now = this.now[index]!;
    if (leaf && now.some(({ path }) => path !== value.path)) return false;
    if (value.permissions === 0) {
      if (level !== 0 && now.some((found) => found.permissions !== 0 && found.level !== level)) {
        return false;
      }
      return start >= from && end <= to;
    }
    if (level !== 0 && value.level !== level) return false;
    const first = Math.floor(start / value.leafBytes) * value.leafBytes;
    return first < to && first + value.leafBytes > from;
  }

  private evaluateAll(cr0: number): Evaluated {
    let found: Evaluated | undefined;
    for (const ste of this.stes) {
      for (const cds of this.cds) {
        const one = this.reader.read(this, ste, cds, cr0);
        const before = found;
        found =
          before === undefined
            ? one
            : {
                cells: one.cells.map((values, i) => union(before.cells[i]!, values)),
                tables: new Map([...before.tables, ...one.tables]),
              };
      }
    }
    return found!;
  }
}

function remember(known: Words[], words: Words): void {
  const at = known.findIndex(({ key }) => key === words.key);
  if (at >= 0) known.splice(at, 1);
  known.push(words);
}

function union(some: Values, more: Values): Values {
  if (some === more || more.every((value) => some.includes(value))) return some;
  return some.length === 0 ? more : [...some, ...more.filter((value) => !some.includes(value))];
}
