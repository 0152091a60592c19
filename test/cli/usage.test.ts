import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { run } from '../../src/cli/run.js';
import { smallGuest, writeCapture } from './capture-writer.js';
import { BrokenStream, cli } from './run-cli.js';

function smallCapture(): string {
  const guest = smallGuest();
  const space = guest.addressSpace();
  space.map(0x1000, 0x8000_0000, 0x1000);
  guest.attach(8, space);
  return writeCapture(guest);
}

describe('vsmmu, help and version', () => {
  test('--version prints the version of package.json', async () => {
    const manifest = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as {
      version: string;
    };
    expect(await cli(['--version'])).toEqual({ status: 0, out: `${manifest.version}\n`, err: '' });
  });

  test.each([
    [],
    ['inspect'],
    ['ioas'],
    ['translate'],
    ['verify'],
    ['replay'],
    ['mirror'],
    ['conform'],
  ])('%s --help has an example', async (...command) => {
    const argv = command.filter((word) => typeof word === 'string');
    const { status, out, err } = await cli([...argv, '--help']);
    expect([status, err]).toEqual([0, '']);
    expect(out).toMatch(/^Usage: vsmmu /);
    expect(out).toContain(`\nExample:\n  $ vsmmu ${argv[0] ?? 'inspect'} `);
  });
});

describe('vsmmu, wrong use', () => {
  test.each([
    [[], 'Usage: vsmmu'],
    [['inspekt'], "unknown command 'inspekt'\n(Did you mean inspect?)\nSee `vsmmu --help`."],
    [['inspect'], "missing required argument 'capture'\nSee `vsmmu inspect --help`."],
    [
      ['ioas', '.', '--streem', '1'],
      "unknown option '--streem'\n(Did you mean --stream?)\nSee `vsmmu ioas --help`.",
    ],
    [
      ['ioas', '.', '--stream', '0x100000000'],
      'A StreamID is a decimal or 0x number from 0 to 0xffffffff.',
    ],
    [
      ['ioas', '.', '--ssid', '1048576'],
      'A SubstreamID is a decimal or 0x number from 0 to 0xfffff.',
    ],
    [['translate', '.', '--stream', '1'], "required option '-i, --iova <address>' not specified"],
    [
      ['translate', '.', '--stream', '1', '--iova', '0x10000000000000000'],
      'An address is a decimal or 0x number below 2^64.',
    ],
    [
      ['translate', '.', '--stream', '1', '--iova', '0', '--length', '0'],
      'A length is a decimal or 0x number from 1 to',
    ],
  ])('%j exits with 2', async (argv, said) => {
    const { status, out, err } = await cli(argv);
    expect([status, out]).toEqual([2, '']);
    expect(err).toContain(said);
  });
});

describe('vsmmu, broken input', () => {
  test.each([
    [
      'a folder that is missing',
      (folder: string) => {
        rmSync(folder, { recursive: true });
      },
      ': there is no such folder',
    ],
    [
      'a file that is missing',
      (folder: string) => {
        rmSync(join(folder, 'memory.bin.gz'));
      },
      '/memory.bin.gz: the file is missing',
    ],
    [
      'JSON cut in the middle',
      (folder: string) => {
        cut(folder, 'capture.json', 0.5);
      },
      /\/capture\.json:\d+: not JSON: /,
    ],
    [
      'a register that is no number',
      (folder: string) => {
        replace(folder, 'capture.json', '"0xd"', '"13"');
      },
      /\/capture\.json:\d+: register 0x20: the value must be 32 bits/,
    ],
    [
      'gzip cut in the middle',
      (folder: string) => {
        cut(folder, 'memory.bin.gz', 0.5);
      },
      '/memory.bin.gz: not a whole gzip file: ',
    ],
    [
      'no gzip',
      (folder: string) => {
        writeFileSync(join(folder, 'memory.bin.gz'), 'x');
      },
      '/memory.bin.gz: not a whole gzip file: ',
    ],
    [
      'a record cut in the middle',
      cutRecord,
      '/memory.bin.gz: record 255 (byte 1046520) is cut off: 4004 of 4104 bytes',
    ],
  ])('%s: one line that says where', async (_name, damage, said) => {
    const folder = smallCapture();
    damage(folder);
    for (const command of [
      ['inspect'],
      ['ioas'],
      ['verify'],
      ['translate', '--stream', '8', '--iova', '0'],
    ]) {
      const { status, out, err } = await cli([...command, folder]);
      expect([status, out]).toEqual([2, '']);
      expect(err).toMatch(typeof said === 'string' ? plain(said) : said);
      expect(err.split('\n')).toHaveLength(2);
      expect(err.startsWith(`vsmmu: ${folder}`)).toBe(true);
    }
  });

  test('a file instead of a folder', async () => {
    const file = join(smallCapture(), 'capture.json');
    expect(await cli(['inspect', file])).toEqual({
      status: 2,
      out: '',
      err: `vsmmu: ${file}: not a folder; a capture is a folder with capture.json and memory.bin.gz\n`,
    });
  });

  test('a folder instead of a file', async () => {
    const folder = smallCapture();
    rmSync(join(folder, 'capture.json'));
    mkdirSync(join(folder, 'capture.json'));
    const { status, err } = await cli(['inspect', folder]);
    expect(status).toBe(2);
    expect(err).toContain('/capture.json: EISDIR');
  });

  test('a bad line of expected.jsonl or leaves.jsonl is named', async () => {
    const folder = smallCapture();
    const good = '{"streamId":8,"iova":"0x1000","write":true,"pa":"0x80000000","perm":3}\n';
    writeFileSync(join(folder, 'expected.jsonl'), good + good + good.replace('0x1000', '0xzz'));
    const bad = await cli(['verify', folder]);
    expect(bad.status).toBe(2);
    expect(bad.err).toBe(
      `vsmmu: ${folder}/expected.jsonl:3: iova is "0xzz": it must be a hexadecimal string of 64 bits at most, "0x..."\n`,
    );
    writeFileSync(join(folder, 'leaves.jsonl'), '\n{"streamId":8,"sta');
    const cutOff = await cli(['verify', folder]);
    expect(cutOff.status).toBe(2);
    expect(cutOff.err).toContain(`vsmmu: ${folder}/leaves.jsonl:2: not JSON: `);
    for (const name of ['leaves.jsonl', 'expected.jsonl']) {
      rmSync(join(folder, name));
      const missing = await cli(['verify', folder]);
      expect(missing).toEqual({
        status: 2,
        out: '',
        err: `vsmmu: ${folder}/${name}: the file is missing\n`,
      });
    }
  });
});

