import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  featuresOfHardware,
  readHardwareInfo,
  type HardwareInfo,
} from '../../src/iommufd/hardware-info.js';
import { checkFeatures } from '../../src/registers/feature-check.js';
import { narrowFeatures } from '../../src/registers/feature-narrow.js';
import { FEATURE_PRESETS } from '../../src/registers/feature-set.js';
import type { Features } from '../../src/registers/features.js';
import { HARDWARE, ScriptedKernel } from './scripted-kernel.js';

function info(words: Partial<Record<0 | 1 | 3 | 5, number>> = {}, capabilities = 0): HardwareInfo {
  const idr = HARDWARE.slice(0, 6);
  for (const [index, word] of Object.entries(words)) idr[Number(index)] = word;
  return { idr, iidr: 0x43b, aidr: 4, capabilities, maxPasidLog2: 0 };
}

/** What an SMMU has that shows nothing but what a guest may rely on, with {@link HARDWARE} behind it. */
const RELIED: Features = {
  S1P: 1,
  S2P: 0,
  TTF: 2,
  COHACC: 1,
  HTTU: 0,
  Hyp: 0,
  ATS: 1,
  NS1ATS: 1,
  ASID16: 1,
  MSI: 0,
  SEV: 0,
  PRI: 0,
  VMID16: 0,
  CD2L: 1,
  TTENDIAN: 2,
  STALL_MODEL: 1,
  TERM_MODEL: 1,
  ST_LEVEL: 1,
  SIDSIZE: 16,
  CMDQS: 19,
  EVENTQS: 19,
  PRIQS: 0,
  SSIDSIZE: 20,
  ATTR_PERMS_OVR: 0,
  HAD: 0,
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
  VAX: 1,
  STALL_MAX: 0,
  OAS: 48,
  ArchMinor: 0,
};

/** IDR0 of {@link HARDWARE}: every feature but a stall model. */
const IDR0 = 0x0c4f_76bf;

