/**
 * What Linux's arm-smmu-v3 driver does to the registers and queues, in its order (bring-up, commands,
 * stream tables, events, global errors). Words and offsets are literal.
 */
import { CMDQ, EVENTQ, R, RAM, SmmuMachine, type Entry } from './smmu-machine.js';

export const L1_TABLE = RAM + 0x10_0000;
export const PAGE_TABLES = RAM + 0x20_0000;
export const CD_TABLES = RAM + 0x30_0000;
const L2_TABLES = RAM + 0x40_0000;
const MSI_FRAME = 0x0802_0040n;

/** V, Config=0: all accesses abort. */
export const ABORT_STE: readonly bigint[] = [0x1n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
/** V, Config=100, SHCFG=1. */
export const BYPASS_STE: readonly bigint[] = [0x9n, 0x1000_0000_0000n, 0n, 0n, 0n, 0n, 0n, 0n];
/** V, Config=101, S1ContextPtr; S1DSS=2, S1CIR, S1COR, S1CSH. */
export function stage1Ste(cd: number): bigint[] {
  return [BigInt(cd) | 0xbn, 0xd6n, 0n, 0n, 0n, 0n, 0n, 0n];
}
/** ASID, T0SZ=16, 4K, EPD1, IPS=44 bits, AA64, A, R, ASET, V. */
export function contextDescriptor(asid: number, table: number): bigint[] {
  const word0 = (BigInt(asid) << 48n) | 0xe204_c000_3510n;
  return [word0, BigInt(table), 0n, 0xffff_ffff_f404_ff44n, 0n, 0n, 0n, 0n];
}

export class LinuxDriver {
  readonly machine: SmmuMachine;
  /** Event records that were handled, word 0 first. */
  readonly events: bigint[][] = [];
  /** CMDQ_CONS.ERR of the errors that were handled. */
  readonly errors: number[] = [];
  pollsByMessage = false;
  private eventCons = 0;
  private nextTable = PAGE_TABLES;

  constructor(machine: SmmuMachine) {
    this.machine = machine;
    machine.onWire = (line) => {
      if (line === 'gerror') this.handleGlobalError();
    };
  }

  probe(): void {
    const idr0 = this.machine.read(R.IDR0);
    const idr1 = this.machine.read(R.IDR1);
    if (((idr0 >>> 2) & 2) === 0) throw new Error('AArch64 table format not supported');
    if ((idr0 & 2) === 0) throw new Error('no stage 1');
    if ((idr1 & 0x7000_0000) !== 0) throw new Error('embedded implementation not supported');
    if (((idr1 >>> 21) & 0x1f) <= 6) throw new Error('command queue size too small');
    // MSI and COHACC: CMD_SYNC is polled in its own slot.
    this.pollsByMessage = (idr0 & 0x2010) === 0x2010;
  }

  reset(): void {
    const { machine } = this;
    if ((machine.read(R.CR0) & 1) !== 0) this.updateGbpa(0x0010_0000);
    this.enable(0);
    machine.write(R.CR1, 0xd75).write(R.CR2, 0x2);
    // RA, FMT 2-level, SPLIT=8, 16 bits of StreamID.
    machine.write64(R.STRTAB_BASE, (1n << 62n) | BigInt(L1_TABLE));
    machine.write(R.STRTAB_BASE_CFG, 0x1_0000 | (8 << 6) | 16);
    machine.write64(R.CMDQ_BASE, (1n << 62n) | BigInt(CMDQ + machine.cmdqLog2));
    machine.write(R.CMDQ_PROD, 0).write(R.CMDQ_CONS, 0);
    machine.prod = 0;
    this.eventCons = 0;
    this.enable(0x8);
    this.issue([0x04n, 31n]);
    this.issue([0x30n, 0n]);
    machine.write64(R.EVENTQ_BASE, (1n << 62n) | BigInt(EVENTQ + machine.eventqLog2));
    machine.write(R.EVENTQ_PROD, 0).write(R.EVENTQ_CONS, 0);
    this.enable(0xc);
    this.irqs(0);
    machine.write64(R.GERROR_IRQ_CFG0, 0n).write64(R.EVENTQ_IRQ_CFG0, 0n);
    if ((machine.read(R.IDR0) & 0x2000) !== 0) {
      machine.write64(R.EVENTQ_IRQ_CFG0, MSI_FRAME).write(R.EVENTQ_IRQ_CFG1, 0x21);
      machine.write(R.EVENTQ_IRQ_CFG2, 0x1);
    }
    this.irqs(0x5);
    this.enable(0xd);
  }

  /** Puts an abort STE where there is none yet; its 2-level table is made. */
  initStream(streamId: number): void {
    const l1 = L1_TABLE + 8 * (streamId >>> 8);
    const l2 = L2_TABLES + 0x4000 * (streamId >>> 8);
    if (this.machine.peek(l1) === 0n) {
      for (let i = 0; i < 256; i++) this.machine.put(l2 + 64 * i, ...ABORT_STE);
      this.machine.put(l1, BigInt(l2) | 9n);
    }
  }

  steAddress(streamId: number): number {
    return L2_TABLES + 0x4000 * (streamId >>> 8) + 64 * (streamId & 0xff);
  }

  /** As arm_smmu_write_entry(): the words that do not matter yet, then word 0; a command after each. */
  writeSte(streamId: number, ste: readonly bigint[], hitless: boolean): void {
    const at = this.steAddress(streamId);
    const flush = () => {
      this.issue([0x03n | (BigInt(streamId) << 32n), 1n]);
    };
    if (!hitless) {
      this.machine.put(at, 0n);
      flush();
    }
    this.machine.put(at + 8, ...ste.slice(1));
    if (hitless) flush();
    this.machine.put(at, ste[0]!);
    flush();
    this.issue([0x02n | (BigInt(streamId) << 32n), 0n]);
  }

  /** Maps pages of 4 KiB below a level-0 table; Linux tells the SMMU nothing. */
  map(root: number, iova: number, address: number, pages: number): void {
    for (let i = 0; i < pages; i++) {
      // Page, AttrIndx=1, AP[1], SH=3, AF, nG.
      this.machine.put(this.leaf(root, iova + 4096 * i), BigInt(address + 4096 * i) | 0xf47n);
    }
  }

  /** Clears the leaves, then TLBI_NH_VA by ranges with TTL=3, TG=4K and Leaf, as one batch. */
  unmap(root: number, iova: number, pages: number, asid: number): void {
    for (let i = 0; i < pages; i++) this.machine.put(this.leaf(root, iova + 4096 * i), 0n);
    const commands: Entry[] = [];
    let at = iova;
    for (let left = pages; left > 0;) {
      const scale = 31 - Math.clz32(left & -left);
      const count = (left >>> scale) & 31;
      const low = 0x12n | (BigInt(count - 1) << 12n) | (BigInt(scale) << 20n);
      commands.push([low | (BigInt(asid) << 48n), BigInt(at) | 0x701n]);
      at += 4096 * (count << scale);
      left -= count << scale;
    }
    this.issue(...commands);
  }

  /** Commands with their CMD_SYNC, and waits for it. */
  issue(...commands: Entry[]): void {
    const { machine } = this;
    machine.enqueue(...commands);
    const slot = CMDQ + 16 * (machine.prod & ((1 << machine.cmdqLog2) - 1));
    const sync = 0x46n | (3n << 22n) | (0xfn << 24n);
    if (this.pollsByMessage) machine.command([sync | (1n << 12n), BigInt(slot)]);
    else machine.command([0x2046n, 0n]);
    for (let polls = 0; ; polls++) {
      const done = this.pollsByMessage
        ? (machine.peek(slot) & 0xffff_ffffn) === 0n
        : machine.read(R.CMDQ_CONS) === machine.prod;
      if (done) return;
      if (polls > 100) throw new Error('CMD_SYNC timeout');
      machine.smmu.drain(8);
    }
  }

  /** The event thread: all records, then CONS with OVACKFLG. @returns whether there was an overflow. */
  handleEvents(): boolean {
    const { machine } = this;
    const size = 1 << machine.eventqLog2;
    const prod = machine.read(R.EVENTQ_PROD);
    while ((this.eventCons ^ prod) & (2 * size - 1)) {
      this.events.push(machine.record(this.eventCons & (size - 1)));
      const next = (this.eventCons + 1) & (2 * size - 1);
      this.eventCons = (this.eventCons & 0x8000_0000) | next;
    }
    const overflow = ((this.eventCons ^ prod) & 0x8000_0000) !== 0;
    this.eventCons = ((prod & 0x8000_0000) | (this.eventCons & (2 * size - 1))) >>> 0;
    machine.write(R.EVENTQ_CONS, this.eventCons);
    return overflow;
  }

  private handleGlobalError(): void {
    const { machine } = this;
    const gerror = machine.read(R.GERROR);
    const active = gerror ^ machine.read(R.GERRORN);
    if ((active & 1) !== 0) {
      const cons = machine.read(R.CMDQ_CONS);
      this.errors.push(cons >>> 24);
      const slot = CMDQ + 16 * (cons & ((1 << machine.cmdqLog2) - 1));
      if (cons >>> 24 === 1) machine.put(slot, 0x46n, 0n);
    }
    machine.write(R.GERRORN, gerror);
  }

  private leaf(root: number, iova: number): number {
    let table = root;
    for (const shift of [39, 30, 21]) {
      const at = table + 8 * (Math.floor(iova / 2 ** shift) % 512);
      if (this.machine.peek(at) === 0n) {
        this.nextTable += 0x1000;
        this.machine.put(at, BigInt(this.nextTable) | 3n);
      }
      table = Number(this.machine.peek(at) & ~0xfffn);
    }
    return table + 8 * (Math.floor(iova / 4096) % 512);
  }

  private enable(bits: number): void {
    this.machine.write(R.CR0, bits);
    if (this.machine.read(R.CR0ACK) !== bits) throw new Error(`CR0ACK timeout for ${bits}`);
  }

  private irqs(bits: number): void {
    this.machine.write(R.IRQ_CTRL, bits);
    if (this.machine.read(R.IRQ_CTRLACK) !== bits) throw new Error(`IRQ_CTRLACK timeout`);
  }

  private updateGbpa(bits: number): void {
    this.machine.write(R.GBPA, (bits | 0x8000_0000) >>> 0);
    if (this.machine.read(R.GBPA) >>> 31 !== 0) throw new Error('GBPA.Update timeout');
  }
}
