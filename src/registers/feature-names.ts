import { ADDRESS_SIZE_BITS } from '../arch/granule.js';
import { set, type Field } from '../arch/field.js';
import { Register, wordOf, type RegisterFormat } from '../arch/registers.js';
import type { Features } from './features.js';

const { IDR0, IDR1, IDR3, IDR5, AIDR } = Register;

/** Name of something that an SMMU advertises: the field of its ID register, or OAS in bits. */
export type FeatureName = keyof Features;

/** The ID register field of each feature; OAS is coded, the rest is as it is. */
const FIELDS: Readonly<Record<FeatureName, readonly [RegisterFormat, Field]>> = {
  S2P: [IDR0, IDR0.fields.S2P],
  S1P: [IDR0, IDR0.fields.S1P],
  TTF: [IDR0, IDR0.fields.TTF],
  COHACC: [IDR0, IDR0.fields.COHACC],
  HTTU: [IDR0, IDR0.fields.HTTU],
  Hyp: [IDR0, IDR0.fields.Hyp],
  ATS: [IDR0, IDR0.fields.ATS],
  NS1ATS: [IDR0, IDR0.fields.NS1ATS],
  ASID16: [IDR0, IDR0.fields.ASID16],
  MSI: [IDR0, IDR0.fields.MSI],
  SEV: [IDR0, IDR0.fields.SEV],
  PRI: [IDR0, IDR0.fields.PRI],
  VMID16: [IDR0, IDR0.fields.VMID16],
  CD2L: [IDR0, IDR0.fields.CD2L],
  TTENDIAN: [IDR0, IDR0.fields.TTENDIAN],
  STALL_MODEL: [IDR0, IDR0.fields.STALL_MODEL],
  TERM_MODEL: [IDR0, IDR0.fields.TERM_MODEL],
  ST_LEVEL: [IDR0, IDR0.fields.ST_LEVEL],
  SIDSIZE: [IDR1, IDR1.fields.SIDSIZE],
  SSIDSIZE: [IDR1, IDR1.fields.SSIDSIZE],
  PRIQS: [IDR1, IDR1.fields.PRIQS],
  EVENTQS: [IDR1, IDR1.fields.EVENTQS],
  CMDQS: [IDR1, IDR1.fields.CMDQS],
  ATTR_PERMS_OVR: [IDR1, IDR1.fields.ATTR_PERMS_OVR],
  HAD: [IDR3, IDR3.fields.HAD],
  MPAM: [IDR3, IDR3.fields.MPAM],
  FWB: [IDR3, IDR3.fields.FWB],
  STT: [IDR3, IDR3.fields.STT],
  RIL: [IDR3, IDR3.fields.RIL],
  BBML: [IDR3, IDR3.fields.BBML],
  E0PD: [IDR3, IDR3.fields.E0PD],
  DPT: [IDR3, IDR3.fields.DPT],
  EPAN: [IDR3, IDR3.fields.EPAN],
  S2PI: [IDR3, IDR3.fields.S2PI],
  S2PO: [IDR3, IDR3.fields.S2PO],
  OAS: [IDR5, IDR5.fields.OAS],
  GRAN4K: [IDR5, IDR5.fields.GRAN4K],
  GRAN16K: [IDR5, IDR5.fields.GRAN16K],
  GRAN64K: [IDR5, IDR5.fields.GRAN64K],
  DS: [IDR5, IDR5.fields.DS],
  VAX: [IDR5, IDR5.fields.VAX],
  STALL_MAX: [IDR5, IDR5.fields.STALL_MAX],
  ArchMinor: [AIDR, AIDR.fields.ArchMinor],
};

/** Names of all features. */
export const FEATURE_NAMES: readonly FeatureName[] = Object.keys(FIELDS) as FeatureName[];

/** Writes `features` into the ID registers of a register frame; the rest of these is 0. */
export function writeFeatures(frame: Uint32Array, features: Features): void {
  for (const register of [IDR0, IDR1, IDR3, IDR5, AIDR]) frame[wordOf(register)] = 0;
  for (const name of FEATURE_NAMES) {
    const [register, field] = FIELDS[name];
    const value = name === 'OAS' ? ADDRESS_SIZE_BITS.indexOf(features.OAS) : features[name];
    set(frame, wordOf(register), field, value);
  }
}
