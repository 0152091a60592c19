import { describe, expect, test } from 'vitest';
import {
  effectiveAddressBits,
  type Features,
  featuresOf,
  hasGranule,
  implementedFeatures,
} from '../../src/registers/features.js';

/** A register frame with ID registers at their offsets. */
function frameOf(
  idr0: number,
  idr1: number,
  idr3: number,
  idr5: number,
  aidr: number,
): Uint32Array {
  const frame = new Uint32Array(0x2_0000 / 4);
  frame[0x00 / 4] = idr0;
  frame[0x04 / 4] = idr1;
  frame[0x0c / 4] = idr3;
  frame[0x14 / 4] = idr5;
  frame[0x1c / 4] = aidr;
  return frame;
}

/** The machine of the captures: QEMU's SMMUv3. */
const CAPTURE: Features = {
  S1P: 1,
  S2P: 1,
  TTF: 2,
  COHACC: 1,
  HTTU: 0,
  Hyp: 0,
  ATS: 0,
  NS1ATS: 0,
  ASID16: 1,
  MSI: 0,
  SEV: 0,
  PRI: 0,
  VMID16: 1,
  CD2L: 0,
  TTENDIAN: 2,
  STALL_MODEL: 1,
  TERM_MODEL: 1,
  ST_LEVEL: 1,
  SIDSIZE: 16,
  CMDQS: 19,
  EVENTQS: 19,
  PRIQS: 0,
  SSIDSIZE: 0,
  ATTR_PERMS_OVR: 0,
  HAD: 1,
  MPAM: 0,
  FWB: 0,
  STT: 0,
  RIL: 1,
  BBML: 2,
  E0PD: 0,
  DPT: 0,
  EPAN: 0,
  S2PI: 0,
  S2PO: 0,
  GRAN4K: 1,
  GRAN16K: 1,
  GRAN64K: 1,
  DS: 0,
  VAX: 0,
  STALL_MAX: 0,
  OAS: 44,
  ArchMinor: 1,
};

describe('what ID registers advertise (IHI 0070, section 6.3)', () => {
  test('IDR0 0x0d44101b, IDR1 0x02730010, IDR3 0x1414, IDR5 0x74, AIDR 1', () => {
    expect(featuresOf(frameOf(0x0d44_101b, 0x0273_0010, 0x1414, 0x74, 1))).toEqual(CAPTURE);
  });

  test('all ones: each field at its maximum', () => {
    const ones = 0xffff_ffff;
    const all = featuresOf(frameOf(ones, ones, ones, ones, ones));
    const wide = {
      TTF: 3,
      HTTU: 3,
      TTENDIAN: 3,
      STALL_MODEL: 3,
      ST_LEVEL: 3,
      SIDSIZE: 32,
      SSIDSIZE: 20,
      CMDQS: 31,
      EVENTQS: 31,
      PRIQS: 31,
      BBML: 3,
      STALL_MAX: 0xffff,
      VAX: 3,
      OAS: 56,
      ArchMinor: 15,
    };
    const flags = Object.keys(CAPTURE).filter((name) => !(name in wide));
    expect(all).toEqual({ ...Object.fromEntries(flags.map((name) => [name, 1])), ...wide });
  });

  test.each<[register: string, position: number, field: keyof Features]>([
    ['idr0', 0, 'S2P'],
    ['idr0', 1, 'S1P'],
    ['idr0', 9, 'Hyp'],
    ['idr0', 10, 'ATS'],
    ['idr0', 11, 'NS1ATS'],
    ['idr0', 12, 'ASID16'],
    ['idr0', 18, 'VMID16'],
    ['idr0', 19, 'CD2L'],
    ['idr0', 26, 'TERM_MODEL'],
    ['idr1', 26, 'ATTR_PERMS_OVR'],
    ['idr3', 2, 'HAD'],
    ['idr3', 7, 'MPAM'],
    ['idr3', 8, 'FWB'],
    ['idr3', 9, 'STT'],
    ['idr3', 10, 'RIL'],
    ['idr3', 13, 'E0PD'],
    ['idr3', 15, 'DPT'],
    ['idr3', 17, 'EPAN'],
    ['idr3', 19, 'S2PI'],
    ['idr3', 20, 'S2PO'],
    ['idr5', 4, 'GRAN4K'],
    ['idr5', 5, 'GRAN16K'],
    ['idr5', 6, 'GRAN64K'],
    ['idr5', 7, 'DS'],
  ])('%s bit %i is %s, and nothing else', (register, position, field) => {
    const value = (name: string): number => (name === register ? 2 ** position : 0);
    const features = featuresOf(
      frameOf(value('idr0'), value('idr1'), value('idr3'), value('idr5'), 0),
    );
    const none = featuresOf(frameOf(0, 0, 0, 0, 0));
    expect(features).toEqual({ ...none, [field]: 1 });
    expect(none[field]).toBe(0);
  });

  test.each([32, 36, 40, 42, 44, 48, 52, 56])('IDR5.OAS stands for %i bits, in order', (bits) => {
    const code = [32, 36, 40, 42, 44, 48, 52, 56].indexOf(bits);
    expect(featuresOf(frameOf(0, 0, 0, code, 0)).OAS).toBe(bits);
  });

  test.each([
    [0x0273_0020, 32, 0],
    [0x0273_003f, 32, 0],
    [0x0273_0501, 1, 20],
    [0x0273_0541, 1, 20],
  ])('IDR1 0x%i: SIDSIZE is 32 at most, SSIDSIZE 20', (idr1, sidSize, ssidSize) => {
    const { SIDSIZE, SSIDSIZE } = featuresOf(frameOf(0, idr1, 0, 0, 0));
    expect([SIDSIZE, SSIDSIZE]).toEqual([sidSize, ssidSize]);
  });
});

