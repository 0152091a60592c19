import { describe, expect, test } from 'vitest';
import type { IovaRange } from '../../src/device/byte-handle.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { nthSeed, Random } from '../transaction/random.js';
import {
  BLOCK,
  DATA,
  DeviceMachine,
  HIGH_DATA,
  nhVa,
  PAGE,
  STREAM,
  SYNC,
} from './device-machine.js';
import { rounds, SEED, where } from './seed.js';

const ASID = 3;
const STEPS = 250;
/** Pages of the window that accesses are made to. */
const WINDOW = 40;
/** Where no memory is. */
const HOLE = 0x9000_0000;
/** RAM of the block that some windows have behind them. */
const BLOCK_AT = DATA + 2 * BLOCK;

interface Mapping {
  readonly address: number;
  readonly write: boolean;
}

/** What an access has done: bytes that it got as far as, and where it faulted on the way. */
interface Course {
  readonly done: number;
  /** Input addresses of the event records. */
  readonly faults: readonly bigint[];
  /** Offset of each byte in RAM; -1 for one that reads as zero and ignores writes. */
  readonly places: readonly number[];
}

/** A guest, and what it is: a map of pages and an array of bytes. */
class Model {
  readonly machine: DeviceMachine;
  readonly handle: StreamHandle;
  /** First address of the window. */
  readonly base: bigint;
  private readonly random: Random;
  private readonly aborts: boolean;
  private readonly space: AddressSpaceBuilder;
  private readonly pages: (Mapping | undefined)[] = [];
  /** RAM that pages lead to, in the order of {@link placeOf}. */
  private readonly ram = new Uint8Array(64 * PAGE + BLOCK);

  constructor(random: Random) {
    this.random = random;
    this.aborts = random.chance(0.6);
    const cache = random.pick([{}, {}, { entries: 3 }, { entries: 0 }]);
    this.machine = new DeviceMachine({ cache });
    this.space = this.machine.space(ASID, { A: this.aborts ? 1 : 0 });
    this.machine.guest.attach(STREAM, this.space);
    // Around 4 GiB, in either half, with or without a block behind; or up to the end of the space.
    const windowBytes = BigInt(WINDOW * PAGE);
    this.base = random.pick([
      0x1_0000_8000n - windowBytes,
      0x1_0000_0000n - windowBytes,
      0xffff_8001_0000_8000n - windowBytes,
      0xffff_8001_0000_0000n - windowBytes,
      2n ** 64n - windowBytes,
    ]);
    for (let i = 0; i < WINDOW; i++) this.mapPage(i);
    const end = this.base + windowBytes;
    if (end % BigInt(BLOCK) === 0n && end < 2n ** 64n) this.mapBlock(end);
    for (let at = 0; at < this.ram.length; at++) this.ram[at] = at < 64 * PAGE ? random.u32() : at;
    for (const [first, bytes] of AREAS) {
      this.machine.ram.storeBytes(addressOf(first), this.ram, first, bytes);
    }
    this.machine.start();
    this.handle = this.machine.smmu.attach(STREAM);
  }

  /** Maps a page of the window elsewhere, or not at all, and tells the SMMU. */
  remap(): void {
    const page = this.random.below(WINDOW);
    this.mapPage(page);
    this.machine.command(nhVa(ASID, this.base + BigInt(page * PAGE)), SYNC);
  }

  /** The address `offset` bytes into the window, as one or the other type. */
  iova(offset: number): number | bigint {
    const iova = this.base + BigInt(offset);
    return iova < 2n ** 53n && this.random.chance(0.5) ? Number(iova) : iova;
  }

  /** @param isWhole all of it is translated before any byte is moved. */
  course(offset: number, length: number, isWrite: boolean, isWhole = false): Course {
    const faults: bigint[] = [];
    const places: number[] = [];
    let hasHole = false;
    for (let done = 0; done < length;) {
      const at = offset + done;
      const bytes = Math.min(PAGE - (at % PAGE), length - done);
      if (this.base + BigInt(at) === 2n ** 64n) return { done, faults, places };
      const mapping = this.pages[Math.floor(at / PAGE)];
      const isAllowed = mapping !== undefined && (mapping.write || !isWrite);
      if (!isAllowed) {
        faults.push(this.base + BigInt(at));
        if (this.aborts) return { done, faults, places };
      } else if (mapping.address === HOLE) {
        if (!isWhole) return { done, faults, places };
        hasHole = true;
      }
      const place = isAllowed ? placeOf(mapping.address) + (at % PAGE) : -1;
      for (let i = 0; i < bytes; i++) places.push(place < 0 ? -1 : place + i);
      done += bytes;
    }
    return { done: hasHole ? 0 : length, faults, places };
  }

