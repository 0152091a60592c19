import { describe, expect, test } from 'vitest';
import type { FeatureOptions } from '../../src/registers/feature-set.js';
import { CMDQEN, R, SmmuMachine, type Entry } from '../smmu/smmu-machine.js';

/** Opcodes that are legal on every stage-1 SMMU (IHI 0070, section 4). */
const ALWAYS = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x30, 0x46] as const;

/** Opcodes that need a feature that the library can have. */
const ATC_INV = 0x40;
const PRI_RESP = 0x41;
const RESUME = 0x44;
const STALL_TERM = 0x45;

const SETS: readonly (readonly [name: string, FeatureOptions, more: readonly number[]])[] = [
  ['a minimal SMMU', { preset: 'minimal' }, []],
  ['QEMU’s', { preset: 'qemu' }, []],
  ['one with ATS', { preset: 'qemu', ATS: 1 }, [ATC_INV]],
  ['one with ATS and PRI', { preset: 'qemu', ATS: 1, PRI: 1 }, [ATC_INV, PRI_RESP]],
  ['one with stalls', { preset: 'qemu', STALL_MODEL: 0, STALL_MAX: 1 }, [RESUME, STALL_TERM]],
  [
    'one with forced stalls',
    { preset: 'qemu', STALL_MODEL: 2, STALL_MAX: 1 },
    [RESUME, STALL_TERM],
  ],
  ['the full one', {}, [ATC_INV, PRI_RESP, RESUME, STALL_TERM]],
];

/** 0 when the command is consumed, else CMDQ_CONS.ERR. */
function execute(machine: SmmuMachine, ...command: Entry): number {
  machine.command(command);
  const error = machine.cerror;
  if (error !== 0) {
    expect(machine.read(R.CMDQ_CONS) & 0x1f).toBe((machine.prod - 1) & 0x1f);
    // As Linux does: the command becomes a CMD_SYNC.
    machine.prod = (machine.prod - 1) & 0x1f;
    machine.enqueue([0x46n, 0n]);
    machine.write(R.GERRORN, machine.read(R.GERROR));
  }
  expect(machine.read(R.CMDQ_CONS)).toBe(machine.prod);
  return error;
}

describe('which opcodes are legal (4.1.3)', () => {
  test.each(SETS)('%s: %o', (_, features, more) => {
    const machine = new SmmuMachine({ features }).start(CMDQEN);
    const legal = new Set<number>([...ALWAYS, ...more]);
    for (let opcode = 0; opcode < 256; opcode++) {
      const error = execute(machine, BigInt(opcode), 0n);
      expect(error, `opcode 0x${opcode.toString(16)}`).toBe(legal.has(opcode) ? 0 : 1);
    }
  });

  test.each([
    ['CFGI_VMS_PIDM', 0x07],
    ['TLBI_EL3_ALL', 0x18],
    ['TLBI_EL3_VA', 0x1a],
    ['TLBI_EL2_ALL', 0x20],
    ['TLBI_EL2_ASID', 0x21],
    ['TLBI_EL2_VA', 0x22],
    ['TLBI_EL2_VAA', 0x23],
    ['TLBI_S12_VMALL', 0x28],
    ['TLBI_S2_IPA', 0x2a],
    ['TLBI_S_EL2_ALL', 0x50],
    ['TLBI_S_EL2_VAA', 0x53],
    ['TLBI_S_S12_VMALL', 0x58],
    ['TLBI_S_S2_IPA', 0x5a],
    ['TLBI_SNH_ALL', 0x60],
    ['DPTI_ALL', 0x70],
    ['DPTI_PA', 0x73],
    ['IMPLEMENTATION DEFINED', 0x80],
    ['reserved', 0x00],
  ])('%s, 0x%s, is CERROR_ILL: EL2, stage 2 and Secure are not there', (_, opcode) => {
    expect(execute(new SmmuMachine().start(CMDQEN), BigInt(opcode), 0n)).toBe(1);
  });
});

const SSEC = 1n << 10n;

