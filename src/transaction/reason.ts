import { CD_RULES } from './cd-rules.js';
import { STE_RULES } from './ste-rules.js';

/**
 * Why a transaction ended as it did: finer than the event number, for people and for tests. The
 * numbers of broken STE and CD rules are added to `illegalSte` and `illegalCd`.
 */
export const Reason = {
  none: 0,
  globalAbort: 1,
  globalBypassAddress: 2,
  streamIdRange: 3,
  streamIdNoLevel2: 4,
  streamIdSpan: 5,
  steFetch: 6,
  l1stdFetch: 7,
  steInvalid: 8,
  configAbort: 9,
  substreamWithoutStage1: 10,
  substreamsOff: 11,
  substreamRange: 12,
  substream0: 13,
  substreamMissing: 14,
  bypassAddress: 15,
  cdFetch: 16,
  l1cdFetch: 17,
  l1cdInvalid: 18,
  l1cdAddress: 19,
  inputRange: 20,
  walksDisabled: 21,
  unprivilegedHalf: 22,
  descriptorFetch: 23,
  descriptorInvalid: 24,
  descriptorReserved: 25,
  blockLevel: 26,
  tableAddress: 27,
  outputAddress: 28,
  accessFlag: 29,
  permission: 30,
  descriptorUpdate: 31,
  noMemory: 32,
  endOfSpace: 33,
  illegalSte: 100,
  illegalCd: 200,
} as const;

const TEXTS: Readonly<Record<number, string>> = {
  [Reason.none]: 'translated',
  [Reason.globalAbort]: 'CR0.SMMUEN=0 and GBPA.ABORT=1 (IHI 0070, section 6.3.15)',
  [Reason.globalBypassAddress]:
    'CR0.SMMUEN=0: the address does not fit the output address size (IHI 0070, section 3.4)',
  [Reason.streamIdRange]:
    'StreamID is outside the stream table: STRTAB_BASE_CFG.LOG2SIZE (IHI 0070, section 3.3)',
  [Reason.streamIdNoLevel2]:
    'L1STD.Span is 0, reserved or larger than SPLIT+1 (IHI 0070, section 5.1)',
  [Reason.streamIdSpan]:
    'StreamID is outside the level-2 table: L1STD.Span (IHI 0070, section 5.1)',
  [Reason.steFetch]: 'external abort while fetching the STE (IHI 0070, section 7.3.4)',
  [Reason.l1stdFetch]: 'external abort while fetching the L1STD (IHI 0070, section 7.3.4)',
  [Reason.steInvalid]: 'STE.V=0 (IHI 0070, section 5.2)',
  [Reason.configAbort]: 'STE.Config says abort; nothing is recorded (IHI 0070, section 5.2)',
  [Reason.substreamWithoutStage1]: 'a SubstreamID, but stage 1 is off (IHI 0070, section 3.9)',
  [Reason.substreamsOff]:
    'a SubstreamID, but STE.S1CDMax=0 or IDR1.SSIDSIZE=0 (IHI 0070, section 3.9)',
  [Reason.substreamRange]: 'SubstreamID is 2^S1CDMax or more (IHI 0070, section 3.9)',
  [Reason.substream0]: 'SubstreamID 0, but STE.S1DSS=2 reserves CD 0 (IHI 0070, section 5.2)',
  [Reason.substreamMissing]: 'no SubstreamID, but STE.S1DSS=0 demands one (IHI 0070, section 5.2)',
  [Reason.bypassAddress]:
    'stage 1 is bypassed: the address does not fit the output address size (IHI 0070, section 3.4)',
  [Reason.cdFetch]: 'external abort while fetching the CD (IHI 0070, section 7.3.10)',
  [Reason.l1cdFetch]: 'external abort while fetching the L1CD (IHI 0070, section 7.3.10)',
  [Reason.l1cdInvalid]: 'L1CD.V=0 (IHI 0070, section 5.3)',
  [Reason.l1cdAddress]: 'L1CD.L2Ptr lies beyond the output address size (IHI 0070, section 5.3)',
  [Reason.inputRange]:
    'input address is outside the range that TxSZ gives (IHI 0070, section 3.4.1)',
  [Reason.walksDisabled]: 'CD.EPD0 or EPD1 disables walks of this half (IHI 0070, section 5.4)',
  [Reason.unprivilegedHalf]:
    'CD.E0PD0 or E0PD1 keeps unprivileged accesses out of this half (IHI 0070, section 5.4)',
  [Reason.descriptorFetch]:
    'external abort while fetching the descriptor (IHI 0070, section 7.3.12)',
  [Reason.descriptorInvalid]: 'descriptor is invalid: bit 0 is 0 (DDI 0487, section D8.3)',
  [Reason.descriptorReserved]:
    'level-3 descriptor is reserved: bit 1 is 0 (DDI 0487, section D8.3)',
  [Reason.blockLevel]: 'this granule has no blocks at this level (DDI 0487, section D8.3)',
  [Reason.tableAddress]:
    'next-level table lies beyond the effective IPS (IHI 0070, section 7.3.14)',
  [Reason.outputAddress]: 'output address lies beyond the effective IPS (IHI 0070, section 7.3.14)',
  [Reason.accessFlag]: 'AF is 0, with CD.HA=0 and CD.AFFD=0 (DDI 0487, section D8.5)',
  [Reason.permission]: 'the permissions do not allow this access (DDI 0487, section D8.4)',
  [Reason.descriptorUpdate]:
    'external abort while updating the descriptor (IHI 0070, section 3.13)',
  [Reason.noMemory]: 'no memory answers at the output address; the SMMU records nothing',
  [Reason.endOfSpace]: 'the access goes on beyond the address 2^64; the SMMU records nothing',
};

/** The rule behind a {@link Reason}, in a sentence with its section. */
export function describeReason(reason: number): string {
  if (reason > Reason.illegalCd) {
    const rule = reason - Reason.illegalCd;
    return `CD is illegal, rule ${rule}: ${CD_RULES[rule] ?? 'unknown'} (IHI 0070, section 5.4.1)`;
  }
  if (reason > Reason.illegalSte) {
    const rule = reason - Reason.illegalSte;
    return `STE is illegal, rule ${rule}: ${STE_RULES[rule] ?? 'unknown'} (IHI 0070, section 5.2.2)`;
  }
  return TEXTS[reason] ?? `unknown reason ${reason}`;
}
