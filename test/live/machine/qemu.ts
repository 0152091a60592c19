import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Unavailable } from '../guest/unavailable.js';

/**
 * Runs QEMU, and ends it when this shell's input ends: that is when the process that holds the other end is
 * gone, for whatever reason, SIGKILL included. The scratch folder goes with it then. A line ends QEMU only.
 */
const GUARD = `
exec 3<&0
"$@" </dev/null 3<&- &
qemu=$!
( read -r line <&3 || rm -rf "$SCRATCH"; kill -9 $qemu 2>/dev/null ) &
guard=$!
wait $qemu
status=$?
kill $guard 2>/dev/null
exit $status
`;

export const QEMU = process.env.VSMMU_LIVE_QEMU ?? 'qemu-system-aarch64';

const run = promisify(execFile);

/** Programs that the machine needs besides QEMU, and the packages that have them. */
const PROGRAMS = { xz: 'xz-utils', mkfifo: 'coreutils' } as const;

/** QEMU's version, for example 7.2.22. @throws Unavailable when a program is missing. */
export async function qemuVersion(): Promise<string> {
  for (const [program, package_] of Object.entries(PROGRAMS)) {
    await versionOf(program, package_);
  }
  return /version (\S+)/.exec(await versionOf(QEMU, 'qemu-system-arm'))?.[1] ?? 'unknown';
}

async function versionOf(program: string, package_: string): Promise<string> {
  try {
    return (await run(program, ['--version'], { timeout: 20_000 })).stdout;
  } catch {
    throw new Unavailable(`no ${program}: install ${package_}`);
  }
}

/** Has QEMU write the device tree of `machine` to `file`. */
export async function dumpDeviceTree(args: readonly string[], file: string): Promise<Buffer> {
  await run(QEMU, [...args, '-machine', `dumpdtb=${file}`], { timeout: 60_000 });
  return readFileSync(file);
}

/** A running QEMU. */
export class QemuProcess {
  /** Exit status, or the name of the signal; `undefined` while it runs. */
  exit: number | string | undefined;
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  /** @param scratch folder that is removed should this process be killed. */
  constructor(args: readonly string[], scratch: string, errors: string) {
    const file = openSync(errors, 'w');
    this.child = spawn('sh', ['-c', GUARD, 'sh', QEMU, ...args], {
      // A group of its own: an interrupt from the terminal comes to this process first.
      detached: true,
      env: { ...process.env, SCRATCH: scratch },
      stdio: ['pipe', 'ignore', file],
    });
    closeSync(file);
    // The shell may be gone already when it is told to stop.
    this.child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      const settle = (exit: number | string): void => {
        this.exit ??= exit;
        resolve();
      };
      this.child.once('exit', (code, signal) => {
        settle(code ?? signal ?? 'unknown');
      });
      this.child.once('error', (error) => {
        settle(error.message);
      });
    });
  }

  /** Ends QEMU if it still runs. */
  async stop(): Promise<void> {
    if (this.exit === undefined) this.child.stdin?.end('stop\n');
    await this.ended;
  }
}
