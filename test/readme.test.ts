import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The TypeScript samples of a document, with the package's names replaced by its sources. */
function samples(file: string): string[] {
  const text = readFileSync(`${root}${file}`, 'utf8');
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) =>
    code!
      .replaceAll("'vsmmu'", `'${root}src/index.ts'`)
      .replaceAll("'vsmmu/fixtures'", `'${root}src/fixtures/index.ts'`)
      .replaceAll("'vsmmu/node'", `'${root}src/node/index.ts'`),
  );
}

let folder = '';

/** Runs a sample as a module and returns the lines that it printed. */
async function run(code: string): Promise<string[]> {
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((...values: unknown[]) => {
    lines.push(values.map(String).join(' '));
  });
  // Inside the project, so that the sample may be TypeScript.
  folder = mkdtempSync(`${root}test/.sample-`);
  writeFileSync(`${folder}/sample.ts`, code);
  await import(/* @vite-ignore */ `${folder}/sample.ts`);
  return lines;
}

afterEach(() => {
  vi.restoreAllMocks();
  if (folder !== '') rmSync(folder, { recursive: true, force: true });
  folder = '';
});

test('the sample of the README prints what the README says', async () => {
  const [sample, ...others] = samples('README.md');
  expect(others).toEqual([]);
  expect(await run(sample!)).toEqual([
    '0x80000123',
    'event 0x13: the permissions do not allow this access (DDI 0487, section D8.4)',
  ]);
});

test('the sample of docs/embedding.md prints what happens', async () => {
  const [sample, ...others] = samples('docs/embedding.md');
  expect(others).toEqual([]);
  expect(await run(sample!)).toEqual([
    'CR0ACK 0x5',
    'interrupt: eventq',
    'true event 0x4',
    '[object Object]',
  ]);
});

test('the sample of docs/mirror.md prints what it says', async () => {
  const [sample, ...others] = samples('docs/mirror.md');
  expect(others).toEqual([]);
  expect(await run(sample!)).toEqual([
    'map 0x100000 8192',
    'map 0x200000 4096',
    'unmap 0x100000 4096',
    '0x101000 -> 0x80001000',
    '0x200000 -> 0x80005000',
  ]);
});

test('the sample of docs/passthrough.md prints what it says', async () => {
  const [sample, ...others] = samples('docs/passthrough.md');
  expect(others).toEqual([]);
  expect(await run(sample!)).toEqual(['bypass', 'nested', '2', 'TLBI_NH_VA,SYNC', 'ioas']);
});

test('the sample of docs/devices.md prints what it says', async () => {
  const [sample, ...others] = samples('docs/devices.md');
  expect(others).toEqual([]);
  expect(await run(sample!)).toEqual([
    '4',
    '1027',
    '-1 the permissions do not allow this access (DDI 0487, section D8.4)',
    '16384 1',
    '6',
  ]);
});

describe('the samples of docs/fixtures.md run', () => {
  const all = samples('docs/fixtures.md');

  test('there are some', () => {
    expect(all.length).toBeGreaterThan(0);
  });

  test.each(all.map((code, index) => [index + 1, code] as const))('sample %i', async (_, code) => {
    expect((await run(code)).length).toBeGreaterThan(0);
  });
});
