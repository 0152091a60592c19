/**
 * A vSMMU with its guest, made of literal words: register offsets and bits are those that the manual
 * prints (IHI 0070, section 6), commands are pairs of 64-bit words.
 */
import type { InterruptLine } from '../../src/event/interrupts.js';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { Smmu, type SmmuOptions } from '../../src/smmu.js';
import { Translation } from '../../src/transaction/translation.js';
import type { StallListener } from '../../src/transaction/stall.js';
import {
  CD,
  CD_TABLE,
  edited,
  STE,
  STREAM,
  STREAM_TABLE,
  words32,
  type Edit,
} from '../transaction/machine.js';

/** Offsets of registers. */
export const R = {
  IDR0: 0x0,
  IDR1: 0x4,
  IDR3: 0xc,
  IDR5: 0x14,
  AIDR: 0x1c,
  CR0: 0x20,
  CR0ACK: 0x24,
  CR1: 0x28,
  CR2: 0x2c,
  GBPA: 0x44,
  IRQ_CTRL: 0x50,
  IRQ_CTRLACK: 0x54,
  GERROR: 0x60,
  GERRORN: 0x64,
  GERROR_IRQ_CFG0: 0x68,
  GERROR_IRQ_CFG1: 0x70,
  GERROR_IRQ_CFG2: 0x74,
  STRTAB_BASE: 0x80,
  STRTAB_BASE_CFG: 0x88,
  CMDQ_BASE: 0x90,
  CMDQ_PROD: 0x98,
  CMDQ_CONS: 0x9c,
  EVENTQ_BASE: 0xa0,
  EVENTQ_IRQ_CFG0: 0xb0,
  EVENTQ_IRQ_CFG1: 0xb8,
  EVENTQ_IRQ_CFG2: 0xbc,
  PRIQ_BASE: 0xc0,
  PRIQ_IRQ_CFG0: 0xd0,
  PRIQ_IRQ_CFG1: 0xd8,
  PRIQ_IRQ_CFG2: 0xdc,
  EVENTQ_PROD: 0x1_00a8,
  EVENTQ_CONS: 0x1_00ac,
  PRIQ_PROD: 0x1_00c8,
  PRIQ_CONS: 0x1_00cc,
} as const;

/** CR0 bits. */
export const SMMUEN = 1;
export const EVENTQEN = 4;
export const CMDQEN = 8;

export const RAM = 0x4000_0000;
export const RAM_BYTES = 0x1000_0000;
export const CMDQ = 0x4100_0000;
export const EVENTQ = 0x4200_0000;
/** A place where no RAM is. */
export const NOWHERE = 0x2000_0000;
/** CMD_SYNC without completion signal. */
export const SYNC = 0x46n;

/** A command, or any entry of 16 bytes. */
export type Entry = readonly [low: bigint, high: bigint];

export interface MachineOptions extends Partial<SmmuOptions> {
  readonly cmdqLog2?: number;
  readonly eventqLog2?: number;
  /** Makes the vSMMU. */
  readonly make?: (options: SmmuOptions) => Smmu;
}

export class SmmuMachine {
  readonly ram = new SparseMemory([{ base: RAM, byteLength: RAM_BYTES }]);
  smmu: Smmu;
  /** Edges, in order. */
  readonly wires: InterruptLine[] = [];
  /** Messages to what is not RAM. */
  readonly messages: [address: number, data: number][] = [];
  /** Answers whether somebody takes a message. */
  doorbell: (address: number) => boolean = () => false;
  /** Called after each edge. */
  onWire: (line: InterruptLine) => void = () => undefined;
  sevs = 0;
  /** What the guest's driver would write to CMDQ_PROD next. */
  prod = 0;
  readonly cmdqLog2: number;
  readonly eventqLog2: number;

