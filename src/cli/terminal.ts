import type { Writable } from 'node:stream';
import picocolors from 'picocolors';

/** What a command is run with; `process` is one. */
export interface Streams {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Environment variables: NO_COLOR, FORCE_COLOR, TERM. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Exit statuses of the command line. */
export const Exit = {
  /** All is well. */
  fine: 0,
  /** A difference, a fault, or something that is missing. */
  found: 1,
  /** Wrong use or broken input. */
  misuse: 2,
} as const;

/** Functions that colour text, or leave it alone. */
export type Colors = ReturnType<typeof picocolors.createColors>;

const CHUNK_CHARACTERS = 65_536;

/** Text on its way to a stream: kept back until there is a good deal of it. */
export class Output {
  /** Whoever reads has closed the stream, or it broke: nothing more arrives. */
  closed = false;
  /** What broke the stream; not set when the reader has merely gone away. */
  error: Error | undefined;
  private readonly stream: Writable;
  private pending = '';

  constructor(stream: Writable) {
    this.stream = stream;
    // Stays in place: the error of the last write may arrive after everything is done.
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.closed = true;
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') this.error ??= error;
    });
  }

  /** Enough is kept back that the caller should {@link flush} before the next line. */
  get full(): boolean {
    return this.pending.length >= CHUNK_CHARACTERS;
  }

  /** Adds text. */
  write(text: string): void {
    this.pending += text;
  }

  /** Adds a line. */
  line(text = ''): void {
    this.pending += `${text}\n`;
  }

  /** Hands over what is kept back, and waits until the stream has taken it. */
  async flush(): Promise<void> {
    const text = this.pending;
    this.pending = '';
    if (text === '' || this.closed) return;
    await new Promise<void>((resolve) => {
      this.stream.write(text, (error) => {
        if (error) this.closed = true;
        resolve();
      });
    });
  }
}

/** Where a command prints, and whether in colour. */
export class Terminal {
  /** What was asked for. */
  readonly out: Output;
  /** Notes and errors. */
  readonly err: Output;
  readonly colorsOut: boolean;
  readonly colorsErr: boolean;
  /** Colours for {@link out}. */
  readonly colors: Colors;
  readonly streams: Streams;

  constructor(streams: Streams) {
    this.streams = streams;
    this.out = new Output(streams.stdout);
    this.err = new Output(streams.stderr);
    this.colorsOut = wantsColors(streams.stdout.isTTY === true, streams.env);
    this.colorsErr = wantsColors(streams.stderr.isTTY === true, streams.env);
    this.colors = picocolors.createColors(this.colorsOut);
  }

  /** {@link out} broke for another reason than that the reader has gone. */
  get failed(): boolean {
    return this.out.error !== undefined;
  }

  /** Adds a note to {@link err}. */
  note(text: string): void {
    this.err.line(`vsmmu: ${text}`);
  }

  /** Hands over everything: the output first. */
  async close(): Promise<void> {
    await this.out.flush();
    if (this.out.error !== undefined) this.note(`cannot write: ${this.out.error.message}`);
    await this.err.flush();
  }
}

/** NO_COLOR wins over FORCE_COLOR; without either, a terminal that is not dumb has colours. */
function wantsColors(isTerminal: boolean, env: Streams['env']): boolean {
  if ((env.NO_COLOR ?? '') !== '') return false;
  const force = env.FORCE_COLOR ?? '';
  if (force !== '') return force !== '0' && force !== 'false';
  return isTerminal && env.TERM !== 'dumb';
}
