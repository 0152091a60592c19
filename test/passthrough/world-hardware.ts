/**
 * What hardware keeps, by the letter of the manual: CDs by physical StreamID and SubstreamID, translations
 * by ASID and page, and each device's own by SubstreamID and page. Slow, and fed from what the model of
 * the kernel says that it was told.
 */
import type { KernelModel } from '../../src/fixtures/kernel-model.js';

/** A command: 4 words. */
export type Words = readonly number[];

interface Kept {
  /** A completed CMD_SYNC says that it is gone: nobody may use it. */
  isGone: boolean;
}
interface KeptCd extends Kept {
  readonly streamId: number;
  readonly substreamId: number;
  readonly asid: number;
}
interface KeptPage extends Kept {
  readonly asid: number;
  readonly page: number;
}
interface KeptAtc extends Kept {
  readonly streamId: number;
}

const opcodeOf = (words: Words): number => words[0]! & 0xff;

/** Pages that a TLBI by address covers (smmuv3-commands, section 5); these worlds have 4 KiB pages. */
function coversPage(words: Words, page: number): boolean {
  const first = words[3]! * 2 ** 20 + (words[2]! >>> 12);
  const granule = (words[2]! >>> 10) & 3;
  const count =
    granule === 0 ? 1 : (((words[0]! >>> 12) & 31) + 1) * 2 ** ((words[0]! >>> 20) & 31);
  return page >= first && page < first + count;
}

/** Whether a TLBI covers a translation; its VMID is looked at elsewhere. */
function coversTranslation(words: Words, { asid, page }: KeptPage): boolean {
  const isOfAsid = words[1]! >>> 16 === asid;
  switch (opcodeOf(words)) {
    case 0x10:
    case 0x30:
      return true;
    case 0x11:
      return isOfAsid;
    case 0x12:
      return isOfAsid && coversPage(words, page);
    case 0x13:
      return coversPage(words, page);
    default:
      return false;
  }
}

/** Whether a command covers a CD; its StreamID is `streamId`. */
function coversCd(words: Words, streamId: number, kept: KeptCd): boolean {
  if (kept.streamId !== streamId) return false;
  const opcode = opcodeOf(words);
  return opcode === 0x06 || (opcode === 0x05 && words[0]! >>> 12 === kept.substreamId);
}

export class Hardware {
  private readonly kernel: KernelModel;
  private readonly smmu: number;
  private readonly cds = new Map<string, KeptCd>();
  private readonly pages = new Map<string, KeptPage>();
  private readonly atcs = new Map<string, KeptAtc>();

  constructor(kernel: KernelModel, smmu: number) {
    this.kernel = kernel;
    this.smmu = smmu;
  }

  /** Takes in what was issued to it. */
  catchUp(): void {
    for (const { words, completed } of this.kernel.hardware(this.smmu)) {
      if (!completed || opcodeOf(words) === 0x46) continue;
      const isTlbi = (opcodeOf(words) & 0xf0) === 0x10;
      // The only guest has the first VMID.
      if (isTlbi && (words[1] & 0xffff) !== 1)
        throw new Error('TLBI of a VMID that is not the guest’s');
      drop(this.pages, (kept) => coversTranslation(words, kept));
      drop(this.cds, (kept) => coversCd(words, words[1], kept));
      if (opcodeOf(words) === 0x40) drop(this.atcs, (kept) => kept.streamId === words[1]);
    }
    this.kernel.clearHardware(this.smmu);
  }

  /** The kernel has changed the STE of a device: it invalidates what hangs on it itself. */
  attached(streamId: number): void {
    drop(this.cds, (kept) => kept.streamId === streamId);
    drop(this.atcs, (kept) => kept.streamId === streamId);
  }

  /** A CMD_SYNC has completed a TLBI of the guest. */
  tlbiDone(words: Words): void {
    mark(this.pages, (kept) => coversTranslation(words, kept));
  }

  /** The same of CFGI_CD and CFGI_CD_ALL, and of CFGI_STE as CFGI_CD_ALL. */
  cdsDone(words: Words, streamId: number): void {
    mark(this.cds, (kept) => coversCd(words, streamId, kept));
  }

  /** The same of ATC_INV. */
  atcDone(streamId: number): void {
    mark(this.atcs, (kept) => kept.streamId === streamId);
  }

  /**
   * An access of a device that stage 1 translates for: uses what is kept, and keeps what it finds.
   * @param asid what the guest's CD says now.
   * @returns what it used that must be gone, if anything.
   */
  access(streamId: number, substreamId: number, page: number, asid: number, ats: boolean): string {
    const atc = `${streamId}:${substreamId}:${page}`;
    if (ats && this.atcs.has(atc)) return this.atcs.get(atc)!.isGone ? `ATC entry ${atc}` : '';
    const cdKey = `${streamId}:${substreamId}`;
    const cd = this.cds.get(cdKey) ?? { streamId, substreamId, asid, isGone: false };
    this.cds.set(cdKey, cd);
    const key = `${cd.asid}:${page}`;
    const kept = this.pages.get(key) ?? { asid: cd.asid, page, isGone: false };
    this.pages.set(key, kept);
    if (ats) this.atcs.set(atc, { streamId, isGone: false });
    if (cd.isGone) return `CD ${cdKey}`;
    return kept.isGone ? `translation ${key}` : '';
  }
}

function drop<T>(map: Map<string, T>, covers: (kept: T) => boolean): void {
  for (const [key, kept] of map) if (covers(kept)) map.delete(key);
}

function mark<T extends Kept>(map: Map<string, T>, covers: (kept: T) => boolean): void {
  for (const kept of map.values()) if (covers(kept)) kept.isGone = true;
}
