import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { captureFolder, countOf, ringOf } from '../fixtures/route-ring.js';
import { cli } from './run-cli.js';

const CAPTURE = captureFolder('linux-6.12-4k-vfio-blocks');
const WITHOUT_TRACE = captureFolder('linux-6.12-16k-lazy');
const TRACE = 'trace.jsonl.gz';
const DEVICES =
  'it has 0x0 (host bridge 0000:00:00.0), 0x10 (virtio-blk 0000:00:02.0), ' +
  '0x18 (virtio-net 0000:00:03.0), 0x20 (virtio-rng 0000:00:04.0), 0x28 (nvme 0000:00:05.0), ' +
  '0x30 (e1000e 0000:00:06.0), 0x40 (root port 0000:00:08.0), 0x80 (edu 0000:00:10.0), ' +
  '0x88 (edu 0000:00:11.0), 0x90 (edu 0000:00:12.0), 0x98 (edu 0000:00:13.0), ' +
  '0x100 (xhci 0000:01:00.0)\n';

/** A copy of the capture with another trace. */
function copyOf(change: (lines: string[]) => string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-cli-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  for (const file of ['capture.json', 'memory.bin.gz']) {
    cpSync(join(CAPTURE, file), join(folder, file));
  }
  const lines = gunzipSync(readFileSync(join(CAPTURE, TRACE)))
    .toString()
    .split('\n');
  writeFileSync(join(folder, TRACE), gzipSync(change(lines).join('\n')));
  return folder;
}

/** A TLBI_NH_VA of ASID 2 (IHI 0070, section 4.4.2.3) as a line of a trace. */
function line(page: number): string {
  const address = (0x7000_0000_0000n + BigInt(page) * 0x1000n + 1n).toString(16);
  return JSON.stringify({
    kind: 'cmd',
    name: 'TLBI_NH_VA',
    raw: ['0x2000000000012', `0x${address}`],
  });
}

interface Physical {
  readonly calls: number;
  readonly commands: number;
  readonly dropped: number;
  readonly sizes: unknown;
  readonly check: { readonly tlbi: unknown };
}

