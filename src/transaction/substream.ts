import { CD_BYTES, L1cd, L1CD_BYTES } from '../arch/cd.js';
import { Event } from '../arch/event.js';
import { get, getAligned } from '../arch/field.js';
import { S1Dss, S1Fmt, Ste, SteConfig } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Features } from '../registers/features.js';
import { illegalCd } from './cd-rules.js';
import { Reason } from './reason.js';
import type { Translation } from './translation.js';

/** Instead of the number of an event: stage 1 is bypassed, there is no CD. */
export const BYPASS = -1;

/** Geometry of a CD table (IHI 0070, section 5.3), as an STE describes it. */
export interface CdTable {
  /** log2 of the number of CDs; 0 without substreams. */
  cdMax: number;
  /** log2 of the CDs that one L1CD covers; 0 for a single CD and for a linear table. */
  split: number;
  /** Physical address of the CD, the CD table or the first L1CD, in bytes. */
  base: number;
}

/** Finds and checks CDs: STE and SubstreamID to CD (IHI 0070, sections 3.9, 5.3 and 5.4). */
export class SubstreamTable {
  /** The CD last fetched. */
  readonly cd = new Uint32Array(CD_BYTES / 4);
  /** Physical address of the CD last fetched, in bytes. */
  cdAddress = NaN;
  /** Index of the CD that {@link select} chose. */
  index = 0;
  /** Geometry of the CD table last used. */
  readonly table: CdTable = { cdMax: 0, split: 0, base: NaN };

  private readonly memory: GuestMemory;
  private readonly features: Features;
  /** Addresses at or above it abort: 2^OAS. */
  private readonly outputLimit: number;
  private readonly l1cd = new Uint32Array(L1CD_BYTES / 4);

  constructor(memory: GuestMemory, features: Features) {
    this.memory = memory;
    this.features = features;
    this.outputLimit = 2 ** features.OAS;
  }

  /**
   * Decides which CD a transaction uses: the order of the checks is that of IHI 0070, section 3.9.
   * @param ste a legal STE whose Config is not abort.
   * @param substreamId -1 when the transaction has none.
   * @returns the number of the event, {@link BYPASS} when stage 1 does not translate, or 0: then
   * {@link index} is the CD.
   */
  select(ste: Uint32Array, substreamId: number, result: Translation): number {
    const cdMax = this.features.SSIDSIZE === 0 ? 0 : get(ste, 0, Ste.S1CDMax);
    const dss = get(ste, 0, Ste.S1DSS);
    this.index = 0;
    if (get(ste, 0, Ste.Config) === SteConfig.bypass) {
      return substreamId < 0 ? BYPASS : badSubstream(result, Reason.substreamWithoutStage1);
    }
    if (substreamId >= 0) {
      if (cdMax === 0) return badSubstream(result, Reason.substreamsOff);
      if (substreamId >= 1 << cdMax) return badSubstream(result, Reason.substreamRange);
      if (substreamId === 0 && dss === S1Dss.substream0) {
        result.reason = Reason.substream0;
        return Event.F_STREAM_DISABLED.id;
      }
      this.index = substreamId;
      return 0;
    }
    if (cdMax === 0 || dss === S1Dss.substream0) return 0;
    if (dss === S1Dss.bypass) return BYPASS;
    result.reason = Reason.substreamMissing;
    return Event.F_STREAM_DISABLED.id;
  }

  /**
   * Fetches CD number `index` of `ste` into {@link cd} and checks it.
   * @returns 0 when it is legal, else the number of the event.
   */
  fetch(ste: Uint32Array, index: number, result: Translation): number {
    describeCdTable(ste, this.features, this.table);
    const event = this.locate(index, result);
    if (event !== 0) return event;
    if (
      this.cdAddress >= this.outputLimit ||
      !this.memory.load(this.cdAddress, this.cd, 0, CD_BYTES / 4)
    ) {
      result.reason = Reason.cdFetch;
      result.fetchAddress = this.cdAddress;
      return Event.F_CD_FETCH.id;
    }
    const rule = illegalCd(this.cd, 0, ste, 0, this.features);
    if (rule !== 0) {
      result.reason = Reason.illegalCd + rule;
      return Event.C_BAD_CD.id;
    }
    return 0;
  }

  /** Sets {@link cdAddress}, by way of the L1CD in a 2-level table. */
  private locate(index: number, result: Translation): number {
    const { split, base } = this.table;
    if (split === 0) {
      this.cdAddress = base + CD_BYTES * index;
      return 0;
    }
    const address = base + L1CD_BYTES * (index >>> split);
    if (address >= this.outputLimit || !this.memory.load(address, this.l1cd, 0, 2)) {
      result.reason = Reason.l1cdFetch;
      result.fetchAddress = address;
      return Event.F_CD_FETCH.id;
    }
    if (get(this.l1cd, 0, L1cd.V) === 0) return badSubstream(result, Reason.l1cdInvalid);
    const level2 = getAligned(this.l1cd, 0, L1cd.L2Ptr, CD_BYTES << split);
    if (level2 >= this.outputLimit) return badSubstream(result, Reason.l1cdAddress);
    this.cdAddress = level2 + CD_BYTES * (index & ((1 << split) - 1));
    return 0;
  }
}

/** Fills `into` with the geometry of the CD table of a legal stage-1 STE. */
export function describeCdTable(ste: Uint32Array, features: Features, into: CdTable): void {
  const cdMax = features.SSIDSIZE === 0 ? 0 : get(ste, 0, Ste.S1CDMax);
  const format = get(ste, 0, Ste.S1Fmt);
  into.cdMax = cdMax;
  into.split =
    cdMax === 0 ? 0 : format === S1Fmt.twoLevel4K ? 6 : format === S1Fmt.twoLevel64K ? 10 : 0;
  const bytes =
    into.split === 0 ? CD_BYTES << cdMax : Math.max(64, L1CD_BYTES * 2 ** (cdMax - into.split));
  into.base = getAligned(ste, 0, Ste.S1ContextPtr, bytes);
}

function badSubstream(result: Translation, reason: number): number {
  result.reason = reason;
  return Event.C_BAD_SUBSTREAMID.id;
}
