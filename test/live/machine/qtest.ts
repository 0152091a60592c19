import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { GICD_BASE } from './addresses.js';

const ANSWER_MS = 20_000;
/** The first register of the distributor that makes interrupts pending, a bit each. */
const GICD_ISPENDR = GICD_BASE + 0x200;
/** Number of shared peripheral interrupt 0. */
const SPI_BASE = 32;
const STORES: Readonly<Record<number, string>> = { 2: 'writew', 4: 'writel', 8: 'writeq' };

/** QEMU is gone, or does not answer. */
export class QtestError extends Error {
  override readonly name = 'QtestError';
}

/** QEMU's test protocol over a pair of named pipes: stores and interrupts, one at a time. */
export class Qtest {
  /** Commands sent. */
  commands = 0;
  protected readonly toQemu: number;
  private readonly fromQemu: number;
  protected readonly buffer = Buffer.alloc(256);
  private readonly nap = new Int32Array(new SharedArrayBuffer(4));
  private isConnected = false;

  /** @param path of the pipes, without `.in` and `.out`. */
  constructor(path: string) {
    execFileSync('mkfifo', [`${path}.in`, `${path}.out`]);
    this.toQemu = openSync(`${path}.in`, constants.O_RDWR | constants.O_NONBLOCK);
    // Not for writing too: so the end of QEMU is the end of the file.
    this.fromQemu = openSync(`${path}.out`, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  /** One store that the guest's processors see whole. */
  store(address: number, value: bigint, bytes: number): void {
    this.ask(`${STORES[bytes]!} 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  /** One edge of a shared peripheral interrupt: pending until the guest takes it. */
  pulse(spi: number): void {
    const id = SPI_BASE + spi;
    const bit = 1n << BigInt(id % 32);
    this.store(GICD_ISPENDR + 4 * Math.floor(id / 32), bit, 4);
  }

  /** Sends a command. @returns the answer behind `OK`. */
  ask(command: string): string {
    this.commands++;
    writeSync(this.toQemu, `${command}\n`);
    const deadline = performance.now() + ANSWER_MS;
    for (let answer = ''; ;) {
      const count = this.readSome();
      if (count > 0) {
        this.isConnected = true;
        answer += this.buffer.toString('latin1', 0, count);
        if (!answer.endsWith('\n')) continue;
        if (!answer.startsWith('OK')) throw new QtestError(`${command}: ${answer.trim()}`);
        return answer.slice(2).trim();
      }
      if (count === 0 && this.isConnected) throw new QtestError('QEMU is gone');
      if (performance.now() > deadline) throw new QtestError(`${command}: no answer`);
      Atomics.wait(this.nap, 0, 0, 0.02);
    }
  }

  close(): void {
    closeSync(this.toQemu);
    closeSync(this.fromQemu);
  }

  /** Bytes read; 0 when nobody has the other end open, -1 when there is nothing yet. */
  protected readSome(): number {
    try {
      return readSync(this.fromQemu, this.buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return -1;
      throw error;
    }
  }
}
