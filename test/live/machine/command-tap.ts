import { COMMAND_BYTES, get, getAddress, Register, type GuestMemory, type Smmu } from 'vsmmu';

/** Looks at, or changes, a command that the vSMMU has just read: 4 words from index `at`. */
export type CommandChange = (words: Uint32Array, at: number) => void;

const { CMDQ_BASE } = Register;
const COMMAND_WORDS = COMMAND_BYTES / 4;

/** Guest memory in which the commands of the command queue can be seen, or changed, as they are read. */
export class CommandTap implements GuestMemory {
  protected readonly memory: GuestMemory;
  private readonly smmu: () => Smmu;
  private readonly change: CommandChange;
  private readonly base = new Uint32Array(2);

  constructor(memory: GuestMemory, smmu: () => Smmu, change: CommandChange) {
    this.memory = memory;
    this.smmu = smmu;
    this.change = change;
  }

  load(address: number, into: Uint32Array, at: number, count: number): boolean {
    const isRead = this.memory.load(address, into, at, count);
    if (isRead && count === COMMAND_WORDS && this.isCommand(address)) this.change(into, at);
    return isRead;
  }

  load64(high: number, low: number, into: Uint32Array): boolean {
    return this.memory.load64(high, low, into);
  }

  store(address: number, from: Uint32Array, at: number, count: number): boolean {
    return this.memory.store(address, from, at, count);
  }

  loadBytes(address: number, into: Uint8Array, at: number, count: number): boolean {
    return this.memory.loadBytes(address, into, at, count);
  }

  storeBytes(address: number, from: Uint8Array, at: number, count: number): boolean {
    return this.memory.storeBytes(address, from, at, count);
  }

  compareExchange(address: number, words: Uint32Array, at: number): number {
    return this.memory.compareExchange(address, words, at);
  }

  private isCommand(address: number): boolean {
    const smmu = this.smmu();
    this.base[0] = Number(smmu.readRegister(CMDQ_BASE.offset, 4));
    this.base[1] = Number(smmu.readRegister(CMDQ_BASE.offset + 4, 4));
    const from = getAddress(this.base, 0, CMDQ_BASE.fields.ADDR);
    const bytes = COMMAND_BYTES * 2 ** get(this.base, 0, CMDQ_BASE.fields.LOG2SIZE);
    return address >= from && address < from + bytes;
  }
}
