/** How a transaction ends for the device. */
export const Outcome = {
  /** It goes to {@link Translation.outputAddress}. */
  translated: 0,
  /** It is terminated with an abort. */
  aborted: 1,
  /** It completes, but reads give zeros and writes do nothing (CD.A=0). */
  zeroed: 2,
  /** It waits for CMD_RESUME or CMD_STALL_TERM (CD.S=1). */
  stalled: 3,
} as const;

/**
 * The answer to one access: an output address with what holds for its leaf, or a fault with all that
 * its event record needs. One object is made by the caller and filled again and again; fields
 * that do not belong to the outcome keep old values.
 */
export class Translation {
  /** An {@link Outcome}. */
  outcome = 0;
  /** Number of the event, for example 0x10 for F_TRANSLATION; 0 when there is none. */
  event = 0;
  /** Whether the event is to be recorded: CD.R, CR2.RECINVSID. */
  recorded = false;
  /** The access waits for CMD_RESUME or CMD_STALL_TERM, or would if the device could wait. */
  stall = false;
  /** Names the stalled access to the guest: STAG of its record and of CMD_RESUME. */
  stag = 0;
  /** A {@link Reason}. */
  reason = 0;

  // The access, as the device made it and after STE.PRIVCFG and STE.INSTCFG.
  streamId = 0;
  /** -1 when the access has none. */
  substreamId = -1;
  /** Bits 63:32 of the input address, as the device presented it. */
  inputHigh = 0;
  /** Bits 31:0 of the input address, as the device presented it. */
  inputLow = 0;
  /** {@link Access} bits. */
  access = 0;

  // Translated. Addresses start as NaN so that V8 keeps them as doubles.
  /** Physical address of the first byte of the access. */
  outputAddress = NaN;
  /** No stage translated: the output address is the input address. */
  bypassed = false;
  /** Level of the leaf, or of the descriptor at which the walk faulted. */
  level = 0;
  /** log2 of the leaf's bytes: the answer holds for the whole leaf. */
  leafLog2 = 0;
  /** log2 of the granule's bytes. */
  granuleLog2 = 0;
  /** {@link Permission} bits of the leaf. */
  permissions = 0;
  /** Memory attribute, a byte of MAIR. */
  attribute = 0;
  /** 0 non-shareable, 2 outer, 3 inner. */
  shareability = 0;
  /** 1: cached under its ASID; 0: global. */
  nonGlobal = 0;
  /** 1: the leaf is one of a contiguous run. */
  contiguous = 0;
  /** The leaf as it is in memory after the walk, as a little-endian value: bits 63:32. */
  descriptorHigh = 0;
  /** Bits 31:0 of the leaf. */
  descriptorLow = 0;

  // Faulted.
  /** An {@link EventClass}. */
  class = 0;
  /** Physical address of what could not be fetched, for the events that have it. */
  fetchAddress = NaN;
}
