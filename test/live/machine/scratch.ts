import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where memory files cost no disk writes, on Linux. */
const SHARED_MEMORY = '/dev/shm';
const folders = new Set<string>();

/** A new folder, which is removed when this process ends, if not before. */
export function makeScratch(): string {
  let base = process.env.VSMMU_LIVE_SCRATCH ?? SHARED_MEMORY;
  try {
    accessSync(base, constants.W_OK);
  } catch {
    base = tmpdir();
  }
  removeAtExit();
  const folder = mkdtempSync(join(base, 'vsmmu-live-'));
  folders.add(folder);
  return folder;
}

export function removeScratch(folder: string): void {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true });
}

let isWatching = false;

/** QEMU needs nothing here: the shell around it sees that this process has ended. */
function removeAtExit(): void {
  if (isWatching) return;
  isWatching = true;
  process.on('exit', () => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  for (const [signal, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(signal, () => {
      process.exit(128 + number);
    });
  }
}