describe('what the library implements', () => {
  test('stage 2, Hyp, MPAM, DPT, S2PI and S2PO go; VMSAv8-64, dirty state and 52 bits are the most', () => {
    const ones = 0xffff_ffff;
    const all = featuresOf(frameOf(ones, ones, ones, ones, ones));
    expect(implementedFeatures(all)).toEqual({
      ...all,
      S2P: 0,
      Hyp: 0,
      MPAM: 0,
      DPT: 0,
      S2PI: 0,
      S2PO: 0,
      TTF: 2,
      HTTU: 2,
      VAX: 1,
      OAS: 52,
      NS1ATS: 1,
    });
  });

  test('of the machine of the captures only stage 2 goes', () => {
    expect(implementedFeatures(CAPTURE)).toEqual({ ...CAPTURE, S2P: 0, NS1ATS: 1 });
  });

  test('nothing is added to an SMMU without features but NS1ATS, which stage-1-only SMMUs have', () => {
    const none = featuresOf(frameOf(0, 0, 0, 0, 0));
    expect(implementedFeatures(none)).toEqual({ ...none, NS1ATS: 1 });
    expect(implementedFeatures({ ...none, TTF: 1 }).TTF).toBe(0);
    expect(implementedFeatures({ ...none, HTTU: 1 }).HTTU).toBe(1);
  });

  test('the given features are left alone', () => {
    const given = { ...CAPTURE };
    implementedFeatures(given);
    expect(given).toEqual(CAPTURE);
  });
});

describe('granules (IHI 0070, section 6.3.6)', () => {
  test.each([
    [0x10, [true, false, false]],
    [0x20, [false, true, false]],
    [0x40, [false, false, true]],
    [0x74, [true, true, true]],
    [0x00, [false, false, false]],
  ])('IDR5 %i has 4K, 16K, 64K: %j', (idr5, expected) => {
    const features = featuresOf(frameOf(0, 0, 0, idr5, 0));
    expect([12, 14, 16].map((log2) => hasGranule(features, log2))).toEqual(expected);
    expect(hasGranule(features, 0)).toBe(false);
  });
});

describe('the effective size of IPS and S2PS (IHI 0070, section 5.4)', () => {
  // v3.0 knows no code above 5; up to v3.3 code 7 behaves as 6.
  test.each<[minor: number, bits: number[]]>([
    [0, [32, 36, 40, 42, 44, 48, 48, 48]],
    [1, [32, 36, 40, 42, 44, 48, 52, 52]],
    [2, [32, 36, 40, 42, 44, 48, 52, 52]],
    [3, [32, 36, 40, 42, 44, 48, 52, 52]],
    [4, [32, 36, 40, 42, 44, 48, 52, 56]],
  ])('v3.%i: codes 0 to 7', (ArchMinor, bits) => {
    const codes = [0, 1, 2, 3, 4, 5, 6, 7];
    const features = { ...CAPTURE, ArchMinor, OAS: 56 };
    expect(codes.map((code) => effectiveAddressBits(features, code))).toEqual(bits);
  });

  test('it is the output address size of the SMMU at most', () => {
    const sizes = [32, 44, 52].map((OAS) =>
      [0, 4, 5, 6, 7].map((code) => effectiveAddressBits({ ...CAPTURE, OAS }, code)),
    );
    expect(sizes).toEqual([
      [32, 32, 32, 32, 32],
      [32, 44, 44, 44, 44],
      [32, 44, 48, 52, 52],
    ]);
  });
});