describe('fields that make a command CERROR_ILL', () => {
  test.each([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, RESUME, STALL_TERM])(
    'SSec=1 in a command that has it, 0x%s',
    (opcode) => {
      const machine = new SmmuMachine().start(CMDQEN);
      expect(execute(machine, BigInt(opcode) | SSEC, 0n)).toBe(1);
    },
  );

  test.each([0x10, 0x11, 0x12, 0x13, 0x30, ATC_INV, PRI_RESP, 0x46])(
    'bit 10 means nothing in one that has not, 0x%s',
    (opcode) => {
      const machine = new SmmuMachine().start(CMDQEN);
      expect(execute(machine, BigInt(opcode) | SSEC, 0n)).toBe(0);
    },
  );

  test.each([
    [0, 0],
    [1, 0],
    [2, 0],
    [3, 1],
  ])('CMD_SYNC with CS=%i gives CERROR %i (4.7.3)', (cs, error) => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(execute(machine, 0x46n | (BigInt(cs) << 12n), 0n)).toBe(error);
  });

  test.each([
    [0, 0],
    [1, 0],
    [2, 0],
    [3, 1],
  ])('CMD_PRI_RESP with Resp=%i gives CERROR %i (4.5.2)', (resp, error) => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(execute(machine, 0x41n, BigInt(resp) << 12n)).toBe(error);
    // Bit 11 belongs to nothing.
    expect(execute(machine, 0x41n, (BigInt(resp) << 12n) | (1n << 11n))).toBe(error);
  });

  // TG [11:10] and TTL [9:8] of word 1, NUM [16:12] and SCALE [25:20] of word 0.
  test.each([
    ['a granule without range and level', { tg: 1n }, 1],
    ['16K', { tg: 2n }, 1],
    ['64K', { tg: 3n }, 1],
    ['no granule', {}, 0],
    ['no granule but a level', { ttl: 3n }, 0],
    ['a level', { tg: 1n, ttl: 3n }, 0],
    ['NUM', { tg: 1n, num: 1n }, 0],
    ['SCALE', { tg: 1n, scale: 1n }, 0],
    ['SCALE bit 5, which needs DS', { tg: 1n, scale: 32n }, 1],
    ['16K at level 1, which needs DS', { tg: 2n, ttl: 1n }, 1],
    ['16K at level 2', { tg: 2n, ttl: 2n }, 0],
    ['16K at level 1 with a range', { tg: 2n, ttl: 1n, num: 1n }, 0],
    ['64K at level 1', { tg: 3n, ttl: 1n }, 0],
  ] as const)('a TLBI by address with %s (4.4.1)', (_, fields, error) => {
    const { tg, ttl, num, scale } = { tg: 0n, ttl: 0n, num: 0n, scale: 0n, ...fields };
    const machine = new SmmuMachine({ features: { preset: 'qemu' } }).start(CMDQEN);
    for (const opcode of [0x12n, 0x13n]) {
      const low = opcode | (num << 12n) | (scale << 20n);
      expect(execute(machine, low, (tg << 10n) | (ttl << 8n))).toBe(error);
    }
  });

  test('with DS, SCALE has six bits and 16K has blocks at level 1', () => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(execute(machine, 0x12n | (32n << 20n), 1n << 10n)).toBe(0);
    expect(execute(machine, 0x12n, (2n << 10n) | (1n << 8n))).toBe(0);
    expect(execute(machine, 0x12n, 2n << 10n)).toBe(1);
  });

  test('without RIL the fields of a range mean nothing', () => {
    const machine = new SmmuMachine({ features: { preset: 'minimal' } }).start(CMDQEN);
    expect(execute(machine, 0x12n, 1n << 10n)).toBe(0);
  });

  test('a StreamID or SubstreamID out of range is no error', () => {
    const machine = new SmmuMachine({ features: { preset: 'minimal' } }).start(CMDQEN);
    for (const opcode of [0x03n, 0x04n, 0x05n, 0x06n]) {
      expect(execute(machine, (0xffff_ffffn << 32n) | (0xf_ffffn << 12n) | opcode, 0n)).toBe(0);
    }
  });

  test('bits that belong to no field are ignored', () => {
    const machine = new SmmuMachine().start(CMDQEN);
    expect(execute(machine, 0x30n | (0xffff_ffff_ffff_ffn << 8n), (1n << 64n) - 1n)).toBe(0);
    expect(execute(machine, 0x03n | (0xff_ffffn << 8n), (1n << 64n) - 2n)).toBe(1); // SSec is there.
    expect(execute(machine, 0x03n | (0xff_fffbn << 8n), (1n << 64n) - 2n)).toBe(0);
  });
});

describe('commands for devices (4.5)', () => {
  const ATC: Entry = [0x40n | (0x10n << 32n) | (7n << 12n) | (1n << 11n), 0x1234_5000n | 3n];

  test('CMD_ATC_INV and CMD_PRI_RESP reach the embedder, word for word', () => {
    const seen: number[][] = [];
    const machine = new SmmuMachine({ deviceCommand: (words) => void seen.push([...words]) });
    machine.start(CMDQEN | 1).command(ATC, [0x41n | (0x10n << 32n), 0x2005n]);
    expect(seen).toEqual([
      [0x7840, 0x10, 0x1234_5003, 0],
      [0x41, 0x10, 0x2005, 0],
    ]);
  });

  test('they are consumed and ignored while SMMUEN is 0', () => {
    const seen: number[][] = [];
    const machine = new SmmuMachine({ deviceCommand: (words) => void seen.push([...words]) });
    expect(execute(machine.start(CMDQEN), ...ATC)).toBe(0);
    expect(seen).toEqual([]);
  });
});
