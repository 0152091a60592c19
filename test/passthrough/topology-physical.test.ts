import { beforeEach, describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  atcInv,
  cfgiCd,
  CMD_SYNC,
  Rig,
  settle,
  TLBI_ALL,
  tlbiAsid,
  tlbiVa,
  type Plugged,
} from './device-rig.js';

const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;
const [A, B, C] = [0x10, 0x11, 0x12];
const EIO = 5;
const ENOMEM = 12;

let rig: Rig;
let plugged: Plugged[];

beforeEach(async () => {
  rig = await Rig.make({ kernel: { smmus: [{}, {}, {}] } });
  rig.machine.start(QUEUES);
  rig.ste(A, 'ats').ste(B, 'other').ste(C, 'bypass');
  plugged = [];
  for (const [i, sid] of [A, B, C].entries()) plugged.push((await rig.device(sid, i)).plugged);
  rig.machine.write(R.CR0, ON);
  rig.quiet();
});

/** What reached each of the three. */
const all = (): string[][] => [0, 1, 2].map((smmu) => rig.hardware(smmu));

/** Refuses a batch to one of them. */
function fail(smmu: number, errno: number, index = 0): void {
  const viommu = rig.kernel.attachment(plugged[smmu]!.fd) as { viommu: number };
  rig.kernel.failInvalidation((batch) =>
    batch.viommu === viommu.viommu ? { errno, index } : undefined,
  );
}

