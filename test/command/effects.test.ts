import { describe, expect, test } from 'vitest';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { CD, CD_TABLE, edited, STE, STREAM_TABLE } from '../transaction/machine.js';
import { CountingMemory } from '../smmu/counting-memory.js';
import { RAM, RAM_BYTES, SmmuMachine, type Entry } from '../smmu/smmu-machine.js';

/** Streams with an STE each: 2^8 of them, in a linear table. */
const STREAMS = [0x10, 0x11, 0x12, 0x17, 0x18, 0x40, 0xff] as const;
/** Their CD tables of four CDs each: S1CDMax=2. */
const cdTable = (streamId: number): number => CD_TABLE + 0x1000 * (streamId + 1);

/** All streams are attached to CDs 0 to 3 and have been used, so STEs and CDs are cached. */
function warmed(): { machine: SmmuMachine; memory: CountingMemory } {
  const ram = new SparseMemory([{ base: RAM, byteLength: RAM_BYTES }]);
  const memory = new CountingMemory(ram);
  const machine = new SmmuMachine({ memory });
  // The machine's own RAM is not the one that it uses here.
  const put = (address: number, words: readonly bigint[]) => {
    const from = new Uint32Array(new BigUint64Array(words).buffer);
    ram.store(address, from, 0, from.length);
  };
  machine.put = (address, ...words) => {
    put(address, words);
    return machine;
  };
  put(0x43e2_0000, [0x43e3_0003n]);
  put(0x43e3_0000, [0x8000_0f45n]);
  for (const streamId of STREAMS) {
    // S1CDMax [63:59], S1ContextPtr [55:6], S1DSS=2 of the STE stays.
    const pointer = BigInt(cdTable(streamId)) >> 6n;
    const ste = edited(STE, [0, 63, 59, 2], [0, 55, 6, pointer]);
    put(STREAM_TABLE + 64 * streamId, ste);
    for (let index = 0; index < 4; index++) put(cdTable(streamId) + 64 * index, CD);
  }
  machine.start();
  touch(machine);
  return { machine, memory };
}

/** Uses every stream: without SubstreamID, that is CD 0, and with SubstreamIDs 1 to 3. */
function touch(machine: SmmuMachine): void {
  for (const streamId of STREAMS) {
    for (const substreamId of [-1, 1, 2, 3]) {
      expect(machine.translate(0x1234n, 0, streamId, substreamId).outcome).toBe(0);
    }
  }
}

/** What is fetched again after a command: STEs by StreamID, CDs as `StreamID.index`. */
function fetchedAfter(...commands: Entry[]): string[] {
  const { machine, memory } = warmed();
  machine.command(...commands);
  expect(machine.cerror).toBe(0);
  memory.clear();
  touch(machine);
  const again: string[] = [];
  for (const streamId of STREAMS) {
    const ste = STREAM_TABLE + 64 * streamId;
    for (let i = 0; i < memory.loadsIn(ste, ste + 64); i++) again.push(streamId.toString(16));
    for (let index = 0; index < 4; index++) {
      const cd = cdTable(streamId) + 64 * index;
      const count = memory.loadsIn(cd, cd + 64);
      for (let i = 0; i < count; i++) again.push(`${streamId.toString(16)}.${index}`);
    }
  }
  return again;
}

const whole = (...streams: string[]): string[] =>
  streams.flatMap((id) => [id, `${id}.0`, `${id}.1`, `${id}.2`, `${id}.3`]);
const EVERYTHING = whole('10', '11', '12', '17', '18', '40', 'ff');

const cfgiSte = (streamId: bigint, leaf = 1n): Entry => [0x03n | (streamId << 32n), leaf];
const range = (streamId: bigint, log2: bigint): Entry => [0x04n | (streamId << 32n), log2];
const cfgiCd = (streamId: bigint, index: bigint, leaf = 1n): Entry => [
  0x05n | (index << 12n) | (streamId << 32n),
  leaf,
];

