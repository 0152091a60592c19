import { checkFeatures, refuse } from './feature-check.js';
import type { FeatureName } from './feature-names.js';
import type { Features } from './features.js';

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
  // v3.0 has no code for 52-bit addresses (CD.IPS), and they need descriptors that have room for them.
  if (narrowed.ArchMinor === 0) narrowed.OAS = Math.min(narrowed.OAS, 48);
  if (narrowed.OAS === 52 && narrowed.GRAN64K === 0 && narrowed.DS === 0) narrowed.OAS = 48;
  if (narrowed.SIDSIZE >= 7 && narrowed.ST_LEVEL === 0) narrowed.SIDSIZE = 6;
  checkFeatures(narrowed);
  return narrowed;
}
