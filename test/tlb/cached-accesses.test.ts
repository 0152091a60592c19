/** A vSMMU with its cache, and what a guest and a device can see of it. */
import { describe, expect, test } from 'vitest';
import { AccessorMemory } from '../../src/memory/accessor-memory.js';
import { CMDQEN, SMMUEN, SmmuMachine } from '../smmu/smmu-machine.js';
import { CD, CD_TABLE, edited, STE, STREAM, STREAM_TABLE } from '../transaction/machine.js';

const LEVEL2 = 0x43e4_0000;
const LEVEL3 = 0x43e5_0000;
const READ = 0;
const WRITE = 1;
const PRIVILEGED = 4;
const F_TRANSLATION = 0x10;
const F_PERMISSION = 0x13;

/** A machine whose first 16 pages go to 0x80100000 and so on, with `leaf` as their other bits. */
function machineOf(leaf: bigint, options: ConstructorParameters<typeof SmmuMachine>[0] = {}) {
  const machine = new SmmuMachine(options);
  machine.put(0x43e3_0000, BigInt(LEVEL2) | 3n).put(LEVEL2, BigInt(LEVEL3) | 3n);
  for (let i = 0; i < 16; i++) machine.put(LEVEL3 + 8 * i, pageAt(i) | leaf);
  return machine;
}

function pageAt(i: number): bigint {
  return 0x8010_0000n + (BigInt(i) << 12n);
}

/** AF, SH, AP[1], nG: everybody may read and write. */
const PAGE = 0xf47n;

function walksOf(machine: SmmuMachine): number {
  return machine.smmu.stats().walks;
}

describe('repeated accesses', () => {
  test('of a page are one walk', () => {
    const machine = machineOf(PAGE).start(SMMUEN);
    for (const access of [0, 1, 4, 5, 0]) {
      const iova = 0x1000n + BigInt(16 * access);
      expect(machine.translate(iova, access).outputAddress).toBe(Number(pageAt(1)) + 16 * access);
    }
    expect(walksOf(machine)).toBe(1);
    expect(machine.smmu.stats().cache).toMatchObject({ entries: 1, microHits: 4, misses: 1 });
  });

  test('without a cache are so many walks', () => {
    const machine = machineOf(PAGE, { cache: { entries: 0 } }).start(SMMUEN);
    for (let i = 0; i < 5; i++) machine.translate(0x1000n);
    expect(walksOf(machine)).toBe(5);
    expect(machine.smmu.stats().cache).toMatchObject({ entries: 0, microHits: 0, misses: 5 });
  });

  test('of a contiguous run are one walk', () => {
    const machine = machineOf(PAGE | (1n << 52n)).start(SMMUEN);
    for (let i = 0; i < 16; i++) {
      const { outputAddress, descriptorLow, leafLog2 } = machine.translate(BigInt(i) << 12n);
      expect(BigInt(outputAddress)).toBe(pageAt(i));
      expect([BigInt(descriptorLow), leafLog2]).toEqual([pageAt(i) | PAGE, 12]);
    }
    expect(walksOf(machine)).toBe(1);
  });

  test('of a run with a hole are walks, and the hole faults', () => {
    const machine = machineOf(PAGE | (1n << 52n))
      .put(LEVEL3 + 8 * 9, 0n)
      .start(SMMUEN);
    for (let i = 0; i < 16; i++) {
      const { event, outputAddress } = machine.translate(BigInt(i) << 12n);
      expect(event).toBe(i === 9 ? F_TRANSLATION : 0);
      if (i !== 9) expect(BigInt(outputAddress)).toBe(pageAt(i));
    }
    expect(walksOf(machine)).toBe(16);
  });

  test('with other tags are one walk when the top byte is ignored: CD.TBI0', () => {
    const machine = machineOf(PAGE).cd([0, 38, 38, 1]).start(SMMUEN);
    for (const tag of [0x5an, 0n, 0xffn]) {
      expect(machine.translate(0x1234n | (tag << 56n)).outputAddress).toBe(
        Number(pageAt(1)) + 0x234,
      );
    }
    expect(walksOf(machine)).toBe(1);
    // Bit 55 is no tag.
    expect(machine.translate(0x1234n | (1n << 55n)).event).toBe(F_TRANSLATION);
  });

  test('with a tag that counts fault', () => {
    const machine = machineOf(PAGE).start(SMMUEN);
    machine.translate(0x1234n);
    expect(machine.translate(0x1234n | (0x5an << 56n)).event).toBe(F_TRANSLATION);
    expect(machine.translate(0x1234n).event).toBe(0);
  });
});

