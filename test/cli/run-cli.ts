import { Writable } from 'node:stream';
import { run } from '../../src/cli/run.js';

/** What a run of the command line left behind. */
export interface CliRun {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly outIsTTY?: boolean;
  readonly errIsTTY?: boolean;
}

/** Runs the command line in this process. */
export async function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const out = new Collector(options.outIsTTY ?? false);
  const err = new Collector(options.errIsTTY ?? false);
  const status = await run(argv, { stdout: out, stderr: err, env: options.env ?? {} });
  return { status, out: out.text, err: err.text };
}

/** Lines of JSON as values. */
export function jsonLines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

class Collector extends Writable {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** A stream whose reader goes away after the first chunk, or that breaks with another error. */
export class BrokenStream extends Writable {
  chunks = 0;
  private readonly code: string;

  constructor(code: string) {
    super({ decodeStrings: false });
    this.code = code;
  }

  override _write(_chunk: unknown, _encoding: string, done: (error?: Error) => void): void {
    this.chunks++;
    if (this.chunks === 1 && this.code === 'EPIPE') {
      done();
      return;
    }
    done(Object.assign(new Error(`write ${this.code}`), { code: this.code }));
  }
}