async function json(argv: readonly string[]) {
  const { status, out, err } = await cli(['route', ...argv, '--json']);
  const summary = JSON.parse(out) as Record<string, unknown> & { readonly physical: Physical[] };
  return { status, err, summary };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('vsmmu route', () => {
  test('prints what was sent to the physical SMMU, what stayed inside, and why', async () => {
    const { status, out, err } = await cli(['route', CAPTURE, '--passthrough', '0x10']);
    expect([status, err]).toEqual([0, '']);
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^routed 327 commands in \d+\.\d s: 0 mismatches$/);
    // 21 accesses are 0x10's, 4 of them without a permission; two TLBI_NH_ASID come before its STE.
    expect(lines.slice(1, 25)).toEqual([
      '  passthrough   1 device behind 1 physical SMMU',
      '  left out      21 accesses that hardware translates',
      '                event records that hardware writes: none',
      '  emulated      1386 accesses',
      '  forwarded     74 commands: 10 TLBI_NH_ASID, 64 TLBI_NH_VA',
      '  amplification 1.00 commands sent for each',
      '',
      '  device                                   SMMU  StreamID there  at the end  HWPT',
      expect.stringMatching(
        /^ {2}StreamID 0x10 \(virtio-blk 0000:00:02\.0\) +0 +0x8000 {2}s1 +\d+$/,
      ),
      '',
      'Physical SMMU 0',
      '  calls         74 with 74 commands, before 74 CMD_SYNCs',
      '  refused       0 calls',
      '  commands      10 TLBI_NH_ASID, 64 TLBI_NH_VA',
      '  dropped       0, covered by one that waited already',
      '  batch sizes   1: 74',
      '  HWPTs         3 made, 0 objects destroyed',
      '  events        0 from hardware, 0 lost',
      '  TLBIs         74 came while it translated: 74 in its queue, 0 dropped, 0 missing',
      '',
      '  First 5 batches of 74',
      '    line  syncs  origin  command',
      '      60     12  guest   TLBI_NH_ASID  ASID=3',
      '      77     17  guest   TLBI_NH_ASID  ASID=4',
    ]);
    expect(out).toContain(
      '     104     22  guest   TLBI_NH_VA    Leaf=1 TTL=3 TG=1 ASID=2 Address=0xffff8000\n',
    );
    expect(out).toMatch(/\n +- +4 {2}CR0 +0x10 +abort +\d+ {2}0x0+1:0x0+\n/);
    expect(out).toMatch(/\n +55 +23 {2}CFGI +0x10 +s1 +\d+ {2}0x[0-9a-f]{15}b:0x0+d4\n/);
    expect(lines.slice(-10)).toEqual([
      '                64 TLBI_NH_VA, 1 TLBI_NSNH_ALL, 154 SYNC',
      '  failed        0',
      '  events        214 F_PERMISSION',
      '',
      'Stays inside',
      '  otherStream       36 CFGI_CD: the StreamID is of no passthrough device',
      '  nobodyTranslates  2 TLBI_NH_ASID, 1 TLBI_NSNH_ALL: no passthrough device is nested at that time,',
      '                    so hardware keeps nothing',
      '  notNested         2 CFGI_CD: the passthrough device that is named is not nested at that time',
      '',
    ]);
  });

  test.each([
    ['0x10', '1', [74]],
    ['0x10,0x80', '2', [74, 11]],
    ['0x10,0x80,0x98', '1', [74]],
    ['0', '1', [0]],
  ])('--passthrough %s --physical %s: TLBIs sent are %j', async (ids, count, sent) => {
    const { status, err, summary } = await json([
      ...[CAPTURE, '--passthrough', ids, '--physical', count],
    ]);
    expect([status, err]).toEqual([0, '']);
    expect(summary.physical.map(({ commands }) => commands)).toEqual(sent);
    const total = sent.reduce((sum, one) => sum + one, 0);
    expect(summary.amplification).toBe(sent[0] === 0 ? 0 : total / sent[0]!);
  });

  test('--json is one object with everything that is printed', async () => {
    const { summary } = await json([CAPTURE, '--passthrough', '16', '--physical', '2']);
    expect(Object.keys(summary)).toEqual([
      ...['records', 'commands', 'accesses', 'leftOut', 'hardwareEvents', 'devices', 'physical'],
      ...['emulated', 'forwarded', 'inside', 'amplification', 'mismatches', 'first', 'seconds'],
    ]);
    expect(summary).toMatchObject({ records: 1929, commands: 327, accesses: 1386, leftOut: 21 });
    expect(Object.keys(summary.physical[0]!)).toEqual([
      ...['calls', 'commands', 'dropped', 'refusals', 'translating', 'sent', 'madeUp', 'sizes'],
      ...['syncs', 'batches', 'hwpts', 'changes', 'changeCount', 'events', 'lostEvents', 'check'],
    ]);
    const tally = { dropped: 0, missing: 0 };
    expect(summary.physical).toMatchObject([
      {
        ...{ calls: 74, commands: 74, translating: 1, changeCount: 3, hwpts: { allocated: 3 } },
        ...{ sent: { TLBI_NH_ASID: 10, TLBI_NH_VA: 64 }, madeUp: {} },
        sizes: [{ least: 1, most: 1, batches: 74 }],
        changes: [{ attached: 'bypass' }, { attached: 'abort' }, { attached: 's1', command: 23 }],
        check: {
          tlbi: {
            TLBI_NH_ASID: { came: 10, sent: 10, ...tally },
            TLBI_NH_VA: { came: 64, sent: 64, ...tally },
          },
          ...{ surplus: 0, madeUp: 0 },
        },
      },
      { calls: 0, commands: 0, changes: [], sizes: [], check: { tlbi: {} } },
    ]);
    const { batches } = summary.physical[0] as unknown as { readonly batches: unknown[] };
    expect(batches).toHaveLength(5);
    // The third: line 104 of the trace, and word by word TLBI_NH_VA with TTL 3 and TG 1.
    expect(batches[2]).toEqual({
      ...{ command: 48, syncs: 22, line: 104, cause: 'CMDQ_PROD' },
      ...{ origin: 'guest', errno: 0, count: 1 },
      commands: [
        {
          command: 'TLBI_NH_VA',
          fields: {
            ...{ NUM: 0, SCALE: 0, Leaf: 1, TTL128: 0, TTL: 3, TG: 1 },
            ...{ VMID: 0, ASID: 2, Address: '0xffff8000' },
          },
          words: ['0x0002000000000012', '0x00000000ffff8701'],
        },
      ],
    });
  });

  test('a batch is what one CMD_SYNC waits for; what is covered is dropped', async () => {
    const folder = copyOf((lines) => {
      const many = Array.from({ length: 600 }, (_, i) => line(i));
      const few = [line(0), line(0), line(0), line(1)];
      // Lines 110 and 113 are TLBI_NH_VAs, each with a CMD_SYNC behind it.
      return [
        ...lines.slice(0, 109),
        ...few,
        ...lines.slice(109, 112),
        ...many,
        ...lines.slice(112),
      ];
    });
    const { status, summary } = await json([folder, '--passthrough', '0x10']);
    expect([status, summary.mismatches]).toEqual([0, 0]);
    expect(summary.physical[0]).toMatchObject({
      ...{ calls: 74, commands: 676, dropped: 2 },
      sizes: [
        { least: 1, most: 1, batches: 72 },
        { least: 3, most: 8, batches: 1 },
        { least: 513, most: null, batches: 1 },
      ],
      check: { tlbi: { TLBI_NH_VA: { came: 668, sent: 666, dropped: 2, missing: 0 } } },
    });
  });

  test('without a trace the commands of the ring are replayed, and a note says so', async () => {
    const ring = ringOf(WITHOUT_TRACE);
    const { status, err, summary } = await json([WITHOUT_TRACE, '--passthrough', '0x10,0x88']);
    const file = join(WITHOUT_TRACE, TRACE);
    const note = `${file}: the file is missing, so the commands in the queue's ring are replayed`;
    expect([status, err]).toEqual([0, `vsmmu: ${note}\n`]);
    expect(summary).toMatchObject({ records: 0, commands: ring.length, leftOut: 0 });
    expect(summary.physical[0]!.check.tlbi).toMatchObject({
      TLBI_NH_ASID: { came: countOf(ring, 0x11), missing: 0 },
      TLBI_NH_VA: { came: countOf(ring, 0x12), missing: 0 },
      TLBI_NSNH_ALL: { came: countOf(ring, 0x30), missing: 0 },
    });
  });

  test('the status is 1 when hardware has not got a TLBI', async () => {
    vi.spyOn(IommufdSmmu.prototype, 'invalidate').mockReturnValueOnce(undefined);
    const { status, out } = await cli(['route', CAPTURE, '--passthrough', '0x10']);
    expect(status).toBe(1);
    expect(out).toMatch(/^routed 327 commands in \d+\.\d s: 1 mismatches\n/);
    expect(out).toContain('physical SMMU 0: TLBI_NH_ASID of line 60 has not reached hardware');
    expect(out).toContain('74 came while it translated: 73 in its queue, 0 dropped, 1 missing');
  });

  test.each([
    [[], `vsmmu: --passthrough is missing: name one StreamID or more; ${DEVICES}`],
    [
      ['--passthrough', '0x10,0x11,5'],
      `vsmmu: --passthrough names 0x11, 0x5, which the capture has not; ${DEVICES}`,
    ],
  ])('%j: the error lists the StreamIDs of the capture', async (argv, message) => {
    expect(await cli(['route', CAPTURE, ...argv])).toEqual({ status: 2, out: '', err: message });
  });

  test.each([
    [['--passthrough', '0x10,16'], 'StreamID 0x10 is there twice.'],
    [['--passthrough', '0x10,'], 'A StreamID is a decimal or 0x number from 0 to 0xffffffff.'],
    [['--physical', '0'], 'A number of physical SMMUs is a decimal or 0x number from 1 to 0x10.'],
    [['--physical', '17'], 'A number of physical SMMUs is a decimal or 0x number from 1 to 0x10.'],
  ])('%j is wrong use', async (argv, message) => {
    const { status, out, err } = await cli(['route', CAPTURE, ...argv]);
    expect([status, out]).toEqual([2, '']);
    expect(err).toContain(message);
  });

  test('the STEs of a guest that has seen stalls are those of the recording', async () => {
    // Its driver wrote S1STALLD=1: illegal where the vSMMU has no stalls.
    const { status, summary } = await json(['fixtures/live/short', '--passthrough', '0x20']);
    expect([status, summary.mismatches, summary.physical[0]!.commands]).toEqual([0, 0, 333]);
  });

  test('colours and progress are for terminals', async () => {
    const options = { outIsTTY: true, errIsTTY: true };
    const { out, err } = await cli(['route', CAPTURE, '--passthrough', '0x10'], options);
    expect(out).toContain('[32mrouted 327 commands in ');
    expect(err === '' || err.includes('replaying [')).toBe(true);
  });

  test('--help has an example', async () => {
    const { status, out } = await cli(['route', '--help']);
    expect(status).toBe(0);
    expect(out).toContain('\nExample:\n  $ vsmmu route captures/linux --passthrough 0x10,0x18 ');
  });
});
