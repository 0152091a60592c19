import { describe, expect, test } from 'vitest';
import type { FeatureOptions } from '../../src/registers/feature-set.js';
import { R, SmmuMachine } from '../smmu/smmu-machine.js';

const ALL = 0xffff_ffff;
const ALL64 = 0xffff_ffff_ffff_ffffn;

/** The bits that stick when everything is written to a register whose guard is off. */
const WRITABLE: readonly (readonly [name: keyof typeof R, size: 4 | 8, bits: bigint])[] = [
  // SMMUEN, PRIQEN, EVENTQEN, CMDQEN, ATSCHK; VMW and DPT_WALK_EN do not exist.
  ['CR0', 4, 0x1fn],
  ['CR1', 4, 0xfffn],
  // RECINVSID; E2H, PTM and REC_CFG_ATS belong to features that there are not.
  ['CR2', 4, 0x2n],
  ['IRQ_CTRL', 4, 0x7n],
  ['GERRORN', 4, 0x1fdn],
  ['GERROR_IRQ_CFG0', 8, 0x00ff_ffff_ffff_fffcn],
  ['GERROR_IRQ_CFG1', 4, 0xffff_ffffn],
  ['GERROR_IRQ_CFG2', 4, 0x3fn],
  ['STRTAB_BASE', 8, 0x40ff_ffff_ffff_ffc0n],
  ['STRTAB_BASE_CFG', 4, 0x3_07ffn],
  ['CMDQ_BASE', 8, 0x40ff_ffff_ffff_ffffn],
  ['CMDQ_PROD', 4, 0xf_ffffn],
  ['EVENTQ_BASE', 8, 0x40ff_ffff_ffff_ffffn],
  ['EVENTQ_CONS', 4, 0x800f_ffffn],
  ['EVENTQ_IRQ_CFG0', 8, 0x00ff_ffff_ffff_fffcn],
  ['EVENTQ_IRQ_CFG1', 4, 0xffff_ffffn],
  ['EVENTQ_IRQ_CFG2', 4, 0x3fn],
  ['PRIQ_BASE', 8, 0x40ff_ffff_ffff_ffffn],
  ['PRIQ_CONS', 4, 0x800f_ffffn],
  ['PRIQ_PROD', 4, 0x800f_ffffn],
  ['PRIQ_IRQ_CFG0', 8, 0x00ff_ffff_ffff_fffcn],
  ['PRIQ_IRQ_CFG1', 4, 0xffff_ffffn],
  ['PRIQ_IRQ_CFG2', 4, 0x8000_003fn],
];

/** Feature sets without something, and what is RES0 then. */
const ABSENT: readonly (readonly [
  FeatureOptions,
  name: keyof typeof R,
  size: 4 | 8,
  bits: bigint,
])[] = [
  [{ PRI: 0 }, 'CR0', 4, 0x1dn],
  [{ PRI: 0, ATS: 0 }, 'CR0', 4, 0x0dn],
  [{ PRI: 0 }, 'IRQ_CTRL', 4, 0x5n],
  [{ PRI: 0 }, 'GERRORN', 4, 0x1b5n],
  [{ MSI: 0 }, 'GERRORN', 4, 0x10dn],
  [{ MSI: 0, PRI: 0 }, 'GERRORN', 4, 0x105n],
  [{ MSI: 0 }, 'GERROR_IRQ_CFG0', 8, 0n],
  [{ MSI: 0 }, 'GERROR_IRQ_CFG1', 4, 0n],
  [{ MSI: 0 }, 'GERROR_IRQ_CFG2', 4, 0n],
  [{ MSI: 0 }, 'EVENTQ_IRQ_CFG0', 8, 0n],
  [{ MSI: 0 }, 'EVENTQ_IRQ_CFG1', 4, 0n],
  [{ MSI: 0 }, 'EVENTQ_IRQ_CFG2', 4, 0n],
  [{ MSI: 0 }, 'PRIQ_IRQ_CFG0', 8, 0n],
  [{ MSI: 0 }, 'PRIQ_IRQ_CFG1', 4, 0n],
  // LO exists without MSI as well.
  [{ MSI: 0 }, 'PRIQ_IRQ_CFG2', 4, 0x8000_0000n],
  [{ PRI: 0 }, 'PRIQ_BASE', 8, 0n],
  [{ PRI: 0 }, 'PRIQ_PROD', 4, 0n],
  [{ PRI: 0 }, 'PRIQ_CONS', 4, 0n],
  [{ PRI: 0 }, 'PRIQ_IRQ_CFG0', 8, 0n],
  [{ PRI: 0 }, 'PRIQ_IRQ_CFG2', 4, 0n],
  [{ ST_LEVEL: 0, SIDSIZE: 6 }, 'STRTAB_BASE_CFG', 4, 0x3fn],
];

function writeAll(machine: SmmuMachine, offset: number, size: 4 | 8): bigint {
  if (size === 4) return BigInt(machine.write(offset, ALL).read(offset));
  return machine.write64(offset, ALL64).read64(offset);
}