describe('rights', () => {
  test('that a page does not give fault each time, and those that it gives do not', () => {
    // AP[2:1]=10: privileged code reads.
    const machine = machineOf(0xf87n).start(SMMUEN);
    for (let i = 0; i < 3; i++) {
      expect(machine.translate(0x1000n, READ | PRIVILEGED).event).toBe(0);
      expect(machine.translate(0x1000n, READ).event).toBe(F_PERMISSION);
      expect(machine.translate(0x1000n, WRITE | PRIVILEGED).event).toBe(F_PERMISSION);
    }
    expect(walksOf(machine)).toBe(1 + 6);
  });

  test('E0PD keeps unprivileged accesses from what privileged ones have cached', () => {
    const machine = machineOf(PAGE).cd([1, 2, 2, 1]).start(SMMUEN);
    for (let i = 0; i < 3; i++) {
      expect(machine.translate(0x1000n, READ | PRIVILEGED).event).toBe(0);
      expect(machine.translate(0x1000n, READ).event).toBe(F_TRANSLATION);
    }
    expect(walksOf(machine)).toBe(1 + 3);
  });

  test.each([
    ['made privileged', 3n, READ, 0],
    ['made unprivileged', 2n, READ | PRIVILEGED, F_PERMISSION],
  ])('STE.PRIVCFG decides over an access that is %s, cached or not', (_, code, access, event) => {
    // A page for privileged code, two streams with one CD; PRIVCFG is bits [49:48] of word 1.
    const machine = machineOf(0xf07n);
    machine.put(STREAM_TABLE + 64 * 0x11, ...edited(STE, [1, 49, 48, code])).start(SMMUEN);
    for (let i = 0; i < 2; i++) {
      expect(machine.translate(0x1000n, PRIVILEGED).event).toBe(0);
      expect(machine.translate(0x1000n, READ).event).toBe(F_PERMISSION);
      expect(machine.translate(0x1000n, access, 0x11).event).toBe(event);
    }
  });
});

describe('dirty state (HA, HD and DBM)', () => {
  const AP2 = 1n << 7n;
  const DBM = 1n << 51n;

  test('is set by the first write, also when a read has cached the clean page', () => {
    const machine = machineOf(PAGE | AP2 | DBM)
      .cd([0, 43, 42, 3])
      .start(SMMUEN);
    const clean = pageAt(1) | PAGE | AP2 | DBM;
    for (let i = 0; i < 3; i++) {
      const { permissions, descriptorLow } = machine.translate(0x1000n);
      expect([permissions & 64, BigInt(descriptorLow)]).toEqual([64, clean & 0xffff_ffffn]);
    }
    expect([walksOf(machine), machine.peek(LEVEL3 + 8)]).toEqual([1, clean]);
    for (let i = 0; i < 3; i++) {
      const { permissions, descriptorLow } = machine.translate(0x1000n, WRITE);
      expect([permissions & 64, BigInt(descriptorLow)]).toEqual([0, (clean ^ AP2) & 0xffff_ffffn]);
      expect(machine.peek(LEVEL3 + 8)).toBe(clean ^ AP2);
    }
    expect(walksOf(machine)).toBe(2);
    expect(machine.translate(0x1000n).permissions & 64).toBe(0);
    expect(walksOf(machine)).toBe(2);
  });

  test('the access flag is set by the first access, and that of each page of a run by its own', () => {
    const flag = 1n << 10n;
    const machine = machineOf((PAGE ^ flag) | (1n << 52n))
      .cd([0, 43, 43, 1])
      .start(SMMUEN);
    for (const i of [3, 3, 5]) {
      expect(BigInt(machine.translate(BigInt(i) << 12n).outputAddress)).toBe(pageAt(i));
    }
    const flags = Array.from({ length: 16 }, (_, i) => machine.peek(LEVEL3 + 8 * i) & flag);
    expect(flags.map((one, i) => (one === 0n ? -1 : i)).filter((i) => i >= 0)).toEqual([3, 5]);
  });
});

