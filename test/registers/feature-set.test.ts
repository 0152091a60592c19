import { describe, expect, test } from 'vitest';
import { chooseFeatures, type FeatureOptions } from '../../src/registers/feature-set.js';
import { narrowFeatures } from '../../src/registers/feature-narrow.js';
import type { Features } from '../../src/registers/features.js';
import { R, SmmuMachine } from '../smmu/smmu-machine.js';

function idRegisters(features: FeatureOptions): string[] {
  const machine = new SmmuMachine({ features });
  const offsets = [R.IDR0, R.IDR1, R.IDR3, R.IDR5, R.AIDR];
  return offsets.map((offset) => machine.read(offset).toString(16).padStart(8, '0'));
}

describe('presets, as words of the ID registers (6.3.1 to 6.3.8)', () => {
  test.each([
    ['qemu', ['0d44101a', '02730010', '00001404', '00000074', '00000001']],
    // S1P, AArch64, COHACC, little-endian, no stalls; 6 bits of StreamID; 4K, 40 bits.
    ['minimal', ['0540001a', '01070006', '00000000', '00000012', '00000000']],
    ['full', ['08097c9a', '06739d20', '00023604', '010004f6', '00000004']],
  ] as const)('%s', (preset, words) => {
    expect(idRegisters({ preset })).toEqual(words);
  });

  test('everything is the default', () => {
    expect(new SmmuMachine().read(R.IDR0)).toBe(0x0809_7c9a);
  });

  test('IDR2, IDR4, IDR6 and IIDR are zero: nothing that drivers key errata on', () => {
    const machine = new SmmuMachine();
    expect([0x8, 0x10, 0x18, 0x190].map((offset) => machine.read(offset))).toEqual([0, 0, 0, 0]);
  });

  test.each([
    // ATS [10], HTTU [7:6], VMID16 [18].
    [{ ATS: 1, HTTU: 1 }, 0, '0d44145a'],
    [{ VMID16: 0, ASID16: 0 }, 0, '0d40001a'],
    // STALL_MODEL [25:24], TERM_MODEL [26].
    [{ STALL_MODEL: 2, STALL_MAX: 3, TERM_MODEL: 0 }, 0, '0a44101a'],
    // SSIDSIZE [10:6], CMDQS [25:21], EVENTQS [20:16].
    [{ SSIDSIZE: 5, CMDQS: 7, EVENTQS: 6, SIDSIZE: 32 }, 1, '00e60160'],
    [{ E0PD: 1, STT: 1, BBML: 1 }, 2, '00002e04'],
    // OAS [2:0] is coded: 32, 36, 40, 42, 44, 48, 52 bits.
    [{ OAS: 32 }, 3, '00000070'],
    [{ OAS: 36 }, 3, '00000071'],
    [{ OAS: 42, GRAN16K: 0 }, 3, '00000053'],
    [{ OAS: 52, DS: 1, VAX: 1 }, 3, '000004f6'],
    [{ STALL_MODEL: 0, STALL_MAX: 0xffff }, 3, 'ffff0074'],
    [{ ArchMinor: 0 }, 4, '00000000'],
  ] as const)('%o over the preset qemu', (overrides, index, word) => {
    expect(idRegisters({ preset: 'qemu', ...overrides })[index]).toBe(word);
  });
});

