import { RamFile } from './ram-file.js';
import type { PostedQtest } from './vfio-user-qtest.js';

/** Bytes on their way to RAM. */
interface PostedStore {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/**
 * The guest's RAM when stores that must be whole are made later, by a QEMU that nobody waits for. They
 * are made in order; this process reads them at once; and what is no such store is in RAM before any
 * that is given afterwards.
 */
export class PostedRam extends RamFile {
  private readonly qtest: Pick<PostedQtest, 'post'>;
  private readonly posted: PostedStore[] = [];

  constructor(path: string, qtest: Pick<PostedQtest, 'post'>) {
    super(path);
    this.qtest = qtest;
  }

  override read(address: number, bytes: Uint8Array): void {
    super.read(address, bytes);
    for (const store of this.posted) overlay(address, bytes, store);
  }

  override write(address: number, bytes: Uint8Array): void {
    const { length } = bytes;
    const isUnit = (length === 2 || length === 4 || length === 8) && address % length === 0;
    const isOrdered = isUnit || this.posted.some((store) => isTouched(address, length, store));
    if (this.storeWhole === undefined || !isOrdered) {
      this.writeLoose(address, bytes);
      return;
    }
    const store = { address, bytes: bytes.slice() };
    this.posted.push(store);
    this.qtest.post(isUnit ? unitCommand(store) : bytesCommand(store), () => this.posted.shift());
  }
}

function isTouched(address: number, length: number, store: PostedStore): boolean {
  return address < store.address + store.bytes.length && store.address < address + length;
}

function overlay(address: number, into: Uint8Array, store: PostedStore): void {
  if (!isTouched(address, into.length, store)) return;
  const from = Math.max(address, store.address);
  const end = Math.min(address + into.length, store.address + store.bytes.length);
  into.set(store.bytes.subarray(from - store.address, end - store.address), from - address);
}

/** One store, of a value that is written as a number. */
function unitCommand({ address, bytes }: PostedStore): string {
  const name = { 2: 'writew', 4: 'writel', 8: 'writeq' }[bytes.length]!;
  const value = Buffer.from(bytes).reverse().toString('hex');
  return `${name} 0x${address.toString(16)} 0x${value}`;
}

function bytesCommand({ address, bytes }: PostedStore): string {
  const data = Buffer.from(bytes).toString('hex');
  return `write 0x${address.toString(16)} 0x${bytes.length.toString(16)} 0x${data}`;
}
