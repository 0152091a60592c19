import cliProgress from 'cli-progress';
import type { Terminal } from './terminal.js';

/** Work that is done sooner shows no bar. */
const QUIET_MILLISECONDS = 300;

/** A progress bar on stderr: only on a terminal, and only for work that takes a while. */
export class Progress {
  private readonly terminal: Terminal;
  private readonly what: string;
  private readonly total: number;
  private readonly started = Date.now();
  private bar: cliProgress.SingleBar | undefined;

  /**
   * @param what is being done.
   * @param total how much there is to do.
   */
  constructor(terminal: Terminal, what: string, total: number) {
    this.terminal = terminal;
    this.what = what;
    this.total = total;
  }

  /** Says how much is done. */
  update(done: number): void {
    if (this.terminal.streams.stderr.isTTY !== true) return;
    if (this.bar === undefined) {
      if (Date.now() - this.started < QUIET_MILLISECONDS) return;
      this.bar = new cliProgress.SingleBar({
        stream: this.terminal.streams.stderr,
        format: `${this.what} [{bar}] {percentage}%`,
        clearOnComplete: true,
        gracefulExit: false,
      });
      this.bar.start(this.total, done);
    }
    this.bar.update(Math.min(done, this.total));
  }

  /** Takes the bar away; the next {@link update} brings it back. Call it before anything is printed. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }
}
