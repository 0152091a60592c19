import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cli } from './run-cli.js';

const RECORDING = 'fixtures/live/short';
const TRACE = 'trace.jsonl.gz';

/** A copy of the recording with another trace. */
function withTrace(change: (text: string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-recording-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  cpSync(RECORDING, folder, { recursive: true });
  const text = gunzipSync(readFileSync(join(RECORDING, TRACE))).toString();
  writeFileSync(join(folder, TRACE), gzipSync(change(text)));
  return folder;
}

describe('vsmmu replay of a recording', () => {
  test('plays it bit for bit', async () => {
    const { status, out, err } = await cli(['replay', RECORDING]);
    expect([status, err]).toEqual([0, '']);
    expect(out).toMatch(/^replayed \d+ records in \d+\.\d s: 0 mismatches\n {2}recorded {6}\d+ /);
    const json = await cli(['replay', RECORDING, '--json', '--cache', '16']);
    expect(json.status).toBe(0);
    expect(JSON.parse(json.out)).toMatchObject({ mismatches: 0, first: [] });
  });

  test('names the line of a difference, and both values', async () => {
    const folder = withTrace((text) =>
      text.replace(
        '"offset":"0x24","size":4,"value":"0x8"',
        '"offset":"0x24","size":4,"value":"0x9"',
      ),
    );
    const { status, out } = await cli(['replay', folder]);
    expect(status).toBe(1);
    const [summary, first] = out.split('\n');
    expect(summary).toMatch(/: 1 mismatches$/);
    expect(first).toMatch(
      /trace\.jsonl\.gz:\d+: read of register 0x24: value 0x8; the recording has value 0x9$/,
    );
  });

  test.each([
    ['"kind":"sev"', '"kind":"sew"', /kind is "sew": it must be mmio, cmd/],
    ['"op":"read"', '"op":"reed"', /op is "reed": it must be translate, read, write or store/],
    [/"to":"[^"]*"/, '"to":"x"', /to is "x": it must be pieces such as 0x40001000\+16/],
    [/"bytes":"[^"]*"/, '"bytes":"12"', /bytes is "12": it must be hexadecimal digits/],
    ['"permissions":31,', '', /permissions is missing: it must be a whole number/],
  ])('%s as %s is broken input', async (from, to, problem) => {
    const { status, err } = await cli(['replay', withTrace((text) => text.replace(from, to))]);
    expect(status).toBe(2);
    expect(err).toMatch(problem);
  });

  test('another version of the format', async () => {
    const folder = withTrace((text) => text);
    const file = join(folder, 'capture.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"version": 1', '"version": 2'));
    const { status, err } = await cli(['replay', folder]);
    expect([status, err]).toEqual([2, `vsmmu: ${file}:1: version is 2: it must be 1\n`]);
  });

  test('vsmmu mirror understands it as well', async () => {
    const { status, out } = await cli(['mirror', RECORDING, '--policy', 'demand']);
    expect(status).toBe(0);
    expect(out).toMatch(/^mirrored \d+ accesses in \d+\.\d s: 0 mismatches\n/);
  });
});
