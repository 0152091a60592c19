import { address, bit, bits, type Layout } from './field.js';

/** One register of the programming interface. */
export interface RegisterFormat {
  /** Bytes from the start of page 0; page 1 begins at 0x10000. */
  readonly offset: number;
  /** 4 or 8 bytes. */
  readonly size: 4 | 8;
  /** `RO` when software can never write it. */
  readonly access: 'RO' | 'RW';
  /** Named bits, counted from bit 0 of the register. */
  readonly fields: Layout;
}

/** Bytes of the register frame: two pages of 64 KiB. */
export const FRAME_BYTES = 0x2_0000;

const enables = {
  SMMUEN: bit(0),
  PRIQEN: bit(1),
  EVENTQEN: bit(2),
  CMDQEN: bit(3),
  ATSCHK: bit(4),
  VMW: bits(8, 6),
  DPT_WALK_EN: bit(10),
} as const;
const interruptEnables = {
  GERROR_IRQEN: bit(0),
  PRIQ_IRQEN: bit(1),
  EVENTQ_IRQEN: bit(2),
} as const;
const globalErrors = {
  CMDQ_ERR: bit(0),
  EVENTQ_ABT_ERR: bit(2),
  PRIQ_ABT_ERR: bit(3),
  MSI_CMDQ_ABT_ERR: bit(4),
  MSI_EVENTQ_ABT_ERR: bit(5),
  MSI_PRIQ_ABT_ERR: bit(6),
  MSI_GERROR_ABT_ERR: bit(7),
  SFM_ERR: bit(8),
  CMDQP_ERR: bit(9),
  DPT_ERR: bit(10),
} as const;
const msiAddress = { ADDR: address(55, 2) } as const;
const msiData = { DATA: bits(31, 0) } as const;
const msiAttributes = { MemAttr: bits(3, 0), SH: bits(5, 4) } as const;
const queueBase = { LOG2SIZE: bits(4, 0), ADDR: address(55, 5) } as const;
const index = bits(19, 0);

