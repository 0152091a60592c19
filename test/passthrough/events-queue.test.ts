import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { Rig, type PassthroughDevice, type Plugged } from './device-rig.js';

const SID = 0x42;
const ON = EVENTQEN | CMDQEN | SMMUEN;
/** Physical StreamID of the first device of a rig. */
const PHYSICAL = 0x1000;

/** F_TRANSLATION of a read (RnW, CLASS=IN) at an address, as hardware records it: 8 words. */
function translationFault(address: number, streamId = PHYSICAL): number[] {
  return [0x10, streamId, 0, 0x208, address, 0, 0, 0];
}

/** The same as the guest is to find it. */
function record(address: number, streamId = SID): bigint[] {
  return [0x10n | (BigInt(streamId) << 32n), 0x208n << 32n, BigInt(address), 0n];
}

let rig: Rig;
let device: PassthroughDevice;
let plugged: Plugged;

async function make(depth: number): Promise<void> {
  rig = await Rig.make({ veventqDepth: depth, eventqLog2: 3 });
  rig.machine.start(ON);
  rig.ste(SID, 's1').ste(SID + 1, 's1');
  ({ device, plugged } = await rig.device(SID));
}

beforeEach(() => make(8));

/** What read(2) gives of the vEVENTQ. */
function read(room = 4096): Uint8Array {
  const bytes = new Uint8Array(room);
  const count = rig.kernel.read(rig.backends[0]!.veventqFd!, bytes);
  expect(count).toBeGreaterThanOrEqual(0);
  return bytes.subarray(0, count);
}

const overflow = (): number => rig.machine.read(R.EVENTQ_PROD) >>> 31;

