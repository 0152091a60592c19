import { Command, CommandOpcode, get, getAddress } from 'vsmmu';

/** What the library's statistics do not say of the commands. */
export class CommandCounts {
  /** Invalidations of more than one page by one command, and the most pages of one. */
  ranges = 0;
  mostPages = 0;
  /** CMD_SYNCs that are completed by a write to memory. */
  messages = 0;

  look(words: Uint32Array, at: number): void {
    const opcode = get(words, at, CommandOpcode);
    if (opcode === Command.SYNC.opcode) {
      const { CS, MSIAddress } = Command.SYNC.fields;
      if (get(words, at, CS) === 1 && getAddress(words, at, MSIAddress) !== 0) this.messages++;
      return;
    }
    const pages = pagesOf(words, at);
    this.mostPages = Math.max(this.mostPages, pages);
    if (pages > 1) this.ranges++;
  }
}

/** Pages that a TLBI by address names; 0 for another command. */
export function pagesOf(words: Uint32Array, at: number): number {
  const opcode = get(words, at, CommandOpcode);
  const { TLBI_NH_VA, TLBI_NH_VAA } = Command;
  if (opcode !== TLBI_NH_VA.opcode && opcode !== TLBI_NH_VAA.opcode) return 0;
  const { NUM, SCALE, TG } = TLBI_NH_VA.fields;
  // Without a granule it is no range.
  if (get(words, at, TG) === 0) return 1;
  return (get(words, at, NUM) + 1) * 2 ** get(words, at, SCALE);
}
