/**
 * A vSMMU with a guest that has built its tables, for the accesses of emulated devices. Registers and
 * commands are literal words, at the places that the manual prints (IHI 0070, sections 4 and 6).
 */
import { GuestBuilder, type GuestOptions } from '../../src/fixtures/guest-builder.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import type { InterruptLine } from '../../src/event/interrupts.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { Smmu, type SmmuOptions } from '../../src/smmu.js';
import { CountingMemory } from '../smmu/counting-memory.js';
import { R, type Entry } from '../smmu/smmu-machine.js';
import { words32 } from '../transaction/machine.js';

/** Guest RAM for tables and queues: 0x4000_0000 to 0x5000_0000. */
export const TABLES = 0x4000_0000;
const TABLES_BYTES = 0x1000_0000;
/** Guest RAM for data: 8 MiB from here, */
export const DATA = 0x8000_0000;
const DATA_BYTES = 0x80_0000;
/** and 128 KiB on either side of 4 GiB. */
export const HIGH_DATA = 0x1_0000_0000 - 0x1_0000;
const HIGH_BYTES = 0x2_0000;
/** Where no memory is. */
export const NOWHERE = 0x2000_0000;

export const PAGE = 0x1000;
export const BLOCK = 0x20_0000;
export const STREAM = 0x10;
/** SMMUEN, EVENTQEN, CMDQEN. */
export const ALL_ON = 0xd;

// Commands (4.3, 4.4, 4.7).
export const SYNC: Entry = [0x46n, 0n];
/** CS [13:12] = SIG_IRQ, without a message: an edge on the wire. */
export const SYNC_IRQ: Entry = [0x1046n, 0n];
export const NH_ALL: Entry = [0x10n, 0n];
export const NSNH_ALL: Entry = [0x30n, 0n];
export const CFGI_ALL: Entry = [0x04n, 31n];

export function nhAsid(asid: number): Entry {
  return [0x11n | (BigInt(asid) << 48n), 0n];
}

export function nhVa(asid: number, iova: number | bigint): Entry {
  return [0x12n | (BigInt(asid) << 48n), page(iova)];
}

export function nhVaa(iova: number | bigint): Entry {
  return [0x13n, page(iova)];
}

/** With IDR3.RIL: (`num`+1) * 2^`scale` pages of 4 KiB (TG [75:74] = 1) from `iova`. */
export function nhVaRange(asid: number, iova: number | bigint, num: number, scale: number): Entry {
  const range = (BigInt(num) << 12n) | (BigInt(scale) << 20n);
  return [0x12n | range | (BigInt(asid) << 48n), page(iova) | (1n << 10n)];
}

export function cfgiSte(streamId: number): Entry {
  return [0x03n | (BigInt(streamId) << 32n), 1n];
}

/** The 2^(`range`+1) StreamIDs around `streamId`. */
export function cfgiSteRange(streamId: number, range: number): Entry {
  return [0x04n | (BigInt(streamId) << 32n), BigInt(range)];
}

export function cfgiCd(streamId: number, substreamId: number): Entry {
  return [0x05n | (BigInt(substreamId) << 12n) | (BigInt(streamId) << 32n), 1n];
}

export function cfgiCdAll(streamId: number): Entry {
  return [0x06n | (BigInt(streamId) << 32n), 0n];
}

/** CMD_RESUME: Ac [12] retry, Ab [13] abort; STAG in the second word. */
export function resume(streamId: number, stag: number, ac: 0 | 1, ab: 0 | 1): Entry {
  const flags = (BigInt(ac) << 12n) | (BigInt(ab) << 13n);
  return [0x44n | flags | (BigInt(streamId) << 32n), BigInt(stag)];
}

export function stallTerm(streamId: number): Entry {
  return [0x45n | (BigInt(streamId) << 32n), 0n];
}

function page(iova: number | bigint): bigint {
  return BigInt(iova) & ~0xfffn;
}

export interface DeviceMachineOptions extends Partial<SmmuOptions> {
  readonly guest?: GuestOptions;
}

export class DeviceMachine {
  readonly ram = new SparseMemory([
    { base: TABLES, byteLength: TABLES_BYTES },
    { base: DATA, byteLength: DATA_BYTES },
    { base: HIGH_DATA, byteLength: HIGH_BYTES },
  ]);
  /** Counts what the SMMU loads. */
  readonly memory = new CountingMemory(this.ram);
  readonly guest: GuestBuilder;
  readonly smmu: Smmu;
  /** Edges, in order. */
  readonly wires: InterruptLine[] = [];
  /** Writes to what is no RAM. */
  readonly messages: [address: number, data: number][] = [];
  /** Answers whether somebody takes such a write. */
  doorbell: (address: number) => boolean = () => false;
  /** Called after each edge. */
  onWire: (line: InterruptLine) => void = () => undefined;
  /** Calls of `commandsPending`. */
  pendingCalls = 0;