  /** The bytes that a read gets. */
  bytesAt(places: readonly number[]): Uint8Array {
    return Uint8Array.from(places, (place) => (place < 0 ? 0 : this.ram[place]!));
  }

  put(places: readonly number[], bytes: Uint8Array, from: number): void {
    for (const [i, place] of places.entries()) if (place >= 0) this.ram[place] = bytes[from + i]!;
  }

  /** Whether the guest's RAM is the model's, in the first `areas` of {@link AREAS}. */
  isEqual(areas: number): boolean {
    return AREAS.slice(0, areas).every(([first, bytes]) => {
      const found = new Uint8Array(bytes);
      this.machine.ram.loadBytes(addressOf(first), found, 0, bytes);
      return Buffer.compare(found, this.ram.subarray(first, first + bytes)) === 0;
    });
  }

  private mapBlock(iova: bigint): void {
    const write = this.random.chance(0.7);
    this.space.map(iova, BLOCK_AT, BLOCK, { write });
    for (let i = 0; i < BLOCK / PAGE; i++) {
      this.pages.push({ address: BLOCK_AT + i * PAGE, write });
    }
  }

  private mapPage(page: number): void {
    const { random, space } = this;
    const iova = this.base + BigInt(page * PAGE);
    const kind = random.below(12);
    const write = random.chance(0.8);
    let address = addressOf(PAGE * random.below(64));
    // Next to the page before, as often as not.
    const before = this.pages[page - 1];
    if (kind < 5 && before !== undefined && before.address !== HOLE) {
      address = before.address + PAGE;
      if (placeOf(address) < 0) address = addressOf(0);
    }
    if (kind === 10) address = HOLE;
    if (kind === 11) {
      space.unmap(iova, PAGE);
      this.pages[page] = undefined;
    } else {
      space.map(iova, address, PAGE, { write, level: 3 });
      this.pages[page] = { address, write };
    }
  }
}

/** 32 pages of RAM, 32 around 4 GiB, then a block: where each begins in the model's, and its bytes. */
const AREAS = [
  [0, 32 * PAGE],
  [32 * PAGE, 32 * PAGE],
  [64 * PAGE, BLOCK],
] as const;

function addressOf(place: number): number {
  if (place < 32 * PAGE) return DATA + place;
  return place < 64 * PAGE ? HIGH_DATA + place - 32 * PAGE : BLOCK_AT + place - 64 * PAGE;
}

function placeOf(address: number): number {
  if (address >= DATA && address < DATA + 32 * PAGE) return address - DATA;
  if (address >= HIGH_DATA && address < HIGH_DATA + 32 * PAGE) {
    return address - HIGH_DATA + 32 * PAGE;
  }
  if (address >= BLOCK_AT && address < BLOCK_AT + BLOCK) return address - BLOCK_AT + 64 * PAGE;
  return -1;
}

const LENGTHS = [0, 1, 2, 3, 4, 7, 8, 9, 31, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 9 * PAGE];
const MANY = 20 * PAGE;

class Run {
  readonly model: Model;
  private readonly random: Random;
  /** Input addresses of the records that there must be. */
  private faults: bigint[] = [];
  private at = '';

  constructor(random: Random) {
    this.random = random;
    this.model = new Model(random);
  }

  step(at: string): void {
    const { random } = this;
    this.at = at;
    this.faults = [];
    switch (random.below(7)) {
      case 0:
        this.model.remap();
        break;
      case 1:
        this.read();
        break;
      case 2:
        this.write();
        break;
      case 3:
        this.gather();
        break;
      case 4:
        this.scatter();
        break;
      case 5:
        this.load();
        break;
      default:
        this.store();
    }
    const records = this.model.machine.takeEvents().map((record) => record[2]);
    expect(records, at).toEqual(this.faults);
  }

  /** Near the end of a page, more often than not. */
  private offset(): number {
    const { random } = this;
    // A block lies behind the window at times, unless that is the end of the space.
    const isLast = this.model.base + BigInt(WINDOW * PAGE) === 2n ** 64n;
    const page = PAGE * random.below(isLast || random.chance(0.9) ? WINDOW : WINDOW + 2);
    return random.chance(0.6) ? page + PAGE - 1 - random.below(16) : page + random.below(PAGE);
  }