describe('bits of registers (6.3)', () => {
  test.each(WRITABLE)('%s keeps the bits that exist', (name, size, bits) => {
    const machine = new SmmuMachine();
    expect(writeAll(machine, R[name], size)).toBe(bits);
    if (size === 8) machine.write64(R[name], 0n);
    else machine.write(R[name], 0);
    expect(machine.read(R[name])).toBe(0);
  });

  test.each(ABSENT)('with %o, %s has fewer', (features, name, size, bits) => {
    expect(writeAll(new SmmuMachine({ features }), R[name], size)).toBe(bits);
  });

  test('GBPA keeps its fields but Update (6.3.15)', () => {
    const machine = new SmmuMachine();
    expect(machine.read(R.GBPA)).toBe(0x1000);
    expect(machine.write(R.GBPA, ALL).read(R.GBPA)).toBe(0x001f_3f1f);
  });

  test('a register that software only reads ignores writes', () => {
    const machine = new SmmuMachine();
    const words: number[] = [R.CR0ACK, R.IRQ_CTRLACK, R.GERROR, 0x40, 0x018, 0x010, 0x190];
    for (let offset = 0; offset < 0x20; offset += 4) words.push(offset);
    for (let offset = 0xfd0; offset < 0x1000; offset += 4) words.push(offset);
    for (const offset of words) {
      const before = machine.read(offset);
      expect(machine.write(offset, ~before >>> 0).read(offset), offset.toString(16)).toBe(before);
    }
  });

  test('CIDR0 to CIDR3 identify a CoreSight component', () => {
    const machine = new SmmuMachine();
    const read = [0xff0, 0xff4, 0xff8, 0xffc].map((offset) => machine.read(offset));
    expect(read).toEqual([0x0d, 0xf0, 0x05, 0xb1]);
  });

  test('what is no register reads as zero and ignores writes', () => {
    const machine = new SmmuMachine();
    // IMPLEMENTATION DEFINED, Secure, aliases, ATOS, MPAM, page 1, the last word.
    for (const offset of [
      0xe00, 0x1000, 0x8000, 0xa8, 0xac, 0xc8, 0x100, 0x130, 0x1_0000, 0x1_fffc,
    ]) {
      expect(machine.write(offset, ALL).read(offset), offset.toString(16)).toBe(0);
    }
  });
});

describe('accesses (6.1)', () => {
  test('a 64-bit register is written and read in halves, in either order', () => {
    const machine = new SmmuMachine();
    machine.write(R.STRTAB_BASE + 4, 0x4000_0012).write(R.STRTAB_BASE, 0x3456_7880);
    expect(machine.read64(R.STRTAB_BASE)).toBe(0x4000_0012_3456_7880n);
    machine.write(R.STRTAB_BASE, 0x40).write(R.STRTAB_BASE + 4, 0x7);
    expect(machine.read64(R.STRTAB_BASE)).toBe(0x7_0000_0040n);
    machine.write64(R.STRTAB_BASE, 0x1_2345_6780n);
    expect(machine.read(R.STRTAB_BASE)).toBe(0x2345_6780);
    expect(machine.read(R.STRTAB_BASE + 4)).toBe(1);
  });

  test('64 bits across two 32-bit registers are read as zero and not written', () => {
    const machine = new SmmuMachine();
    for (const offset of [R.IDR0, R.CR0, R.CR1, R.CMDQ_PROD, R.IRQ_CTRL, R.GERROR_IRQ_CFG1, 0x40]) {
      const before = machine.read(offset);
      expect(machine.read64(offset)).toBe(0n);
      machine.write64(offset, ALL64);
      expect(machine.read(offset), offset.toString(16)).toBe(before);
    }
  });

  test.each([
    [0x20, 1],
    [0x20, 2],
    [0x20, 3],
    [0x20, 16],
    [0x20, 0],
    [0x20, -4],
    [0x20, 4.5],
    [0x21, 4],
    [0x22, 4],
    [32.5, 4],
    [Number.NaN, 4],
    [-4, 4],
    [-8, 8],
    [0x2_0000, 4],
    [0x1_fffc, 8],
    [0x2_0000, 8],
    [2 ** 40 + 0x20, 4],
    [0x84, 8],
    [0x94, 8],
    [Infinity, 4],
  ])('an access at %d of %d bytes is answered by nobody', (offset, size) => {
    const { smmu } = new SmmuMachine();
    expect(Number(smmu.readRegister(offset, size))).toBe(0);
    const registers = () => smmu.save().registers;
    const before = registers();
    smmu.writeRegister(offset, size, 0xd);
    expect(registers()).toEqual(before);
  });

  test('a value that does not fit is refused before anything changes', () => {
    const { smmu } = new SmmuMachine();
    expect(() => {
      smmu.writeRegister(R.CR1, 4, 2 ** 32);
    }).toThrow(/value is 4294967296: it must have 32 bits/);
    expect(() => {
      smmu.writeRegister(R.CR1, 4, -1);
    }).toThrow(RangeError);
    expect(() => {
      smmu.writeRegister(R.STRTAB_BASE, 8, 1n << 64n);
    }).toThrow(RangeError);
    expect(smmu.readRegister(R.CR1, 4)).toBe(0);
  });
});

