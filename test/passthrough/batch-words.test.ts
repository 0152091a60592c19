import { describe, expect, test } from 'vitest';
import type { FeatureOptions } from '../../src/registers/feature-set.js';
import type { Entry } from '../smmu/smmu-machine.js';
import { CommandRig, ILL, SYNC, type SteName } from './command-rig.js';

/** What comes of a command: its words in hardware, CERROR_ILL, or it is consumed and nothing is sent. */
type Outcome = Entry | 'ILL' | 'nothing';
type Row = readonly [
  what: string,
  features: FeatureOptions,
  given: Entry,
  outcome: Outcome,
  ste?: SteName,
];

const BASE: FeatureOptions = { preset: 'qemu', ATS: 1, SSIDSIZE: 5, DS: 0, RIL: 1 };
const NO_RIL: FeatureOptions = { ...BASE, RIL: 0 };
const DS: FeatureOptions = { preset: 'full', SSIDSIZE: 5 };
const ASID8: FeatureOptions = { ...BASE, ASID16: 0 };
const NO_SSID: FeatureOptions = { ...BASE, SSIDSIZE: 0 };
const NO_ATS: FeatureOptions = { ...BASE, ATS: 0 };

/** RES0 bits 11:8, 19:17 and 31:26 set, NUM=3, SCALE=0x25, VMID=0xabcd, ASID=0x1234. */
const RANGE = 0x1234_abcd_fe5e_3f00n;
/** VA[63:12], for TG, TTL and Leaf below it. */
const VA = 0xfedc_ba98_7654_3000n;
const ONES = 0xffff_ffff_ffff_ffffn;

