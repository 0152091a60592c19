/**
 * A vSMMU with a mirror, and a guest whose tables, CDs, STEs and commands are literal words: positions
 * are those of the manuals' tables (IHI 0070, sections 4 and 5; DDI 0487, section D8.3).
 */
import { expect } from 'vitest';
import type { Mirror } from '../../src/mirror/mirror.js';
import type { MirrorOptions, MirrorReport, SyncPolicy } from '../../src/mirror/mirror-options.js';
import type { IoasSink } from '../../src/mirror/sink.js';
import type { StreamMirrorOptions } from '../../src/mirror/mirror-options.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { R, RAM, RAM_BYTES, SmmuMachine, SYNC, type Entry } from '../smmu/smmu-machine.js';
import type { MachineOptions } from '../smmu/smmu-machine.js';
import { CD, edited, STREAM_TABLE, type Edit } from '../transaction/machine.js';
import { AreaSink, areaTexts } from './area-sink.js';
import { WatchedMemory } from './watched-memory.js';

/** Where the tables, and CDs, of {@link MirrorMachine.space} are taken from, page after page. */
export const TABLES = 0x4800_0000;
/** Attributes of a leaf: AttrIndx 1, AP[1], SH 3, AF, nG; of a page add 3, of a block 1. */
export const RW = 0xf44n;
/** With AP[2]: read-only. */
export const RO = 0xfc4n;
/** Without nG. */
export const GLOBAL = 0x744n;
export const ASID = 7;
/** The StreamID that most tests use. */
export const DEVICE = 0x20;

/** Log2 of the granule, and the level at which a walk begins. */
export interface Shape {
  readonly granuleLog2: number;
  readonly start: number;
  /** Significant bits of an input address. */
  readonly inputBits: number;
}

const SHAPE_4K: Shape = { granuleLog2: 12, start: 0, inputBits: 48 };

/** A guest's address space: its CD and its first tables. */
export interface Space {
  readonly asid: number;
  /** Physical address of the CD. */
  readonly cd: number;
  /** Physical address of the first table of TTB0. */
  readonly root: number;
  readonly shape: Shape;
}

export interface MirrorMachineOptions extends MachineOptions {
  readonly mirror?: Partial<MirrorOptions>;
  /** Through which the vSMMU reads memory. */
  readonly watched?: WatchedMemory;
  /** Nothing is enabled yet. */
  readonly isOff?: boolean;
}

export class MirrorMachine extends SmmuMachine {
  readonly mirror: Mirror;
  readonly reports: MirrorReport[] = [];
  /** Steps that the mirror wants to do later. */
  readonly scheduled: (() => void)[] = [];
  private free = TABLES;

  constructor(options: MirrorMachineOptions = {}) {
    const { mirror, watched, isOff, ...rest } = options;
    super({ cmdqLog2: 8, ...rest, ...(watched === undefined ? {} : { memory: watched }) });
    if (watched !== undefined) watched.inner = this.ram;
    this.mirror = this.smmu.mirror(this.options(mirror));
    if (isOff !== true) this.start();
  }

  /** Options of a mirror that writes down what it reports, and what it wants to do later. */
  options(more: Partial<MirrorOptions> = {}): MirrorOptions {
    return {
      ram: [{ base: RAM, byteLength: RAM_BYTES }],
      report: (report) => void this.reports.push(report),
      schedule: (work) => void this.scheduled.push(work),
      ...more,
    };
  }

  /** What was reported since the last call: `problem`, with the operation of a refusal. */
  takeReports(): string[] {
    return this.reports.splice(0).map(({ problem, refusal }) => {
      if (refusal === undefined) return problem;
      return `${problem} ${refusal.operation} ${refusal.iova.toString(16)}`;
    });
  }

  /** Does what the mirror wants to do later, until nothing is left. @returns the number of steps. */
  runScheduled(): number {
    let steps = 0;
    for (let work = this.scheduled.shift(); work; work = this.scheduled.shift()) {
      work();
      steps++;
    }
    return steps;
  }

  /** A zeroed table of `bytes`, aligned to them. */
  table(bytes = 4096): number {
    this.free = Math.ceil(this.free / bytes) * bytes;
    const address = this.free;
    this.free += bytes;
    return address;
  }

  /** An address space with an empty first table; `edits` change its CD. */
  space(asid = ASID, shape = SHAPE_4K, ...edits: readonly Edit[]): Space {
    const { granuleLog2, inputBits } = shape;
    const root = this.table(2 ** granuleLog2);
    const cd = this.table();
    // TG0: 0 for 4K, 1 for 64K, 2 for 16K.
    const tg0 = { 12: 0, 14: 2, 16: 1 }[granuleLog2]!;
    this.put(
      cd,
      ...edited(
        CD,
        [0, 63, 48, asid],
        [0, 5, 0, 64 - inputBits],
        [0, 7, 6, tg0],
        [1, 51, 4, root / 16],
        ...edits,
      ),
    );
    return { asid, cd, root, shape };
  }

  /** Changes bits of a CD. */
  changeCd(space: Space, ...edits: readonly Edit[]): this {
    const words = Array.from({ length: 8 }, (_, i) => this.peek(space.cd + 8 * i));
    return this.put(space.cd, ...edited(words, ...edits));
  }