/** CR0 or IRQ_CTRL with the bit that guards the registers, and these. */
const GUARDED: readonly (readonly [
  enable: keyof typeof R,
  bit: number,
  registers: readonly (keyof typeof R)[],
])[] = [
  ['CR0', 0x1, ['CR2', 'STRTAB_BASE', 'STRTAB_BASE_CFG']],
  ['CR0', 0x2, ['PRIQ_BASE', 'PRIQ_PROD']],
  ['CR0', 0x4, ['EVENTQ_BASE', 'EVENTQ_PROD']],
  ['CR0', 0x8, ['CMDQ_BASE', 'CMDQ_CONS']],
  ['IRQ_CTRL', 0x1, ['GERROR_IRQ_CFG0', 'GERROR_IRQ_CFG1', 'GERROR_IRQ_CFG2']],
  ['IRQ_CTRL', 0x2, ['PRIQ_IRQ_CFG0', 'PRIQ_IRQ_CFG1', 'PRIQ_IRQ_CFG2']],
  ['IRQ_CTRL', 0x4, ['EVENTQ_IRQ_CFG0', 'EVENTQ_IRQ_CFG1', 'EVENTQ_IRQ_CFG2']],
];
const GUARD_CASES = GUARDED.flatMap(([enable, bit, registers]) =>
  registers.map((name) => [name, enable, bit] as const),
);
/** Written before the enable; the low six bits of all guarded registers that have any. */
const WIDE: readonly string[] = ['STRTAB_BASE', 'CMDQ_BASE', 'EVENTQ_BASE', 'PRIQ_BASE'];

describe('guards: a write while the block is enabled is ignored (6.3)', () => {
  test.each(GUARD_CASES)('%s while %s has bit %i', (name, enable, bit) => {
    const machine = new SmmuMachine();
    const offset = R[name];
    machine.write(offset, 0x4).write(R[enable], bit);
    const before = machine.read(offset);
    machine.write(offset, ALL);
    expect(machine.read(offset)).toBe(before);
    const isWide = WIDE.includes(name) || name.endsWith('CFG0');
    if (isWide) expect(machine.write(offset + 4, ALL).read(offset + 4)).toBe(0);
    if (isWide) expect(machine.write64(offset, ALL64).read64(offset)).toBe(BigInt(before));
    // Every other enable leaves it alone.
    machine.write(R[enable], 0x1f & ~bit).write(offset, 0);
    machine.write(offset, ALL);
    expect(machine.read(offset)).not.toBe(before);
  });

  test('CR1.TABLE_* want SMMUEN=0, CR1.QUEUE_* want every queue off (6.3.11)', () => {
    for (const [cr0, kept] of [
      [0x0, 0xfff],
      [0x1, 0x03f],
      [0x2, 0xfc0],
      [0x4, 0xfc0],
      [0x8, 0xfc0],
      [0x9, 0x000],
      [0xe, 0xfc0],
      [0x10, 0xfff],
    ] as const) {
      const machine = new SmmuMachine().write(R.CR0, cr0).write(R.CR1, ALL);
      expect(machine.read(R.CR1), cr0.toString(16)).toBe(kept);
    }
  });

  test('GBPA changes only by a write with Update=1 (6.3.15)', () => {
    const machine = new SmmuMachine().write(R.GBPA, 0x0010_0000);
    expect(machine.read(R.GBPA)).toBe(0x1000);
    expect(machine.write(R.GBPA, 0x8010_0000).read(R.GBPA)).toBe(0x0010_0000);
    expect(machine.write(R.GBPA, 0x0000_1000).read(R.GBPA)).toBe(0x0010_0000);
    expect(machine.translate().outcome).toBe(1);
    machine.write(R.GBPA, 0x8000_1000);
    expect(machine.translate()).toMatchObject({ outcome: 0, outputAddress: 0x1234 });
  });
});

describe('handshakes (6.3.9, 6.3.17)', () => {
  test('CR0ACK and IRQ_CTRLACK follow, without reserved bits', () => {
    const machine = new SmmuMachine({ features: { preset: 'minimal' } });
    machine.write(R.CR0, ALL).write(R.IRQ_CTRL, ALL);
    expect([machine.read(R.CR0), machine.read(R.CR0ACK)]).toEqual([0xd, 0xd]);
    expect([machine.read(R.IRQ_CTRL), machine.read(R.IRQ_CTRLACK)]).toEqual([5, 5]);
    machine.write(R.CR0, 0x4).write(R.IRQ_CTRL, 0);
    expect([machine.read(R.CR0), machine.read(R.CR0ACK)]).toEqual([4, 4]);
    expect([machine.read(R.IRQ_CTRL), machine.read(R.IRQ_CTRLACK)]).toEqual([0, 0]);
  });

  test('a reset brings back what power-on gives', () => {
    const machine = new SmmuMachine();
    const fresh = machine.smmu.save();
    machine.start().write(R.GBPA, 0x8010_0000).write(R.GERRORN, 4);
    machine.translate();
    machine.smmu.reset();
    expect(machine.smmu.save()).toEqual(fresh);
    expect(machine.read(R.CR0ACK)).toBe(0);
  });
});
