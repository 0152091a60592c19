import { HIDDEN_BASE } from './addresses.js';
import type { Qtest } from './qtest.js';
import type { RamFile } from './ram-file.js';
import type { MachineListener, RegisterBlock, Transport } from './transport.js';

/** A block, with what was last seen of its registers. */
interface Watched {
  readonly block: RegisterBlock;
  readonly shadow: DataView;
  readonly windows: readonly Window[];
}

/** A stretch of registers, as it was seen last. */
interface Window {
  readonly first: number;
  readonly bytes: Buffer;
  readonly view: DataView;
  /** As it was seen before that. */
  readonly before: Buffer;
}

/** A register that the guest has changed. */
interface Change {
  readonly offset: number;
  readonly value: number;
  readonly rank: number;
}

/**
 * Registers in pages of guest RAM that Linux does not use: this process looks for values that have
 * changed. It sees the last of several writes, and none that repeats a value. Drivers of the SMMU and of
 * virtio-mmio wait for answers wherever that would matter.
 */
export class PollingTransport implements Transport {
  readonly name = 'polling';
  readonly registers = HIDDEN_BASE;
  readonly qemuArguments: readonly string[] = [];
  private readonly ram: RamFile;
  private readonly qtest: Qtest;
  private readonly word = new Uint8Array(4);
  private readonly wordView = new DataView(this.word.buffer);
  private watched: Watched[] = [];
  private listener: MachineListener = {};

  constructor(ram: RamFile, qtest: Qtest) {
    this.ram = ram;
    this.qtest = qtest;
  }

  /** Fills the pages: to be called before the guest runs. */
  start(blocks: readonly RegisterBlock[], listener: MachineListener): void {
    this.listener = listener;
    this.watched = blocks.map((block) => {
      const shadow = new DataView(new ArrayBuffer(block.bytes));
      const { doorbells } = block.polled;
      for (let offset = 0; offset < block.bytes; offset += 4) {
        const value = doorbells.get(offset) ?? block.read(offset);
        shadow.setUint32(offset, value, true);
      }
      this.ram.write(block.address, new Uint8Array(shadow.buffer));
      const windows = block.polled.windows.map(([first, end]) => {
        const bytes = Buffer.alloc(end - first);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        return { first, bytes, view, before: Buffer.alloc(bytes.length) };
      });
      return { block, shadow, windows };
    });
  }

  poll(): boolean {
    let isBusy = false;
    for (const watched of this.watched) if (this.pollBlock(watched)) isBusy = true;
    return isBusy;
  }

  publish(): void {
    for (const watched of this.watched) this.publishBlock(watched);
  }

  interrupt(name: string, spi: number): void {
    this.publish();
    this.listener.interrupt?.(name, spi);
    this.qtest.pulse(spi);
  }

  private pollBlock(watched: Watched): boolean {
    const { block, shadow, windows } = watched;
    const { polled } = block;
    if (!this.look(watched)) return false;
    this.settle(watched);
    const changes: Change[] = [];
    for (const { first, view } of windows) {
      for (let at = 0; at < view.byteLength; at += 4) {
        const offset = first + at;
        const value = view.getUint32(at, true);
        if (value !== shadow.getUint32(offset, true) && polled.isWatched(offset)) {
          changes.push({ offset, value, rank: polled.late.indexOf(offset) });
        }
      }
    }
    changes.sort((a, b) => a.rank - b.rank || a.offset - b.offset);
    for (const { offset, value } of changes) {
      const idle = polled.doorbells.get(offset);
      if (idle === undefined) shadow.setUint32(offset, value, true);
      else this.arm(block.address + offset, idle);
      this.listener.registerWritten?.(block.name, offset, value);
      block.write(offset, value);
    }
    this.publish();
    return true;
  }

  /** Reads the windows. @returns whether the guest has changed anything of interest. */
  private look({ block, shadow, windows }: Watched): boolean {
    let isChanged = false;
    for (const { first, bytes, view } of windows) {
      this.ram.read(block.address + first, bytes);
      for (let at = 0; at < bytes.length && !isChanged; at += 4) {
        const offset = first + at;
        const isNew = view.getUint32(at, true) !== shadow.getUint32(offset, true);
        isChanged = isNew && block.polled.isWatched(offset);
      }
    }
    return isChanged;
  }

  /**
   * Looks until two looks agree. No value is half written then, and what the guest wrote before one of the
   * late registers has been seen, wherever it lies.
   */
  private settle({ block, windows }: Watched): void {
    for (let isSame = false; !isSame;) {
      isSame = true;
      for (const { first, bytes, before } of windows) {
        bytes.copy(before);
        this.ram.read(block.address + first, bytes);
        if (!bytes.equals(before)) isSame = false;
      }
    }
  }

  private publishBlock({ block, shadow }: Watched): void {
    for (const offset of block.polled.published) {
      const value = block.read(offset);
      const before = shadow.getUint32(offset, true);
      if (value === before) continue;
      shadow.setUint32(offset, value, true);
      this.put(block.address + offset, value);
      this.listener.registerPublished?.(block.name, offset, value);
      const queue = block.polled.outputs.get(offset);
      if (queue === undefined) continue;
      // The guest writes its index, then looks at this one: if it had all that it knew of, it is told.
      const taken = this.get(block.address + queue.consumer);
      if (((taken ^ before) & queue.mask) === 0) this.interrupt(queue.interrupt, queue.spi);
    }
  }

  /** Before the device looks: a write from now on is seen, since any mixture of bytes is another value. */
  private arm(address: number, idle: number): void {
    this.wordView.setUint32(0, idle, true);
    this.ram.writeLoose(address, this.word);
  }

  private get(address: number): number {
    this.ram.read(address, this.word);
    return this.wordView.getUint32(0, true);
  }

  private put(address: number, value: number): void {
    this.wordView.setUint32(0, value, true);
    this.ram.write(address, this.word);
  }
}
