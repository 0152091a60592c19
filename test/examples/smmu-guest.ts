/**
 * A guest with an SMMU, as its driver sees both: page tables in memory, a command queue and an event
 * queue behind registers. What is mapped is kept once more in a plain map, for the guest's own accesses.
 */
import { Smmu, type GuestMemory } from 'vsmmu';
import { GuestBuilder, type AddressSpaceBuilder } from 'vsmmu/fixtures';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';

export const PAGE = 4096;
export const STREAM = 0x42;
const ASID = 7;
const CMDQ_LOG2 = 6;
const EVENTQ_LOG2 = 6;

/** Where a page of the IOVA space goes, and what the device may do there. */
export interface Mapping {
  readonly address: number;
  readonly write: boolean;
}

export class SmmuGuest {
  readonly smmu: Smmu;
  readonly memory: GuestMemory;
  /** By the number of the IOVA page. */
  readonly mappings = new Map<bigint, Mapping>();
  private readonly guest = new GuestBuilder();
  private readonly space: AddressSpaceBuilder;
  private readonly commands: number;
  private readonly records: number;
  private commandProd = 0;
  private eventCons = 0;

  constructor() {
    const { guest } = this;
    this.memory = guest.memory;
    this.space = guest.addressSpace({ cd: { ASID } });
    guest.attach(STREAM, this.space);
    this.commands = guest.allocate(16 << CMDQ_LOG2, 16 << CMDQ_LOG2);
    this.records = guest.allocate(32 << EVENTQ_LOG2, 32 << EVENTQ_LOG2);
    this.smmu = new Smmu({ memory: guest.memory });
    const streamTable = guest.steAddress(0);
    this.smmu.writeRegister(R.STRTAB_BASE, 8, streamTable);
    this.smmu.writeRegister(R.STRTAB_BASE_CFG, 4, 8);
    this.smmu.writeRegister(R.CMDQ_BASE, 8, this.commands + CMDQ_LOG2);
    this.smmu.writeRegister(R.EVENTQ_BASE, 8, this.records + EVENTQ_LOG2);
    this.smmu.writeRegister(R.CR2, 4, 2);
    this.smmu.writeRegister(R.CR0, 4, SMMUEN | EVENTQEN | CMDQEN);
  }

  /** Physical address of a new page; two pages never follow each other. */
  page(): number {
    return this.guest.allocate(2 * PAGE, PAGE);
  }

  /** Maps new pages, or `address` for a single one. */
  map(iova: bigint, pages = 1, write = true, address?: number): void {
    for (let i = 0n; i < pages; i++) {
      const mapping = { address: address ?? this.page(), write };
      this.space.map(iova + i * 4096n, mapping.address, PAGE, { write });
      this.mappings.set((iova >> 12n) + i, mapping);
    }
  }

  /** Makes pages invalid, without telling the SMMU. */
  unmap(iova: bigint, pages = 1): void {
    this.space.unmap(iova, pages * PAGE);
    for (let i = 0n; i < pages; i++) this.mappings.delete((iova >> 12n) + i);
  }

  /** CMD_TLBI_NH_VA with Leaf for each page, then CMD_SYNC, and waits for it. */
  invalidate(iova: bigint, pages = 1): void {
    for (let i = 0n; i < pages; i++) {
      this.command(0x12n | (BigInt(ASID) << 48n), ((iova + i * 4096n) & ~0xfffn) | 1n);
    }
    this.command(0x46n, 0n);
    if (this.smmu.readRegister(R.CMDQ_CONS, 4) !== this.commandProd) throw new Error('no sync');
  }

  /** The event records since the last call, as four 64-bit words each. */
  events(): bigint[][] {
    const prod = Number(this.smmu.readRegister(R.EVENTQ_PROD, 4));
    if (prod >>> 31 !== 0) throw new Error('the event queue has overflowed');
    const found: bigint[][] = [];
    while (this.eventCons !== prod) {
      const slot = this.eventCons & ((1 << EVENTQ_LOG2) - 1);
      const words = new BigUint64Array(4);
      this.memory.loadBytes(this.records + 32 * slot, new Uint8Array(words.buffer), 0, 32);
      found.push([...words]);
      this.eventCons = (this.eventCons + 1) & ((2 << EVENTQ_LOG2) - 1);
    }
    this.smmu.writeRegister(R.EVENTQ_CONS, 4, prod);
    return found;
  }

  /** The guest's processor writes where the device finds it at `iova`. */
  write(iova: bigint, bytes: Uint8Array): void {
    for (const [at, address, count] of this.pieces(iova, bytes.length)) {
      this.memory.storeBytes(address, bytes, at, count);
    }
  }

  /** The guest's processor reads what the device sees at `iova`. */
  read(iova: bigint, count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (const [at, address, length] of this.pieces(iova, count)) {
      this.memory.loadBytes(address, bytes, at, length);
    }
    return bytes;
  }

  private command(low: bigint, high: bigint): void {
    const slot = this.commandProd & ((1 << CMDQ_LOG2) - 1);
    const bytes = new Uint8Array(new BigUint64Array([low, high]).buffer);
    this.memory.storeBytes(this.commands + 16 * slot, bytes, 0, 16);
    this.commandProd = (this.commandProd + 1) & ((2 << CMDQ_LOG2) - 1);
    this.smmu.writeRegister(R.CMDQ_PROD, 4, this.commandProd);
  }

  /** Index of the first byte, physical address and length of each part that lies in one page. */
  private *pieces(iova: bigint, length: number): Generator<[number, number, number]> {
    for (let done = 0; done < length;) {
      const at = iova + BigInt(done);
      const offset = Number(at & 0xfffn);
      const count = Math.min(PAGE - offset, length - done);
      const mapping = this.mappings.get(at >> 12n);
      if (mapping === undefined) throw new Error(`0x${at.toString(16)} is not mapped`);
      yield [done, mapping.address + offset, count];
      done += count;
    }
  }
}

/** F_TRANSLATION (0x10) or F_PERMISSION (0x13) of an access by {@link STREAM}: CLASS=IN [105:104], RnW [99]. */
export function faultRecord(event: 0x10 | 0x13, access: 'read' | 'write', iova: bigint): bigint[] {
  const rnw = access === 'read' ? 1n << 35n : 0n;
  return [(BigInt(STREAM) << 32n) | BigInt(event), (2n << 40n) | rnw, iova, 0n];
}
