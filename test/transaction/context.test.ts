import { describe, expect, test } from 'vitest';
import type { Features } from '../../src/registers/features.js';
import { type AddressHalf, Context } from '../../src/transaction/context.js';
import { CD, type Edit, edited, featuresFrom, words32 } from './machine.js';

/** OAS=52, all granules, DS, VAX=1, HTTU=2, EPAN and E0PD. */
const WIDE = featuresFrom({ idr5: 0x4f6, aidr: 4 }, { HTTU: 2, EPAN: 1, E0PD: 1, HAD: 1, STT: 1 });

const t0sz = (value: number): Edit => [0, 5, 0, value];
const tg0 = (value: number): Edit => [0, 7, 6, value];
const t1sz = (value: number): Edit => [0, 21, 16, value];
const tg1 = (value: number): Edit => [0, 23, 22, value];
const epd1 = (value: number): Edit => [0, 30, 30, value];
const ips = (value: number): Edit => [0, 34, 32, value];
const ttb0 = (value: bigint): Edit => [1, 51, 4, value >> 4n];
const ttb1 = (value: bigint): Edit => [2, 51, 4, value >> 4n];
const ds: Edit = [2, 58, 58, 1];

function decode(edits: readonly Edit[], features: Features = WIDE): Context {
  const context = new Context();
  context.decode(words32(edited(CD, ...edits)), 0, features);
  return context;
}

/** Bits of an input address that must equal bit 55, in hexadecimal. */
function canonical({ canonicalHigh, canonicalLow }: AddressHalf): string {
  const mask = (BigInt(canonicalHigh >>> 0) << 32n) | BigInt(canonicalLow >>> 0);
  return `0x${mask.toString(16).padStart(16, '0')}`;
}

