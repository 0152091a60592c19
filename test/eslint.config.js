import { builtinModules } from 'node:module';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const message = 'BigInt stays in src/memory/u64.ts.';
const nobody = { group: ['../*'], message: 'arch and memory import nobody.' };
const nodeBuiltins = builtinModules.flatMap((name) => [name, `${name}/*`]);

export default defineConfig([
  { ignores: ['dist/**', 'coverage/**', 'test/*.config.js'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: process.cwd() } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Typed-array elements are read as `words[i]!`.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['test/bench/**/*.mjs', '.ci/**/*.mjs'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/memory/u64.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: 'Literal[bigint], TSBigIntKeyword', message },
        {
          selector: 'Identifier[name=/^(BigInt|Big(Int|Uint)64Array|[gs]etBig(Int|Uint)64)$/]',
          message,
        },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/node/**', 'src/cli/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['node:*', ...nodeBuiltins],
              message: 'Node built-ins live in src/node and src/cli.',
            },
          ],
        },
      ],
      'no-restricted-globals': [
        'error',
        ...['process', 'Buffer', 'require', '__dirname', '__filename', 'global', 'setImmediate'],
      ],
    },
  },
  {
    files: ['src/arch/**/*.ts', 'src/memory/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            nobody,
            {
              group: ['node:*', ...nodeBuiltins],
              message: 'Node built-ins live in src/node and src/cli.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/command/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { group: ['../transaction/*'], message: 'transaction and command meet in core.ts.' },
            {
              group: ['node:*', ...nodeBuiltins],
              message: 'Node built-ins live in src/node and src/cli.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/transaction/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { group: ['../command/*'], message: 'transaction and command meet in core.ts.' },
            {
              group: ['node:*', ...nodeBuiltins],
              message: 'Node built-ins live in src/node and src/cli.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['src/passthrough/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: [
                '../transaction/*',
                '!../transaction/translation.js',
                '../memory/*',
                '!../memory/hex.js',
                '../core.js',
                '../smmu.js',
              ],
              message: 'Passthrough sees STEs, through its host, and nothing else of the guest.',
            },
            {
              group: ['node:*', ...nodeBuiltins],
              message: 'Node built-ins live in src/node and src/cli.',
            },
          ],
        },
      ],
    },
  },
]);
