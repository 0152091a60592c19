import { ADDRESS_SIZE_BITS } from '../arch/granule.js';
import { set, type Field } from '../arch/field.js';
import { Register, wordOf, type RegisterFormat } from '../arch/registers.js';
import type { Features } from './features.js';

const { IDR0, IDR1, IDR3, IDR5, AIDR } = Register;

/** Name of something that an SMMU advertises: the field of its ID register, or OAS in bits. */
export type FeatureName = keyof Features;

/** Names of {@link FEATURE_PRESETS}. */
export type FeaturePreset = 'qemu' | 'minimal' | 'full';

/** Every feature off, every size at its least: what presets and {@link Features} start from. */
const NOTHING: Features = {
  S1P: 1,
  S2P: 0,
  TTF: 2,
  COHACC: 1,
  HTTU: 0,
  Hyp: 0,
  ATS: 0,
  NS1ATS: 0,
  ASID16: 0,
  MSI: 0,
  SEV: 0,
  PRI: 0,
  VMID16: 0,
  CD2L: 0,
  TTENDIAN: 2,
  STALL_MODEL: 1,
  TERM_MODEL: 1,
  ST_LEVEL: 0,
  SIDSIZE: 6,
  CMDQS: 8,
  EVENTQS: 7,
  PRIQS: 0,
  SSIDSIZE: 0,
  ATTR_PERMS_OVR: 0,
  HAD: 0,
  MPAM: 0,
  FWB: 0,
  STT: 0,
  RIL: 0,
  BBML: 0,
  E0PD: 0,
  DPT: 0,
  EPAN: 0,
  S2PI: 0,
  S2PO: 0,
  GRAN4K: 1,
  GRAN16K: 0,
  GRAN64K: 0,
  DS: 0,
  VAX: 0,
  STALL_MAX: 0,
  OAS: 40,
  ArchMinor: 0,
};

/**
 * Ready-made feature sets: `qemu` advertises what the `virt` machine of QEMU 10 with stage 1 does,
 * `minimal` the least that Linux drives, `full` everything that the library implements.
 */
export const FEATURE_PRESETS: Readonly<Record<FeaturePreset, Features>> = {
  qemu: {
    ...NOTHING,
    ASID16: 1,
    VMID16: 1,
    ST_LEVEL: 1,
    SIDSIZE: 16,
    CMDQS: 19,
    EVENTQS: 19,
    HAD: 1,
    RIL: 1,
    BBML: 2,
    GRAN16K: 1,
    GRAN64K: 1,
    OAS: 44,
    ArchMinor: 1,
  },
  minimal: NOTHING,
  full: {
    ...NOTHING,
    HTTU: 2,
    ATS: 1,
    NS1ATS: 1,
    ASID16: 1,
    MSI: 1,
    SEV: 1,
    PRI: 1,
    CD2L: 1,
    TTENDIAN: 0,
    STALL_MODEL: 0,
    TERM_MODEL: 0,
    ST_LEVEL: 1,
    SIDSIZE: 32,
    CMDQS: 19,
    EVENTQS: 19,
    PRIQS: 19,
    SSIDSIZE: 20,
    ATTR_PERMS_OVR: 1,
    HAD: 1,
    STT: 1,
    RIL: 1,
    BBML: 2,
    E0PD: 1,
    EPAN: 1,
    GRAN16K: 1,
    GRAN64K: 1,
    DS: 1,
    VAX: 1,
    STALL_MAX: 256,
    OAS: 52,
    ArchMinor: 4,
  },
};

/** What an SMMU is to advertise: a preset, and what differs from it. */
export interface FeatureOptions extends Partial<Features> {
  /** Default `full`. */
  readonly preset?: FeaturePreset;
}

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

/**
 * The features that `options` ask for, checked.
 * @throws RangeError when a name or value is unknown or not implemented, or two do not go together:
 * the message names both.
 */
