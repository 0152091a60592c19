import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  CASES_FILE,
  RESULTS_FILE,
  parseRaw,
  readText,
  smallCase,
  smallResult,
  type RawResult,
} from '../fixtures/conformance-files.js';
import { resultMutants } from '../fixtures/conformance-mutants.js';
import { cli, jsonLines } from './run-cli.js';

/** A new folder that lasts as long as the test, with these files. */
function folderWith(
  files: Readonly<Record<string, string | Uint8Array>>,
): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-conform-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return (name) => join(folder, name);
}

const toText = (results: readonly RawResult[]): string =>
  results.map((result) => `${JSON.stringify(result)}\n`).join('');

describe('vsmmu conform', () => {
  test('differs nowhere on the oracle fixtures', async () => {
    expect(await cli(['conform', CASES_FILE, RESULTS_FILE])).toEqual({
      status: 0,
      out: '298 cases: 241 agree, 57 advisory, 0 differ\n',
      err: '',
    });
    const { status, out } = await cli(['conform', CASES_FILE, RESULTS_FILE, '--json']);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([
      { cases: 298, agree: 241, advisory: 57, differ: 0, differences: [] },
    ]);
  });

  test('without results prints counts', async () => {
    // Of the accesses marked stale, 11 are answered from the cache where a walk would fault.
    expect((await cli(['conform', CASES_FILE])).out).toBe(
      '298 cases: 2929 accesses, 1194 translated, 1735 not; 101 reads of registers\n',
    );
    expect((await cli(['conform', CASES_FILE, '--json'])).out).toBe(
      '{"cases":298,"accesses":2929,"translated":1194,"faulted":1735,"reads":101}\n',
    );
  });

  test('explains each difference and exits with 1, for every kind', async () => {
    const results = parseRaw(readText(RESULTS_FILE));
    const seen = new Set<number>();
    for (const { index, result } of resultMutants(results, 1)) {
      results[index] = result;
      seen.add(index);
    }
    const path = folderWith({ 'results.jsonl.gz': gzipSync(toText(results)) });
    const { status, out } = await cli(['conform', CASES_FILE, path('results.jsonl.gz')]);
    expect(status).toBe(1);
    const [summary, ...lines] = out.trimEnd().split('\n');
    expect(summary).toMatch(
      new RegExp(`^298 cases: \\d+ agree, \\d+ advisory, ${seen.size} differ$`),
    );
    expect(lines.length).toBeGreaterThanOrEqual(seen.size);
    for (const line of lines) expect(line).toMatch(/^[a-z0-9-]+ entry \d+: .* is .*, expected .*$/);
    expect(new Set(lines.map((line) => line.split(' ')[0])).size).toBe(seen.size);
    const json = await cli(['conform', CASES_FILE, path('results.jsonl.gz'), '--json']);
    expect(json.status).toBe(1);
    const [report] = jsonLines(json.out) as { differ: number; differences: object[] }[];
    expect(report!.differ).toBe(seen.size);
    expect(report!.differences).toHaveLength(lines.length);
  });

  test('says what differs, with the remarks of the results', async () => {
    const path = folderWith({
      cases: smallCase(),
      results: smallResult({ ok: true, pa: '0x2000', path: 'bypass', reason: 'x: y' }),
      plain: smallResult({ ok: false, fault: null }),
    });
    const remarked = await cli(['conform', path('cases'), path('results')]);
    expect(remarked.out).toBe(
      '1 cases: 0 agree, 0 advisory, 1 differ\n' +
        'small entry 0: read of 4 bytes at 0x1000, StreamID 0x8: pa is 0x1000, expected 0x2000 (x: y; bypass)\n',
    );
    const plain = await cli(['conform', path('cases'), path('plain')]);
    expect(plain.out).toContain('ok is true, expected false\n');
    expect(plain.out).toContain('pa is 0x1000, expected absent\n');
  });

  test.each(['ours.jsonl', 'ours.jsonl.gz'])(
    '--out %s writes answers that agree with themselves',
    async (name) => {
      const path = folderWith({});
      const written = await cli(['conform', CASES_FILE, RESULTS_FILE, '--out', path(name)]);
      expect([written.status, written.err]).toEqual([0, '']);
      const bytes = readFileSync(path(name));
      expect(bytes[0] === 0x1f).toBe(name.endsWith('.gz'));
      const again = await cli(['conform', CASES_FILE, path(name)]);
      expect(again).toEqual({
        status: 0,
        out: '298 cases: 298 agree, 0 advisory, 0 differ\n',
        err: '',
      });
    },
  );

  test('--out is written when answers differ too, and never over an input', async () => {
    const path = folderWith({
      cases: smallCase(),
      results: smallResult({ ok: false, fault: null }),
    });
    const files = [path('cases'), path('results')];
    expect((await cli(['conform', ...files, '--out', path('ours')])).status).toBe(1);
    expect(readFileSync(path('ours'), 'utf8')).toBe(smallResult());
    for (const input of files) {
      const { status, err } = await cli(['conform', ...files, '--out', input]);
      expect([status, err]).toEqual([2, `vsmmu: --out ${input} would replace an input file\n`]);
    }
    const nowhere = await cli(['conform', ...files, '--out', path('no/such/folder')]);
    expect(nowhere.status).toBe(2);
    expect(nowhere.err).toContain('no/such/folder: cannot be written: ENOENT');
  });

  test('broken input ends with 2 and names file and line', async () => {
    const path = folderWith({
      cases: smallCase(),
      results: smallResult(),
      second: `${smallCase()}{"id":\n`,
      entry: `\n${smallResult({ ok: true, pa: 'zz' })}`,
      cut: gzipSync(smallCase()).subarray(0, 20),
      empty: '',
    });
    const attempts: [string[], string][] = [
      [['second'], 'second:2: not JSON'],
      [['cases', 'entry'], 'entry:2: pa is "zz"'],
      [['cut'], 'cut: not a whole gzip file'],
      [['missing'], 'missing: there is no such file'],
      [['.'], 'EISDIR'],
      [['cases', 'empty'], 'empty: the case small has no result'],
    ];
    for (const [names, problem] of attempts) {
      const { status, out, err } = await cli(['conform', ...names.map(path)]);
      expect([status, out]).toEqual([2, '']);
      expect(err).toContain(problem);
      expect(err.trimEnd().split('\n')).toHaveLength(1);
    }
  });
});
