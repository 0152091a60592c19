import type { Entry } from '../smmu/smmu-machine.js';

/** A command that the guest has issued. */
export interface Issued {
  readonly entry: Entry;
  readonly at: number;
  isPassed: boolean;
}

// What a command names (IHI 0070, section 4).
export const isTlbi = ([w0]: Entry): boolean => [0x11n, 0x12n].includes(w0 & 0xffn);
export const isAll = ([w0]: Entry): boolean => w0 === 0x10n || w0 === 0x30n;
export const isOfTlb = (entry: Entry): boolean => isTlbi(entry) || isAll(entry);
export const isCd = ([w0]: Entry): boolean => (w0 & 0xffn) === 0x05n || (w0 & 0xffn) === 0x06n;
export const isAtc = ([w0]: Entry): boolean => (w0 & 0xffn) === 0x40n;
export const streamOf = ([w0]: Entry): number => Number(w0 >> 32n);

/** Whether `by` does what `what` asks for. */
export function covers(by: Entry, what: Entry): boolean {
  if (by[0] === what[0] && by[1] === what[1]) return true;
  return isAll(by) && isOfTlb(what);
}