export function chooseFeatures(options: FeatureOptions = {}): Features {
  const { preset = 'full', ...overrides } = options;
  if (!Object.hasOwn(FEATURE_PRESETS, preset)) {
    throw new RangeError(`features.preset is ${preset}: there are qemu, minimal and full`);
  }
  for (const [name, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(FIELDS, name))
      throw new RangeError(`features.${name}: there is no such feature`);
    if (!Number.isInteger(value))
      throw new RangeError(`features.${name} is ${value}: give an integer`);
  }
  const features = { ...FEATURE_PRESETS[preset], ...overrides };
  checkFeatures(features);
  return features;
}

/** Largest value of each feature; the least is 0 unless the check below says otherwise. */
const LARGEST: Readonly<Record<FeatureName, number>> = {
  S1P: 1,
  S2P: 0,
  TTF: 2,
  COHACC: 1,
  HTTU: 2,
  Hyp: 0,
  ATS: 1,
  NS1ATS: 1,
  ASID16: 1,
  MSI: 1,
  SEV: 1,
  PRI: 1,
  VMID16: 1,
  CD2L: 1,
  TTENDIAN: 3,
  STALL_MODEL: 2,
  TERM_MODEL: 1,
  ST_LEVEL: 1,
  SIDSIZE: 32,
  CMDQS: 19,
  EVENTQS: 19,
  PRIQS: 19,
  SSIDSIZE: 20,
  ATTR_PERMS_OVR: 1,
  HAD: 1,
  MPAM: 0,
  FWB: 0,
  STT: 1,
  RIL: 1,
  BBML: 2,
  E0PD: 1,
  DPT: 0,
  EPAN: 1,
  S2PI: 0,
  S2PO: 0,
  GRAN4K: 1,
  GRAN16K: 1,
  GRAN64K: 1,
  DS: 1,
  VAX: 1,
  STALL_MAX: 0xffff,
  OAS: 52,
  ArchMinor: 4,
};

/**
 * Checks that `features` can be advertised together (IHI 0070, section 6.3 and 2.5).
 * @throws RangeError naming both sides.
 */
export function checkFeatures(features: Features): void {
  for (const name of FEATURE_NAMES) {
    const value = features[name];
    if (value < 0 || value > LARGEST[name]) {
      const what =
        LARGEST[name] === 0 ? 'it is not implemented' : `it goes from 0 to ${LARGEST[name]}`;
      throw new RangeError(`features.${name} is ${value}: ${what}`);
    }
  }
  const f = features;
  const minor = `features.ArchMinor is ${f.ArchMinor}`;
  refuse(f.S1P !== 1, 'features.S1P is 0: there is nothing else to translate with');
  refuse(f.TTF !== 2, `features.TTF is ${f.TTF}: only 2, VMSAv8-64 tables, is implemented`);
  refuse(f.TTENDIAN === 1, 'features.TTENDIAN is 1: the value is reserved');
  refuse(
    !ADDRESS_SIZE_BITS.includes(f.OAS),
    `features.OAS is ${f.OAS}: it is 32, 36, 40, 42, 44, 48 or 52 bits`,
  );
  refuse(
    f.GRAN4K + f.GRAN16K + f.GRAN64K === 0,
    'features.GRAN4K, GRAN16K and GRAN64K are all 0: one is needed',
  );
  refuse(
    f.SIDSIZE >= 7 && f.ST_LEVEL === 0,
    `features.SIDSIZE is ${f.SIDSIZE}, but features.ST_LEVEL is 0: 7 bits and more need 2-level stream tables`,
  );
  refuse(
    f.OAS === 52 && f.GRAN64K === 0 && f.DS === 0,
    'features.OAS is 52, but features.GRAN64K and features.DS are 0: one of them is needed',
  );
  refuse(
    f.DS === 1 && f.GRAN4K + f.GRAN16K === 0,
    'features.DS is 1, but features.GRAN4K and features.GRAN16K are 0: it is about these granules',
  );
  refuse(
    f.PRI === 1 && f.ATS === 0,
    'features.PRI is 1, but features.ATS is 0: page requests need ATS',
  );
  refuse(
    f.STALL_MODEL === 1 && f.STALL_MAX !== 0,
    `features.STALL_MAX is ${f.STALL_MAX}, but features.STALL_MODEL is 1: there are no stalls`,
  );
  refuse(
    f.STALL_MODEL !== 1 && f.STALL_MAX === 0,
    `features.STALL_MAX is 0, but features.STALL_MODEL is ${f.STALL_MODEL}: stalls need room`,
  );
  refuse(f.ArchMinor >= 1 && f.HAD === 0, `${minor}, but features.HAD is 0: v3.1 demands it`);
  refuse(f.ArchMinor >= 2 && f.RIL === 0, `${minor}, but features.RIL is 0: v3.2 demands it`);
  refuse(f.ArchMinor >= 2 && f.BBML === 0, `${minor}, but features.BBML is 0: v3.2 demands 1 or 2`);
  refuse(f.ArchMinor >= 3 && f.E0PD === 0, `${minor}, but features.E0PD is 0: v3.3 demands it`);
  refuse(f.ArchMinor >= 4 && f.EPAN === 0, `${minor}, but features.EPAN is 0: v3.4 demands it`);
}