describe('features of the hardware', () => {
  test('are those that a guest may rely on, and no others', () => {
    expect(featuresOfHardware(info())).toEqual(RELIED);
  });

  test('do not depend on what must be ignored', () => {
    // IDR0: S2P, S1P, COHACC, BTM, HTTU, DORMHINT, Hyp, NS1ATS, MSI, SEV, ATOS, PRI, VMW, VMID16, VATOS,
    // ATSRECERR, bit 29 and RME_IMPL, bit 31.
    const ignored0 = 0xe097_ebf3;
    // IDR1: PRIQS, EVENTQS, CMDQS and what is above.
    const ignored1 = 0xffff_f800;
    // IDR3: all but RIL [10] and BBML [12:11].
    const ignored3 = 0xffff_e3ff;
    // IDR5: DS [7], D128 [8], bits 9 and 15:12, STALL_MAX.
    const ignored5 = 0xffff_f388;
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.integer({ min: 0, max: 15 }),
        (noise, minor) => {
          const mix = (index: 0 | 1 | 3 | 5, mask: number): number =>
            (HARDWARE[index]! ^ (noise & mask)) >>> 0;
          const changed = info({
            0: mix(0, ignored0),
            1: mix(1, ignored1),
            3: mix(3, ignored3),
            5: mix(5, ignored5),
          });
          expect(featuresOfHardware({ ...changed, iidr: noise, aidr: minor })).toEqual(RELIED);
        },
      ),
    );
  });

  test('follow each field that a guest may rely on', () => {
    const of = (words: Partial<Record<0 | 1 | 3 | 5, number>>) => featuresOfHardware(info(words));
    expect(of({ 0: IDR0 & ~(1 << 12) }).ASID16).toBe(0);
    expect(of({ 0: IDR0 & ~(1 << 19) }).CD2L).toBe(0);
    expect(of({ 0: IDR0 & ~(3 << 21) }).TTENDIAN).toBe(0);
    expect(of({ 0: IDR0 | (3 << 21) }).TTENDIAN).toBe(3);
    expect(of({ 0: IDR0 & ~(1 << 26) }).TERM_MODEL).toBe(0);
    expect(of({ 0: (IDR0 & ~0xc) | 0x8 }).TTF).toBe(2);
    expect(of({ 0: IDR0 & ~(3 << 27) })).toMatchObject({ ST_LEVEL: 0, SIDSIZE: 6 });
    expect(of({ 0: IDR0 & ~(3 << 27), 1: 5 })).toMatchObject({ ST_LEVEL: 0, SIDSIZE: 5 });
    expect(of({ 1: 0x20 | (8 << 6) })).toMatchObject({ SIDSIZE: 32, SSIDSIZE: 8 });
    expect(of({ 3: 0 })).toMatchObject({ RIL: 0, BBML: 0 });
    expect(of({ 3: 1 << 11 })).toMatchObject({ RIL: 0, BBML: 1 });
    expect(of({ 5: 0x15 })).toMatchObject({ GRAN4K: 1, GRAN16K: 0, GRAN64K: 0, VAX: 0, OAS: 48 });
    expect(of({ 5: 0x60 })).toMatchObject({ GRAN4K: 0, GRAN16K: 1, GRAN64K: 1, OAS: 32 });
  });

  test.each([32, 36, 40, 42, 44, 48, 52])('OAS code %# is %i bits with 64 KiB pages', (bits) => {
    const code = [32, 36, 40, 42, 44, 48, 52].indexOf(bits);
    expect(featuresOfHardware(info({ 5: 0x40 | code })).OAS).toBe(bits);
    // Without pages of 64 KiB nothing has room for 52 bits.
    expect(featuresOfHardware(info({ 5: 0x90 | code })).OAS).toBe(Math.min(bits, 48));
  });

  test('OAS code 7, 56 bits, counts as 52', () => {
    expect(featuresOfHardware(info({ 5: 0x47 })).OAS).toBe(52);
  });

  test('reserved codes count as the nearest below', () => {
    expect(featuresOfHardware(info({ 0: IDR0 | (3 << 27) })).ST_LEVEL).toBe(1);
    expect(featuresOfHardware(info({ 3: 3 << 11 })).BBML).toBe(2);
    expect(featuresOfHardware(info({ 5: 0x10 | (2 << 10) })).VAX).toBe(1);
    expect(featuresOfHardware(info({ 1: 0x3f | (31 << 6) }))).toMatchObject({
      SIDSIZE: 32,
      SSIDSIZE: 20,
    });
  });

  test('have ATS when the SMMU has it and the device does not lack it', () => {
    const without = IDR0 & ~(1 << 10);
    expect(featuresOfHardware(info({}, 0)).ATS).toBe(1);
    expect(featuresOfHardware(info({}, 7)).ATS).toBe(1);
    expect(featuresOfHardware(info({}, 8)).ATS).toBe(0);
    expect(featuresOfHardware(info({ 0: without }, 0)).ATS).toBe(0);
    expect(featuresOfHardware(info({ 0: without }, 8)).ATS).toBe(0);
  });

  test('have no stalls, whether the hardware has them or not', () => {
    for (const model of [0, 1]) {
      expect(featuresOfHardware(info({ 0: IDR0 | (model << 24) }))).toMatchObject({
        STALL_MODEL: 1,
        STALL_MAX: 0,
      });
    }
  });

  test.each([2, 3])('STALL_MODEL %i is refused', (model) => {
    expect(() => featuresOfHardware(info({ 0: IDR0 | (model << 24) }))).toThrow(
      `IDR0.STALL_MODEL of the physical SMMU is ${model}: one that can only stall`,
    );
  });

  test('hardware that no guest can do with is refused', () => {
    expect(() => featuresOfHardware(info({ 0: (IDR0 & ~0xc) | 0x4 }))).toThrow(
      'IDR0.TTF of the physical SMMU is 1: it has no VMSAv8-64 tables',
    );
    expect(() => featuresOfHardware(info({ 0: (IDR0 & ~(3 << 21)) | (1 << 21) }))).toThrow(
      'TTENDIAN is 1',
    );
    expect(() => featuresOfHardware(info({ 5: 0x5 }))).toThrow('GRAN4K, GRAN16K and GRAN64K');
    expect(() => featuresOfHardware({ ...info(), idr: [1, 2, 3] })).toThrow('info.idr has 3 words');
  });

  test.each(['full', 'qemu', 'minimal'] as const)('narrow the preset %s', (preset) => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(word, word, word, word, (idr0, idr1, idr3, idr5) => {
        // TTF has VMSAv8-64, TTENDIAN is 0 or 2, STALL_MODEL 0 or 1, and there is the granule of 4 KiB.
        const sane = info({
          0: ((idr0 & 0xfddf_ffff) | 0x8) >>> 0,
          1: idr1,
          3: idr3,
          5: (idr5 | 0x10) >>> 0,
        });
        const physical = featuresOfHardware(sane);
        checkFeatures(physical);
        const narrowed = narrowFeatures(FEATURE_PRESETS[preset], physical);
        checkFeatures(narrowed);
        expect(narrowed).toMatchObject({ STALL_MODEL: 1, HTTU: 0, PRI: 0, HAD: 0, ArchMinor: 0 });
        expect(narrowed.OAS).toBeLessThanOrEqual(physical.OAS);
      }),
    );
  });
});

describe('GET_HW_INFO', () => {
  test('asks for 40 bytes about a device and gives what the kernel wrote', () => {
    const kernel = new ScriptedKernel();
    expect(readHardwareInfo(kernel, 3, 9)).toEqual({
      idr: HARDWARE.slice(0, 6),
      iidr: 0x43b,
      aidr: 4,
      capabilities: 6,
      maxPasidLog2: 16,
    });
    const { fd, view } = kernel.log[0]!;
    expect([fd, view.getUint32(4, true), view.getUint32(8, true)]).toEqual([3, 0, 9]);
    expect([view.getUint32(12, true), view.getUint32(24, true)]).toEqual([40, 0]);
  });

  test('of an IOMMU that is no SMMUv3 is refused', () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('GET_HW_INFO', ({ argument }) => {
      new DataView(argument.buffer).setUint32(24, 1, true);
      return 0;
    });
    expect(() => readHardwareInfo(kernel, 3, 9)).toThrow('IOMMU_GET_HW_INFO failed: EOPNOTSUPP');
  });
});
