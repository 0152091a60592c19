import { writeSync } from 'node:fs';
import { Qtest, QtestError } from './qtest.js';

/**
 * QEMU's test protocol without waiting. While a processor of the guest waits for the answer to a
 * register access, QEMU executes no command: a device that waited for one would wait for ever.
 * Commands are executed in the order in which they are given.
 */
export class PostedQtest extends Qtest {
  private unsent = Buffer.alloc(0);
  private answers = '';
  private readonly waiting: (() => void)[] = [];

  /** Whether QEMU has executed everything. */
  get isQuiet(): boolean {
    return this.waiting.length === 0;
  }

  /** @returns nothing: the answer comes later. */
  override ask(command: string): string {
    this.post(command, () => undefined);
    return '';
  }

  /** Gives a command; `done` is called by {@link collect} when QEMU has executed it. */
  post(command: string, done: () => void): void {
    this.commands++;
    this.waiting.push(done);
    const line = Buffer.from(`${command}\n`);
    this.unsent = this.unsent.length === 0 ? line : Buffer.concat([this.unsent, line]);
    this.flush();
  }

  /** Takes the answers that have come. @throws QtestError when one is a failure. */
  collect(): void {
    if (this.isQuiet) return;
    this.flush();
    for (let count = this.readSome(); count > 0; count = this.readSome()) {
      this.answers += this.buffer.toString('latin1', 0, count);
    }
    const lines = this.answers.split('\n');
    this.answers = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('OK')) throw new QtestError(line);
      this.waiting.shift()?.();
    }
  }

  /** As much as the pipe takes. */
  private flush(): void {
    while (this.unsent.length > 0) {
      try {
        this.unsent = this.unsent.subarray(writeSync(this.toQemu, this.unsent));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return;
        throw error;
      }
    }
  }
}
