import { describe, expect, test } from 'vitest';
import type { Features } from '../../src/registers/features.js';
import { illegalSte } from '../../src/transaction/ste-rules.js';
import { type Edit, edited, featuresFrom, words32 } from './machine.js';
import {
  config,
  eats,
  strw,
  vmid,
  t0sz,
  sl0,
  s2tg,
  s2ps,
  lpae,
  s2s,
  s2ds,
  s2ttb,
  vmsPtr,
} from './ste-edits.js';

const ones = (1n << 64n) - 1n;

/** Config=110, VMID=0xa53b, T0SZ=25, SL0=1, 4K, S2PS=48 bits, S2AA64, S2PTW, S2R. */
const STAGE2 = [0xdn, 0n, 0x044d_3559_0000_a53bn, 0x0000_2b5c_9e3d_1000n, 0n, 0n, 0n, 0n];
const nested = config(0b111);
type More = Partial<Features>;

/** Rule that the stage-2 STE breaks on the SMMU of the captures with 48-bit addresses, and `more`. */
function ruleOf(edits: readonly Edit[], more: More = {}): number {
  const features = featuresFrom({ idr5: 0x75 }, more);
  return illegalSte(words32(edited(STAGE2, ...edits)), 0, features);
}

describe('ILLEGAL STEs of an SMMU with stage 2 (IHI 0070, section 5.2.2)', () => {
  const ats = { ATS: 1, NS1ATS: 0, STALL_MODEL: 0 };
  const el2 = { Hyp: 1, ATS: 1, DPT: 1 };
  const both = { TTF: 3 };
  const wide = { OAS: 52, DS: 1 };
  const mpam = { MPAM: 1 };
  const overlays = { S2PI: 1, S2PO: 1 };
  const indirect: Edit = [2, 61, 60, 3];
  const s1mpam: Edit = [1, 26, 26, 1];

  test.each<[rule: number, what: string, edits: Edit[], more: More]>([
    [1, 'Config=111 with S1P=0', [nested], { S1P: 0 }],
    [2, 'Config=110 with S2P=0', [], { S2P: 0 }],
    [3, 'EATS=2 with Config=110', [eats(2)], ats],
    [3, 'EATS=2 with Config=101', [config(0b101), eats(2)], ats],
    [3, 'EATS=2 with S2S=1', [nested, eats(2), s2s], ats],
    [3, 'EATS=2 with NS1ATS=1', [nested, eats(2)], { ...ats, NS1ATS: 1 }],
    [4, 'EATS=1 with Config=110 and S2S=1', [eats(1), s2s], ats],
    [4, 'EATS=1 with Config=111 and S2S=1', [nested, eats(1), s2s], ats],
    [5, 'EATS=3 with DPT and STRW=2', [config(0b101), eats(3), strw(2)], el2],
    [5, 'EATS=3 with DPT, Config=110 and S2S=1', [eats(3), s2s], { ...ats, DPT: 1 }],
    [6, 'STRW=1', [config(0b101), strw(1)], { Hyp: 1 }],
    [6, 'STRW=3', [config(0b101), strw(3)], { Hyp: 1 }],
    [11, 'S2FWB=1 with VMSAv8-32', [[1, 25, 25, 1], lpae], { FWB: 1, TTF: 3 }],
    [12, 'S2S=1 with STALL_MODEL=1', [s2s], {}],
    [13, 'S2S=0 with STALL_MODEL=2', [], { STALL_MODEL: 2 }],
    [14, 'S2AA64=0 with TTF=2', [lpae], {}],
    [14, 'S2AA64=1 with TTF=1', [], { TTF: 1 }],
    [15, 'S2HA=1 with HTTU=0', [[2, 56, 56, 1]], {}],
    [15, 'S2HD=1 with HTTU=0', [[2, 55, 55, 1]], {}],
    [15, 'S2HD=1 with HTTU=1', [[2, 56, 55, 3]], { HTTU: 1 }],
    [15, 'S2HA=1 with VMSAv8-32', [[2, 56, 56, 1], lpae], { HTTU: 2, TTF: 3 }],
    [15, 'S2HAFT=1 and S2HA=0 with HTTU=3', [[2, 59, 59, 1]], { HTTU: 3 }],
    [16, 'S2TG=3', [s2tg(3)], {}],
    [16, 'S2TG=0 without 4K', [s2tg(0)], { GRAN4K: 0 }],
    [16, 'S2TG=1 without 64K', [s2tg(1)], { GRAN64K: 0 }],
    [16, 'S2TG=2 without 16K', [s2tg(2)], { GRAN16K: 0 }],
    [17, 'S2TTB=2^S2PS', [s2ps(0), s2ttb(1n << 32n)], {}],
    [17, 'S2TTB=2^OAS', [s2ttb(1n << 44n)], { OAS: 44 }],
    [17, 'S2TTB=2^48 with 4K and S2DS=0', [s2ps(6), s2ttb(1n << 48n)], wide],
    [17, 'S2TTB=2^48 with 16K and S2DS=0', [s2ps(6), s2tg(2), s2ttb(1n << 48n)], wide],
    [18, 'S2T0SZ=40 with STT=0', [t0sz(40), sl0(0)], {}],
    [18, 'S2T0SZ=49 with STT=1', [t0sz(49), sl0(3)], { STT: 1 }],
    [18, 'S2T0SZ=48 with STT=1 and 64K', [t0sz(48), sl0(0), s2tg(1)], { STT: 1 }],
    [18, 'S2T0SZ=15 with 48-bit addresses', [t0sz(15), sl0(2)], {}],
    [18, 'S2T0SZ=15 with S2DS=0', [t0sz(15), sl0(2)], wide],
    [18, 'S2T0SZ=11 with 64K', [t0sz(11), sl0(2), s2tg(1)], wide],
    [18, 'S2T0SZ=11 with S2DS=1', [t0sz(11), sl0(2), s2ds], wide],
    [20, 'S2ENDI=1 with TTENDIAN=2', [[2, 52, 52, 1]], {}],
    [20, 'S2ENDI=0 with TTENDIAN=3', [], { TTENDIAN: 3 }],
    [21, 'S2PIE=1 with VMSAv8-32', [[2, 60, 60, 1], lpae], { ...both, S2PI: 1 }],
    [21, 'S2POE=1 with S2PIE=0', [[2, 61, 61, 1]], overlays],
    [21, 'S2POE=1 with S2HWU59=1', [indirect, [1, 8, 8, 1]], overlays],
    [21, 'S2POE=1 with S2HWU60=1', [indirect, [1, 9, 9, 1]], overlays],
    [21, 'S2POE=1 with S2HWU61=1', [indirect, [1, 10, 10, 1]], overlays],
    [21, 'S2POE=1 with S2HWU62=1', [indirect, [1, 11, 11, 1]], overlays],
    [22, 'S2VMID of 16 bits', [], { VMID16: 0 }],
    [22, 'S2VMID=0x100, Config=101', [config(0b101), vmid(0x100)], { VMID16: 0 }],
    [23, 'VMSPtr=2^OAS', [nested, s1mpam, vmsPtr(1n << 48n)], mpam],
  ])('rule %i: %s', (rule, _, edits, more) => {
    expect(ruleOf(edits, more)).toBe(rule);
  });

  test.each<[rule: number, what: string, edits: Edit[], more: More]>([
    [1, 'Config=111 with S1P=1', [nested], {}],
    [2, 'Config=110 with S2P=1', [], {}],
    [3, 'EATS=2 with Config=111, S2S=0 and NS1ATS=0', [nested, eats(2)], ats],
    [3, 'EATS=2 with ATS=0', [eats(2)], { ...ats, ATS: 0 }],
    [4, 'EATS=1 with S2S=0', [eats(1)], ats],
    [4, 'EATS=1 with Config=101 and S2S=1', [config(0b101), eats(1), s2s], ats],
    [5, 'EATS=3 with STRW=0', [config(0b101), eats(3)], el2],
    [5, 'EATS=3 with DPT=0', [config(0b101), eats(3), strw(2)], { ...el2, DPT: 0 }],
    [5, 'EATS=3 with S2S=0', [eats(3)], { ...ats, DPT: 1 }],
    [6, 'STRW=2', [config(0b101), strw(2)], { Hyp: 1 }],
    [6, 'STRW=1 with Config=111: not used', [nested, strw(1)], { Hyp: 1 }],
    [6, 'STRW=1 with Config=100: not used', [config(0b100), strw(1)], { Hyp: 1 }],
    [11, 'S2FWB=1 with VMSAv8-64', [[1, 25, 25, 1]], { FWB: 1, TTF: 3 }],
    [11, 'S2FWB=1 with FWB=0', [[1, 25, 25, 1], lpae], both],
    [12, 'S2S=1 with STALL_MODEL=0', [s2s], { STALL_MODEL: 0 }],
    [13, 'S2S=1 with STALL_MODEL=2', [s2s], { STALL_MODEL: 2 }],
    [14, 'S2AA64=0 with TTF=1', [lpae], { TTF: 1 }],
    [14, 'S2AA64=1 with TTF=2', [], { TTF: 2 }],
    [15, 'S2HA=1 with HTTU=1', [[2, 56, 56, 1]], { HTTU: 1 }],
    [15, 'S2HA=1 and S2HD=1 with HTTU=2', [[2, 56, 55, 3]], { HTTU: 2 }],
    [15, 'S2HD=1 and S2HA=0: reserved, as off', [[2, 55, 55, 1]], { HTTU: 2 }],
    [
      15,
      'S2HAFT=1 and S2HA=1 with HTTU=3',
      [
        [2, 59, 59, 1],
        [2, 56, 56, 1],
      ],
      { HTTU: 3 },
    ],
    [15, 'S2HAFT=1 with HTTU=2: ignored', [[2, 59, 59, 1]], { HTTU: 2 }],
    [16, 'S2TG=1 with 64K alone', [s2tg(1)], { GRAN4K: 0, GRAN16K: 0 }],
    [16, 'S2TG=2 with 16K alone', [s2tg(2)], { GRAN4K: 0, GRAN64K: 0 }],
    [16, 'S2TG=3 with VMSAv8-32', [s2tg(3), lpae], both],
    [17, 'S2TTB=2^S2PS-4096', [s2ps(0), s2ttb((1n << 32n) - 4096n)], {}],
    [17, 'S2TTB=2^48 with 64K', [s2ps(6), s2tg(1), s2ttb(1n << 48n)], wide],
    [17, 'S2TTB=2^48 with S2DS=1', [s2ps(6), s2ds, s2ttb(1n << 48n)], wide],
    [18, 'S2T0SZ=39', [t0sz(39), sl0(0)], {}],
    [18, 'S2T0SZ=40 with STT=1', [t0sz(40), sl0(0)], { STT: 1 }],
    [18, 'S2T0SZ=48 with STT=1', [t0sz(48), sl0(3)], { STT: 1 }],
    [18, 'S2T0SZ=47 with STT=1 and 64K', [t0sz(47), sl0(0), s2tg(1)], { STT: 1 }],
    [18, 'S2T0SZ=16', [t0sz(16), sl0(2)], {}],
    [20, 'S2ENDI=1 with TTENDIAN=3', [[2, 52, 52, 1]], { TTENDIAN: 3 }],
    [20, 'S2ENDI=1 with TTENDIAN=0', [[2, 52, 52, 1]], { TTENDIAN: 0 }],
    [21, 'S2PIE=1 with S2PI=0', [[2, 60, 60, 1], lpae], both],
    [
      21,
      'S2POE=1 with S2PO=0',
      [
        [2, 61, 61, 1],
        [1, 11, 8, 15],
      ],
      { S2PI: 1 },
    ],
    [21, 'S2POE=1 with S2PIE=1', [indirect], overlays],
    [21, 'S2HWU with S2POE=0', [[1, 11, 8, 15]], overlays],
    [22, 'S2VMID of 8 bits', [vmid(0xff)], { VMID16: 0 }],
    [22, 'S2VMID with S2P=0: ignored', [config(0b101)], { VMID16: 0, S2P: 0 }],
    [22, 'S2VMID with Config=100: ignored', [config(0b100)], { VMID16: 0 }],
    [22, 'S2VMID with STRW=2: ignored', [config(0b101), strw(2)], { VMID16: 0, Hyp: 1 }],
    [23, 'VMSPtr=2^OAS-4096', [nested, s1mpam, vmsPtr((1n << 48n) - 4096n)], mpam],
    [23, 'VMSPtr with S1MPAM=0', [nested, vmsPtr(1n << 48n)], mpam],
    [23, 'VMSPtr with Config=110', [s1mpam, vmsPtr(1n << 48n)], mpam],
    [23, 'VMSPtr with MPAM=0', [nested, s1mpam, vmsPtr(1n << 48n)], {}],
  ])('next to rule %i: %s is legal', (_rule, _what, edits, more) => {
    expect(ruleOf(edits, more)).toBe(0);
  });

  test('rule 21: S2POI 1 and 5 are reserved in each of its 16 entries', () => {
    for (let entry = 0; entry < 16; entry++) {
      const broken = Array.from({ length: 16 }, (_, value) =>
        ruleOf([indirect, [7, 4 * entry + 3, 4 * entry, value]], overlays),
      ).flatMap((rule, value) => (rule === 21 ? [value] : []));
      expect(broken).toEqual([1, 5]);
    }
  });

  test('Config=0xx is legal with every other bit set', () => {
    const all = [0, 1, 2, 3, 4, 5, 6, 7].map((word): Edit => [word, 63, 0, ones]);
    expect([0, 1, 2, 3].map((value) => ruleOf([...all, config(value)]))).toEqual([0, 0, 0, 0]);
  });

  // Up to 16 tables are concatenated at the start level. S2TG: 0 4K, 1 64K, 2 16K.
  test.each<[what: string, edits: Edit[], more: More, first: number, last: number]>([
    ['4K, level 0', [s2tg(0), sl0(2)], {}, 16, 24],
    ['4K with DS, level 0', [s2tg(0), sl0(2), s2ds], { DS: 1 }, 12, 24],
    ['4K with DS, level -1', [s2tg(0), sl0(0), s2ds, [3, 2, 2, 1]], { DS: 1 }, 12, 15],
    ['4K, SL0_2 without DS, level 2', [s2tg(0), sl0(0), [3, 2, 2, 1]], {}, 30, 39],
    ['4K, level 1', [s2tg(0), sl0(1)], {}, 21, 33],
    ['4K, level 2', [s2tg(0), sl0(0)], {}, 30, 39],
    ['4K with STT, level 2', [s2tg(0), sl0(0)], { STT: 1 }, 30, 42],
    ['4K with STT, level 3', [s2tg(0), sl0(3)], { STT: 1 }, 39, 48],
    ['16K with DS, level 0', [s2tg(2), sl0(3), s2ds], { DS: 1 }, 12, 16],
    ['16K, level 1', [s2tg(2), sl0(2)], {}, 16, 27],
    ['16K with DS, level 1', [s2tg(2), sl0(2), s2ds], { DS: 1 }, 13, 27],
    ['16K, level 2', [s2tg(2), sl0(1)], {}, 24, 38],
    ['16K, level 3', [s2tg(2), sl0(0)], {}, 35, 39],
    ['16K with STT, level 3', [s2tg(2), sl0(0)], { STT: 1 }, 35, 48],
    ['64K, level 1', [s2tg(1), sl0(2)], {}, 12, 21],
    ['64K, level 2', [s2tg(1), sl0(1)], {}, 18, 34],
    ['64K, level 3', [s2tg(1), sl0(0)], {}, 31, 39],
    ['64K with STT, level 3', [s2tg(1), sl0(0)], { STT: 1 }, 31, 47],
    ['4K, SL0=3 without STT', [s2tg(0), sl0(3)], {}, 0, -1],
    ['4K with DS, SL0_2 and SL0=1', [s2tg(0), sl0(1), s2ds, [3, 2, 2, 1]], { DS: 1 }, 0, -1],
    ['4K with DS, SL0_2 and SL0=2', [s2tg(0), sl0(2), s2ds, [3, 2, 2, 1]], { DS: 1 }, 0, -1],
    ['16K, SL0=3 without DS', [s2tg(2), sl0(3)], {}, 0, -1],
    ['64K, SL0=3', [s2tg(1), sl0(3)], { STT: 1 }, 0, -1],
  ])('rules 18 and 19: %s', (_, edits, more, first, last) => {
    const rules = Array.from({ length: 64 }, (_none, size) =>
      ruleOf([...edits, t0sz(size)], { OAS: 52, ...more }),
    );
    const legal = rules.flatMap((rule, size) => (rule === 0 ? [size] : []));
    const expected = Array.from({ length: last - first + 1 }, (_none, i) => first + i);
    expect(legal).toEqual(expected);
    // Within the limits of rule 18 it is rule 19 that is broken.
    expect(rules.filter((rule) => rule !== 0 && rule !== 18).every((rule) => rule === 19)).toBe(
      true,
    );
    expect(rules.slice(22, 30).every((rule) => rule === 0 || rule === 19)).toBe(true);
  });
});
