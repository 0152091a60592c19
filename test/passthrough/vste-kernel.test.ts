import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { R } from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';
import { cfgiSte, CMD_SYNC, Rig, type RigOptions } from './device-rig.js';
import { randomStes } from './vste-random.js';
import { referenceVste, type Expected } from './vste-reference.js';

const SID = 0x21;

/** The kernel keeps a vSTE without EATS (iommufd-uapi, section 3). */
const EATS = 3n << 28n;

const equal = (a: Expected, b: Expected): boolean =>
  a.kind === b.kind && (a.kind !== 's1' || (b.kind === 's1' && a.w0 === b.w0 && a.w1 === b.w1));

/** Physical ID registers: IDR0, IDR1, ... of the model by default. */
const [IDR0, IDR1] = [0x094c_341b, 0x014a_0410];
const hardware = (...idr: number[]): RigOptions => ({ kernel: { smmus: [{ idr }] } });

describe('STEs on their way into the kernel', () => {
  test.each<[string, RigOptions]>([
    ['the model’s SMMU', {}],
    ['SSIDSIZE=0', hardware(IDR0, IDR1 & ~0x7c0)],
    ['SSIDSIZE=3', hardware(IDR0, (IDR1 & ~0x7c0) | (3 << 6))],
    ['CD2L=0', hardware(IDR0 & ~(1 << 19))],
    ['ATS=0', hardware(IDR0 & ~(1 << 10))],
    ['40 bits', hardware(IDR0, IDR1, 0, 0x1504, 0, 0x72)],
    ['qemu', { features: { preset: 'qemu' } }],
    ['minimal', { features: { preset: 'minimal' } }],
    ['everything, on hardware that says nothing', { narrows: false }],
    ['v3.1 with stalls', { narrows: false, features: { ArchMinor: 1, OAS: 44 } }],
  ])('%s: attachment, events and calls are those of the reference', async (_, options) => {
    const rig = await Rig.make(options);
    rig.machine.start();
    const { plugged } = await rig.device(SID);
    const read = (offset: number): number => rig.machine.read(offset);
    const registers = {
      idr0: read(R.IDR0),
      idr1: read(R.IDR1),
      idr3: read(R.IDR3),
      idr5: read(R.IDR5),
      aidr: read(R.AIDR),
    };
    // Nothing is in the table at first: V=0, which is recorded.
    let before: Expected = { kind: 'abort', event: 4 };
    let events = 1;
    fc.assert(
      fc.property(randomStes, (ste) => {
        rig.machine.put(STREAM_TABLE + 64 * SID, ...ste);
        rig.quiet().machine.command(cfgiSte(SID), CMD_SYNC);
        const now = referenceVste(ste, registers);
        const { kind, ...attachment } = rig.kernel.attachment(plugged.fd);
        expect(kind).toBe(now.kind);
        if (now.kind === 's1') {
          const [a, b, c, d] = (attachment as { ste: number[] }).ste;
          expect([(BigInt(b!) << 32n) | BigInt(a!), (BigInt(d!) << 32n) | BigInt(c!)]).toEqual([
            now.w0,
            now.w1 & ~EATS,
          ]);
          expect(attachment).toMatchObject({ ats: (now.w1 & EATS) !== 0n });
        }
        const isNews = now.kind === 'abort' && now.event !== 0;
        if (isNews && !(before.kind === 'abort' && before.event === now.event)) events++;
        expect(read(R.EVENTQ_PROD)).toBe(events & 0xf);
        rig.machine.write(R.EVENTQ_CONS, read(R.EVENTQ_PROD));
        expect(rig.isStopped).toBe(false);
        // The same once more, or what means the same: no new HWPT.
        const isSame = equal(before, now);
        if (isSame) {
          expect(rig.calls).toEqual(now.kind === 's1' ? ['HWPT_INVALIDATE'] : []);
        } else {
          expect(rig.calls).toContain('ATTACH');
        }
        expect(rig.count('hwpt-nested')).toBeLessThanOrEqual(3);
        before = now;
      }),
      // A failure depends on the STEs before it.
      { numRuns: 250, endOnFailure: true },
    );
    expect(rig.reports).toEqual([]);
  });

  test('what differs only in bits without a meaning gives no new HWPT', async () => {
    const rig = await Rig.make();
    rig.machine.start();
    const { plugged } = await rig.device(SID);
    const base = [0x43e0_000bn, 0xd4n, 0n, 0n, 0n, 0n, 0n, 0n];
    rig.machine.put(STREAM_TABLE + 64 * SID, ...base).command(cfgiSte(SID), CMD_SYNC);
    const { length } = rig.kernel.history(plugged.fd);
    // S1Fmt and S1DSS of one CD, bits 58:56, all of w1 but attributes, S1STALLD, EATS; w2 to w7.
    const free = [0x0700_0000_0000_0030n, 0xffff_ffff_c7ff_ff03n, ...Array<bigint>(6).fill(~0n)];
    for (let word = 0; word < 8; word++) {
      for (let bit = 0n; bit < 64n; bit++) {
        if (((free[word]! >> bit) & 1n) === 0n) continue;
        const ste = base.map((value, i) => (i === word ? value ^ (1n << bit) : value));
        rig.machine.put(STREAM_TABLE + 64 * SID, ...ste).command(cfgiSte(SID), CMD_SYNC);
      }
    }
    expect(rig.kernel.history(plugged.fd)).toHaveLength(length);
    expect(rig.events()).toEqual([[0x21_0000_0004n, 0n, 0n, 0n]]);
    // Every other bit counts.
    let changes = 0;
    for (const [word, bit] of [
      [0, 6n],
      [0, 40n],
      [1, 2n],
      [1, 5n],
      [1, 7n],
      [1, 28n],
    ] as const) {
      const ste = base.map((value, i) => (i === word ? value ^ (1n << bit) : value));
      rig.machine.put(STREAM_TABLE + 64 * SID, ...ste).command(cfgiSte(SID), CMD_SYNC);
      expect(rig.kernel.history(plugged.fd)).toHaveLength(length + ++changes);
    }
  });
});
