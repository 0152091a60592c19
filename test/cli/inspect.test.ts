import { describe, expect, test } from 'vitest';
import { S1Dss, S1Fmt, SteConfig } from '../../src/arch/ste.js';
import { RAM_BASE, smallGuest, writeCapture } from './capture-writer.js';
import { cli } from './run-cli.js';

/** A nested STE with VMSAv8-64 stage 2: 4 KiB, 40-bit input, level 1, 48-bit output. */
const NESTED = {
  V: 1,
  Config: SteConfig.nested,
  S2VMID: 7,
  S2AA64: 1,
  S2T0SZ: 24,
  S2SL0: 1,
  S2PS: 5,
  S2R: 1,
  S2TTB: 0x4000_8000,
} as const;

const DEVICES = [
  { name: 'nvme', bdf: '0000:00:01.0', streamId: 8 },
  { name: 'rng', bdf: '', streamId: 9 },
];

interface Inspection {
  readonly smmuEnabled: boolean;
  readonly queues: readonly Record<string, unknown>[];
  readonly registers: Readonly<Record<string, unknown>>;
  readonly streams: readonly {
    readonly streamId: number;
    readonly config: string;
    readonly problem: string | null;
    readonly stage2: { readonly illegal: string | null } | null;
    readonly contexts: readonly Record<string, unknown>[];
    readonly contextsOmitted: number;
  }[];
  readonly streamTable: Readonly<Record<string, unknown>>;
}

async function inspected(folder: string): Promise<Inspection> {
  const { status, out } = await cli(['inspect', folder, '--json']);
  expect(status).toBe(0);
  return JSON.parse(out) as Inspection;
}

function stage1Guest() {
  const guest = smallGuest();
  const space = guest.addressSpace({ cd: { ASID: 5, EPD1: 1 } });
  space.map(0x1000, 0x8000_0000, 0x3000);
  space.map(0x20_0000, 0x8020_0000, 0x20_0000);
  guest.attach(8, space);
  guest.bypass(9);
  guest.setSte(10, { V: 1, Config: SteConfig.abort });
  return { guest, space };
}

