// Reference model of an SMMUv3 with stage 1 only (IHI 0070, DDI 0487 D8): slow, without caches,
// written to be read next to the architecture. It is the oracle of the tests and shares no code
// with the library.
//
// Not modelled: stage 2, D128, PIE, AIE, HAFT, MPAM, EL2 StreamWorld, ATS, VMSAv8-32.
//
// Where the architecture leaves a choice:
// - An STE or L1STD address (also one derived from L2Ptr) >= 2^OAS is F_STE_FETCH.
// - L1CD.L2Ptr >= 2^OAS is C_BAD_SUBSTREAMID; on SMMUv3.0 an S1ContextPtr >= 2^OAS is F_CD_FETCH.
// - S1ContextPtr bits below the table alignment are taken as 0.
// - 64K granule with OAS < 52: desc[15:12] other than 0 is F_ADDR_SIZE.
// - 4K and 16K granules with DS=0: desc[50:48] is ignored.
// - {HD,HA}=10 behaves as off. IDR5.OAS=7 behaves as 52 bits.
// - TxSZ limits hold on every version of the architecture.
// - AF and dirty state are updated by an access that goes on, never by one that faults.

import type { ReferenceAccess, ReferenceMachine, ReferenceOutcome } from './types.js';
import { configure } from './substream.js';
import { walk } from './walk.js';

export { referenceLeaves } from './leaves.js';
export type {
  ReferenceAccess,
  ReferenceLeaf,
  ReferenceLeafEntry,
  ReferenceMachine,
  ReferenceMemory,
  ReferenceOutcome,
  ReferenceRights,
} from './types.js';

export function referenceTranslate(
  machine: ReferenceMachine,
  access: ReferenceAccess,
): ReferenceOutcome {
  const configured = configure(machine, access);
  if (configured.ended) return configured.outcome;
  const { tx, cd } = configured.value;
  return walk(tx, cd);
}