function refuse(broken: boolean, message: string): void {
  if (broken) throw new RangeError(message);
}

/** Features of which a guest must see no more than the hardware behind it has: the smaller value holds. */
const NARROWED: readonly FeatureName[] = [
  'HTTU',
  'ATS',
  'ASID16',
  'PRI',
  'CD2L',
  'ST_LEVEL',
  'SIDSIZE',
  'SSIDSIZE',
  'ATTR_PERMS_OVR',
  'HAD',
  'STT',
  'RIL',
  'BBML',
  'E0PD',
  'EPAN',
  'GRAN4K',
  'GRAN16K',
  'GRAN64K',
  'DS',
  'VAX',
  'OAS',
  'ArchMinor',
];

/**
 * `features` narrowed to what a physical SMMU has as well, so that a guest's tables work on both.
 * @param physical features read from the ID registers of the physical SMMU: see {@link featuresOf}.
 * @throws RangeError when the two have nothing in common, or what remains cannot be advertised.
 */
export function narrowFeatures(features: Features, physical: Features): Features {
  const narrowed: Record<FeatureName, number> = { ...features };
  for (const name of NARROWED) narrowed[name] = Math.min(features[name], physical[name]);
  if (physical.TTENDIAN !== 0 && features.TTENDIAN !== physical.TTENDIAN) {
    refuse(
      features.TTENDIAN !== 0,
      `features.TTENDIAN is ${features.TTENDIAN}, the physical SMMU's ${physical.TTENDIAN}`,
    );
    narrowed.TTENDIAN = physical.TTENDIAN;
  }
  if (physical.STALL_MODEL !== 0 && features.STALL_MODEL !== physical.STALL_MODEL) {
    refuse(
      features.STALL_MODEL !== 0,
      `features.STALL_MODEL is ${features.STALL_MODEL}, the physical SMMU's ${physical.STALL_MODEL}`,
    );
    narrowed.STALL_MODEL = physical.STALL_MODEL;
  }
  if (narrowed.STALL_MODEL === 1) narrowed.STALL_MAX = 0;
  narrowed.TERM_MODEL = Math.max(features.TERM_MODEL, physical.TERM_MODEL);
  // A version demands features: without them it is an earlier one.
  if (narrowed.EPAN === 0) narrowed.ArchMinor = Math.min(narrowed.ArchMinor, 3);
  if (narrowed.E0PD === 0) narrowed.ArchMinor = Math.min(narrowed.ArchMinor, 2);
  if (narrowed.RIL === 0 || narrowed.BBML === 0)
    narrowed.ArchMinor = Math.min(narrowed.ArchMinor, 1);
  if (narrowed.HAD === 0) narrowed.ArchMinor = 0;
  if (narrowed.SIDSIZE >= 7 && narrowed.ST_LEVEL === 0) narrowed.SIDSIZE = 6;
  checkFeatures(narrowed);
  return narrowed;
}
