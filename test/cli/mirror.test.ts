import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SteConfig } from '../../src/arch/ste.js';
import { smallGuest, writeCapture } from './capture-writer.js';
import { cli, jsonLines } from './run-cli.js';

const folderOf = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/captures/${name}`, import.meta.url));
const CAPTURE = folderOf('linux-6.12-4k-vfio-blocks');
const WITHOUT_TRACE = folderOf('linux-6.12-16k-lazy');
const TRACE = 'trace.jsonl.gz';

const POLICIES = ['demand', 'invalidate', 'tracked'];
const SINKS = ['memory', 'iommufd', 'vhost-user', 'vfio-user'];
const CASES = POLICIES.flatMap((policy) => SINKS.map((sink) => [policy, sink] as const));

/** What `vsmmu ioas` prints, found out once for each folder. */
const printed = new Map<string, Promise<string>>();

function ioas(folder: string, ...options: readonly string[]): Promise<string> {
  const key = [folder, ...options].join(' ');
  let out = printed.get(key);
  if (out === undefined) {
    out = cli(['ioas', folder, ...options]).then((run) => run.out);
    printed.set(key, out);
  }
  return out;
}

/** A copy of the capture, without the trace or with another one. */
function copyOf(change: ((text: string) => string) | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-cli-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  for (const file of ['capture.json', 'memory.bin.gz'])
    cpSync(join(CAPTURE, file), join(folder, file));
  if (change !== undefined) {
    const text = gunzipSync(readFileSync(join(CAPTURE, TRACE))).toString();
    writeFileSync(join(folder, TRACE), gzipSync(change(text)));
  }
  return folder;
}

/** The part that begins with the first stream, up to the last summary. */
function ranges(out: string): string {
  const first = out.search(/^StreamID /m);
  return out.slice(first, out.search(/^\nmirrored \d+ IOAS/m));
}

describe('vsmmu mirror', () => {
  test('prints operations, pages that changed, bytes read, the IOASes as they are, and times', async () => {
    const { status, out, err } = await cli(['mirror', CAPTURE]);
    expect([status, err]).toEqual([0, '']);
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^mirrored 1407 accesses in \d+\.\d s: 0 mismatches$/);
    // Of 1053 pages some belong to two streams with one domain, RAM of 9 streams comes and goes once.
    expect(lines.slice(1, 6)).toEqual([
      '  mirror        policy invalidate, sink memory, 9 streams',
      '  IOAS          2048 hits, 766 misses, of which 218 to be refused',
      '  pages changed 1053, by 548 leaf descriptors written, 49 cleared',
      '  operations    1053, never more than the pages changed until then',
      '  by kind       972 maps, 81 unmaps',
    ]);
    expect(lines[6]).toMatch(/^ {2}bytes read {4}\d+ of tables, \d+(\.\d+)? [KM]iB$/);
    expect(lines[7]).toBe('');
    expect(ranges(out)).toBe(await ioas(CAPTURE));
    expect(lines.slice(-7, -5)).toEqual([
      '',
      expect.stringMatching(/^mirrored 11 IOASes of 1314 ranges in \d+\.\d ms: 0 mismatches$/),
    ]);
    expect(lines.slice(-5)).toEqual([
      '  mirror        policy invalidate, sink memory',
      '  operations    1314: 1314 maps, 0 unmaps',
      expect.stringMatching(/^ {2}bytes read {4}\d+ of tables, \d+\.\d+ MiB$/),
      expect.stringMatching(/^ {2}synced again {2}0 operations, \d+(\.\d+)? MiB in \d+\.\d ms$/),
      '',
    ]);
  });

  test.each(CASES)(
    '--policy %s --sink %s: the IOASes are those of vsmmu ioas',
    async (policy, sink) => {
      const options = ['--policy', policy, '--sink', sink];
      const { status, out, err } = await cli(['mirror', CAPTURE, ...options, '--json']);
      expect([status, err]).toEqual([0, '']);
      const lines = out.trimEnd().split('\n');
      const [replay, tables] = [lines[0]!, lines.at(-1)!].map((line) => JSON.parse(line) as object);
      expect(lines.slice(1, -1).join('\n')).toBe((await ioas(CAPTURE, '--json')).trimEnd());
      expect(replay).toMatchObject({
        ...{ summary: 'replay', policy, sink, records: 1929, streams: 9, accesses: 1407 },
        ...{ refused: 218, descriptors: 548, cleared: 49, isWithinChanges: true },
        ...{ refusals: 0, fallBacks: 0, mismatches: 0, first: [] },
      });
      expect(tables).toMatchObject({
        ...{ summary: 'tables', policy, sink, spaces: 11, ranges: 1314, mismatches: 0, first: [] },
        load: { maps: policy === 'demand' ? 11853 : 1314, unmaps: 0 },
        sync: { maps: 0, unmaps: 0 },
      });
    },
  );

  test('--json: every number that is printed is in one of the two summaries', async () => {
    const { out } = await cli(['mirror', CAPTURE, '--json']);
    const objects = jsonLines(out);
    const summaries = objects.filter((object) => 'summary' in (object as object)) as object[];
    expect(summaries.map((summary) => Object.keys(summary))).toEqual([
      [
        ...['summary', 'policy', 'sink', 'records', 'streams', 'accesses', 'refused', 'hits'],
        ...['misses', 'descriptors', 'cleared', 'changes', 'maps', 'unmaps', 'isWithinChanges'],
        ...['bytesRead', 'refusals', 'fallBacks', 'mismatches', 'first', 'seconds'],
      ],
      ['summary', 'policy', 'sink', 'spaces', 'ranges', 'load', 'sync', 'mismatches', 'first'],
    ]);
    const { load } = summaries[1] as { readonly load: object };
    expect(Object.keys(load)).toEqual(['maps', 'unmaps', 'bytesRead', 'milliseconds']);
  });

  test('a capture without a trace: only its tables are mirrored', async () => {
    for (const policy of POLICIES) {
      const { status, out, err } = await cli(['mirror', WITHOUT_TRACE, '-p', policy]);
      const missing = `${join(WITHOUT_TRACE, TRACE)}: the file is missing, so nothing is replayed`;
      expect([status, err]).toEqual([0, `vsmmu: ${missing}\n`]);
      expect(ranges(out)).toBe(await ioas(WITHOUT_TRACE));
      expect(out.startsWith('StreamID 0x')).toBe(true);
    }
  });

  test('colours and progress are for terminals', async () => {
    const { out } = await cli(['mirror', copyOf((text) => text)], { outIsTTY: true });
    expect(out).toContain('\u001b[32mmirrored 1407 accesses in ');
    const { err } = await cli(['mirror', CAPTURE], { errIsTTY: true });
    // A bar comes after 0.3 seconds, if the work lasts as long.
    expect(err === '' || err.includes('replaying [')).toBe(true);
  });

  test('--help has an example', async () => {
    const { status, out } = await cli(['mirror', '--help']);
    expect(status).toBe(0);
    expect(out).toContain(
      '\nExample:\n  $ vsmmu mirror captures/linux --policy tracked --sink iommufd',
    );
  });
});

describe('vsmmu mirror of guests that Linux would not make', () => {
  function mixedGuest() {
    const guest = smallGuest();
    const space = guest.addressSpace({ cd: { ASID: 5 } });
    space.map(0x1000, 0x8000_0000, 0x2000);
    space.map(0x3000, 0x8000_2000, 0x1000, { unprivileged: false });
    space.map(0x10000, 0x9000_0000, 0x1000, { write: false });
    space.map(0xffff_ffff_ffff_e000n, 0xa000_0000, 0x2000);
    const other = guest.addressSpace({ granuleLog2: 16, cd: { ASID: 6 } });
    other.map(0x10000, 0x20000, 0x20000);
    guest.attach(8, space);
    guest.bypass(9);
    guest.setSte(10, { V: 1, Config: SteConfig.abort });
    guest.attach(11, space, { PRIVCFG: 3 });
    guest.attach(12, space, { PRIVCFG: 2, INSTCFG: 3 });
    guest.attachSubstreams(
      13,
      new Map([
        [1, space],
        [6, other],
      ]),
      { s1dss: 1 },
    );
    guest.setSte(14, { V: 1, Config: SteConfig.nested });
    guest.attach(15, guest.addressSpace());
    return guest;
  }
  const NO_TRACE = /^vsmmu: .*trace\.jsonl\.gz: the file is missing, so nothing is replayed\n/;

  test.each(CASES)(
    'policy %s, sink %s: output, notes and status of vsmmu ioas',
    async (policy, sink) => {
      const devices = [8, 10, 14].map((streamId) => ({ name: 'd', bdf: '', streamId }));
      const folder = writeCapture(mixedGuest(), { devices });
      const options = ['--policy', policy, '--sink', sink];
      const mirrored = await cli(['mirror', folder, ...options]);
      const listed = await cli(['ioas', folder]);
      expect(ranges(mirrored.out)).toBe(listed.out);
      expect(mirrored.err.replace(NO_TRACE, '')).toBe(listed.err);
      expect([mirrored.status, listed.status]).toEqual([0, 0]);
    },
  );

  test.each([
    ['bypasses', 0],
    ['aborts', 1],
  ])('CR0.SMMUEN=0: every device %s', async (_what, ABORT) => {
    const guest = mixedGuest();
    guest.setRegisters({ CR0: 0, GBPA: ABORT << 20 });
    const folder = writeCapture(guest, { devices: [{ name: 'd', bdf: '', streamId: 3 }] });
    const { status, out, err } = await cli(['mirror', folder, '--json']);
    const listed = await cli(['ioas', folder, '--json']);
    expect(out.split('\n').slice(0, -2).join('\n')).toBe(listed.out.trimEnd());
    expect([status, err.replace(NO_TRACE, '')]).toEqual([0, listed.err]);
  });

  test('tables that are not in memory: the list is not complete', async () => {
    const guest = mixedGuest();
    const space = guest.addressSpace();
    space.map(0x1000, 0x8000_0000, 0x1000);
    guest.attach(16, space);
    const page = space.descriptorAddress(0x1000, 3);
    const folder = writeCapture(guest, { omit: [page - (page % 4096)] });
    for (const policy of POLICIES) {
      const { status, out, err } = await cli(['mirror', folder, '--policy', policy]);
      const listed = await cli(['ioas', folder]);
      expect([status, ranges(out)]).toEqual([1, listed.out]);
      expect(err.replace(NO_TRACE, '')).toBe(listed.err);
      expect(err).toContain('512 descriptors, from ');
    }
  });
});

describe('vsmmu mirror, what is wrong', () => {
  test.each([
    ['--policy', 'always', "'-p, --policy <policy>'", 'A policy is demand, invalidate or tracked.'],
    ['--sink', 'disk', "'--sink <sink>'", 'A sink is memory, iommufd, vhost-user or vfio-user.'],
  ])('%s %s is wrong use', async (option, value, name, said) => {
    expect(await cli(['mirror', CAPTURE, option, value])).toEqual({
      status: 2,
      out: '',
      err: `vsmmu: option ${name} argument '${value}' is invalid. ${said}\nSee \`vsmmu mirror --help\`.\n`,
    });
  });

  test('a trace with another address exits with 1', async () => {
    const folder = copyOf((text) => text.replace('"pa":"0x86000210"', '"pa":"0x87000210"'));
    const { status, out } = await cli(['mirror', folder]);
    expect(status).toBe(1);
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^mirrored 1407 accesses in .* s: 2 mismatches$/);
    expect(lines[1]).toMatch(/^at the end: stream 0x80, page 0x8006000000 was last mapped to /);
    expect(lines.at(-6)).toMatch(/ms: 0 mismatches$/);
    expect((await cli(['mirror', folder, '--json'])).status).toBe(1);
  });

  test('a TLBI that is missing exits with 1, except where the tables are watched', async () => {
    const folder = copyOf((text) => text.replace(/.*"0x5000000000012","0xffffc701".*/, ''));
    const statuses = POLICIES.map(async (policy) => {
      const { status, out } = await cli(['mirror', folder, '--policy', policy]);
      return [policy, status, out.includes(' in the IOAS; it should go to 0x')];
    });
    expect(await Promise.all(statuses)).toEqual([
      ['demand', 1, true],
      ['invalidate', 1, true],
      ['tracked', 0, false],
    ]);
  });

  test('broken input exits with 2 and one line that says where', async () => {
    const broken = copyOf((text) => text.replace('"perm":3', '"perm":4'));
    expect(await cli(['mirror', broken])).toEqual({
      status: 2,
      out: '',
      err: `vsmmu: ${broken}/trace.jsonl.gz:42: perm is 4: it must be 1, 2 or 3\n`,
    });
    writeFileSync(join(broken, TRACE), 'x');
    expect((await cli(['mirror', broken])).err).toContain(
      '/trace.jsonl.gz: not a whole gzip file: ',
    );
    rmSync(join(broken, 'memory.bin.gz'));
    const { status, err } = await cli(['mirror', broken]);
    expect([status, err]).toEqual([2, `vsmmu: ${broken}/memory.bin.gz: the file is missing\n`]);
  });
});