describe('what a command makes the SMMU fetch again (4.3); everything else stays cached', () => {
  test.each<[string, Entry[], string[]]>([
    ['nothing', [], []],
    ['CFGI_STE', [cfgiSte(0x11n)], whole('11')],
    ['CFGI_STE with Leaf=0', [cfgiSte(0x11n, 0n)], whole('11')],
    ['CFGI_STE of a stream that was never used', [cfgiSte(0x13n)], []],
    ['CFGI_STE of StreamID 2^32-1', [cfgiSte(0xffff_ffffn)], []],
    ['CFGI_STE_RANGE 0: two streams', [range(0x11n, 0n)], whole('10', '11')],
    ['CFGI_STE_RANGE 1: four', [range(0x13n, 1n)], whole('10', '11', '12')],
    ['CFGI_STE_RANGE 2: eight', [range(0x12n, 2n)], whole('10', '11', '12', '17')],
    ['CFGI_STE_RANGE 3: sixteen', [range(0x1fn, 3n)], whole('10', '11', '12', '17', '18')],
    ['CFGI_STE_RANGE 6', [range(0x7fn, 6n)], whole('10', '11', '12', '17', '18', '40')],
    ['CFGI_STE_RANGE 7', [range(0n, 7n)], EVERYTHING],
    ['CFGI_STE_RANGE 7 beyond the table', [range(0x100n, 7n)], []],
    ['CFGI_STE_RANGE 30, the other half', [range(0x8000_0000n, 30n)], []],
    ['CFGI_STE_RANGE 30', [range(0x7fff_ffffn, 30n)], EVERYTHING],
    ['CFGI_ALL, that is 31; the StreamID is ignored', [range(0xffff_ffffn, 31n)], EVERYTHING],
    ['CFGI_CD', [cfgiCd(0x11n, 2n)], ['11.2']],
    ['CFGI_CD with Leaf=0', [cfgiCd(0x11n, 2n, 0n)], ['11.2']],
    ['CFGI_CD of CD 0', [cfgiCd(0x11n, 0n)], ['11.0']],
    ['CFGI_CD of a CD that was never used', [cfgiCd(0x11n, 9n)], []],
    ['CFGI_CD of a stream that was never used', [cfgiCd(0x13n, 0n)], []],
    ['CFGI_CD_ALL', [[0x06n | (0x40n << 32n), 0n]], ['40.0', '40.1', '40.2', '40.3']],
    ['TLBI_NH_ALL', [[0x10n, 0n]], []],
    ['TLBI_NH_ASID', [[0x11n | (2n << 48n), 0n]], []],
    ['TLBI_NH_VA', [[0x12n | (2n << 48n), 0x1000n]], []],
    ['TLBI_NH_VAA', [[0x13n, 0x1000n]], []],
    ['TLBI_NSNH_ALL', [[0x30n, 0n]], []],
    ['PREFETCH_CONFIG', [[0x01n | (0x11n << 32n), 0n]], []],
    ['PREFETCH_ADDR', [[0x02n | (0x11n << 32n), 0n]], []],
    ['ATC_INV', [[0x40n | (0x11n << 32n), 52n]], []],
    ['CMD_SYNC', [[0x46n, 0n]], []],
    ['two commands', [cfgiCd(0x10n, 1n), cfgiSte(0xffn)], ['10.1', ...whole('ff')]],
  ])('%s', (_, commands, expected) => {
    expect(fetchedAfter(...commands)).toEqual(expected);
  });

  test('a changed STE and a changed CD are used after their command, not before', () => {
    const { machine } = warmed();
    const bypass = [0x9n, 0x1000_0000_0000n, 0n, 0n, 0n, 0n, 0n, 0n];
    machine.put(STREAM_TABLE + 64 * 0x11, ...bypass);
    expect(machine.translate(0x1234n, 0, 0x11).outputAddress).toBe(0x8000_1234);
    machine.command(cfgiSte(0x11n));
    expect(machine.translate(0x1234n, 0, 0x11).outputAddress).toBe(0x1234);
    // EPD0: walks are disabled.
    machine.put(cdTable(0x12) + 64, ...edited(CD, [0, 14, 14, 1]));
    expect(machine.translate(0x1234n, 0, 0x12, 1).outcome).toBe(0);
    machine.command(cfgiCd(0x12n, 1n));
    expect(machine.translate(0x1234n, 0, 0x12, 1)).toMatchObject({ outcome: 1, event: 0x10 });
    expect(machine.translate(0x1234n, 0, 0x12, 2).outcome).toBe(0);
  });
});

describe('what keepers of translations are told (4.4)', () => {
  test.each<[string, Entry, unknown[]]>([
    ['TLBI_NH_ALL', [0x10n, 0n], ['all']],
    ['TLBI_NSNH_ALL', [0x30n, 0n], ['all']],
    ['TLBI_NH_ASID', [0x11n | (0xabcdn << 48n), 0n], ['asid', 0xabcd]],
    ['TLBI_NH_VA', [0x12n | (7n << 48n), 0x5000n], ['range', 7, 0x5000, 0x5fff]],
    ['TLBI_NH_VAA', [0x13n | (7n << 48n), 0x5000n], ['range', -1, 0x5000, 0x5fff]],
    ['CFGI_STE', cfgiSte(0x11n), ['streams', 0x11, 0x11]],
    ['CFGI_STE_RANGE', range(0x11n, 4n), ['streams', 0, 0x1f]],
    ['CFGI_ALL', range(0x11n, 31n), ['streams', 0, 0xffff_ffff]],
    ['CFGI_CD', cfgiCd(0x11n, 3n), ['context', 0x11, 3]],
    ['CFGI_CD_ALL', [0x06n | (0x11n << 32n), 0n], ['context', 0x11, -1]],
  ])('%s', (_, command, expected) => {
    const { machine } = warmed();
    const told: unknown[][] = [];
    const remove = machine.smmu.addKeeper({
      invalidateAll: () => told.push(['all']),
      invalidateAsid: (asid) => told.push(['asid', asid]),
      invalidateRange: ({ asid, firstLow, lastLow }) =>
        told.push(['range', asid, firstLow, lastLow]),
      invalidateStreams: (first, last) => told.push(['streams', first, last]),
      invalidateContext: (streamId, index) => told.push(['context', streamId, index]),
    });
    machine.command(command);
    expect(told).toEqual([expected]);
    remove();
    remove();
    machine.command(command);
    expect(told).toHaveLength(1);
    expect(machine.cerror).toBe(0);
  });

  test('a reset ends all translations', () => {
    const { machine } = warmed();
    let calls = 0;
    machine.smmu.addKeeper({
      invalidateAll: () => calls++,
      invalidateAsid: () => undefined,
      invalidateRange: () => undefined,
      invalidateStreams: () => undefined,
      invalidateContext: () => undefined,
    });
    machine.smmu.reset();
    expect(calls).toBe(1);
  });
});
