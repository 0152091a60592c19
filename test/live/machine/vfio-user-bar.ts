import type { MachineListener, RegisterBlock } from './transport.js';
import type { BarAccess } from './vfio-user-device.js';

const WORD = 4;
const WIDE = 8;

/** Blocks of registers in a BAR: each access of a processor comes as it was made. */
export class RegisterBar implements BarAccess {
  readonly bytes: number;
  private readonly address: number;
  private readonly blocks: readonly RegisterBlock[];
  private readonly listener: MachineListener;

  /** @param address guest-physical address of the BAR. */
  constructor(address: number, blocks: readonly RegisterBlock[], listener: MachineListener) {
    this.address = address;
    this.blocks = blocks;
    this.listener = listener;
    const end = Math.max(...blocks.map((block) => block.address + block.bytes)) - address;
    this.bytes = 2 ** Math.ceil(Math.log2(end));
  }

  read(offset: number, count: number): Buffer {
    const { block, at } = this.find(offset, count);
    if (count === WIDE && at % WIDE === 0 && block.readWide !== undefined) {
      const bytes = Buffer.alloc(WIDE);
      bytes.writeBigUInt64LE(block.readWide(at));
      this.tellOfRead(block, at, bytes);
      return bytes;
    }
    // Configuration of a virtio device is read in units of any size.
    const first = at - (at % WORD);
    const bytes = Buffer.alloc(WORD * Math.ceil((at + count - first) / WORD));
    for (let i = 0; i < bytes.length; i += WORD) bytes.writeUInt32LE(block.read(first + i), i);
    this.tellOfRead(block, first, bytes);
    return bytes.subarray(at - first, at - first + count);
  }

  write(offset: number, data: Buffer): void {
    const { block, at } = this.find(offset, data.length);
    if ((data.length !== WORD && data.length !== WIDE) || at % data.length !== 0) {
      throw new Error(`${block.name}: a write of ${data.length} bytes at 0x${at.toString(16)}`);
    }
    for (let i = 0; i < data.length; i += WORD) {
      this.listener.registerWritten?.(block.name, at + i, data.readUInt32LE(i));
    }
    if (data.length === WIDE && block.writeWide !== undefined) {
      block.writeWide(at, data.readBigUInt64LE());
      return;
    }
    for (let i = 0; i < data.length; i += WORD) block.write(at + i, data.readUInt32LE(i));
  }

  private tellOfRead(block: RegisterBlock, at: number, bytes: Buffer): void {
    for (let i = 0; i < bytes.length; i += WORD) {
      this.listener.registerPublished?.(block.name, at + i, bytes.readUInt32LE(i));
    }
  }

  private find(offset: number, count: number): { block: RegisterBlock; at: number } {
    for (const block of this.blocks) {
      const at = this.address + offset - block.address;
      if (at >= 0 && at + count <= block.bytes) return { block, at };
    }
    // The device tree names nothing else.
    throw new Error(`there are no registers at 0x${(this.address + offset).toString(16)}`);
  }
}