// IHI 0070, sections 4.3 to 4.5; the words computed by hand.
const ROWS: Record<string, readonly Row[]> = {
  'TLBI without fields': [
    ['TLBI_NSNH_ALL keeps its opcode only', BASE, [0xffff_ffff_ffff_ff30n, ONES], [0x30n, 0n]],
    ['TLBI_NH_ALL loses VMID and RES0', BASE, [0xffff_ffff_ffff_ff10n, ONES], [0x10n, 0n]],
  ],
  TLBI_NH_ASID: [
    ['keeps 16 bits', BASE, [0x1234_abcd_ffff_ff11n, ONES], [0x1234_0000_0000_0011n, 0n]],
    ['ASID16=0: 8 bits', ASID8, [0x1234_abcd_ffff_ff11n, ONES], [0x0034_0000_0000_0011n, 0n]],
  ],
  TLBI_NH_VA: [
    ['TG=1', BASE, [RANGE | 0x12n, VA | 0x7ffn], [0x1234_0000_0050_3012n, VA | 0x701n]],
    ['DS=1: SCALE[5]', DS, [RANGE | 0x12n, VA | 0x7ffn], [0x1234_0000_0250_3012n, VA | 0x701n]],
    ['RIL=0', NO_RIL, [RANGE | 0x12n, VA | 0x7ffn], [0x1234_0000_0000_0012n, VA | 1n]],
    ['ASID16=0', ASID8, [RANGE | 0x12n, VA | 0x7ffn], [0x0034_0000_0050_3012n, VA | 0x701n]],
    ['TG=0', BASE, [RANGE | 0x12n, VA | 0x3ffn], [0x1234_0000_0000_0012n, VA | 1n]],
    ['Leaf=0', BASE, [RANGE | 0x12n, VA | 0x7fen], [0x1234_0000_0050_3012n, VA | 0x700n]],
    ['TG=2 TTL=1 DS=0: TTL=0', BASE, [0x3012n, VA | 0x901n], [0x3012n, VA | 0x801n]],
    ['TG=2 TTL=1 DS=1', DS, [0x3012n, VA | 0x901n], [0x3012n, VA | 0x901n]],
    ['TG=2 TTL=2', BASE, [0x12n, VA | 0xa01n], [0x12n, VA | 0xa01n]],
    ['TG=1 TTL=1', BASE, [0x12n, VA | 0x501n], [0x12n, VA | 0x501n]],
    ['TG=3 TTL=1', BASE, [0x12n, VA | 0xd01n], [0x12n, VA | 0xd01n]],
    ['TG=1 without range and level', BASE, [0x12n, VA | 0x401n], 'ILL'],
    ['TG=2 TTL=1 DS=0 without range', BASE, [0x12n, VA | 0x901n], 'ILL'],
    ['TG=1 SCALE=32, which DS=0 does not have', BASE, [0x0200_0012n, VA | 0x401n], 'ILL'],
    ['TG=1 SCALE=32 DS=1', DS, [0x0200_0012n, VA | 0x401n], [0x0200_0012n, VA | 0x401n]],
    ['the same without RIL is one page', NO_RIL, [0x12n, VA | 0x401n], [0x12n, VA | 1n]],
    ['NUM=31 SCALE=31', BASE, [0x01f1_f012n, VA | 0x401n], [0x01f1_f012n, VA | 0x401n]],
  ],
  TLBI_NH_VAA: [
    ['has no ASID', BASE, [RANGE | 0x13n, VA | 0x7ffn], [0x0050_3013n, VA | 0x701n]],
    ['DS=1: SCALE[5]', DS, [RANGE | 0x13n, VA | 0x7ffn], [0x0250_3013n, VA | 0x701n]],
    ['RIL=0', NO_RIL, [RANGE | 0x13n, VA | 0x7ffn], [0x13n, VA | 1n]],
    ['TG=0', BASE, [RANGE | 0x13n, VA | 0x3ffn], [0x13n, VA | 1n]],
    ['TG=3 without range and level', BASE, [0x13n, VA | 0xc01n], 'ILL'],
  ],
  CFGI_CD: [
    ['keeps SubstreamID and Leaf', BASE, [0x20_0000_5b05n, ONES], [0x20_0000_5005n, 1n]],
    ['Leaf=0', BASE, [0x20_0000_5005n, ONES - 1n], [0x20_0000_5005n, 0n]],
    ['SubstreamID 31 of 5 bits', BASE, [0x20_0001_f005n, 1n], [0x20_0001_f005n, 1n]],
    ['SubstreamID 32 of 5 bits', BASE, [0x20_0002_0005n, 1n], 'nothing'],
    ['SSIDSIZE=0: SubstreamID 0', NO_SSID, [0x20_0000_0b05n, 1n], [0x20_0000_0005n, 1n]],
    ['SSIDSIZE=0: SubstreamID 1', NO_SSID, [0x20_0000_1005n, 1n], 'nothing'],
    ['SSec', BASE, [0x20_0000_0405n, 1n], 'ILL'],
    ['of another stream', BASE, [0x30_0000_0005n, 1n], 'nothing'],
    ['of a stream that bypasses', BASE, [0x20_0000_0005n, 1n], 'nothing', 'bypass'],
  ],
  CFGI_CD_ALL: [
    ['keeps the StreamID only', BASE, [0x20_ffff_fb06n, ONES], [0x20_0000_0006n, 0n]],
    ['SSec', BASE, [0x20_0000_0406n, 0n], 'ILL'],
  ],
  ATC_INV: [
    ['SSV=1', BASE, [0x20_0000_7f40n, VA | 0xff4n], [0x20_0000_7a40n, VA | 0x34n]],
    ['SSV=0: no SubstreamID, no Global', BASE, [0x20_0000_7740n, VA], [0x20_0000_0040n, VA]],
    ['SSV=0: any SubstreamID', BASE, [0x20_ffff_f040n, VA], [0x20_0000_0040n, VA]],
    ['Size=52', BASE, [0x20_0000_0040n, 0x34n], [0x20_0000_0040n, 0x34n]],
    ['Size=53', BASE, [0x20_0000_0040n, 0x35n], 'nothing'],
    ['SubstreamID 32 of 5 bits', BASE, [0x20_0002_0840n, 0n], 'nothing'],
    ['SSIDSIZE=0: SSV=1', NO_SSID, [0x20_0000_0840n, 0n], 'nothing'],
    ['SSIDSIZE=0: SSV=0', NO_SSID, [0x20_ffff_f740n, 0n], [0x20_0000_0040n, 0n]],
    ['EATS=0', BASE, [0x20_0000_0040n, 0n], 'nothing', 's1'],
    ['a stream that aborts', BASE, [0x20_0000_0040n, 0n], 'nothing', 'abort'],
    ['ATS=0', NO_ATS, [0x20_0000_0040n, 0n], 'ILL', 's1'],
  ],
};

describe.each(Object.entries(ROWS))('%s, as hardware gets it', (_, rows) => {
  test.each(rows.map((row) => ({ row, what: row[0] })))('$what', async ({ row }) => {
    const [, features, given, outcome, ste = 'ats'] = row;
    const rig = await CommandRig.make({ features, ste });
    rig.command(given, SYNC);
    const sent = typeof outcome === 'string' ? [] : [[outcome]];
    expect(rig.host.sent).toEqual(sent);
    expect(rig.state).toEqual(outcome === 'ILL' ? [0, ILL] : [2, 0]);
  });
});
