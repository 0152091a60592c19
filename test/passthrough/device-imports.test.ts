import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** Imports of a module: from where, and whether of types alone. */
function importsOf(file: string): { from: string; isType: boolean }[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  const found = text.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)';/gms);
  return [...found].map(([, type, from]) => ({
    from: relative(SRC, join(SRC, dirname(file), from!)).replace(/\.js$/, '.ts'),
    isType: type !== undefined,
  }));
}

const own = readdirSync(join(SRC, 'passthrough')).map((name) => `passthrough/${name}`);

/** Everything that runs when `file` does. */
function reached(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const { from, isType } of importsOf(file)) if (!isType) reached(from, seen);
  return seen;
}

/** Modules that can read the guest's memory, or know what a CD or a table looks like. */
const READERS =
  /^(memory\/(guest-memory|ram-memory|sparse-memory|accessor-memory|recording-memory|region|shared-words)|arch\/(cd|descriptor)|ioas\/|mirror\/|tlb\/|transaction\/(substream|context|walk|stream|descriptor|configuration|configuration-cache|translat(or|e)|cached-translate|survey|cd-rules|explain)|device\/|core|smmu|hardware-host|state)/;

describe('src/passthrough', () => {
  test('is what is looked at', () => {
    expect(own.length).toBeGreaterThan(10);
    expect(importsOf('passthrough/passthrough-device.ts').length).toBeGreaterThan(5);
    expect([...reached('transaction/walk.ts')].some((file) => READERS.test(file))).toBe(true);
    expect(importsOf('hardware-host.ts').map(({ from }) => from)).toContain(
      'transaction/stream.ts',
    );
  });

  test.each(own)('%s imports no module, and no type, that reads guest memory', (file) => {
    const direct = importsOf(file).map(({ from }) => from);
    expect(direct.filter((from) => READERS.test(from))).toEqual([]);
  });

  test('reaches none by way of others', () => {
    const all = new Set(own.flatMap((file) => [...reached(file)]));
    expect([...all].filter((file) => READERS.test(file))).toEqual([]);
  });

  test('has no global and no dynamic import to get there', () => {
    for (const file of own) {
      const text = readFileSync(join(SRC, file), 'utf8');
      expect(text).not.toMatch(/\bimport\(|\brequire\(|globalThis|GuestMemory/);
    }
  });
});