describe('vsmmu, where output goes', () => {
  test('colours are for terminals; NO_COLOR and FORCE_COLOR decide otherwise', async () => {
    const folder = smallCapture();
    const coloured = async (options: Parameters<typeof cli>[1]): Promise<boolean> =>
      (await cli(['verify', folder], options)).out.includes('\u001b[');
    expect(await coloured({})).toBe(false);
    expect(await coloured({ outIsTTY: true })).toBe(true);
    expect(await coloured({ outIsTTY: true, env: { TERM: 'dumb' } })).toBe(false);
    expect(await coloured({ outIsTTY: true, env: { NO_COLOR: '1' } })).toBe(false);
    expect(await coloured({ outIsTTY: true, env: { NO_COLOR: '' } })).toBe(true);
    expect(await coloured({ env: { FORCE_COLOR: '1' } })).toBe(true);
    expect(await coloured({ outIsTTY: true, env: { FORCE_COLOR: '0' } })).toBe(false);
    expect(await coloured({ env: { FORCE_COLOR: '1', NO_COLOR: '1' } })).toBe(false);
  });

  /** A guest whose list is longer than what is handed over at a time. */
  function longCapture(): string {
    const guest = smallGuest();
    const space = guest.addressSpace();
    for (let page = 0; page < 3000; page++) space.map(0x2000 * page, 0x8000_0000, 0x1000);
    for (let streamId = 0; streamId < 8; streamId++) guest.attach(streamId, space);
    return writeCapture(guest);
  }

  test('a reader that goes away ends the command quietly', async () => {
    const folder = longCapture();
    for (const command of [
      ['ioas', folder],
      ['ioas', folder, '--json'],
      ['translate', folder, '--stream', '1', '--iova', '0', '--length', '0x1000'],
    ]) {
      const err = new BrokenStream('none');
      const out = new BrokenStream('EPIPE');
      expect(await run(command, { stdout: out, stderr: err, env: {} })).toBe(0);
      expect(out.chunks).toBeLessThan(4);
      expect(err.chunks).toBe(0);
    }
  });

  test('output that cannot be written is an error', async () => {
    const out = new BrokenStream('ENOSPC');
    let said = '';
    const err = new BrokenStream('none');
    err._write = (chunk, _encoding, done) => {
      said += String(chunk);
      done();
    };
    expect(await run(['ioas', longCapture()], { stdout: out, stderr: err, env: {} })).toBe(2);
    expect(said).toBe('vsmmu: cannot write: write ENOSPC\n');
  });
});

function cut(folder: string, name: string, share: number): void {
  const bytes = readFileSync(join(folder, name));
  writeFileSync(join(folder, name), bytes.subarray(0, Math.floor(bytes.length * share)));
}

function replace(folder: string, name: string, from: string, to: string): void {
  const text = readFileSync(join(folder, name), 'utf8');
  writeFileSync(join(folder, name), text.replace(from, to));
}

function cutRecord(folder: string): void {
  const bytes = gunzipSync(readFileSync(join(folder, 'memory.bin.gz')));
  writeFileSync(join(folder, 'memory.bin.gz'), gzipSync(bytes.subarray(0, bytes.length - 100)));
}

function plain(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}