describe('features that cannot be advertised are refused, with what they disagree on', () => {
  test.each<[FeatureOptions, RegExp]>([
    [{ S1P: 0 }, /features\.S1P is 0/],
    [{ TTF: 1 }, /features\.TTF is 1/],
    [{ TTENDIAN: 1 }, /features\.TTENDIAN is 1: the value is reserved/],
    [{ OAS: 33 }, /features\.OAS is 33.*32, 36, 40, 42, 44, 48 or 52/],
    [{ OAS: 56 }, /features\.OAS is 56/],
    [{ GRAN4K: 0, GRAN16K: 0, GRAN64K: 0, DS: 0 }, /GRAN4K, GRAN16K and GRAN64K are all 0/],
    [{ SIDSIZE: 7, ST_LEVEL: 0 }, /features\.SIDSIZE is 7, but features\.ST_LEVEL is 0/],
    [{ OAS: 52, GRAN64K: 0, DS: 0 }, /OAS is 52, but features\.GRAN64K and features\.DS are 0/],
    [{ GRAN4K: 0, GRAN16K: 0 }, /DS is 1, but features\.GRAN4K and features\.GRAN16K are 0/],
    [{ ATS: 0 }, /features\.PRI is 1, but features\.ATS is 0/],
    [{ STALL_MODEL: 1 }, /features\.STALL_MAX is 256, but features\.STALL_MODEL is 1/],
    [{ STALL_MAX: 0 }, /features\.STALL_MAX is 0, but features\.STALL_MODEL is 0/],
    [{ HAD: 0, ArchMinor: 1 }, /features\.ArchMinor is 1, but features\.HAD is 0/],
    [{ RIL: 0, ArchMinor: 2 }, /features\.ArchMinor is 2, but features\.RIL is 0/],
    [{ BBML: 0, ArchMinor: 2 }, /features\.ArchMinor is 2, but features\.BBML is 0/],
    [{ E0PD: 0, ArchMinor: 3 }, /features\.ArchMinor is 3, but features\.E0PD is 0/],
    [{ EPAN: 0 }, /features\.ArchMinor is 4, but features\.EPAN is 0/],
    [{ S2P: 1 }, /features\.S2P is 1: it is not implemented/],
    [{ Hyp: 1 }, /features\.Hyp is 1: it is not implemented/],
    [{ HTTU: 3 }, /features\.HTTU is 3: it goes from 0 to 2/],
    [{ CMDQS: 20 }, /features\.CMDQS is 20: it goes from 0 to 19/],
    [{ SIDSIZE: -1 }, /features\.SIDSIZE is -1/],
    [{ SIDSIZE: 7.5 }, /features\.SIDSIZE is 7.5: give an integer/],
    [{ preset: 'huge' } as unknown as FeatureOptions, /features\.preset is huge/],
    [{ preset: 'toString' } as unknown as FeatureOptions, /features\.preset is toString/],
    [{ BTM: 1 } as FeatureOptions, /features\.BTM: there is no such feature/],
    [{ constructor: 1 } as unknown as FeatureOptions, /constructor: there is no such feature/],
    [{ ATS: undefined } as unknown as FeatureOptions, /features\.ATS is undefined/],
  ])('%o', (features, message) => {
    const make = () => new SmmuMachine({ features });
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });

  test.each<FeatureOptions>([
    { RIL: 0, BBML: 0, E0PD: 0, EPAN: 0, HAD: 0, ArchMinor: 0 },
    { SIDSIZE: 6, ST_LEVEL: 0 },
    { SIDSIZE: 0, CMDQS: 0, EVENTQS: 0, PRIQS: 0 },
    { OAS: 52, GRAN64K: 0 },
    { OAS: 52, DS: 0 },
    { STALL_MODEL: 2 },
    { STALL_MODEL: 1, STALL_MAX: 0 },
    { PRI: 0, ATS: 0 },
    { TTENDIAN: 3 },
  ])('%o is fine', (features) => {
    expect(chooseFeatures(features)).toMatchObject(features);
  });
});

const full: Features = chooseFeatures();
const with_ = (changes: Partial<Features>): Features => ({ ...full, ...changes });

