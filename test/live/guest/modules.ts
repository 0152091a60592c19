import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** A kernel module, unpacked. */
export interface KernelModule {
  readonly name: string;
  readonly data: Buffer;
}

/**
 * The modules `wanted` and those that they need, in the order in which they are to be loaded. A name that
 * is no module is left out: that driver is part of the kernel.
 * @param folder where `lib/modules` is.
 */
export function loadModules(folder: string, wanted: readonly string[]): KernelModule[] {
  const files = new Map<string, string>();
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const match = /^(.+)\.ko(\.xz)?$/.exec(basename(file));
    if (match !== null) files.set(normal(match[1]!), join(folder, file));
  }
  const modules = new Map<string, KernelModule>();
  const visiting = new Set<string>();
  const visit = (given: string): void => {
    const name = normal(given);
    const file = files.get(name);
    if (file === undefined || visiting.has(name)) return;
    visiting.add(name);
    const data = file.endsWith('.xz') ? unpack(file) : readFileSync(file);
    needsOf(data).forEach(visit);
    modules.set(name, { name, data });
  };
  wanted.forEach(visit);
  return [...modules.values()];
}

/** Debian's modules are compressed; busybox's insmod wants them plain. */
function unpack(file: string): Buffer {
  return execFileSync('xz', ['--decompress', '--stdout', file], { maxBuffer: 1 << 28 });
}

/** Names in the `depends` and `softdep` lines of a module's information section. */
function needsOf(data: Buffer): string[] {
  const needs: string[] = [];
  for (const key of ['\0depends=', '\0softdep=pre: ']) {
    for (let at = data.indexOf(key, 0, 'latin1'); at >= 0;) {
      const start = at + key.length;
      const end = data.indexOf(0, start);
      needs.push(...data.toString('latin1', start, end).split(/[ ,]+/));
      at = data.indexOf(key, end, 'latin1');
    }
  }
  return needs.filter((name) => name !== '' && name !== 'post:');
}

/** File names have hyphens where the kernel has underscores. */
function normal(name: string): string {
  return name.replaceAll('-', '_');
}
