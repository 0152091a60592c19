import { Command, type CommandFormat } from '../arch/command.js';
import { get, type Field } from '../arch/field.js';
import type { Features } from '../registers/features.js';

/** SSec: present in the commands that name a stream; 1 is illegal on the Non-secure queue. */
const SSec: Field = Command.CFGI_STE.fields.SSec;

const { SYNC, PRI_RESP, PREFETCH_CONFIG, PREFETCH_ADDR, CFGI_STE, CFGI_STE_RANGE, CFGI_CD } =
  Command;
const { CFGI_CD_ALL, TLBI_NH_ALL, TLBI_NH_ASID, TLBI_NH_VA, TLBI_NH_VAA, TLBI_NSNH_ALL } = Command;
const { ATC_INV, RESUME, STALL_TERM } = Command;

/**
 * Which opcodes of the Non-secure command queue an SMMU with `features` knows: 1 by opcode
 * (IHI 0070, section 4). The others are CERROR_ILL, the secure ones and those of stage 2 included.
 */
export function legalOpcodes(features: Features): Uint8Array {
  const legal = new Uint8Array(256);
  const known: CommandFormat[] = [
    PREFETCH_CONFIG,
    PREFETCH_ADDR,
    CFGI_STE,
    CFGI_STE_RANGE,
    CFGI_CD,
    CFGI_CD_ALL,
    TLBI_NH_ALL,
    TLBI_NH_ASID,
    TLBI_NH_VA,
    TLBI_NH_VAA,
    TLBI_NSNH_ALL,
    SYNC,
  ];
  if (features.ATS === 1) known.push(ATC_INV);
  if (features.PRI === 1) known.push(PRI_RESP);
  if (features.STALL_MODEL !== 1) known.push(RESUME, STALL_TERM);
  for (const { opcode } of known) legal[opcode] = 1;
  return legal;
}

const withSSec = new Uint8Array(256);
for (const command of Object.values(Command) as CommandFormat[]) {
  if ('SSec' in command.fields) withSSec[command.opcode] = 1;
}

/** Whether the fields of a command with a legal opcode make it CERROR_ILL all the same. */
export function hasIllegalFields(words: Uint32Array, opcode: number): boolean {
  if (withSSec[opcode] === 1 && get(words, 0, SSec) === 1) return true;
  if (opcode === SYNC.opcode) return get(words, 0, SYNC.fields.CS) === 3;
  return opcode === PRI_RESP.opcode && get(words, 0, PRI_RESP.fields.Resp) === 3;
}