describe('a CD, decoded (IHI 0070, section 5.4)', () => {
  test('the CD that Linux writes: 48 bits of 4K pages below TTB0', () => {
    const context = decode([], featuresFrom());
    const { lower, upper } = context;
    expect([lower.enabled, upper.enabled]).toEqual([true, false]);
    expect([lower.inputBits, lower.granuleLog2, lower.bitsPerLevel]).toEqual([48, 12, 9]);
    expect([lower.startLevel, lower.startShift, lower.startMask]).toEqual([0, 39, 511]);
    expect([lower.firstBlockLevel, context.ds]).toEqual([1, false]);
    expect([lower.table, context.outputLimit]).toEqual([0x43e2_0000, 2 ** 44]);
    expect([context.asid, context.aset]).toEqual([2, 1]);
    expect([context.aborts, context.records, context.stalls]).toEqual([true, true, false]);
    expect([...context.attributes]).toEqual([0x44, 0xff, 0x04, 0xf4, 0xff, 0xff, 0xff, 0xff]);
    expect(context.bigEndian || context.setsAccessFlag || context.ignoresAccessFlag).toBe(false);
    expect([lower.base, lower.upper, upper.upper]).toEqual([0, false, true]);
  });

  test('both halves: 64K below TTB0, 4K below TTB1, 52 bits out', () => {
    // fixtures/layouts/cd.json, "both halves", less DS.
    const words = [0xbeef_6206_b799_294cn, 0x000c_1234_5678_9ac0n, 0x3_fedc_ba98_7640n, 0n];
    const context = new Context();
    context.decode(words32([...words, 0n, 0n, 0n, 0n]), 0, WIDE);
    const { lower, upper } = context;
    expect([lower.inputBits, lower.granuleLog2, lower.startLevel]).toEqual([52, 16, 1]);
    expect([lower.startShift, lower.startMask, lower.table]).toEqual([
      42, 1023, 0xc_1234_5678_8000,
    ]);
    expect([upper.inputBits, upper.granuleLog2, upper.startLevel]).toEqual([39, 12, 1]);
    expect([upper.startShift, upper.startMask, upper.table]).toEqual([30, 511, 0x3_fedc_ba98_7000]);
    expect([lower.firstBlockLevel, upper.firstBlockLevel]).toEqual([1, 1]);
    expect([context.outputLimit, context.asid, context.aset]).toEqual([2 ** 52, 0xbeef, 0]);
    expect(upper.base).toBe(2 ** 64 - 2 ** 39);
  });

  test('a CD is read from the index that is given', () => {
    const words = new Uint32Array(20);
    words.set(words32(CD), 4);
    const context = new Context();
    context.decode(words, 4, WIDE);
    expect([context.asid, context.lower.table]).toEqual([2, 0x43e2_0000]);
  });

  test.each<[name: string, edit: Edit, of: (context: Context) => unknown]>([
    ['EPD0 switches the lower half off', [0, 14, 14, 1], ({ lower }) => !lower.enabled],
    ['EPD1=0 switches the upper half on', epd1(0), ({ upper }) => upper.enabled],
    ['ENDI', [0, 15, 15, 1], ({ bigEndian }) => bigEndian],
    ['AFFD', [0, 35, 35, 1], ({ ignoresAccessFlag }) => ignoresAccessFlag],
    ['HA', [0, 43, 43, 1], ({ setsAccessFlag }) => setsAccessFlag],
    ['HD with HA', [0, 43, 42, 3], ({ setsDirty }) => setsDirty],
    ['S', [0, 44, 44, 1], ({ stalls }) => stalls],
    ['R=0', [0, 45, 45, 0], ({ records }) => !records],
    ['A=0', [0, 46, 46, 0], ({ aborts }) => !aborts],
    ['HAD0', [1, 1, 1, 1], ({ lower, upper }) => lower.flat && !upper.flat],
    ['HAD1', [2, 1, 1, 1], ({ lower, upper }) => upper.flat && !lower.flat],
    ['E0PD0', [1, 2, 2, 1], ({ lower, upper }) => lower.privilegedOnly && !upper.privilegedOnly],
    ['E0PD1', [2, 2, 2, 1], ({ lower, upper }) => upper.privilegedOnly && !lower.privilegedOnly],
    ['DS', ds, (context) => context.ds && context.lower.firstBlockLevel === 0],
    ['SH0=2', [0, 13, 12, 2], ({ shareability }) => shareability[0] === 2 && shareability[1] === 0],
    ['SH1=2', [0, 29, 28, 2], ({ shareability }) => shareability[0] === 3 && shareability[1] === 2],
  ])('%s', (_, edit, of) => {
    expect(of(decode([edit]))).toBe(true);
    expect(of(decode([]))).toBe(false);
  });

  test('HD without HA is reserved, and behaves as off', () => {
    const context = decode([[0, 42, 42, 1]]);
    expect([context.setsDirty, context.setsAccessFlag]).toEqual([false, false]);
    // AP=11 with DBM stays read-only.
    expect(context.permissions[19]).toBe(0b101_101);
  });

  test('HAD, E0PD, DS and EPAN are RES0 where the SMMU has them not', () => {
    const features = { ...WIDE, HAD: 0, E0PD: 0, DS: 0, EPAN: 0 };
    const pan: Edit[] = [
      [0, 40, 40, 1],
      [1, 59, 59, 1],
    ];
    const context = decode([[1, 2, 1, 3], [2, 2, 1, 3], ds, ...pan], features);
    const { lower, upper } = context;
    expect([lower.flat, upper.flat, lower.privilegedOnly, upper.privilegedOnly]).toEqual(
      new Array(4).fill(false),
    );
    expect([context.ds, lower.firstBlockLevel]).toEqual([false, 1]);
    // AP=00: with EPAN the privileged read (8) would be hidden from unprivileged executables.
    expect(context.permissions[0]! & 8).toBe(8);
    expect(decode(pan).permissions[0]! & 8).toBe(0);
  });

  test.each<[control: string, edits: Edit[], index: number, permissions: number]>([
    ['WXN takes execution from AP=00', [[0, 36, 36, 1]], 0, 0b011_100],
    ['PAN hides AP=01', [[0, 40, 40, 1]], 1, 0b000_111],
    ['HD and HA make a clean page writable', [[0, 43, 42, 3]], 19, 0b1_011_111],
    ['UWXN does nothing', [[0, 37, 37, 1]], 0, 0b111_100],
  ])('%s', (_, edits, index, permissions) => {
    expect(decode(edits).permissions[index]).toBe(permissions);
  });
});

describe('the range of input addresses (IHI 0070, section 3.4.1)', () => {
  test.each<[txsz: number, tbi: number, mask: string]>([
    [12, 0, '0xfff0000000000000'],
    [16, 0, '0xffff000000000000'],
    [16, 1, '0x00ff000000000000'],
    [25, 0, '0xffffff8000000000'],
    [31, 0, '0xfffffffe00000000'],
    [32, 0, '0xffffffff00000000'],
    [32, 1, '0x00ffffff00000000'],
    [33, 0, '0xffffffff80000000'],
    [39, 0, '0xfffffffffe000000'],
    [39, 1, '0x00fffffffe000000'],
    [47, 0, '0xfffffffffffe0000'],
  ])('TxSZ=%i, TBI=%i: the bits %s equal bit 55', (txsz, tbi, mask) => {
    const granule = [tg0(1), tg1(3), epd1(0)];
    const lower = decode([...granule, t0sz(txsz), t1sz(20), [0, 38, 38, tbi]]);
    expect([canonical(lower.lower), canonical(lower.upper)]).toEqual([mask, '0xfffff00000000000']);
    const upper = decode([...granule, t1sz(txsz), t0sz(20), [0, 39, 39, tbi]]);
    expect([canonical(upper.upper), canonical(upper.lower)]).toEqual([mask, '0xfffff00000000000']);
  });
});