describe('several physical SMMUs', () => {
  test('TLBI reach those that translate, commands of a stream the one that has it', () => {
    rig.machine.command(
      TLBI_ALL,
      cfgiCd(A),
      atcInv(A),
      cfgiCd(B),
      atcInv(B),
      tlbiAsid(3),
      CMD_SYNC,
    );
    expect(all()).toEqual([
      ['TLBI_NH_ALL', 'CFGI_CD', 'ATC_INV', 'TLBI_NH_ASID'],
      ['TLBI_NH_ALL', 'CFGI_CD', 'TLBI_NH_ASID'],
      [],
    ]);
    expect(rig.calls).toEqual(['HWPT_INVALIDATE', 'HWPT_INVALIDATE']);
    // Each with the VMID of its own nest parent, and the physical StreamID of its own device.
    expect(rig.kernel.hardware(0)[2]!.words).toEqual([0x40, 0x1000, 52, 0]);
    expect(rig.kernel.hardware(1)[1]!.words).toEqual([0x5, 0x1035, 1, 0]);
  });

  test('amplification is commands sent by commands forwarded', () => {
    rig.machine.command(
      TLBI_ALL,
      tlbiAsid(3),
      cfgiCd(A),
      cfgiCd(0x77),
      atcInv(B),
      cfgiCd(C),
      CMD_SYNC,
    );
    const { amplification, forwarded, inside, physical } = rig.passthrough.stats();
    // TLBI_NH_ASID waits with TLBI_NH_ALL, which covers it.
    expect(forwarded).toEqual({ TLBI_NH_ALL: 1, TLBI_NH_ASID: 1, CFGI_CD: 1 });
    expect(inside).toEqual({
      otherStream: { CFGI_CD: 1 },
      noAts: { ATC_INV: 1 },
      notNested: { CFGI_CD: 1 },
    });
    expect(physical.map(({ commands, dropped }) => [commands, dropped])).toEqual([
      [2, 1],
      [1, 1],
      [0, 0],
    ]);
    expect(amplification).toBe(3 / 3);
    rig.machine.command(tlbiVa(1, 0x1000n), CMD_SYNC);
    expect(rig.passthrough.stats().amplification).toBe(5 / 4);
  });

  test('the one that begins to translate is told what it missed, with one command', () => {
    // It has never translated: nothing can be in its TLBs.
    rig.machine.command(TLBI_ALL, CMD_SYNC);
    rig.quiet().configure(C, 's1');
    expect(all()).toEqual([[], [], []]);
    rig.configure(C, 'abort').machine.command(TLBI_ALL, tlbiAsid(1), CMD_SYNC);
    rig.quiet().configure(C, 's1');
    expect(all()).toEqual([[], [], ['TLBI_NH_ALL']]);
  });

  test.each<[string, number, number, number]>([
    ['the first', 0, EIO, 1],
    ['the second', 1, EIO, 1],
    ['the first', 0, ENOMEM, 2],
    ['the second', 1, ENOMEM, 2],
  ])('%s refuses: what the other has done is done', (_, smmu, errno, cerror) => {
    fail(smmu, errno);
    rig.machine.command(tlbiAsid(1), tlbiAsid(2), CMD_SYNC);
    expect([rig.machine.cerror, rig.machine.read(R.CMDQ_CONS) & 0x7f]).toEqual([cerror, 0]);
    const expected: string[][] = [[], [], []];
    expected[1 - smmu] = ['TLBI_NH_ASID', 'TLBI_NH_ASID'];
    expect(all()).toEqual(expected);
    rig.kernel.failInvalidation(undefined);
    rig.quiet().acknowledge();
    // Everything once more: invalidations can be repeated.
    expect(all().slice(0, 2)).toEqual([
      ['TLBI_NH_ASID', 'TLBI_NH_ASID'],
      ['TLBI_NH_ASID', 'TLBI_NH_ASID'],
    ]);
    expect([rig.isStopped, rig.machine.read(R.CMDQ_CONS) & 0x7f]).toEqual([false, 3]);
  });

  test('CONS is the smallest of where they stopped', () => {
    const viommus = plugged.map(
      ({ fd }) => (rig.kernel.attachment(fd) as { viommu: number }).viommu,
    );
    rig.kernel.failInvalidation(({ viommu, count }) => {
      const index = viommu === viommus[0] ? 2 : 1;
      return index < count ? { errno: EIO, index } : undefined;
    });
    // In the batch of the first: 0, 1, 2, 3; in that of the second: 0, 2, 3.
    rig.machine.command(tlbiAsid(1), cfgiCd(A), tlbiAsid(2), tlbiAsid(3), CMD_SYNC);
    expect([rig.machine.cerror, rig.machine.read(R.CMDQ_CONS) & 0x7f]).toEqual([1, 2]);
    expect(all().slice(0, 2)).toEqual([['TLBI_NH_ASID', 'CFGI_CD'], ['TLBI_NH_ASID']]);
  });

  // delivery.ts, begin: nobody listens to the promise of the second until that of the first is fulfilled.
  test('two that answer later, the second first, and it refuses: the rejection is handled', async () => {
    const unhandled: unknown[] = [];
    const listen = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', listen);
    fail(1, ENOMEM);
    rig.kernel.async('step');
    rig.machine.command(tlbiAsid(1), CMD_SYNC);
    await settle();
    expect([rig.kernel.pending, rig.machine.read(R.CMDQ_CONS)]).toEqual([2, 0]);
    rig.kernel.step(1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    rig.kernel.step();
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off('unhandledRejection', listen);
    expect([rig.isStopped, rig.machine.cerror]).toEqual([true, 2]);
    expect(unhandled).toEqual([]);
  });
});

describe('features', () => {
  /** IDR0 without ATS; IDR1 with SSIDSIZE=3; IDR5 with 40 bits and 4 KiB only. */
  const smmus = [
    { idr: [0x094c_301b] },
    { idr: [0x094c_341b, 0x014a_00d0] },
    {
      idr: [0x094c_341b, 0x014a_0410, 0, 0x1504, 0, 0x12],
    },
  ];

  test('the guest sees what all of them can', async () => {
    const mixed = await Rig.make({ kernel: { smmus } });
    const { ATS, SSIDSIZE, OAS, GRAN4K, GRAN16K, GRAN64K, SIDSIZE } = mixed.machine.smmu.features;
    expect([ATS, SSIDSIZE, OAS, GRAN4K, GRAN16K, GRAN64K, SIDSIZE]).toEqual([
      0, 3, 40, 1, 0, 0, 16,
    ]);
    // IDR0.ATS [10], IDR1.SSIDSIZE [10:6], IDR5.OAS [2:0] and GRAN* [6:4].
    expect(mixed.machine.read(R.IDR0) & 0x400).toBe(0);
    expect((mixed.machine.read(R.IDR1) >> 6) & 31).toBe(3);
    expect(mixed.machine.read(R.IDR5) & 0x77).toBe(0x12);
    // ATC_INV is no command then.
    mixed.machine.start().command(atcInv(1), CMD_SYNC);
    expect(mixed.machine.cerror).toBe(1);
  });

  test('are not narrowed once the guest has enabled anything', async () => {
    const { passthrough, machine, backends } = await Rig.make({ kernel: { smmus: [{}] } });
    machine.start(CMDQEN);
    const [backend] = backends;
    const narrower = { features: { ...backend!.features, OAS: 40 } };
    const methods = {
      allocate: () => 1,
      attach: () => undefined,
      destroy: () => undefined,
      bind: () => 2,
      invalidate: () => undefined,
    };
    expect(() => passthrough.addPhysical({ ...narrower, ...methods })).toThrow(/enabled/);
    expect(passthrough.stats().physical).toHaveLength(1);
    expect(machine.smmu.features.OAS).toBe(48);
    // One that can as much is welcome.
    passthrough.addPhysical({ ...methods, features: backend!.features });
    expect(passthrough.stats().physical).toHaveLength(2);
    machine.smmu.reset();
    passthrough.addPhysical({ ...narrower, ...methods });
    expect(machine.smmu.features.OAS).toBe(40);
  });

  test('that have nothing in common are refused, and nothing has changed', async () => {
    const { passthrough, machine, backends } = await Rig.make();
    const before = machine.smmu.features;
    const none = { ...before, GRAN4K: 0, GRAN16K: 0, GRAN64K: 0 };
    const backend = Object.assign(Object.create(backends[0]!) as object, { features: none });
    expect(() => passthrough.addPhysical(backend as never)).toThrow(RangeError);
    expect([machine.smmu.features, passthrough.stats().physical.length]).toEqual([before, 1]);
  });
});
