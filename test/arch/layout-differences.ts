/** Where the library's layouts differ from `fixtures/layouts` on purpose. Nothing else may. */
import type { FixtureField } from './layout-fixtures.js';

type Values = ReadonlyMap<string, bigint>;

/** A field that the library cuts differently: which fixture fields it is made of, and how. */
interface Recut {
  from: readonly string[];
  bits: readonly [msb: number, lsb: number];
  value: (values: Values) => bigint;
}

const type: Readonly<Record<string, Recut>> = {
  // The library names the two bits of a descriptor's type.
  Valid: { from: ['Type'], bits: [0, 0], value: (values) => (values.get('Type') ?? 0n) & 1n },
  Table: { from: ['Type'], bits: [1, 1], value: (values) => (values.get('Type') ?? 0n) >> 1n },
};

/** Sixteen values of 3 bits as one 48-bit value: the library does not look into them. */
function sixteen(prefix: string, lsb: number): Recut {
  const from = Array.from({ length: 16 }, (_, p) => `${prefix}${p}`);
  return {
    from,
    bits: [lsb + 47, lsb],
    value: (values) =>
      from.reduce((all, name, p) => all | ((values.get(name) ?? 0n) << BigInt(3 * p)), 0n),
  };
}

/** Library fields by structure. */
export const RECUT: Readonly<Record<string, Readonly<Record<string, Recut>>>> = {
  CD: { PIIU: sixteen('PIIU', 384), PIIP: sixteen('PIIP', 448) },
  Table: type,
  Leaf: type,
};

/** Fixture fields that the library has not, by structure. */
export const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  // VMSAv9-128 is not implemented: its names for bits of VMSAv8-64 fields are left out.
  CD: ['DisCH0', 'SKL0', 'DisCH1', 'SKL1'],
  // FEAT_THE, page-based hardware attributes and FEAT_AIE are not implemented.
  Table: ['Protected'],
  Leaf: ['Protected', 'PBHA', 'AttrIndx[3]'],
  // The notes give seven bits for six flags; the library has one bit for each of the six.
  E_PAGE_REQUEST: ['pR,pW,pX,uR,uW,uX'],
  // Identification registers whose parts nothing reads.
  PIDR3: ['CMOD', 'REVAND'],
  CIDR0: ['PRMBL_0'],
  CIDR1: ['PRMBL_1', 'CLASS'],
  CIDR2: ['PRMBL_2'],
  CIDR3: ['PRMBL_3'],
};

/** Fixture structures that the library has not. */
export const LEFT_OUT_STRUCTURES: readonly string[] = [
  // Stage-2 descriptors come with stage 2.
  'Stage2Table',
  'Stage2Leaf',
  // Enhanced command queues (IDR1.ECMDQ) are not implemented.
  'CMDQ_CONTROL_PAGE_BASEn',
  'CMDQ_CONTROL_PAGE_CFGn',
  'CMDQ_CONTROL_PAGE_STATUSn',
];

/** Library fields that the fixtures have not, by structure. */
export const ONLY_HERE: Readonly<Record<string, readonly string[]>> = {
  // The six flags that the fixture has as one field; positions are not verified.
  E_PAGE_REQUEST: ['uX', 'uW', 'uR', 'pX', 'pW', 'pR'],
  // The notes do not list the fields of Secure commands; the library has those of the Non-secure twins.
  TLBI_S_S12_VMALL: ['VMID'],
  TLBI_S_S2_IPA: ['NUM', 'SCALE', 'VMID', 'Leaf', 'TTL128', 'TTL', 'TG', 'Address'],
  // The notes name the bit in the column of reset values only.
  GATOS_CTRL: ['RUN'],
};

/** Library structures that the fixtures have not: the notes do not list these commands one by one. */
export const ONLY_HERE_STRUCTURES: readonly string[] = [
  'TLBI_S_EL2_ALL',
  'TLBI_S_EL2_ASID',
  'TLBI_S_EL2_VA',
  'TLBI_S_EL2_VAA',
];

/** Whether two fixture fields share bits. */
export function overlap(a: FixtureField, b: FixtureField): boolean {
  return a !== b && a.lsb <= b.msb && b.lsb <= a.msb;
}