  constructor(options: MachineOptions = {}) {
    this.cmdqLog2 = options.cmdqLog2 ?? 4;
    this.eventqLog2 = options.eventqLog2 ?? 3;
    const memory: GuestMemory = options.memory ?? this.ram;
    const make = options.make ?? ((smmu: SmmuOptions) => new Smmu(smmu));
    this.smmu = make({
      interrupts: {
        wired: (line) => {
          this.wires.push(line);
          this.onWire(line);
        },
        message: (address, data) => {
          this.messages.push([address, data]);
          return this.doorbell(address);
        },
        event: () => {
          this.sevs++;
        },
      },
      ...options,
      memory,
    });
    this.put(STREAM_TABLE + 64 * STREAM, ...STE);
    this.put(CD_TABLE, ...CD);
    this.put(0x43e2_0000, 0x43e3_0003n);
    this.put(0x43e3_0000, 0x8000_0f45n);
  }

  read(offset: number): number {
    return Number(this.smmu.readRegister(offset, 4));
  }

  read64(offset: number): bigint {
    return BigInt(this.smmu.readRegister(offset, 8));
  }

  write(offset: number, value: number): this {
    this.smmu.writeRegister(offset, 4, value);
    return this;
  }

  write64(offset: number, value: bigint): this {
    this.smmu.writeRegister(offset, 8, value);
    return this;
  }

  /** Queues, stream table and RECINVSID, then `cr0`; and interrupts for events and errors. */
  start(cr0 = SMMUEN | EVENTQEN | CMDQEN, irq = 0b101): this {
    this.write64(R.STRTAB_BASE, BigInt(STREAM_TABLE)).write(R.STRTAB_BASE_CFG, 8);
    this.write64(R.CMDQ_BASE, BigInt(CMDQ + this.cmdqLog2));
    this.write64(R.EVENTQ_BASE, BigInt(EVENTQ + this.eventqLog2));
    this.write(R.CR2, 2).write(R.IRQ_CTRL, irq).write(R.CR0, cr0);
    return this;
  }

  /** Writes 64-bit words into RAM. */
  put(address: number, ...words: readonly bigint[]): this {
    const from = words32(words);
    this.ram.store(address, from, 0, from.length);
    return this;
  }

  /** The 64-bit word in RAM. */
  peek(address: number): bigint {
    const words = new Uint32Array(2);
    this.ram.load(address, words, 0, 2);
    return (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
  }

  ste(...edits: readonly Edit[]): this {
    return this.put(STREAM_TABLE + 64 * STREAM, ...edited(STE, ...edits));
  }

  cd(...edits: readonly Edit[]): this {
    return this.put(CD_TABLE, ...edited(CD, ...edits));
  }

  /** Puts commands where the driver would, without telling the SMMU. */
  enqueue(...entries: readonly Entry[]): this {
    const size = 1 << this.cmdqLog2;
    for (const entry of entries) {
      this.put(CMDQ + 16 * (this.prod & (size - 1)), ...entry);
      this.prod = (this.prod + 1) & (2 * size - 1);
    }
    return this;
  }

  /** Enqueues commands and writes CMDQ_PROD. */
  command(...entries: readonly Entry[]): this {
    return this.enqueue(...entries).write(R.CMDQ_PROD, this.prod);
  }

  /** CMDQ_CONS.ERR. */
  get cerror(): number {
    return (this.read(R.CMDQ_CONS) >>> 24) & 0x7f;
  }

  /** A read of unprivileged data, unless `access` says otherwise; -1 is no SubstreamID. */
  translate(
    iova = 0x1234n,
    access = 0,
    streamId = STREAM,
    substreamId = -1,
    answered?: StallListener,
  ): Translation {
    const result = new Translation();
    const high = Number(iova >> 32n);
    const low = Number(iova & 0xffff_ffffn);
    this.smmu.translate(streamId, substreamId, high, low, access, result, answered);
    return result;
  }

  /** The event record in slot `index` of the queue, as four 64-bit words. */
  record(index: number): bigint[] {
    return [0, 8, 16, 24].map((at) => this.peek(EVENTQ + 32 * index + at));
  }
}