  /** Writes an STE: V, Config=101, S1ContextPtr; `edits` change it. No command is issued. */
  setSte(streamId: number, cd: number, ...edits: readonly Edit[]): this {
    const words = [BigInt(cd) | 0xbn, 0xd6n, 0n, 0n, 0n, 0n, 0n, 0n];
    return this.put(STREAM_TABLE + 64 * streamId, ...edited(words, ...edits));
  }

  /** Physical address of the descriptor of `iova` at `level`; tables above are made. */
  descriptor({ root, shape }: Space, iova: number, level = 3): number {
    const { granuleLog2, start, inputBits } = shape;
    const entries = 2 ** (granuleLog2 - 3);
    let table = root;
    for (let here = start; ; here++) {
      const shift = granuleLog2 + (granuleLog2 - 3) * (3 - here);
      const index = Math.floor((iova % 2 ** inputBits) / 2 ** shift) % entries;
      const at = table + 8 * index;
      if (here === level) return at;
      const found = this.peek(at);
      if ((found & 3n) === 3n) {
        table = Number(found & 0xffff_ffff_f000n);
      } else {
        table = this.table(2 ** granuleLog2);
        this.put(at, BigInt(table) | 3n);
      }
    }
  }

  /** Maps pages one after the other; no command is issued. */
  map(space: Space, iova: number, address: number, pages = 1, attributes = RW): this {
    const page = 2 ** space.shape.granuleLog2;
    for (let i = 0; i < pages; i++) {
      const at = this.descriptor(space, iova + page * i);
      this.put(at, BigInt(address + page * i) | attributes | 3n);
    }
    return this;
  }

  /** A block at `level`. */
  block(space: Space, iova: number, address: number, level = 2, attributes = RW): this {
    return this.put(this.descriptor(space, iova, level), BigInt(address) | attributes | 1n);
  }

  unmap(space: Space, iova: number, pages = 1): this {
    const page = 2 ** space.shape.granuleLog2;
    for (let i = 0; i < pages; i++) this.put(this.descriptor(space, iova + page * i), 0n);
    return this;
  }

  /** Commands, then CMD_SYNC. */
  issue(...entries: readonly Entry[]): this {
    return this.command(...entries, [SYNC, 0n]);
  }

  /** Whether the queue is empty: the last CMD_SYNC has completed. */
  get isDrained(): boolean {
    return this.read(R.CMDQ_CONS) === this.prod;
  }

  /** Mirrors {@link DEVICE} with one new sink that takes everything, unless told otherwise. */
  attach(
    policy: SyncPolicy = 'invalidate',
    sink: IoasSink = new AreaSink(),
    more: Partial<StreamMirrorOptions> & { streamId?: number } = {},
  ): StreamMirror {
    const { streamId = DEVICE, ...rest } = more;
    return this.mirror.attach(streamId, { sinks: [sink], policy, ...rest });
  }
}

/** A machine with one space, which {@link DEVICE} uses. */
export function machineWithSpace(
  options: MirrorMachineOptions = {},
  shape = SHAPE_4K,
  ...edits: readonly Edit[]
): { machine: MirrorMachine; space: Space } {
  const machine = new MirrorMachine(options);
  const space = machine.space(ASID, shape, ...edits);
  machine.setSte(DEVICE, space.cd);
  return { machine, space };
}

/** The mirror knows what the sink has mapped, and asked nothing that the sink rules out. */
export function expectKnown(stream: StreamMirror, sink: AreaSink): void {
  expect(areaTexts(stream.areas(sink))).toEqual(sink.texts);
  expect(sink.wrongs).toEqual([]);
}

// Commands (IHI 0070, section 4).

export function tlbiVa(iova: number | bigint, asid = ASID, leaf = 1n): Entry {
  return [0x12n | (BigInt(asid) << 48n), (BigInt(iova) & ~0xfffn) | leaf];
}

export function tlbiVaa(iova: number | bigint): Entry {
  return [0x13n, (BigInt(iova) & ~0xfffn) | 1n];
}

/** A range of two 4 KiB pages or more, at any level: TG=1, NUM, and SCALE 5 for multiples of 32 pages. */
export function tlbiPages(iova: number | bigint, pages: number, asid = ASID): Entry {
  const scale = pages % 32 === 0 ? 5n : 0n;
  const num = BigInt(pages) >> scale;
  const low = 0x12n | ((num - 1n) << 12n) | (scale << 20n) | (BigInt(asid) << 48n);
  return [low, BigInt(iova) | (1n << 10n) | 1n];
}

export function tlbiAsid(asid = ASID): Entry {
  return [0x11n | (BigInt(asid) << 48n), 0n];
}

export const TLBI_NH_ALL: Entry = [0x10n, 0n];
export const TLBI_NSNH_ALL: Entry = [0x30n, 0n];
export const CFGI_ALL: Entry = [0x04n, 31n];

export function cfgiSte(streamId = DEVICE): Entry {
  return [0x03n | (BigInt(streamId) << 32n), 1n];
}

export function cfgiSteRange(streamId: number, range: number): Entry {
  return [0x04n | (BigInt(streamId) << 32n), BigInt(range)];
}

export function cfgiCd(streamId = DEVICE, substreamId = 0): Entry {
  return [0x05n | (BigInt(substreamId) << 12n) | (BigInt(streamId) << 32n), 1n];
}

export function cfgiCdAll(streamId = DEVICE): Entry {
  return [0x06n | (BigInt(streamId) << 32n), 0n];
}