describe('vsmmu inspect', () => {
  test('prints a stage-1 stream: STE, CD, geometry, leaves by size', async () => {
    const folder = writeCapture(stage1Guest().guest, { devices: DEVICES });
    const { status, out, err } = await cli(['inspect', folder]);
    expect([status, err]).toEqual([0, '']);
    expect(out.slice(out.indexOf('Streams'))).toBe(
      [
        'Streams',
        '  1 stage 1, 1 bypass, 1 abort, 253 with V=0',
        '  bypass: StreamID 0x9 (rng)',
        '',
        'StreamID 0x8 (nvme 0000:00:01.0)  stage 1',
        '  STE     0x40000200  S1ContextPtr=0x40006000',
        '  CD      0x40006000  ASID 5, IPS 48 bits, faults abort, recorded',
        '  TTB0    0x40004000  4 KiB granule, 48-bit input, starts at level 0',
        '  TTB1    off (EPD1=1)',
        '  mapped  2.01 MiB: 3 x 4 KiB, 1 x 2 MiB, in 4 tables',
        '',
      ].join('\n'),
    );
  });

  test('prints registers in words and queues with what waits', async () => {
    const { guest } = stage1Guest();
    guest.setRegisters({
      CMDQ_BASE: 0x4005_0004,
      CMDQ_PROD: 0x12,
      CMDQ_CONS: 0x0100_000f,
      EVENTQ_BASE: 0x4006_0003,
      EVENTQ_PROD: 0x8000_0005,
      EVENTQ_CONS: 0x5,
      GERROR: 1,
      CR0ACK: 0xc,
      IIDR: 0x43b,
    });
    const { out } = await cli(['inspect', writeCapture(guest)]);
    const line = (start: string) => out.split('\n').find((text) => text.startsWith(`  ${start} `));
    expect(line('AIDR')).toBe('  AIDR             0x00000002          SMMUv3.2');
    expect(line('IIDR')).toContain('implementer 0x43b, product 0x0');
    expect(line('CR0')).toContain('SMMUEN CMDQEN EVENTQEN,');
    expect(out).toContain(' not acknowledged: CR0ACK is 0x0000000c\n');
    expect(line('GERROR')).toContain('active: CMDQ_ERR');
    // Sixteen entries: PROD is 2 with its wrap flag set, CONS 15 without.
    expect(line('CMDQ')).toMatch(
      /0x40050000 +16 +2 wrap 1 +15 wrap 0 +3 {2}on, stopped by CERROR_ILL$/,
    );
    expect(line('EVENTQ')).toMatch(
      /0x40060000 +8 +5 wrap 0 +5 wrap 0 +0 {2}on, overflow: records are lost$/,
    );
  });

  test('indexes that contradict each other leave the number of entries open', async () => {
    const { guest } = stage1Guest();
    guest.setRegisters({ IDR0: 0x0809_109a, CMDQ_BASE: 0x4005_0004, CMDQ_PROD: 0, CMDQ_CONS: 1 });
    const { queues } = await inspected(writeCapture(guest));
    expect(queues.map(({ name }) => name)).toEqual(['CMDQ', 'EVENTQ', 'PRIQ']);
    expect(queues[0]).toMatchObject({
      waiting: null,
      problems: ['PROD and CONS contradict each other'],
    });
    const { out } = await cli(['inspect', writeCapture(guest)]);
    expect(out).toContain('PROD and CONS contradict each other');
  });

  test('--json has the same content as one object', async () => {
    const report = await inspected(writeCapture(stage1Guest().guest, { devices: DEVICES }));
    expect(report.registers.STRTAB_BASE_CFG).toEqual({
      value: '0x00000008',
      fields: { LOG2SIZE: 8, SPLIT: 0, FMT: 0 },
    });
    expect(report.streamTable).toMatchObject({
      'stage 1': 1,
      bypass: 1,
      abort: 1,
      invalid: 253,
      bypassStreamIds: [9],
    });
    expect(report.streams).toMatchObject([
      {
        streamId: 8,
        devices: [DEVICES[0]],
        config: 'stage 1',
        ste: { address: '0x40000200', fields: { V: 1, Config: 5, S1ContextPtr: '0x40006000' } },
        problem: null,
        stage2: null,
        contexts: [
          {
            ssid: null,
            kind: 'stage 1',
            cd: {
              address: '0x40006000',
              ipsBits: 48,
              halves: [
                { name: 'TTB0', enabled: true, granule: 4096, inputBits: 48, startLevel: 0 },
                { name: 'TTB1', enabled: false },
              ],
            },
            mapped: { bytes: 0x20_3000, leaves: { 4096: 3, 2097152: 1 }, tables: 4, missing: 0 },
          },
        ],
      },
    ]);
  });

  test('nested and stage-2 STEs are shown, with whether the captured SMMU takes them', async () => {
    const guest = smallGuest({ registers: { IDR0: 0x0804_109b } });
    guest.setSte(3, NESTED);
    guest.setSte(4, { ...NESTED, Config: SteConfig.s2, S2TG: 3 });
    const folder = writeCapture(guest);
    const { streams, streamTable } = await inspected(folder);
    expect(streamTable).toMatchObject({ nested: 1, 'stage 2': 1 });
    const answer = 'C_BAD_STE: STE is illegal, rule 2: Config enables stage 2';
    expect(streams).toMatchObject([
      {
        streamId: 3,
        config: 'nested',
        problem: expect.stringContaining(answer) as unknown,
        stage2: {
          granule: 4096,
          inputBits: 40,
          outputBits: 48,
          illegal: null,
          fields: { S2VMID: 7, S2TTB: '0x40008000' },
        },
        contexts: [],
      },
      {
        streamId: 4,
        config: 'stage 2',
        stage2: {
          granule: 0,
          illegal: expect.stringContaining('rule 16: S2TG is reserved') as unknown,
        },
      },
    ]);
    const { out } = await cli(['inspect', folder]);
    expect(out).toContain('0 stage 1, 1 stage 2, 1 nested, 0 bypass, 0 abort');
    expect(out).toContain(
      'stage 2 S2VMID=7 S2T0SZ=24 S2SL0=1 S2PS=5 S2AA64=1 S2R=1 S2TTB=0x40008000\n',
    );
    expect(out).toContain('4 KiB granule, 40-bit input, 48-bit output\n');
    expect(out).toContain(
      'legal for the captured SMMU; vsmmu answers as an SMMU with stage 1 only\n',
    );
    expect(out).toContain('illegal for the captured SMMU too: STE is illegal, rule 16');
  });

  test('illegal STEs and CDs name their rule', async () => {
    const { guest, space } = stage1Guest();
    space.changeCd({ T0SZ: 50 });
    guest.setSte(4, { V: 1, Config: SteConfig.s1, S1CDMax: 21 });
    const { out } = await cli(['inspect', writeCapture(guest)]);
    expect(out).toContain(
      'C_BAD_STE: STE is illegal, rule 8: S1CDMax is larger than IDR1.SSIDSIZE',
    );
    expect(out).toContain('C_BAD_CD: CD is illegal, rule 11: T0SZ or T1SZ is out of range');
  });

  test('every CD of a stream with substreams is shown, the first 256 at most', async () => {
    const guest = smallGuest();
    const space = guest.addressSpace({ granuleLog2: 14, inputBits: 36, cd: { A: 0, HA: 1, S: 0 } });
    const other = guest.addressSpace({ cd: { S: 1, R: 0 } });
    guest.attachSubstreams(
      8,
      new Map([
        [1, space],
        [64, other],
      ]),
      { s1dss: S1Dss.bypass, format: S1Fmt.twoLevel4K },
    );
    const all = new Map(Array.from({ length: 300 }, (_, i) => [i, space] as const));
    guest.attachSubstreams(9, all, { s1dss: S1Dss.terminate });
    const folder = writeCapture(guest);
    const { streams } = await inspected(folder);
    expect(streams[0]!.contexts.map(({ ssid, kind }) => [ssid, kind])).toEqual([
      [null, 'bypass'],
      [1, 'stage 1'],
      [64, 'stage 1'],
    ]);
    expect([streams[1]!.contexts.length, streams[1]!.contextsOmitted]).toEqual([256, 45]);
    const { out } = await cli(['inspect', folder]);
    expect(out).toContain('  no SSID accesses without SubstreamID bypass stage 1 (S1DSS=1)\n');
    expect(out).toMatch(/SubstreamID 1: ASID 0, IPS 48 bits, faults read as zero, recorded, HA\n/);
    expect(out).toMatch(/16 KiB granule, 36-bit input, starts at level 2\n/);
    expect(out).toMatch(/SubstreamID 64: ASID 0, IPS 48 bits, faults stall\n/);
    expect(out).toContain('no SSID F_STREAM_DISABLED: no SubstreamID, but STE.S1DSS=0 demands one');
    expect(out).toContain('45 more CDs, not shown\n');
  });

  test('what is not in memory is said', async () => {
    const { guest, space } = stage1Guest();
    const page = space.descriptorAddress(0x1000, 3) & ~0xfff;
    const other = guest.addressSpace();
    guest.attach(11, other);
    const omit = [page, RAM_BASE + 0x1000, other.cdAddress & ~0xfff];
    const { out } = await cli(['inspect', writeCapture(guest, { omit })]);
    expect(out).toContain('1 page of the stream table, from 0x40001000 on, not in memory\n');
    expect(out).toContain(`512 descriptors, from 0x${page.toString(16)} on, not in memory\n`);
    expect(out).toContain(
      `F_CD_FETCH: external abort while fetching the CD (IHI 0070, section 7.3.10): 0x${other.cdAddress.toString(16)} is not in memory`,
    );
  });

  test.each([
    [0, 'bypass', 'bypassed'],
    [1 << 20, 'abort', 'aborted'],
  ])('CR0.SMMUEN=0, GBPA %d: no streams', async (GBPA, action, said) => {
    const { guest } = stage1Guest();
    guest.setRegisters({ CR0: 0, CR0ACK: 0, GBPA });
    const folder = writeCapture(guest);
    const { out } = await cli(['inspect', folder]);
    expect(out).toContain(`  the SMMU is off: every access is ${said}\n`);
    expect(out).toContain(`all accesses ${action}\n`);
    expect(out).not.toContain('StreamID 0x8');
    expect(await inspected(folder)).toMatchObject({
      smmuEnabled: false,
      global: action,
      streams: [],
    });
  });

  test('2-level tables: names 32 bypass streams and counts the others', async () => {
    const guest = smallGuest({ streamIdBits: 16, split: 6 });
    for (let streamId = 0x1000; streamId < 0x1028; streamId++) guest.bypass(streamId);
    const { out } = await cli(['inspect', writeCapture(guest)]);
    expect(out).toContain('2-level, 65536 StreamIDs, 64 to a level-2 table');
    expect(out).toContain('0 stage 1, 40 bypass, 0 abort, 24 with V=0\n');
    expect(out).toContain('  bypass: StreamID 0x101f\n  bypass: 8 more\n');
  });
});
