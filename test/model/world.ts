/** The vSMMU of the model checker with its guest's memory; made to start over within microseconds. */
import type { SmmuCore } from '../../src/core.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { RamMemory } from '../../src/memory/ram-memory.js';
import { Smmu } from '../../src/smmu.js';
import type { CacheOptions } from '../../src/tlb/cache-options.js';
import { Translation } from '../../src/transaction/translation.js';
import type { Action } from './actions.js';
import {
  type IdRegisters,
  IOVA,
  memoryOf,
  QUEUE,
  QUEUE_LOG2,
  RAM,
  type Shape,
  STREAM_TABLE,
  STRUCTURES,
  storesOf,
  valueIn,
} from './guest.js';

// Offsets of registers (IHI 0070, section 6).
const CR0 = 0x20;
const STRTAB_BASE = 0x80;
const STRTAB_BASE_CFG = 0x88;
const CMDQ_BASE = 0x90;
const CMDQ_PROD = 0x98;
const SMMUEN_AND_CMDQEN = 9;
/** Of Translation.permissions: unprivileged writes. */
const WRITABLE = 2;

/** CFGI_ALL, TLBI_NSNH_ALL and CMD_SYNC: 32-bit words. */
const START_OVER = Uint32Array.of(0x04, 0, 31, 0, 0x30, 0, 0, 0, 0x46, 0, 0, 0);

/** Which way accesses of devices go: `mixed` reads through handles and writes through translate. */
export type Path = 'handle' | 'translate' | 'mixed';

/** How a world is made. */
export interface WorldOptions {
  readonly shape: Shape;
  /** Default: that of the library. */
  readonly cache?: CacheOptions;
  readonly path: Path;
  /** Queries that are made before a sequence begins; without any, nothing is cached then. */
  readonly warmUp: readonly number[];
}

export class World {
  readonly smmu: Smmu;
  /** The structures that the SMMU has read: bits 2n and 2n+1 for structure n, as in a memory state. */
  read = 0;
  /** The output address that `Smmu.translate` last said may be written to; -1 when it did not. */
  writable = -1;
  /** It is being made to start over: mutants behave. */
  isStartingOver = false;

  private readonly words: Uint32Array;
  private readonly ram: RamMemory;
  private readonly handles: readonly StreamHandle[];
  private readonly path: Path;
  private readonly warmUp: readonly number[];
  private readonly result = new Translation();
  private state = 0;
  private prod = 0;
  /** Addresses of the structures, and by value their words. */
  private readonly addresses: readonly number[];
  private readonly values: readonly (readonly Uint32Array[])[];

  constructor(options: WorldOptions, mutate: (world: World) => void = () => undefined) {
    const { shape, cache, path, warmUp } = options;
    this.path = path;
    this.warmUp = warmUp;
    this.words = memoryOf(shape);
    this.ram = new RamMemory([{ base: RAM, buffer: this.words.buffer }]);
    const stores = storesOf(shape);
    this.addresses = stores.map(([first]) => first!.address);
    this.values = stores.map((values) =>
      values.map(({ words }) => new Uint32Array(BigUint64Array.from(words).buffer)),
    );
    const memory = this.watched();
    this.smmu = new Smmu(cache === undefined ? { memory } : { memory, cache });
    this.smmu.writeRegister(STRTAB_BASE, 8, STREAM_TABLE);
    this.smmu.writeRegister(STRTAB_BASE_CFG, 4, 1);
    this.smmu.writeRegister(CMDQ_BASE, 8, QUEUE + QUEUE_LOG2);
    // There is no event queue: what would be recorded is dropped.
    this.smmu.writeRegister(CR0, 4, SMMUEN_AND_CMDQEN);
    this.handles = [0, 1].map((streamId) => this.smmu.attach(streamId));
    mutate(this);
    for (const query of warmUp) this.access(query);
  }