describe('tables that have changed', () => {
  // ASID 2 is in the CD.
  test.each<[string, [low: bigint, high: bigint], ends: boolean]>([
    ['TLBI_NH_ALL', [0x10n, 0n], true],
    ['TLBI_NSNH_ALL', [0x30n, 0n], true],
    ['TLBI_NH_ASID', [0x11n | (2n << 48n), 0n], true],
    ['TLBI_NH_ASID of another ASID', [0x11n | (3n << 48n), 0n], false],
    ['TLBI_NH_VA', [0x12n | (2n << 48n), 0x1000n], true],
    ['TLBI_NH_VA of another page', [0x12n | (2n << 48n), 0x2000n], false],
    ['TLBI_NH_VA of another ASID', [0x12n | (3n << 48n), 0x1000n], false],
    ['TLBI_NH_VAA', [0x13n, 0x1001n], true],
    // TG=1, NUM=3, SCALE=0: pages 0 to 3; TTL=3 and TTL=2.
    ['TLBI_NH_VA of a range', [0x12n | (2n << 48n) | (3n << 12n), 0x400n], true],
    ['TLBI_NH_VA of the pages in a range', [0x12n | (2n << 48n) | (3n << 12n), 0x700n], true],
    ['TLBI_NH_VA of the blocks in a range', [0x12n | (2n << 48n) | (3n << 12n), 0x600n], false],
    ['CFGI_CD', [0x05n | (BigInt(STREAM) << 32n), 1n], true],
    ['CFGI_STE', [0x03n | (BigInt(STREAM) << 32n), 1n], true],
    ['CFGI_STE of another stream', [0x03n | (0x11n << 32n), 1n], false],
    ['CMD_SYNC alone', [0x46n, 0n], false],
  ])('%s: [%i] ends what was cached: %s', (_, command, ends) => {
    const machine = machineOf(PAGE).start(SMMUEN | CMDQEN);
    machine.translate(0x1000n);
    machine.put(LEVEL3 + 8, 0x9000_0000n | PAGE).command(command);
    const walks = walksOf(machine);
    expect(machine.translate(0x1000n).outputAddress).toBe(ends ? 0x9000_0000 : Number(pageAt(1)));
    expect(walksOf(machine) - walks).toBe(ends ? 1 : 0);
  });

  test('SMMUEN=0 and 1 again invalidates nothing', () => {
    const machine = machineOf(PAGE).start(SMMUEN);
    machine.translate(0x1000n);
    machine.start(0).translate(0x1000n);
    machine.start(SMMUEN);
    expect(machine.translate(0x1000n).outputAddress).toBe(Number(pageAt(1)));
    expect(walksOf(machine)).toBe(1);
  });

  test('a CD that another stream has as well: both are answered from the new tables', () => {
    const machine = machineOf(PAGE);
    machine.put(STREAM_TABLE + 64 * 0x11, ...STE).start(SMMUEN | CMDQEN);
    machine.translate(0x1000n);
    expect(machine.translate(0x1000n, READ, 0x11).outputAddress).toBe(Number(pageAt(1)));
    expect(walksOf(machine)).toBe(1);
    // Another table below the same ASID: TTB0 is word 1.
    machine.put(CD_TABLE, ...edited(CD, [1, 51, 4, 0x43e6_0000n >> 4n]));
    machine.put(0x43e6_0000, 0x43e7_0003n).put(0x43e7_0000, 0xc000_0f45n);
    machine.command(
      [0x05n | (BigInt(STREAM) << 32n), 1n],
      [0x05n | (0x11n << 32n), 1n],
      [0x46n, 0n],
    );
    expect(machine.translate(0x1000n).outputAddress).toBe(0xc000_1000);
    expect(machine.translate(0x1000n, READ, 0x11).outputAddress).toBe(0xc000_1000);
  });
});

describe('a device access out of guest memory, while a table is read', () => {
  test('that hits in the shadow cache keeps its answer, and so does the walk', () => {
    let meanwhile: () => void = () => undefined;
    const memory = new AccessorMemory({
      read: (address, bytes) => {
        meanwhile();
        return machine.ram.loadBytes(address, bytes, 0, bytes.length);
      },
      write: (address, bytes) => machine.ram.storeBytes(address, bytes, 0, bytes.length),
    });
    const machine: SmmuMachine = machineOf(PAGE, { memory, cache: { entries: 100 } });
    // Blocks of 2 MiB, 256 MiB apart: their pages share rows of the micro-TLB.
    for (let i = 1; i < 4; i++) {
      machine.put(LEVEL2 + 8 * 128 * i, 0x8000_0f45n + BigInt(i) * 0x1000_0000n);
    }
    machine.start(SMMUEN);
    expect(machine.translate(0x1000_1000n).outputAddress).toBe(0x9000_1000);
    expect(machine.translate(0x2000_1000n).outputAddress).toBe(0xa000_1000);
    meanwhile = () => {
      meanwhile = () => undefined;
      expect(machine.translate(0x1000_1000n).outputAddress).toBe(0x9000_1000);
    };
    expect(machine.translate(0x3000_1000n).outputAddress).toBe(0xb000_1000);
    expect(machine.smmu.stats().cache.shadowHits).toBe(1);
    for (const [iova, expected] of [
      [0x1000_1000n, 0x9000_1000],
      [0x2000_1000n, 0xa000_1000],
      [0x3000_1000n, 0xb000_1000],
    ] as const) {
      expect(machine.translate(iova).outputAddress).toBe(expected);
    }
  });
});
