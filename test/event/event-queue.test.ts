import { describe, expect, test } from 'vitest';
import { STREAM } from '../transaction/machine.js';
import {
  CMDQEN,
  EVENTQ,
  EVENTQEN,
  NOWHERE,
  R,
  SMMUEN,
  SmmuMachine,
  type MachineOptions,
} from '../smmu/smmu-machine.js';

function started(options: MachineOptions = {}): SmmuMachine {
  return new SmmuMachine(options).start();
}

/** F_TRANSLATION, 0x10, of a read of `address` by {@link STREAM}: CLASS=IN [41:40], RnW [35]. */
function translationFault(address: bigint): bigint[] {
  return [(BigInt(STREAM) << 32n) | 0x10n, 0x208_0000_0000n, address, 0n];
}

/** Beyond the first GiB nothing is mapped. */
const FAULT = 0x4000_0000n;

/** The flags and the index of EVENTQ_PROD. */
function prod(machine: SmmuMachine): [overflow: number, index: number] {
  const value = machine.read(R.EVENTQ_PROD);
  return [value >>> 31, value & 0x7fff_ffff];
}

describe('records (7.2, 7.3)', () => {
  test('a record is 32 bytes at PROD, and then PROD moves', () => {
    const machine = started();
    machine.put(EVENTQ + 32, 0xffn, 0xffn, 0xffn, 0xffn);
    expect(machine.translate(FAULT + 0x678n)).toMatchObject({ outcome: 1, event: 0x10 });
    expect(machine.record(0)).toEqual(translationFault(FAULT + 0x678n));
    expect(machine.record(1)).toEqual([0xffn, 0xffn, 0xffn, 0xffn]);
    expect(prod(machine)).toEqual([0, 1]);
    machine.translate(FAULT, 1 | 4, STREAM);
    // A privileged write: PnU [33], no RnW.
    expect(machine.record(1)).toEqual([0x10_0000_0010n, 0x202_0000_0000n, FAULT, 0n]);
    expect(prod(machine)).toEqual([0, 2]);
  });

  const SIZES = Array.from({ length: 20 }, (_, log2) => log2);
  test.each(SIZES)('a queue of 2^%i entries wraps', (eventqLog2) => {
    const machine = new SmmuMachine({ eventqLog2 }).start(0);
    const size = 2 ** eventqLog2;
    machine.write(R.EVENTQ_PROD, 2 * size - 1).write(R.EVENTQ_CONS, 2 * size - 1);
    machine.write(R.CR0, SMMUEN | EVENTQEN);
    machine.translate(FAULT);
    expect(machine.record(size - 1)).toEqual(translationFault(FAULT));
    expect(prod(machine)).toEqual([0, 0]);
    machine.write(R.EVENTQ_CONS, 0).translate(FAULT + 0x1000n);
    expect(machine.record(0)).toEqual(translationFault(FAULT + 0x1000n));
    expect(prod(machine)).toEqual([0, 1]);
  });

  test.each([
    [0, 31],
    [3, 19],
    [3, 4],
  ])('with EVENTQS=%i a LOG2SIZE of %i is capped', (eventqs, log2) => {
    const machine = new SmmuMachine({ features: { EVENTQS: eventqs }, eventqLog2: log2 }).start();
    const size = 2 ** eventqs;
    for (let i = 0; i < size; i++) machine.translate(FAULT);
    expect(prod(machine)).toEqual([0, size]);
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([1, size]);
    expect(machine.record(size)).toEqual([0n, 0n, 0n, 0n]);
  });

  test('the base is aligned down to the size of the queue, and cut to OAS', () => {
    const machine = new SmmuMachine({ features: { preset: 'qemu', TTENDIAN: 0 } }).start(0);
    machine.write64(R.EVENTQ_BASE, 0x00ff_f000_0000_00e0n + BigInt(EVENTQ) + 3n);
    machine.write(R.CR0, SMMUEN | EVENTQEN).translate(FAULT);
    expect(machine.record(0)).toEqual(translationFault(FAULT));
  });

  test('bits of PROD above the wrap flag read as zero', () => {
    const machine = new SmmuMachine({ eventqLog2: 2 }).start(0);
    expect(machine.write(R.EVENTQ_PROD, 0x800f_fffa).read(R.EVENTQ_PROD)).toBe(0x8000_0002);
  });
});

