import { checkFeatures } from './feature-check.js';
import { FEATURE_NAMES } from './feature-names.js';
import type { Features } from './features.js';

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
    if (!(FEATURE_NAMES as readonly string[]).includes(name))
      throw new RangeError(`features.${name}: there is no such feature`);
    if (!Number.isInteger(value))
      throw new RangeError(`features.${name} is ${value}: give an integer`);
  }
  const features = { ...FEATURE_PRESETS[preset], ...overrides };
  checkFeatures(features);
  return features;
}