describe('the first table (DDI 0487, section D8.2)', () => {
  const all = (1n << 48n) - 16n;
  // TTB is aligned to the size of the table: 8 bytes at least, 64 with a 52-bit effective IPS.
  test.each<[what: string, edits: Edit[], entries: number, bits: number, table: number]>([
    ['4K, 512 entries', [t0sz(16)], 512, 44, 0x0fff_ffff_f000],
    ['4K, 256 entries', [t0sz(17)], 256, 44, 0x0fff_ffff_f800],
    ['4K, 2 entries', [t0sz(24)], 2, 44, 0x0fff_ffff_fff0],
    ['4K, 4 entries', [t0sz(23)], 4, 44, 0x0fff_ffff_ffe0],
    ['4K, 8 entries', [t0sz(22)], 8, 44, 0x0fff_ffff_ffc0],
    ['4K, 2 entries, IPS of 48 bits', [t0sz(24), ips(5)], 2, 48, 0xffff_ffff_fff0],
    ['4K, 2 entries, IPS of 52 bits', [t0sz(24), ips(6)], 2, 52, 0xffff_ffff_ffc0],
    ['4K, 8 entries, IPS of 52 bits', [t0sz(22), ips(6)], 8, 52, 0xffff_ffff_ffc0],
    ['4K, 16 entries, IPS of 52 bits', [t0sz(21), ips(6)], 16, 52, 0xffff_ffff_ff80],
    ['16K, 2 entries at level 0', [t0sz(16), tg0(2)], 2, 44, 0x0fff_ffff_fff0],
    ['16K, 2,048 entries', [t0sz(17), tg0(2)], 2048, 44, 0x0fff_ffff_c000],
    ['64K, 64 entries', [t0sz(16), tg0(1)], 64, 44, 0x0fff_ffff_fe00],
    ['64K, 8,192 entries', [t0sz(22), tg0(1)], 8192, 44, 0x0fff_ffff_0000],
    ['64K, 1,024 entries of 52 bits', [t0sz(12), tg0(1)], 1024, 44, 0x0fff_ffff_e000],
    ['4K with DS, 16 entries at level -1', [t0sz(12), ds], 16, 44, 0x0fff_ffff_ff80],
    ['4K with DS, 2 entries at level -1', [t0sz(15), ds, ips(6)], 2, 52, 0xffff_ffff_ffc0],
  ])('%s', (_, edits, entries, bits, table) => {
    const base = all & ((1n << BigInt(bits)) - 1n);
    const context = decode([...edits, ttb0(base)]);
    expect([context.lower.startMask + 1, context.outputLimit]).toEqual([entries, 2 ** bits]);
    expect(context.lower.table).toBe(table);
  });

  test.each<[what: string, edits: Edit[], table: number]>([
    ['4K, 8 entries', [t1sz(22), tg1(2)], 0x0fff_ffff_ffc0],
    ['16K, 2 entries', [t1sz(16), tg1(1)], 0x0fff_ffff_fff0],
    ['64K, 64 entries', [t1sz(16), tg1(3)], 0x0fff_ffff_fe00],
    ['64K, 64 entries, IPS of 52 bits', [t1sz(16), tg1(3), ips(6)], 0x0fff_ffff_fe00],
    ['4K, 2 entries, IPS of 52 bits', [t1sz(24), tg1(2), ips(6)], 0x0fff_ffff_ffc0],
  ])('TTB1: %s', (_, edits, table) => {
    const { upper } = decode([epd1(0), ttb1((1n << 44n) - 16n), ...edits]);
    expect(upper.table).toBe(table);
  });

  test.each<[what: string, level: number, block: number, edits: Edit[]]>([
    ['4K, T0SZ=16', 0, 1, [t0sz(16)]],
    ['4K, T0SZ=25', 1, 1, [t0sz(25)]],
    ['4K, T0SZ=34', 2, 1, [t0sz(34)]],
    ['4K, T0SZ=43', 3, 1, [t0sz(43)]],
    ['4K with DS, T0SZ=12', -1, 0, [t0sz(12), ds]],
    ['16K, T0SZ=28', 2, 2, [t0sz(28), tg0(2)]],
    ['16K with DS, T0SZ=12', 0, 1, [t0sz(12), tg0(2), ds]],
    ['64K with OAS=52, T0SZ=12', 1, 1, [t0sz(12), tg0(1)]],
  ])('%s: the walk starts at level %i, blocks at level %i', (_, level, block, edits) => {
    const { lower } = decode(edits);
    expect([lower.startLevel, lower.firstBlockLevel]).toEqual([level, block]);
  });

  test('64K with OAS below 52 has no blocks at level 1', () => {
    const { lower } = decode([tg0(1)], featuresFrom());
    expect(lower.firstBlockLevel).toBe(2);
  });
});