describe('narrowing to a physical SMMU', () => {
  test.each<[own: Partial<Features>, physical: Partial<Features>, expected: Partial<Features>]>([
    [{}, {}, {}],
    [{}, { SIDSIZE: 16, SSIDSIZE: 5, OAS: 48 }, { SIDSIZE: 16, SSIDSIZE: 5, OAS: 48 }],
    [{ SIDSIZE: 8 }, { SIDSIZE: 16 }, { SIDSIZE: 8 }],
    [{}, { HTTU: 0, CD2L: 0, ASID16: 0 }, { HTTU: 0, CD2L: 0, ASID16: 0 }],
    // A version demands features: without them it is an earlier one.
    [{}, { EPAN: 0 }, { EPAN: 0, ArchMinor: 3 }],
    [{}, { E0PD: 0 }, { E0PD: 0, ArchMinor: 2 }],
    [{}, { RIL: 0 }, { RIL: 0, ArchMinor: 1 }],
    [{}, { BBML: 0 }, { BBML: 0, ArchMinor: 1 }],
    // v3.0 knows 48 bits at most.
    [{}, { HAD: 0 }, { HAD: 0, ArchMinor: 0, OAS: 48 }],
    [{}, { ArchMinor: 0 }, { ArchMinor: 0, OAS: 48 }],
    [{}, { ArchMinor: 2 }, { ArchMinor: 2 }],
    [{}, { ST_LEVEL: 0, SIDSIZE: 6 }, { ST_LEVEL: 0, SIDSIZE: 6 }],
    [{}, { ST_LEVEL: 0 }, { ST_LEVEL: 0, SIDSIZE: 6 }],
    [{}, { TTENDIAN: 2 }, { TTENDIAN: 2 }],
    [{ TTENDIAN: 2 }, { TTENDIAN: 0 }, { TTENDIAN: 2 }],
    [{}, { STALL_MODEL: 1, STALL_MAX: 0 }, { STALL_MODEL: 1, STALL_MAX: 0 }],
    [{}, { STALL_MODEL: 2 }, { STALL_MODEL: 2 }],
    [{ STALL_MODEL: 1, STALL_MAX: 0 }, {}, { STALL_MODEL: 1, STALL_MAX: 0 }],
    [{}, { TERM_MODEL: 1 }, { TERM_MODEL: 1 }],
    [
      { ATS: 0, PRI: 0 },
      { ATS: 1, PRI: 1 },
      { ATS: 0, PRI: 0 },
    ],
    // 52-bit addresses need descriptors that have room for them.
    [{ GRAN64K: 0 }, { DS: 0 }, { DS: 0, OAS: 48 }],
    // Not the business of the hardware: the queues and messages are emulated.
    [{}, { CMDQS: 8, EVENTQS: 7, MSI: 0, SEV: 0, S2P: 1 }, {}],
  ])('%o with hardware of %o gives %o', (own, physical, expected) => {
    expect(narrowFeatures(with_(own), with_(physical))).toEqual(with_({ ...own, ...expected }));
  });

  test.each<[own: Partial<Features>, physical: Partial<Features>, message: RegExp]>([
    [{ TTENDIAN: 2 }, { TTENDIAN: 3 }, /TTENDIAN is 2, the physical SMMU's 3/],
    [
      { STALL_MODEL: 1, STALL_MAX: 0 },
      { STALL_MODEL: 2 },
      /STALL_MODEL is 1, the physical SMMU's 2/,
    ],
    [
      { GRAN16K: 0, GRAN64K: 0 },
      { GRAN4K: 0, DS: 0, OAS: 48 },
      /GRAN4K, GRAN16K and GRAN64K are all 0/,
    ],
  ])('%o with hardware of %o is refused', (own, physical, message) => {
    expect(() => narrowFeatures(with_(own), with_(physical))).toThrow(message);
  });

  test('the ID registers follow, until the guest enables anything', () => {
    const machine = new SmmuMachine();
    machine.smmu.narrow(with_({ SIDSIZE: 16, OAS: 44 }));
    expect(machine.read(R.IDR1) & 0x3f).toBe(16);
    expect(machine.read(R.IDR5) & 7).toBe(4);
    machine.write(R.CR0, 8).write(R.CR0, 0);
    const idr1 = machine.read(R.IDR1);
    expect(() => {
      machine.smmu.narrow(with_({ SIDSIZE: 8 }));
    }).toThrow(/the guest has enabled the SMMU/);
    expect(machine.read(R.IDR1)).toBe(idr1);
    machine.smmu.reset();
    machine.smmu.narrow(with_({ SIDSIZE: 8 }));
    expect(machine.smmu.features.SIDSIZE).toBe(8);
  });

  test('what cannot be narrowed leaves the features as they are', () => {
    const { smmu } = new SmmuMachine({ features: { TTENDIAN: 2 } });
    expect(() => {
      smmu.narrow(with_({ TTENDIAN: 3 }));
    }).toThrow(RangeError);
    expect(smmu.features).toEqual(with_({ TTENDIAN: 2 }));
  });
});
