import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('the sample of docs/examples/README.md prints what it says', async () => {
  const text = readFileSync(`${root}docs/examples/README.md`, 'utf8');
  const [, sample] = /^```ts\n(.*?)^```$/ms.exec(text)!;
  const print = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  // Inside the project, so that it may be TypeScript and find the package.
  const folder = mkdtempSync(`${root}test/.sample-`);
  try {
    writeFileSync(`${folder}/sample.ts`, sample!.replace("'./", `'${root}docs/examples/`));
    await import(/* @vite-ignore */ `${folder}/sample.ts`);
    expect(print.mock.calls).toEqual([['needs reset: used ring faults']]);
    expect(text).toContain('`needs reset: used ring faults`');
  } finally {
    print.mockRestore();
    rmSync(folder, { recursive: true });
  }
});