  /** ID registers, for the reference. */
  get ids(): IdRegisters {
    const read = (offset: number): number => Number(this.smmu.readRegister(offset, 4));
    return { idr0: read(0), idr1: read(4), idr3: read(0xc), idr5: read(0x14), aidr: read(0x1c) };
  }

  /** What the public interface hides, for mutants. */
  get core(): SmmuCore {
    return Reflect.get(this.smmu, 'core') as SmmuCore;
  }

  /** Back to the start: memory, nothing cached, then what is accessed first. */
  startOver(): void {
    this.isStartingOver = true;
    this.setMemory(0);
    this.enqueue(START_OVER);
    this.isStartingOver = false;
    for (const query of this.warmUp) this.access(query);
  }

  /** Stores to the structures that differ. */
  setMemory(state: number): void {
    for (let structure = 0; structure < STRUCTURES; structure++) {
      const value = valueIn(state, structure);
      if (value === valueIn(this.state, structure)) continue;
      this.words.set(this.values[structure]![value]!, (this.addresses[structure]! - RAM) / 4);
    }
    this.state = state;
  }

  /**
   * Calls the SMMU: a command, or an access.
   * @returns the answer to an access, as `answerOf`; 0 for a command.
   */
  call(action: Action): number {
    if (action.query >= 0) return this.access(action.query);
    this.enqueue(action.words!);
    return 0;
  }

  /** As an access, by the other path. */
  accessOtherwise(query: number): number {
    return this.isByHandle(query) ? this.translate(query) : this.handle(query);
  }

  private isByHandle(query: number): boolean {
    return this.path === 'handle' || (this.path === 'mixed' && (query & 1) === 0);
  }

  private access(query: number): number {
    return this.isByHandle(query) ? this.handle(query) : this.translate(query);
  }

  private handle(query: number): number {
    const handle = this.handles[query >> 1]!;
    const address = handle.translate(IOVA, query & 1);
    return address >= 0 ? address : address - 4 * handle.fault.event;
  }

  private translate(query: number): number {
    const { result } = this;
    const outcome = this.smmu.translate(query >> 1, -1, 0, IOVA, query & 1, result);
    this.writable = -1;
    if (outcome !== 0) return -outcome - 4 * result.event;
    const { outputAddress, bypassed, permissions } = result;
    if (!bypassed && (permissions & WRITABLE) !== 0) this.writable = outputAddress;
    return outputAddress;
  }

  private enqueue(commands: Uint32Array): void {
    const { words } = this;
    const mask = (1 << QUEUE_LOG2) - 1;
    for (let i = 0; i < commands.length; i += 4) {
      const at = (QUEUE - RAM) / 4 + 4 * (this.prod & mask);
      for (let j = 0; j < 4; j++) words[at + j] = commands[i + j]!;
      this.prod = (this.prod + 1) & (2 * mask + 1);
    }
    this.smmu.writeRegister(CMDQ_PROD, 4, this.prod);
  }

  /** The guest's memory, with a note in {@link read} of which structures are read. */
  private watched(): GuestMemory {
    const { ram, addresses } = this;
    const note = (address: number, end: number): void => {
      for (let structure = 0; structure < STRUCTURES; structure++) {
        const at = addresses[structure]!;
        if (at >= address && at < end) this.read |= 3 << (2 * structure);
      }
    };
    return {
      load: (address, into, at, count) => {
        note(address, address + 4 * count);
        return ram.load(address, into, at, count);
      },
      load64: (high, low, into) => {
        note(low, low + 8);
        return ram.load64(high, low, into);
      },
      store: (address, from, at, count) => ram.store(address, from, at, count),
      loadBytes: (address, into, at, count) => ram.loadBytes(address, into, at, count),
      storeBytes: (address, from, at, count) => ram.storeBytes(address, from, at, count),
      compareExchange: (address, words, at) => ram.compareExchange(address, words, at),
    };
  }
}