  private readonly options: DeviceMachineOptions;
  private readonly commandQueue: number;
  private readonly eventQueue: number;
  /** What the guest's driver writes to CMDQ_PROD next. */
  private prod = 0;
  /** What it has written to EVENTQ_CONS. */
  private eventCons = 0;

  constructor(options: DeviceMachineOptions = {}) {
    this.options = options;
    this.guest = new GuestBuilder({
      ramBase: TABLES,
      ramBytes: TABLES_BYTES,
      memory: this.ram,
      ...options.guest,
    });
    this.commandQueue = this.guest.allocate(0x1000, 0x1000);
    this.eventQueue = this.guest.allocate(0x8000, 0x8000);
    this.smmu = this.anotherSmmu();
  }

  /** A vSMMU over the same memory, with the same options. */
  anotherSmmu(): Smmu {
    return new Smmu({
      memory: this.memory,
      interrupts: {
        wired: (line) => {
          this.wires.push(line);
          this.onWire(line);
        },
        message: (address, data) => {
          this.messages.push([address, data]);
          return this.doorbell(address);
        },
      },
      commandsPending: () => {
        this.pendingCalls++;
      },
      ...this.options,
    });
  }

  /** Queues and stream table, interrupts for events and errors, then `cr0`. */
  start(cr0 = ALL_ON): this {
    const { frame } = this.guest;
    this.prod = 0;
    this.eventCons = 0;
    this.write64(R.STRTAB_BASE, BigInt(frame[0x80 / 4]!));
    this.write(R.STRTAB_BASE_CFG, frame[0x88 / 4]!);
    this.write64(R.CMDQ_BASE, BigInt(this.commandQueue + 8));
    this.write64(R.EVENTQ_BASE, BigInt(this.eventQueue + 10));
    return this.write(R.CR2, 2).write(R.IRQ_CTRL, 5).write(R.CR0, cr0);
  }

  read(offset: number): number {
    return Number(this.smmu.readRegister(offset, 4));
  }

  write(offset: number, value: number): this {
    this.smmu.writeRegister(offset, 4, value);
    return this;
  }

  write64(offset: number, value: bigint): this {
    this.smmu.writeRegister(offset, 8, value);
    return this;
  }

  /** An address space of this ASID, with CD.A and CD.R. */
  space(asid: number, cd: Readonly<Record<string, number>> = {}): AddressSpaceBuilder {
    return this.guest.addressSpace({ cd: { ASID: asid, ...cd } });
  }

  /** Enqueues commands and writes CMDQ_PROD. */
  command(...entries: readonly Entry[]): this {
    for (const entry of entries) {
      const words = words32(entry);
      this.ram.store(this.commandQueue + 16 * (this.prod & 0xff), words, 0, 4);
      this.prod = (this.prod + 1) & 0x1ff;
    }
    return this.write(R.CMDQ_PROD, this.prod);
  }

  /** Commands that the SMMU has not consumed. */
  get commandsLeft(): number {
    return (this.prod - this.read(R.CMDQ_CONS)) & 0x1ff;
  }

  /** Event records that the guest has not taken yet, as 64-bit words. */
  takeEvents(): bigint[][] {
    const records: bigint[][] = [];
    const prod = this.read(R.EVENTQ_PROD);
    while (this.eventCons !== prod) {
      const at = this.eventQueue + 32 * (this.eventCons & 0x3ff);
      records.push([0, 8, 16, 24].map((offset) => this.peek(at + offset)));
      this.eventCons = (this.eventCons + 1) & 0x7ff;
    }
    this.write(R.EVENTQ_CONS, this.eventCons);
    return records;
  }

  /** The 64-bit word in RAM. */
  peek(address: number): bigint {
    const words = new Uint32Array(2);
    this.ram.load(address, words, 0, 2);
    return (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
  }

  /** Writes 64-bit words into RAM. */
  put(address: number, ...words: readonly bigint[]): this {
    const from = words32(words);
    this.ram.store(address, from, 0, from.length);
    return this;
  }

  /** Bytes of RAM. */
  bytes(address: number, length: number): number[] {
    const into = new Uint8Array(length);
    if (!this.ram.loadBytes(address, into, 0, length)) throw new Error(`no memory at ${address}`);
    return [...into];
  }

  /** Writes bytes into RAM. */
  putBytes(address: number, bytes: readonly number[]): this {
    this.ram.storeBytes(address, Uint8Array.from(bytes), 0, bytes.length);
    return this;
  }
}
