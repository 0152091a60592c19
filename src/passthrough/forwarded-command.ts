import { Command } from '../arch/command.js';
import { get, set } from '../arch/field.js';
import type { Features } from '../registers/features.js';

const { TLBI_NH_ALL, TLBI_NH_ASID, TLBI_NH_VA, TLBI_NH_VAA, TLBI_NSNH_ALL } = Command;
const { CFGI_CD, CFGI_CD_ALL, ATC_INV } = Command;

/** ATC_INV.Size of everything; above it the command has no effect (IHI 0070, section 4.5.1). */
const ATC_SIZE_ALL = 52;

/**
 * Writes commands of the guest as a physical SMMU may see them: only fields that the vSMMU advertises and
 * that have an effect (the kernel passes all others on to hardware that may have more features).
 */
export class ForwardedCommands {
  /** The last command written, 4 words. */
  readonly words = new Uint32Array(4);

  private readonly features: Features;
  /** Bits of the four words that stay: four words for each opcode. */
  private readonly masks = new Uint32Array(4 * 256);

  constructor(features: Features) {
    this.features = features;
    const asid = features.ASID16 === 1 ? 0xffff_0000 : 0x00ff_0000;
    // NUM, SCALE and TTL, TG have a meaning with range invalidations only.
    const range = features.RIL === 1 ? (features.DS === 1 ? 0x03f1_f000 : 0x01f1_f000) : 0;
    const hints = features.RIL === 1 ? 0xf00 : 0;
    const substream = features.SSIDSIZE === 0 ? 0 : 0xffff_f000;
    const all = 0xffff_ffff;
    const masks: readonly (readonly [opcode: number, ...words: number[]])[] = [
      [TLBI_NSNH_ALL.opcode, 0xff, 0, 0, 0],
      [TLBI_NH_ALL.opcode, 0xff, 0, 0, 0],
      [TLBI_NH_ASID.opcode, 0xff, asid, 0, 0],
      [TLBI_NH_VA.opcode, 0xff | range, asid, 0xffff_f001 | hints, all],
      [TLBI_NH_VAA.opcode, 0xff | range, 0, 0xffff_f001 | hints, all],
      [CFGI_CD.opcode, 0xff | substream, all, 1, 0],
      [CFGI_CD_ALL.opcode, 0xff, all, 0, 0],
      [ATC_INV.opcode, 0xff | (substream === 0 ? 0 : 0xffff_fa00), all, 0xffff_f03f, all],
    ];
    for (const [opcode, ...words] of masks) this.masks.set(words, 4 * opcode);
  }

  /**
   * Writes a legal TLBI, CFGI_CD, CFGI_CD_ALL or ATC_INV into {@link words}.
   * @returns `false` when it has no effect: it names a SubstreamID or a size that cannot be.
   */
  write(words: Uint32Array, opcode: number): boolean {
    const { masks, words: into } = this;
    for (let i = 0; i < 4; i++) into[i] = words[i]! & masks[4 * opcode + i]!;
    if (opcode === TLBI_NH_VA.opcode || opcode === TLBI_NH_VAA.opcode) this.tidyRange();
    else if (opcode === CFGI_CD.opcode) {
      const { SubstreamID } = CFGI_CD.fields;
      return get(words, 0, SubstreamID) < 2 ** this.features.SSIDSIZE;
    } else if (opcode === ATC_INV.opcode) return this.tidyAtc(words);
    return true;
  }

  /** A range without granule, and a level that the granule has no block at, mean nothing (section 4.4.1). */
  private tidyRange(): void {
    const { NUM, SCALE, TG, TTL } = TLBI_NH_VA.fields;
    const { words } = this;
    const granule = get(words, 0, TG);
    if (granule === 0) {
      set(words, 0, NUM, 0);
      set(words, 0, SCALE, 0);
      set(words, 0, TTL, 0);
    } else if (granule === 2 && get(words, 0, TTL) === 1 && this.features.DS === 0) {
      set(words, 0, TTL, 0);
    }
  }

  private tidyAtc(from: Uint32Array): boolean {
    const { SSV, SubstreamID, Global, Size } = ATC_INV.fields;
    if (get(from, 0, Size) > ATC_SIZE_ALL) return false;
    if (get(from, 0, SSV) === 0) {
      set(this.words, 0, SubstreamID, 0);
      set(this.words, 0, Global, 0);
      return true;
    }
    const { SSIDSIZE } = this.features;
    return SSIDSIZE > 0 && get(from, 0, SubstreamID) < 2 ** SSIDSIZE;
  }
}
