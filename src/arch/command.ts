import { address, bit, bits, type Layout } from './field.js';

/** One command of the command queue: its opcode and its fields. */
export interface CommandFormat {
  /** Value of bits 7:0. */
  readonly opcode: number;
  /** Fields other than the opcode. */
  readonly fields: Layout;
}

/** Bytes of a command. */
export const COMMAND_BYTES = 16;

/** Bits 7:0 of every command. */
export const CommandOpcode = bits(7, 0);

const SSec = bit(10);
const SSV = bit(11);
const SubstreamID = bits(31, 12);
const StreamID = bits(63, 32);
const Leaf = bit(64);
const VMID = bits(47, 32);
const ASID = bits(63, 48);
/** Scope of an invalidation by address; without IDR3.RIL all but Leaf and Address is RES0. */
const range = {
  NUM: bits(16, 12),
  /** Bit 25 belongs to it only with IDR5.DS. */
  SCALE: bits(25, 20),
  Leaf,
  TTL128: bit(71),
  TTL: bits(73, 72),
  /** 0 none, 1 4K, 2 16K, 3 64K: coded differently from STE and CD. */
  TG: bits(75, 74),
} as const;
const Address = address(127, 76);
const Ipa = address(119, 76);

/** Every command of the Non-secure command queue (IHI 0070, section 4). */
export const Command = {
  PREFETCH_CONFIG: { opcode: 0x01, fields: { SSec, SSV, SubstreamID, StreamID } },
  PREFETCH_ADDR: {
    opcode: 0x02,
    fields: {
      SSec,
      SSV,
      SubstreamID,
      StreamID,
      Size: bits(68, 64),
      Stride: bits(73, 69),
      NS: bit(74),
      Address,
    },
  },
  CFGI_STE: { opcode: 0x03, fields: { SSec, StreamID, Leaf } },
  /** Range 31 is CFGI_ALL. */
  CFGI_STE_RANGE: { opcode: 0x04, fields: { SSec, StreamID, Range: bits(68, 64) } },
  CFGI_CD: { opcode: 0x05, fields: { SSec, SubstreamID, StreamID, Leaf } },
  CFGI_CD_ALL: { opcode: 0x06, fields: { SSec, StreamID } },
  CFGI_VMS_PIDM: { opcode: 0x07, fields: { SSec, VMID } },
  TLBI_NH_ALL: { opcode: 0x10, fields: { VMID } },
  TLBI_NH_ASID: { opcode: 0x11, fields: { VMID, ASID } },
  TLBI_NH_VA: { opcode: 0x12, fields: { ...range, VMID, ASID, Address } },
  TLBI_NH_VAA: { opcode: 0x13, fields: { ...range, VMID, Address } },
  TLBI_EL3_ALL: { opcode: 0x18, fields: {} },
  TLBI_EL3_VA: { opcode: 0x1a, fields: { ...range, Address } },
  TLBI_EL2_ALL: { opcode: 0x20, fields: {} },
  TLBI_EL2_ASID: { opcode: 0x21, fields: { ASID } },
  TLBI_EL2_VA: { opcode: 0x22, fields: { ...range, ASID, Address } },
  TLBI_EL2_VAA: { opcode: 0x23, fields: { ...range, Address } },
  TLBI_S12_VMALL: { opcode: 0x28, fields: { VMID } },
  TLBI_S2_IPA: { opcode: 0x2a, fields: { ...range, VMID, Address: Ipa } },
  TLBI_NSNH_ALL: { opcode: 0x30, fields: {} },
  ATC_INV: {
    opcode: 0x40,
    fields: { Global: bit(9), SSV, SubstreamID, StreamID, Size: bits(69, 64), Address },
  },
  PRI_RESP: {
    opcode: 0x41,
    fields: { SSV, SubstreamID, StreamID, PRGIndex: bits(72, 64), Resp: bits(77, 76) },
  },
  RESUME: {
    opcode: 0x44,
    fields: { SSec, Ac: bit(12), Ab: bit(13), StreamID, STAG: bits(79, 64) },
  },
  STALL_TERM: { opcode: 0x45, fields: { SSec, StreamID } },
  SYNC: {
    opcode: 0x46,
    fields: {
      /** Completion signal: 0 none, 1 interrupt, 2 event (SEV). */
      CS: bits(13, 12),
      MSH: bits(23, 22),
      MSIAttr: bits(27, 24),
      MSIData: bits(63, 32),
      MSIAddress: address(119, 66),
    },
  },
  TLBI_S_EL2_ALL: { opcode: 0x50, fields: {} },
  TLBI_S_EL2_ASID: { opcode: 0x51, fields: { ASID } },
  TLBI_S_EL2_VA: { opcode: 0x52, fields: { ...range, ASID, Address } },
  TLBI_S_EL2_VAA: { opcode: 0x53, fields: { ...range, Address } },
  TLBI_S_S12_VMALL: { opcode: 0x58, fields: { VMID } },
  TLBI_S_S2_IPA: { opcode: 0x5a, fields: { ...range, VMID, Address: Ipa } },
  TLBI_SNH_ALL: { opcode: 0x60, fields: {} },
  DPTI_ALL: { opcode: 0x70, fields: {} },
  DPTI_PA: { opcode: 0x73, fields: { Leaf, Address: Ipa } },
} as const satisfies Readonly<Record<string, CommandFormat>>;

/** Name of a command. */
export type CommandName = keyof typeof Command;

/** CMDQ_CONS.ERR: why the command queue stopped (IHI 0070, section 7.1). */
export const Cerror = { NONE: 0, ILL: 1, ABT: 2, ATC_INV_SYNC: 3 } as const;
