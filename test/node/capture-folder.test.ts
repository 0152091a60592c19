import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { InputError } from '../../src/fixtures/input-error.js';
import { readCapture, readCaptureText } from '../../src/node/capture-folder.js';
import { CAPTURES, rawCapture } from '../fixtures/capture-files.js';

/** Bytes that a file may have decompressed: lowered by the test that reaches it. */
let ceiling = Infinity;
const asked: (number | undefined)[] = [];

vi.mock('node:zlib', async (load) => {
  const actual = await load<typeof zlib>();
  return {
    ...actual,
    gunzipSync: (data: Uint8Array, options: zlib.ZlibOptions = {}) => {
      asked.push(options.maxOutputLength);
      const limit = Math.min(options.maxOutputLength ?? Infinity, ceiling);
      return actual.gunzipSync(data, Number.isFinite(limit) ? { maxOutputLength: limit } : {});
    },
  };
});

const GOOD = JSON.stringify({
  name: 'small',
  ramBase: '0x40000000',
  ramSize: '0x1000',
  registers: { '0x0': '0x2' },
});

describe('a capture folder', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vsmmu-'));
    ceiling = Infinity;
    asked.length = 0;
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const page = new Uint8Array(4104);
  page[1] = 0x10; // the page at 0x1000
  page.fill(0x5a, 8);

  function write(files: Record<string, string | Uint8Array>): void {
    for (const [name, contents] of Object.entries(files))
      writeFileSync(join(folder, name), contents);
  }

  function failure(): InputError {
    try {
      readCapture(folder);
    } catch (error) {
      if (error instanceof InputError) return error;
      throw error;
    }
    throw new Error('nothing was thrown');
  }

  test.each(['', '/', '//'])('is read, whatever its name ends in: "%s"', (end) => {
    write({ 'capture.json': GOOD, 'memory.bin.gz': zlib.gzipSync(page) });
    const { name, memory } = readCapture(folder + end);
    const words = new Uint32Array(1);
    expect([name, memory.pageAddresses()]).toEqual(['small', [0x1000]]);
    expect([memory.load(0x1ffc, words, 0, 1), words[0]]).toEqual([true, 0x5a5a_5a5a]);
  });

  test('of several gzip members is one', () => {
    const second = page.slice();
    second[1] = 0x20;
    const members = [zlib.gzipSync(page), zlib.gzipSync(second)];
    write({ 'capture.json': GOOD, 'memory.bin.gz': Buffer.concat(members) });
    expect(readCapture(folder).memory.pageAddresses()).toEqual([0x1000, 0x2000]);
  });

  test('without capture.json', () => {
    write({ 'memory.bin.gz': zlib.gzipSync(page) });
    const error = failure();
    expect([error.file, error.line]).toEqual([join(folder, 'capture.json'), 0]);
    expect(error.message).toContain('the file is missing');
  });

  test('without memory.bin.gz', () => {
    write({ 'capture.json': GOOD });
    const error = failure();
    expect(error.file).toBe(join(folder, 'memory.bin.gz'));
    expect(error.message).toContain('the file is missing');
  });

  test('that is not there, or is a file', () => {
    folder = join(folder, 'none');
    expect(failure().file).toBe(join(folder, 'capture.json'));
    writeFileSync(folder, 'x');
    expect(failure().message).toContain('ENOTDIR');
    rmSync(folder);
    mkdirSync(folder);
  });

  test('whose capture.json is a folder', () => {
    mkdirSync(join(folder, 'capture.json'));
    expect(failure().message).toContain('EISDIR');
  });

  const gz = zlib.gzipSync(page);
  const flipped = Uint8Array.from(gz);
  flipped[gz.length - 5]! ^= 1; // in the checksum
  test.each<[string, Uint8Array]>([
    ['cut off', gz.subarray(0, gz.length - 9)],
    ['cut off in the header', gz.subarray(0, 5)],
    ['with a wrong checksum', flipped],
    ['that was never compressed', page],
    ['empty', new Uint8Array(0)],
  ])('with a memory.bin.gz that is %s', (_, bytes) => {
    write({ 'capture.json': GOOD, 'memory.bin.gz': bytes });
    const error = failure();
    expect([error.file, error.line]).toEqual([join(folder, 'memory.bin.gz'), 0]);
    expect(error.message).toContain(join(folder, 'memory.bin.gz'));
  });

  test('with a page that is cut off, in a whole gzip file', () => {
    write({ 'capture.json': GOOD, 'memory.bin.gz': zlib.gzipSync(page.subarray(0, 4000)) });
    expect(failure().message).toContain('record 0 (byte 0) is cut off: 4000 of 4104 bytes');
  });

  test('that would decompress beyond 2 GiB stops at the limit', () => {
    write({ 'capture.json': GOOD, 'memory.bin.gz': zlib.gzipSync(new Uint8Array(2 ** 22)) });
    ceiling = 2 ** 20;
    const error = failure();
    expect(error.file).toBe(join(folder, 'memory.bin.gz'));
    expect(asked).toEqual([2 ** 31]);
    expect(error.message).toContain('1048576 bytes');
  });

  test('with a damaged capture.json names it, once', () => {
    write({ 'capture.json': '{\n"name": 1}', 'memory.bin.gz': zlib.gzipSync(page) });
    const error = failure();
    expect(error.file).toBe(`${folder}/capture.json`);
    expect(error.message.split('capture.json')).toHaveLength(2);
  });

  test('gives its text files, as UTF-8', () => {
    write({ 'expected.jsonl': '{"name":"é"}\n' });
    expect(readCaptureText(folder, 'expected.jsonl')).toBe('{"name":"é"}\n');
    expect(() => readCaptureText(folder, 'leaves.jsonl')).toThrow(InputError);
    expect(() => readCaptureText(folder, 'leaves.jsonl')).toThrow(join(folder, 'leaves.jsonl'));
  });
});

test.each(CAPTURES)('%s is read from its folder', (name) => {
  const { summary } = rawCapture(name);
  const capture = readCapture(join(import.meta.dirname, '../../fixtures/captures', name));
  expect([capture.name, capture.memory.byteLength]).toEqual([name, 4096 * summary.counts.pages]);
});