describe('a full queue (7.4)', () => {
  function filled(): SmmuMachine {
    const machine = started();
    for (let i = 0; i < 8; i++) machine.translate(FAULT + BigInt(0x1000 * i));
    return machine;
  }

  test('has 2^LOG2SIZE records, not one less', () => {
    const machine = filled();
    expect(prod(machine)).toEqual([0, 8]);
    expect(machine.smmu.stats().events.F_TRANSLATION).toEqual({
      written: 8,
      merged: 0,
      overflowed: 0,
      discarded: 0,
      aborted: 0,
    });
  });

  test('toggles OVFLG once until it is acknowledged, and raises no GERROR', () => {
    const machine = filled();
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([1, 8]);
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([1, 8]);
    expect(machine.read(R.GERROR)).toBe(0);
    expect(machine.wires).toEqual(['eventq']);
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ written: 8, overflowed: 2 });
    // Room without acknowledgement: the next overflow does not show.
    machine.write(R.EVENTQ_CONS, 1).translate(FAULT);
    expect(prod(machine)).toEqual([1, 9]);
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([1, 9]);
    // OVACKFLG = OVFLG.
    machine.write(R.EVENTQ_CONS, 0x8000_0001).translate(FAULT);
    expect(prod(machine)).toEqual([0, 9]);
    expect(machine.record(1)).toEqual(translationFault(FAULT + 0x1000n));
  });
});

describe('a queue that is off', () => {
  test('discards without OVFLG', () => {
    const machine = new SmmuMachine().start(SMMUEN | CMDQEN);
    expect(machine.translate(FAULT)).toMatchObject({ outcome: 1, event: 0x10 });
    expect(prod(machine)).toEqual([0, 0]);
    expect(machine.record(0)).toEqual([0n, 0n, 0n, 0n]);
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ written: 0, discarded: 1 });
  });

  test('and full discards without OVFLG as well', () => {
    const machine = new SmmuMachine().start(SMMUEN);
    machine.write(R.EVENTQ_PROD, 8).write(R.EVENTQ_CONS, 0).translate(FAULT);
    expect(prod(machine)).toEqual([0, 8]);
  });

  test('keeps its indexes, and goes on from there', () => {
    const machine = started();
    machine.translate(FAULT);
    machine.write(R.CR0, SMMUEN).translate(FAULT);
    machine.write(R.CR0, SMMUEN | EVENTQEN).translate(FAULT + 0x1000n);
    expect(prod(machine)).toEqual([0, 2]);
    expect(machine.record(1)).toEqual(translationFault(FAULT + 0x1000n));
  });
});

describe('a queue without memory (7.2)', () => {
  test('EVENTQ_ABT_ERR, PROD unchanged, no eventq interrupt; discarded until acknowledged', () => {
    const machine = new SmmuMachine().start(0);
    machine.write64(R.EVENTQ_BASE, BigInt(NOWHERE + 3)).write(R.CR0, SMMUEN | EVENTQEN);
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([0, 0]);
    expect([machine.read(R.GERROR), machine.wires]).toEqual([4, ['gerror']]);
    machine.ram.addPage(NOWHERE);
    machine.translate(FAULT);
    expect(prod(machine)).toEqual([0, 0]);
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ aborted: 1, discarded: 1 });
    machine.write(R.GERRORN, 4).translate(FAULT);
    expect(prod(machine)).toEqual([0, 1]);
    expect(machine.peek(NOWHERE)).toBe(translationFault(FAULT)[0]);
    expect(machine.wires).toEqual(['gerror', 'eventq']);
  });

  test('it aborts again after an acknowledgement that changed nothing: GERROR toggles back', () => {
    const machine = new SmmuMachine().start(0);
    machine.write64(R.EVENTQ_BASE, BigInt(NOWHERE + 3)).write(R.CR0, SMMUEN | EVENTQEN);
    machine.translate(FAULT);
    machine.write(R.GERRORN, 4).translate(FAULT);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([0, 4]);
    expect(machine.wires).toEqual(['gerror', 'gerror']);
  });
});

describe('which faults leave a record (7.3)', () => {
  test('C_BAD_STREAMID only with CR2.RECINVSID', () => {
    const machine = started();
    expect(machine.translate(0n, 0, 0x1_0000)).toMatchObject({ outcome: 1, event: 2 });
    expect(machine.record(0)).toEqual([0x1_0000_0000_0002n, 0n, 0n, 0n]);
    const silent = new SmmuMachine().start(0);
    silent.write(R.CR2, 0).write(R.CR0, SMMUEN | EVENTQEN);
    expect(silent.translate(0n, 0, 0x1_0000)).toMatchObject({ outcome: 1, recorded: false });
    expect(prod(silent)).toEqual([0, 0]);
  });

  test('STE.Config=0 and SMMUEN=0 leave none', () => {
    const machine = new SmmuMachine().ste([0, 3, 1, 0]).start();
    expect(machine.translate().outcome).toBe(1);
    machine.write(R.CR0, EVENTQEN).write(R.GBPA, 0x8010_0000);
    expect(machine.translate().outcome).toBe(1);
    expect(prod(machine)).toEqual([0, 0]);
  });

  test('CD.R=0 leaves none, CD.A=0 completes with zeros', () => {
    // R is bit 45, A bit 46.
    const machine = new SmmuMachine().cd([0, 45, 45, 0], [0, 46, 46, 0]).start();
    expect(machine.translate(FAULT)).toMatchObject({ outcome: 2, event: 0x10, recorded: false });
    expect(prod(machine)).toEqual([0, 0]);
  });
});
