import { closeSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { AccessorMemory, type GuestMemory } from 'vsmmu';
import { RAM_BASE, RAM_BYTES, RAM_END } from './addresses.js';

/** One store of 2, 4 or 8 bytes that the guest's processors see whole. */
export type WholeStore = (address: number, value: bigint, bytes: number) => void;

/** Bytes that are read until two reads agree. */
const AGREED_BYTES = 64;

/**
 * The guest's RAM: a file that QEMU maps, and that this process reads and writes. The kernel promises
 * nothing about how it copies a few bytes while a processor of the guest writes them. So small reads
 * are repeated until two agree, a store that changes one byte writes that byte, and one that changes
 * several goes through QEMU, which makes one store of it.
 */
export class RamFile {
  readonly path: string;
  /** Set once QEMU runs; before that nobody looks. */
  storeWhole: WholeStore | undefined;
  private readonly file: number;
  private readonly first = new Uint8Array(AGREED_BYTES);
  private readonly second = new Uint8Array(AGREED_BYTES);
  private readonly byte = new Uint8Array(1);
  private isLinked = true;

  constructor(path: string) {
    this.path = path;
    this.file = openSync(path, 'wx+');
    ftruncateSync(this.file, RAM_BYTES);
  }

  /** What the SMMU and the devices behind it see: RAM without the hidden pages. */
  guestMemory(): GuestMemory {
    const isBacked = (address: number, bytes: number): boolean =>
      address >= RAM_BASE && address + bytes <= RAM_END;
    return new AccessorMemory({
      read: (address, bytes) => {
        if (!isBacked(address, bytes.length)) return false;
        this.read(address, bytes);
        return true;
      },
      write: (address, bytes) => {
        if (!isBacked(address, bytes.length)) return false;
        this.write(address, bytes);
        return true;
      },
    });
  }

  /** Fills `bytes` from `address`, hidden pages included. */
  read(address: number, bytes: Uint8Array): void {
    const { length } = bytes;
    if (length > AGREED_BYTES) {
      this.copyOut(address, bytes, length);
      return;
    }
    const { first, second } = this;
    this.copyOut(address, first, length);
    for (;;) {
      this.copyOut(address, second, length);
      let i = 0;
      while (i < length && first[i] === second[i]) i++;
      if (i === length) break;
      first.set(second);
    }
    for (let i = 0; i < length; i++) bytes[i] = first[i]!;
  }

  /** Writes `bytes` to `address`, hidden pages included. */
  write(address: number, bytes: Uint8Array): void {
    const { length } = bytes;
    const isUnit = (length === 2 || length === 4 || length === 8) && address % length === 0;
    if (!isUnit || this.storeWhole === undefined) {
      this.writeLoose(address, bytes);
      return;
    }
    const before = this.second;
    this.copyOut(address, before, length);
    let changed = -1;
    let changes = 0;
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) {
      value = (value << 8n) | BigInt(bytes[i]!);
      if (bytes[i] === before[i]) continue;
      changed = i;
      changes++;
    }
    if (changes === 0) return;
    if (changes > 1) {
      this.storeWhole(address, value, length);
      return;
    }
    this.byte[0] = bytes[changed]!;
    writeSync(this.file, this.byte, 0, 1, address + changed - RAM_BASE);
  }

  /** As {@link write}, where it does no harm that a processor sees some bytes before others. */
  writeLoose(address: number, bytes: Uint8Array): void {
    writeSync(this.file, bytes, 0, bytes.length, address - RAM_BASE);
  }

  /** Takes the file's name away, when QEMU has opened it: nothing of it stays behind then. */
  unlink(): void {
    if (!this.isLinked) return;
    this.isLinked = false;
    unlinkSync(this.path);
  }

  close(): void {
    closeSync(this.file);
  }

  private copyOut(address: number, into: Uint8Array, length: number): void {
    const count = readSync(this.file, into, 0, length, address - RAM_BASE);
    if (count !== length) throw new Error(`RAM at 0x${address.toString(16)} cannot be read`);
  }
}
