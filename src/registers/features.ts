import { ADDRESS_SIZE_BITS } from '../arch/granule.js';
import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';

const { IDR0, IDR1, IDR3, IDR5, AIDR } = Register;

/**
 * What an SMMU can do, as its ID registers say it (IHI 0070, section 6.3). A name is the ID
 * register's field and a value that field's code, except `OAS`.
 */
export interface Features {
  readonly S1P: number;
  readonly S2P: number;
  readonly TTF: number;
  readonly COHACC: number;
  readonly HTTU: number;
  readonly Hyp: number;
  readonly ATS: number;
  readonly NS1ATS: number;
  readonly ASID16: number;
  readonly MSI: number;
  readonly SEV: number;
  readonly PRI: number;
  readonly VMID16: number;
  readonly CD2L: number;
  readonly TTENDIAN: number;
  readonly STALL_MODEL: number;
  readonly TERM_MODEL: number;
  readonly ST_LEVEL: number;
  readonly SIDSIZE: number;
  readonly CMDQS: number;
  readonly EVENTQS: number;
  readonly PRIQS: number;
  readonly SSIDSIZE: number;
  readonly ATTR_PERMS_OVR: number;
  readonly HAD: number;
  readonly MPAM: number;
  readonly FWB: number;
  readonly STT: number;
  readonly RIL: number;
  readonly BBML: number;
  readonly E0PD: number;
  readonly DPT: number;
  readonly EPAN: number;
  readonly S2PI: number;
  readonly S2PO: number;
  readonly GRAN4K: number;
  readonly GRAN16K: number;
  readonly GRAN64K: number;
  readonly DS: number;
  readonly VAX: number;
  readonly STALL_MAX: number;
  /** Bits of an output address, 32 to 56: what the code of IDR5.OAS stands for. */
  readonly OAS: number;
  /** The version is v3.ArchMinor. */
  readonly ArchMinor: number;
}

/** What the ID registers in `frame` (a register frame as 32-bit words) advertise. */
export function featuresOf(frame: Uint32Array): Features {
  const idr0 = wordOf(IDR0);
  const idr1 = wordOf(IDR1);
  const idr3 = wordOf(IDR3);
  const idr5 = wordOf(IDR5);
  return {
    S1P: get(frame, idr0, IDR0.fields.S1P),
    S2P: get(frame, idr0, IDR0.fields.S2P),
    TTF: get(frame, idr0, IDR0.fields.TTF),
    COHACC: get(frame, idr0, IDR0.fields.COHACC),
    HTTU: get(frame, idr0, IDR0.fields.HTTU),
    Hyp: get(frame, idr0, IDR0.fields.Hyp),
    ATS: get(frame, idr0, IDR0.fields.ATS),
    NS1ATS: get(frame, idr0, IDR0.fields.NS1ATS),
    ASID16: get(frame, idr0, IDR0.fields.ASID16),
    MSI: get(frame, idr0, IDR0.fields.MSI),
    SEV: get(frame, idr0, IDR0.fields.SEV),
    PRI: get(frame, idr0, IDR0.fields.PRI),
    VMID16: get(frame, idr0, IDR0.fields.VMID16),
    CD2L: get(frame, idr0, IDR0.fields.CD2L),
    TTENDIAN: get(frame, idr0, IDR0.fields.TTENDIAN),
    STALL_MODEL: get(frame, idr0, IDR0.fields.STALL_MODEL),
    TERM_MODEL: get(frame, idr0, IDR0.fields.TERM_MODEL),
    ST_LEVEL: get(frame, idr0, IDR0.fields.ST_LEVEL),
    CMDQS: get(frame, idr1, IDR1.fields.CMDQS),
    EVENTQS: get(frame, idr1, IDR1.fields.EVENTQS),
    PRIQS: get(frame, idr1, IDR1.fields.PRIQS),
    SIDSIZE: Math.min(get(frame, idr1, IDR1.fields.SIDSIZE), 32),
    SSIDSIZE: Math.min(get(frame, idr1, IDR1.fields.SSIDSIZE), 20),
    ATTR_PERMS_OVR: get(frame, idr1, IDR1.fields.ATTR_PERMS_OVR),
    HAD: get(frame, idr3, IDR3.fields.HAD),
    MPAM: get(frame, idr3, IDR3.fields.MPAM),
    FWB: get(frame, idr3, IDR3.fields.FWB),
    STT: get(frame, idr3, IDR3.fields.STT),
    RIL: get(frame, idr3, IDR3.fields.RIL),
    BBML: get(frame, idr3, IDR3.fields.BBML),
    E0PD: get(frame, idr3, IDR3.fields.E0PD),
    DPT: get(frame, idr3, IDR3.fields.DPT),
    EPAN: get(frame, idr3, IDR3.fields.EPAN),
    S2PI: get(frame, idr3, IDR3.fields.S2PI),
    S2PO: get(frame, idr3, IDR3.fields.S2PO),
    GRAN4K: get(frame, idr5, IDR5.fields.GRAN4K),
    GRAN16K: get(frame, idr5, IDR5.fields.GRAN16K),
    GRAN64K: get(frame, idr5, IDR5.fields.GRAN64K),
    DS: get(frame, idr5, IDR5.fields.DS),
    VAX: get(frame, idr5, IDR5.fields.VAX),
    STALL_MAX: get(frame, idr5, IDR5.fields.STALL_MAX),
    OAS: ADDRESS_SIZE_BITS[get(frame, idr5, IDR5.fields.OAS)]!,
    ArchMinor: get(frame, wordOf(AIDR), AIDR.fields.ArchMinor),
  };
}

/**
 * `features` less what this library does not do: stage 2 and what hangs on it (Hyp, MPAM, DPT),
 * VMSAv8-32 and VMSAv9-128 tables, access flags of table descriptors. A stream configured for one of
 * them is answered as by an SMMU without it.
 */
export function implementedFeatures(features: Features): Features {
  return {
    ...features,
    S2P: 0,
    Hyp: 0,
    NS1ATS: 1,
    TTF: features.TTF & 0b10,
    HTTU: Math.min(features.HTTU, 2),
    MPAM: 0,
    DPT: 0,
    S2PI: 0,
    S2PO: 0,
    VAX: Math.min(features.VAX, 1),
    OAS: Math.min(features.OAS, 52),
  };
}

/** Whether `features` have the granule of 2^`granuleLog2` bytes; `false` for 0, the reserved code. */
export function hasGranule(features: Features, granuleLog2: number): boolean {
  if (granuleLog2 === 12) return features.GRAN4K === 1;
  if (granuleLog2 === 14) return features.GRAN16K === 1;
  return granuleLog2 === 16 && features.GRAN64K === 1;
}

/** Bits of the address size that a CD.IPS or STE.S2PS code stands for on this SMMU: OAS at most. */
export function effectiveAddressBits(features: Features, code: number): number {
  // v3.0 knows no code above 5; up to v3.3 code 7 behaves as 6.
  const capped =
    features.ArchMinor === 0
      ? Math.min(code, 5)
      : features.ArchMinor < 4
        ? Math.min(code, 6)
        : code;
  return Math.min(ADDRESS_SIZE_BITS[capped]!, features.OAS);
}
