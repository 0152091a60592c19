import { ADDRESS_SIZE_BITS } from '../arch/granule.js';
import { FEATURE_NAMES, type FeatureName } from './feature-names.js';
import type { Features } from './features.js';

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

/** Throws a RangeError when `broken`. */
export function refuse(broken: boolean, message: string): void {
  if (broken) throw new RangeError(message);
}
