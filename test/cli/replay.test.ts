import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cli, jsonLines } from './run-cli.js';

const CAPTURE = fileURLToPath(
  new URL('../../fixtures/captures/linux-6.12-4k-vfio-blocks', import.meta.url),
);
const TRACE = 'trace.jsonl.gz';

/** What `--json` prints, as far as the cache goes. */
interface Replayed {
  readonly mismatches: number;
  readonly cache: { readonly hits: number; readonly misses: number; readonly evictions: number };
  readonly stats: { readonly cache: { readonly microHits: number; readonly shadowHits: number } };
}

/** A copy of the capture with another trace. */
function withTrace(change: (text: string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-cli-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  for (const file of ['capture.json', 'memory.bin.gz'])
    cpSync(join(CAPTURE, file), join(folder, file));
  const text = gunzipSync(readFileSync(join(CAPTURE, TRACE))).toString();
  writeFileSync(join(folder, TRACE), gzipSync(change(text)));
  return folder;
}

describe('vsmmu replay', () => {
  test('prints accesses, commands and events, and exits with 0', async () => {
    const { status, out, err } = await cli(['replay', CAPTURE]);
    expect([status, err]).toEqual([0, '']);
    const [summary, ...rest] = out.split('\n');
    expect(summary).toMatch(/^replayed 1407 accesses in \d+\.\d s: 0 mismatches$/);
    expect(rest).toEqual([
      '  translations  2814, of which 218 to be refused',
      // 766 = 218 refusals, which are not cached, and 548 pages.
      '  cache         2048 hits, 766 misses, 0 evictions',
      '  walks         766',
      '  descriptors   548 written, 0 without invalidation',
      '  snapshot      891 pages the same, 0 unmapped but not flushed',
      '  fetches       9 STEs, 9 CDs',
      '  registers     359 writes',
      '  commands      19 PREFETCH_CONFIG, 38 CFGI_STE, 1 CFGI_STE_RANGE, 38 CFGI_CD, 12 TLBI_NH_ASID,',
      '                64 TLBI_NH_VA, 1 TLBI_NSNH_ALL, 154 SYNC',
      '  events        218 F_PERMISSION',
      '  in the trace  148 F_TRANSLATION, 20 F_PERMISSION',
      '',
    ]);
  });

  test('--json prints one object', async () => {
    const { status, out } = await cli(['replay', CAPTURE, '--json']);
    expect(status).toBe(0);
    const objects = jsonLines(out);
    expect(objects).toHaveLength(1);
    expect(objects).toMatchObject([
      {
        ...{ records: 1929, writes: 359, accesses: 1407, refused: 218, widened: 0 },
        events: { F_TRANSLATION: 148, F_PERMISSION: 20 },
        ...{ descriptors: 548, rewrites: 0, confirmed: 891, stale: 0, mismatches: 0, first: [] },
        stats: { commands: { SYNC: 154 }, translations: 2814, walks: 766 },
        cache: { hits: 2048, misses: 766, evictions: 0 },
      },
    ]);
    expect(Object.keys(objects[0] as object)).toContain('seconds');
  });

  test('--cache chooses how many translations are kept', async () => {
    const cacheOf = async (...options: readonly string[]) => {
      const { status, out } = await cli(['replay', CAPTURE, '--json', ...options]);
      expect(status).toBe(0);
      const [{ mismatches, cache, stats }] = jsonLines(out) as [Replayed];
      expect(mismatches).toBe(0);
      expect(cache.hits).toBe(stats.cache.microHits + stats.cache.shadowHits);
      expect(cache.hits + cache.misses).toBe(2814);
      return cache;
    };
    expect(await cacheOf('--cache', '0')).toEqual({ hits: 0, misses: 2814, evictions: 0 });
    const one = await cacheOf('--cache', '1');
    const many = await cacheOf('--cache', '0x40');
    const usual = await cacheOf();
    expect(usual).toEqual(await cacheOf('--cache', '65536'));
    expect(usual).toEqual(await cacheOf('--cache', '0x400000'));
    expect([one.hits, many.hits]).toEqual([one.hits, many.hits].sort((a, b) => a - b));
    expect(one.evictions).toBeGreaterThan(many.evictions);
    expect(many.evictions).toBeGreaterThan(0);
    const { out } = await cli(['replay', CAPTURE, '--cache', '0']);
    expect(out).toContain('\n  cache         0 hits, 2814 misses, 0 evictions\n');
    expect(out).toContain('\n  walks         2814\n');
  });

  test('--cache sees a TLBI that is missing', async () => {
    const tlbi = /.*"0x5000000000012","0xffffc701".*/;
    const folder = withTrace((text) => text.replace(tlbi, ''));
    expect((await cli(['replay', folder, '--cache', '0'])).status).toBe(0);
    const { status, out } = await cli(['replay', folder]);
    expect(status).toBe(1);
    expect(out).toMatch(/: 2 mismatches\n/);
    expect(out).toMatch(/\n {2}descriptors +548 written, 1 without invalidation\n/);
  });

  test.each(['-1', '0x400001', '1.5', '1e3', 'many', ''])(
    '--cache %j is wrong use',
    async (size) => {
      const { status, out, err } = await cli(['replay', CAPTURE, '--cache', size]);
      expect([status, out]).toEqual([2, '']);
      expect(err).toBe(
        `vsmmu: option '--cache <n>' argument '${size}' is invalid. ` +
          'A cache size is a decimal or 0x number from 0 to 0x400000.\n' +
          'See `vsmmu replay --help`.\n',
      );
    },
  );

  test('a mismatch exits with 1 and is printed', async () => {
    const folder = withTrace((text) => text.replace('"pa":"0x86000210"', '"pa":"0x87000210"'));
    const { status, out } = await cli(['replay', folder]);
    expect(status).toBe(1);
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/: 2 mismatches$/);
    expect(lines[1]).toBe(
      'at the end: stream 0x80, page 0x8006000000 was last mapped to 0x87000000 (perm 1); ' +
        'the snapshot maps it to 0x86000000 (perm 1)',
    );
    expect((await cli(['replay', folder, '--json'])).status).toBe(1);
  });

  test('commands whose words are lost are counted', async () => {
    const lost = '"name":"SYNC","detail":""';
    const folder = withTrace((text) => text.replace(/"name":"SYNC","raw":\[[^\]]*\]/, lost));
    const { status, out } = await cli(['replay', folder]);
    expect(status).toBe(0);
    expect(out).toContain('\n  widened       1 command whose words are lost\n');
  });

  test('broken input exits with 2 and one line that says where', async () => {
    const broken = withTrace((text) => text.replace('"perm":3', '"perm":4'));
    expect(await cli(['replay', broken])).toEqual({
      status: 2,
      out: '',
      err: `vsmmu: ${broken}/trace.jsonl.gz:42: perm is 4: it must be 1, 2 or 3\n`,
    });
    const unmappable = withTrace((text) => text.replace('"pa":"0x8090040"', '"pa":"0x8090044"'));
    const { status, err } = await cli(['replay', unmappable]);
    expect([status, err]).toEqual([
      2,
      `vsmmu: ${unmappable}/trace.jsonl.gz:42: pa and iova differ within a page\n`,
    ]);
  });

  test('a trace that is missing, cut off, or empty', async () => {
    const folder = withTrace(() => '\n');
    const file = join(folder, TRACE);
    expect((await cli(['replay', folder])).err).toBe(`vsmmu: ${file}: the trace is empty\n`);
    writeFileSync(file, readFileSync(join(CAPTURE, TRACE)).subarray(0, 5000));
    const cut = await cli(['replay', folder]);
    expect(cut.err.startsWith(`vsmmu: ${file}: not a whole gzip file: `)).toBe(true);
    rmSync(file);
    const missing = await cli(['replay', folder]);
    expect([missing.status, missing.err]).toEqual([2, `vsmmu: ${file}: the file is missing\n`]);
  });
});
