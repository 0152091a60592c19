import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const src = fileURLToPath(new URL('../src/', import.meta.url));

export default defineConfig({
  resolve: {
    // docs/examples imports the package by its name, as its users do.
    alias: [
      { find: /^vsmmu$/, replacement: `${src}index.ts` },
      { find: /^vsmmu\/(fixtures|node)$/, replacement: `${src}$1/index.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    // All processors: by default one is left idle, which on two of them takes twice the time.
    maxWorkers: '100%',
    coverage: {
      // .ci/run asks for it this way: the command stays the README's, and the tests run once.
      enabled: process.env.VSMMU_COVERAGE === '1',
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/index.ts', 'src/*/index.ts', 'src/cli/main.ts'],
      reporter: ['text-summary', 'text'],
      thresholds: { lines: 95, statements: 95, functions: 95, branches: 90 },
    },
  },
});