  private course(offset: number, length: number, isWrite: boolean, isWhole = false): Course {
    const course = this.model.course(offset, length, isWrite, isWhole);
    this.faults.push(...course.faults);
    return course;
  }

  private bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.random.u32());
  }

  private read(): void {
    const { model, random } = this;
    const offset = this.offset();
    const into = this.bytes(random.pick(LENGTHS));
    const { done, places } = this.course(offset, into.length, false);
    expect(model.handle.read(model.iova(offset), into), this.at).toBe(done);
    expect(Buffer.compare(into.subarray(0, done), model.bytesAt(places)), this.at).toBe(0);
  }

  private write(): void {
    const { model, random } = this;
    const offset = this.offset();
    const from = this.bytes(random.pick(LENGTHS));
    const { done, places } = this.course(offset, from.length, true);
    expect(model.handle.write(model.iova(offset), from), this.at).toBe(done);
    model.put(places, from, 0);
  }

  private pieces(): [offset: number, length: number][] {
    const { random } = this;
    const count = random.below(5);
    return Array.from({ length: count }, () => [this.offset(), random.pick(LENGTHS)]);
  }

  private ranges(pieces: readonly (readonly [number, number])[]): IovaRange[] {
    return pieces.map(([offset, length]) => ({ iova: this.model.iova(offset), length }));
  }

  private gather(): void {
    const { model, random } = this;
    const pieces = this.pieces();
    const into = this.bytes(random.pick([...LENGTHS, MANY]));
    const expected = new Uint8Array(into.length);
    let total = 0;
    for (const [offset, length] of pieces) {
      const wanted = Math.min(length, into.length - total);
      const { done, places } = this.course(offset, wanted, false);
      expected.set(model.bytesAt(places), total);
      total += done;
      if (done < wanted) break;
    }
    expect(model.handle.gather(this.ranges(pieces), into), this.at).toBe(total);
    const parts = [into, expected].map((bytes) => bytes.subarray(0, total));
    expect(Buffer.compare(parts[0]!, parts[1]!), this.at).toBe(0);
  }

  private scatter(): void {
    const { model, random } = this;
    const pieces = this.pieces();
    const from = this.bytes(random.pick([...LENGTHS, MANY]));
    let total = 0;
    for (const [offset, length] of pieces) {
      const wanted = Math.min(length, from.length - total);
      const { done, places } = this.course(offset, wanted, true);
      model.put(places, from, total);
      total += done;
      if (done < wanted) break;
    }
    expect(model.handle.scatter(from, this.ranges(pieces)), this.at).toBe(total);
  }

  private load(): void {
    const { model, random } = this;
    const { handle } = model;
    const offset = this.offset();
    const size = random.pick([2, 4, 8]);
    const { done, places } = this.course(offset, size, false);
    let expected = -1n;
    if (done === size) {
      expected = 0n;
      for (const byte of model.bytesAt(places).reverse()) expected = expected * 256n + BigInt(byte);
    }
    const iova = model.iova(offset);
    const found =
      size === 2 ? handle.load16(iova) : size === 4 ? handle.load32(iova) : handle.load64(iova);
    expect(BigInt(found), this.at).toBe(expected);
  }

  private store(): void {
    const { model, random } = this;
    const { handle } = model;
    const offset = this.offset();
    const size = random.pick([2, 4, 8]);
    const { done, places } = this.course(offset, size, true, true);
    const from = this.bytes(size);
    let value = 0n;
    for (const byte of [...from].reverse()) value = value * 256n + BigInt(byte);
    const iova = model.iova(offset);
    const found =
      size === 2
        ? handle.store16(iova, Number(value))
        : size === 4
          ? handle.store32(iova, Number(value))
          : handle.store64(iova, value);
    expect(found, this.at).toBe(done === size ? 0 : -1);
    if (done === size) model.put(places, from, 0);
  }
}

describe('accesses to bytes', () => {
  const guests = rounds(12);
  test(`do to random guests what a map of pages says, ${guests} guests, seed ${SEED}`, () => {
    for (let round = 0; round < guests; round++) {
      const run = new Run(new Random(nthSeed(SEED, round)));
      for (let step = 0; step < STEPS; step++) {
        run.step(where(round, step));
        if (step % 32 === 0) expect(run.model.isEqual(2), where(round, step)).toBe(true);
      }
      expect(run.model.isEqual(3), where(round, STEPS)).toBe(true);
    }
  });
});