describe('events of hardware', () => {
  test('come into the guest’s queue with the guest’s StreamID, and interrupt', () => {
    expect(rig.kernel.raiseEvent(0, translationFault(0x5000))).toBe('forwarded');
    rig.physicals[0]!.takeEvents(read());
    expect(rig.events()).toEqual([record(0x5000)]);
    expect(rig.machine.wires).toEqual(['eventq']);
    expect(rig.physicals[0]!.stats()).toMatchObject({ events: 1, strayEvents: 0, lostEvents: 0 });
    expect(rig.machine.smmu.stats().events).toMatchObject({ F_TRANSLATION: { written: 1 } });
  });

  test.each([0x04, 0x06, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x13])('number %i', (id) => {
    const words = [id | 0x7fff_f800, PHYSICAL, 0x1234, 0x1f4e, 0x89ab_c000, 0xffff_8000, 0x77, 0x9];
    expect(
      rig.kernel.raiseEvent(
        0,
        words.map((word) => word & ~(word === 0x1f4e ? 0x80 : 0)),
      ),
    ).toBe('forwarded');
    rig.physicals[0]!.takeEvents(read());
    expect(rig.events()).toEqual([
      [
        (BigInt(SID) << 32n) | 0x7fff_f800n | BigInt(id),
        0x0000_1f4e_0000_1234n & ~(0x80n << 32n),
        0xffff_8000_89ab_c000n,
        0x9_0000_0077n,
      ],
    ]);
  });

  test('in any pieces, with losses: in order, and counted', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 14 }), { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
        async (bursts, cuts) => {
          await make(8);
          const [physical] = rig.physicals;
          let address = 0;
          let lost = 0;
          let taken = 0;
          let flag = 0;
          for (const burst of bursts) {
            const expected: bigint[][] = [];
            for (let i = 0; i < burst; i++) {
              address += 0x1000;
              // The vEVENTQ has room for 8, and so has the guest's queue.
              if (rig.kernel.raiseEvent(0, translationFault(address)) === 'lost') lost++;
              else expected.push(record(address));
            }
            const bytes = read();
            for (let at = 0, i = 0; at < bytes.length; i++) {
              const cut = cuts[i % cuts.length]!;
              physical!.takeEvents(bytes.subarray(at, at + cut));
              at += cut;
            }
            const first = taken % 8;
            taken += expected.length;
            const found = expected.map((_, i) => rig.machine.record((first + i) % 8));
            expect(found).toEqual(expected);
            expect(physical!.stats()).toMatchObject({ events: taken, lostEvents: lost });
            if (burst > 8) flag ^= 1;
            expect(overflow()).toBe(flag);
            // The guest reads them, and acknowledges that some are lost.
            rig.machine.write(R.EVENTQ_CONS, rig.machine.read(R.EVENTQ_PROD));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('OVFLG changes once until the guest acknowledges it', () => {
    for (const expected of [1, 1]) {
      for (let i = 0; i < 10; i++) rig.kernel.raiseEvent(0, translationFault(i));
      rig.physicals[0]!.takeEvents(read());
      expect(overflow()).toBe(expected);
      rig.machine.write(R.EVENTQ_CONS, rig.machine.read(R.EVENTQ_PROD) & 0xf);
    }
    rig.machine.write(R.EVENTQ_CONS, rig.machine.read(R.EVENTQ_PROD));
    for (let i = 0; i < 9; i++) rig.kernel.raiseEvent(0, translationFault(i));
    rig.physicals[0]!.takeEvents(read());
    expect([overflow(), rig.physicals[0]!.stats().lostEvents]).toEqual([0, 5]);
  });

  test('a full queue of the guest: OVFLG, and what is in it stays', () => {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 6; i++) rig.kernel.raiseEvent(0, translationFault(0x1000 * i));
      rig.physicals[0]!.takeEvents(read());
    }
    expect(rig.machine.read(R.EVENTQ_PROD)).toBe(0x8000_0008);
    expect(rig.machine.record(7)).toEqual(record(0x1000));
    expect(rig.machine.smmu.stats().events).toMatchObject({
      F_TRANSLATION: { written: 8, overflowed: 4 },
    });
  });

  test('a queue that is off: nothing, no OVFLG either', () => {
    rig.machine.write(R.CR0, ON & ~EVENTQEN);
    for (let i = 0; i < 10; i++) rig.kernel.raiseEvent(0, translationFault(i));
    rig.physicals[0]!.takeEvents(read());
    rig.machine.write(R.CR0, ON);
    expect(rig.machine.read(R.EVENTQ_PROD)).toBe(0);
    expect(rig.physicals[0]!.stats()).toMatchObject({ events: 8, lostEvents: 2 });
  });

  test('a device that has gone meanwhile: its events are stray', async () => {
    rig.kernel.raiseEvent(0, translationFault(0x1000));
    await device.retire();
    rig.physicals[0]!.takeEvents(read());
    expect(rig.events()).toEqual([]);
    expect(rig.physicals[0]!.stats()).toMatchObject({ events: 0, strayEvents: 1 });
    await device.bind(SID + 1);
    expect(rig.kind(plugged)).toBe('s1');
    rig.kernel.raiseEvent(0, translationFault(0x2000));
    rig.physicals[0]!.takeEvents(read());
    expect(rig.events()).toEqual([record(0x2000, SID + 1)]);
  });

  test('an abort of hardware’s gives no event', () => {
    rig.configure(SID, 'abort');
    expect(rig.kernel.raiseEvent(0, translationFault(0))).toBe('absent');
    expect(read()).toHaveLength(0);
  });

  test('bytes that are no events: an error, and the next read goes on', () => {
    const [physical] = rig.physicals;
    const wrong = new Uint8Array(40).fill(0xff);
    expect(() => {
      physical!.takeEvents(wrong);
    }).toThrow(/flags/);
    expect(() => {
      physical!.takeEvents([] as never);
    }).toThrow(TypeError);
    rig.kernel.raiseEvent(0, translationFault(0x3000));
    physical!.takeEvents(read());
    expect(rig.events()).toEqual([record(0x3000)]);
  });
});