/** Every Non-secure register of pages 0 and 1 that a driver meets (IHI 0070, section 6). */
export const Register = {
  IDR0: {
    offset: 0x000,
    size: 4,
    access: 'RO',
    fields: {
      S2P: bit(0),
      S1P: bit(1),
      TTF: bits(3, 2),
      COHACC: bit(4),
      BTM: bit(5),
      HTTU: bits(7, 6),
      DORMHINT: bit(8),
      Hyp: bit(9),
      ATS: bit(10),
      NS1ATS: bit(11),
      ASID16: bit(12),
      MSI: bit(13),
      SEV: bit(14),
      ATOS: bit(15),
      PRI: bit(16),
      VMW: bit(17),
      VMID16: bit(18),
      CD2L: bit(19),
      VATOS: bit(20),
      TTENDIAN: bits(22, 21),
      ATSRECERR: bit(23),
      STALL_MODEL: bits(25, 24),
      TERM_MODEL: bit(26),
      ST_LEVEL: bits(28, 27),
      RME_IMPL: bit(30),
    },
  },
  IDR1: {
    offset: 0x004,
    size: 4,
    access: 'RO',
    fields: {
      SIDSIZE: bits(5, 0),
      SSIDSIZE: bits(10, 6),
      PRIQS: bits(15, 11),
      EVENTQS: bits(20, 16),
      CMDQS: bits(25, 21),
      ATTR_PERMS_OVR: bit(26),
      ATTR_TYPES_OVR: bit(27),
      REL: bit(28),
      QUEUES_PRESET: bit(29),
      TABLES_PRESET: bit(30),
      ECMDQ: bit(31),
    },
  },
  IDR2: { offset: 0x008, size: 4, access: 'RO', fields: { BA_VATOS: bits(9, 0) } },
  IDR3: {
    offset: 0x00c,
    size: 4,
    access: 'RO',
    fields: {
      HAD: bit(2),
      PBHA: bit(3),
      XNX: bit(4),
      PPS: bit(5),
      MPAM: bit(7),
      FWB: bit(8),
      STT: bit(9),
      RIL: bit(10),
      BBML: bits(12, 11),
      E0PD: bit(13),
      PTWNNC: bit(14),
      DPT: bit(15),
      PASIDTT: bit(16),
      EPAN: bit(17),
      S1PI: bit(18),
      S2PI: bit(19),
      S2PO: bit(20),
      THE: bit(21),
      MTEPERM: bit(22),
      AIE: bit(23),
    },
  },
  IDR4: { offset: 0x010, size: 4, access: 'RO', fields: {} },
  IDR5: {
    offset: 0x014,
    size: 4,
    access: 'RO',
    fields: {
      OAS: bits(2, 0),
      GRAN4K: bit(4),
      GRAN16K: bit(5),
      GRAN64K: bit(6),
      DS: bit(7),
      D128: bit(8),
      VAX: bits(11, 10),
      STALL_MAX: bits(31, 16),
    },
  },
  IIDR: {
    offset: 0x018,
    size: 4,
    access: 'RO',
    fields: {
      Implementer: bits(11, 0),
      Revision: bits(15, 12),
      Variant: bits(19, 16),
      ProductID: bits(31, 20),
    },
  },
  AIDR: {
    offset: 0x01c,
    size: 4,
    access: 'RO',
    fields: { ArchMinor: bits(3, 0), ArchMajor: bits(7, 4) },
  },
  CR0: { offset: 0x020, size: 4, access: 'RW', fields: enables },
  CR0ACK: { offset: 0x024, size: 4, access: 'RO', fields: enables },
  CR1: {
    offset: 0x028,
    size: 4,
    access: 'RW',
    fields: {
      QUEUE_IC: bits(1, 0),
      QUEUE_OC: bits(3, 2),
      QUEUE_SH: bits(5, 4),
      TABLE_IC: bits(7, 6),
      TABLE_OC: bits(9, 8),
      TABLE_SH: bits(11, 10),
    },
  },
  CR2: {
    offset: 0x02c,
    size: 4,
    access: 'RW',
    fields: { E2H: bit(0), RECINVSID: bit(1), PTM: bit(2), REC_CFG_ATS: bit(3) },
  },
  S2PII: { offset: 0x030, size: 8, access: 'RW', fields: {} },
  STATUSR: { offset: 0x040, size: 4, access: 'RO', fields: { DORMANT: bit(0) } },
  GBPA: {
    offset: 0x044,
    size: 4,
    access: 'RW',
    fields: {
      MemAttr: bits(3, 0),
      MTCFG: bit(4),
      ALLOCCFG: bits(11, 8),
      SHCFG: bits(13, 12),
      PRIVCFG: bits(17, 16),
      INSTCFG: bits(19, 18),
      ABORT: bit(20),
      Update: bit(31),
    },
  },
  AGBPA: { offset: 0x048, size: 4, access: 'RW', fields: {} },
  IRQ_CTRL: { offset: 0x050, size: 4, access: 'RW', fields: interruptEnables },
  IRQ_CTRLACK: { offset: 0x054, size: 4, access: 'RO', fields: interruptEnables },
  GERROR: { offset: 0x060, size: 4, access: 'RO', fields: globalErrors },
  GERRORN: { offset: 0x064, size: 4, access: 'RW', fields: globalErrors },
  GERROR_IRQ_CFG0: { offset: 0x068, size: 8, access: 'RW', fields: msiAddress },
  GERROR_IRQ_CFG1: { offset: 0x070, size: 4, access: 'RW', fields: msiData },
  GERROR_IRQ_CFG2: { offset: 0x074, size: 4, access: 'RW', fields: msiAttributes },
  STRTAB_BASE: {
    offset: 0x080,
    size: 8,
    access: 'RW',
    fields: { ADDR: address(55, 6), RA: bit(62) },
  },
  STRTAB_BASE_CFG: {
    offset: 0x088,
    size: 4,
    access: 'RW',
    fields: { LOG2SIZE: bits(5, 0), SPLIT: bits(10, 6), FMT: bits(17, 16) },
  },
  CMDQ_BASE: { offset: 0x090, size: 8, access: 'RW', fields: { ...queueBase, RA: bit(62) } },
  CMDQ_PROD: { offset: 0x098, size: 4, access: 'RW', fields: { WR: index } },
  CMDQ_CONS: { offset: 0x09c, size: 4, access: 'RW', fields: { RD: index, ERR: bits(30, 24) } },
  EVENTQ_BASE: { offset: 0x0a0, size: 8, access: 'RW', fields: { ...queueBase, WA: bit(62) } },
  EVENTQ_IRQ_CFG0: { offset: 0x0b0, size: 8, access: 'RW', fields: msiAddress },
  EVENTQ_IRQ_CFG1: { offset: 0x0b8, size: 4, access: 'RW', fields: msiData },
  EVENTQ_IRQ_CFG2: { offset: 0x0bc, size: 4, access: 'RW', fields: msiAttributes },
  PRIQ_BASE: { offset: 0x0c0, size: 8, access: 'RW', fields: { ...queueBase, WA: bit(62) } },
  PRIQ_IRQ_CFG0: { offset: 0x0d0, size: 8, access: 'RW', fields: msiAddress },
  PRIQ_IRQ_CFG1: { offset: 0x0d8, size: 4, access: 'RW', fields: msiData },
  PRIQ_IRQ_CFG2: {
    offset: 0x0dc,
    size: 4,
    access: 'RW',
    fields: { ...msiAttributes, LO: bit(31) },
  },
  GATOS_CTRL: { offset: 0x100, size: 4, access: 'RW', fields: { RUN: bit(0) } },
  GATOS_SID: { offset: 0x108, size: 8, access: 'RW', fields: {} },
  GATOS_ADDR: { offset: 0x110, size: 8, access: 'RW', fields: {} },
  GATOS_PAR: { offset: 0x118, size: 8, access: 'RO', fields: {} },
  MPAMIDR: { offset: 0x130, size: 4, access: 'RO', fields: {} },
  GMPAM: { offset: 0x138, size: 4, access: 'RW', fields: { Update: bit(31) } },
  GBPMPAM: { offset: 0x13c, size: 4, access: 'RW', fields: { Update: bit(31) } },
  VATOS_SEL: { offset: 0x180, size: 4, access: 'RW', fields: {} },
  IDR6: {
    offset: 0x190,
    size: 4,
    access: 'RO',
    fields: { CMDQ_CONTROL_PAGE_LOG2NUMQ: bits(19, 16), CMDQ_CONTROL_PAGE_LOG2NUMP: bits(27, 24) },
  },
  DPT_BASE: { offset: 0x200, size: 8, access: 'RW', fields: {} },
  DPT_BASE_CFG: { offset: 0x208, size: 4, access: 'RW', fields: {} },
  DPT_CFG_FAR: { offset: 0x210, size: 8, access: 'RW', fields: {} },
  PIDR4: { offset: 0xfd0, size: 4, access: 'RO', fields: { DES_2: bits(3, 0) } },
  PIDR5: { offset: 0xfd4, size: 4, access: 'RO', fields: {} },
  PIDR6: { offset: 0xfd8, size: 4, access: 'RO', fields: {} },
  PIDR7: { offset: 0xfdc, size: 4, access: 'RO', fields: {} },
  PIDR0: { offset: 0xfe0, size: 4, access: 'RO', fields: { PART_0: bits(7, 0) } },
  PIDR1: {
    offset: 0xfe4,
    size: 4,
    access: 'RO',
    fields: { PART_1: bits(3, 0), DES_0: bits(7, 4) },
  },
  PIDR2: {
    offset: 0xfe8,
    size: 4,
    access: 'RO',
    fields: { DES_1: bits(2, 0), JEDEC: bit(3), REVISION: bits(7, 4) },
  },
  PIDR3: { offset: 0xfec, size: 4, access: 'RO', fields: {} },
  CIDR0: { offset: 0xff0, size: 4, access: 'RO', fields: {} },
  CIDR1: { offset: 0xff4, size: 4, access: 'RO', fields: {} },
  CIDR2: { offset: 0xff8, size: 4, access: 'RO', fields: {} },
  CIDR3: { offset: 0xffc, size: 4, access: 'RO', fields: {} },
  EVENTQ_PROD: { offset: 0x100a8, size: 4, access: 'RW', fields: { WR: index, OVFLG: bit(31) } },
  EVENTQ_CONS: { offset: 0x100ac, size: 4, access: 'RW', fields: { RD: index, OVACKFLG: bit(31) } },
  PRIQ_PROD: { offset: 0x100c8, size: 4, access: 'RW', fields: { WR: index, OVFLG: bit(31) } },
  PRIQ_CONS: { offset: 0x100cc, size: 4, access: 'RW', fields: { RD: index, OVACKFLG: bit(31) } },
} as const satisfies Readonly<Record<string, RegisterFormat>>;

/** Name of a register. */
export type RegisterName = keyof typeof Register;

/** Index of the first 32-bit word of `register` in a frame kept as a `Uint32Array`. */
export function wordOf(register: RegisterFormat): number {
  return register.offset >>> 2;
}

/** STRTAB_BASE_CFG.FMT. The other values behave as `linear`. */
export const StreamTableFormat = { linear: 0, twoLevel: 1 } as const;
