import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';

/** The guest's serial console over a pair of named pipes. */
export class Console {
  /** Everything that the guest has written, without carriage returns. */
  text = '';
  private readonly input: number;
  private readonly output: number;
  private readonly buffer = Buffer.alloc(65_536);
  private seen = 0;

  /** @param path of the pipes, without `.in` and `.out`. */
  constructor(path: string) {
    execFileSync('mkfifo', [`${path}.in`, `${path}.out`]);
    this.input = openSync(`${path}.in`, constants.O_RDWR | constants.O_NONBLOCK);
    this.output = openSync(`${path}.out`, constants.O_RDWR | constants.O_NONBLOCK);
  }

  /** The complete lines that have come since the last call. */
  lines(): string[] {
    for (let count = this.readSome(); count > 0; count = this.readSome()) {
      this.text += this.buffer.toString('latin1', 0, count).replaceAll('\r', '');
    }
    const end = this.text.lastIndexOf('\n') + 1;
    if (end <= this.seen) return [];
    const lines = this.text.slice(this.seen, end - 1).split('\n');
    this.seen = end;
    return lines;
  }

  /** Types a line. */
  type(line: string): void {
    writeSync(this.input, `${line}\n`);
  }

  close(): void {
    closeSync(this.input);
    closeSync(this.output);
  }

  private readSome(): number {
    try {
      return readSync(this.output, this.buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      throw error;
    }
  }
}
