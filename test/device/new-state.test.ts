/** A handle follows the vSMMU into each new state, and never uses what it knew of the one before. */
import { describe, expect, test } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import type { Smmu } from '../../src/smmu.js';
import type { SmmuState } from '../../src/state.js';
import { Reason } from '../../src/transaction/reason.js';
import { R } from '../smmu/smmu-machine.js';
import {
  ALL_ON,
  cfgiCd,
  cfgiCdAll,
  cfgiSte,
  cfgiSteRange,
  CFGI_ALL,
  DATA,
  DeviceMachine,
  nhAsid,
  nhVa,
  NH_ALL,
  PAGE,
  STREAM,
  SYNC,
} from './device-machine.js';

const ABORTED = -1;
const ASID = 5;
const SMMUEN = 1;

interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

/** A page at 0x1000 that leads to DATA, and is warm. */
function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(ASID, cd);
  machine.guest.attach(STREAM, space);
  space.map(0x1000, DATA, PAGE);
  machine.putBytes(DATA, [1, 1, 1, 1]);
  machine.putBytes(DATA + PAGE, [2, 2, 2, 2]);
  machine.start();
  const handle = machine.smmu.attach(STREAM);
  warm(handle);
  return { machine, space, handle };
}

function warm(handle: StreamHandle): void {
  for (let i = 0; i < 3; i++) expect(handle.translate(0x1000, 0)).toBe(DATA);
  expect(handle.load32(0x1000)).toBe(0x0101_0101);
}

/** A space of its own, in which 0x1000 leads to the page after DATA. */
function otherSpace(machine: DeviceMachine, asid = ASID): AddressSpaceBuilder {
  const other = machine.space(asid);
  other.map(0x1000, DATA + PAGE, PAGE);
  return other;
}

function expectAll(handle: StreamHandle, answer: number): void {
  for (let i = 0; i < 2; i++) {
    expect(handle.translate(0x1000, 0)).toBe(answer);
    expect(handle.translate(0x1000n, 0)).toBe(answer);
    if (answer >= DATA)
      expect(handle.load32(0x1000)).toBe(answer === DATA ? 0x0101_0101 : 0x0202_0202);
  }
}

describe('CR0.SMMUEN (6.3.9.6)', () => {
  test('cleared: addresses bypass by GBPA; set again: what is cached may be used', () => {
    const { machine, handle } = device();
    machine.write(R.CR0, ALL_ON & ~SMMUEN);
    expect([handle.translate(0x1000, 0), handle.translate(0x1000n, 0)]).toEqual([0x1000, 0x1000]);
    expect(handle.translate(0x9000, 1)).toBe(0x9000);
    expect(machine.takeEvents()).toEqual([]);
    machine.write(R.CR0, ALL_ON);
    expectAll(handle, DATA);
  });

  test('cleared with GBPA.ABORT=1: all aborts, without an event', () => {
    const { machine, handle } = device();
    machine.write(R.GBPA, 0x8010_0000).write(R.CR0, ALL_ON & ~SMMUEN);
    expectAll(handle, ABORTED);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.globalAbort });
    expect(handle.read(0x1000, new Uint8Array(4))).toBe(0);
    machine.write(R.GBPA, 0x8000_0000);
    expect(handle.translate(0x1000, 0)).toBe(0x1000);
    expect(machine.takeEvents()).toEqual([]);
  });

  test('what was invalidated meanwhile is not used when it is set again', () => {
    const { machine, space, handle } = device();
    machine.write(R.CR0, ALL_ON & ~SMMUEN);
    space.map(0x1000, DATA + PAGE, PAGE);
    machine.command(NH_ALL, SYNC);
    machine.write(R.CR0, ALL_ON);
    expectAll(handle, DATA + PAGE);
  });
});

describe('an STE that changed', () => {
  test.each([
    ['CFGI_STE', cfgiSte(STREAM)],
    ['CFGI_STE_RANGE', cfgiSteRange(STREAM, 3)],
    ['CFGI_ALL', CFGI_ALL],
  ])('is used after %s: another address space of the same ASID', (_, command) => {
    const { machine, handle } = device();
    machine.guest.attach(STREAM, otherSpace(machine));
    machine.command(command, SYNC);
    expectAll(handle, DATA + PAGE);
  });

  test('to bypass, and back', () => {
    const { machine, space, handle } = device();
    machine.guest.bypass(STREAM);
    machine.command(cfgiSte(STREAM), SYNC);
    expect([handle.translate(0x1000, 0), handle.translate(0x1000n, 0)]).toEqual([0x1000, 0x1000]);
    machine.guest.attach(STREAM, space);
    machine.command(cfgiSte(STREAM), SYNC);
    expectAll(handle, DATA);
  });

  test('to abort, or to be invalid: faults; and back', () => {
    const { machine, space, handle } = device();
    machine.guest.setSte(STREAM, { V: 0 });
    machine.command(cfgiSte(STREAM), SYNC);
    expectAll(handle, ABORTED);
    expect(handle.fault).toMatchObject({ event: 0x4 });
    // Each access asks anew: the STE is not kept.
    machine.guest.setSte(STREAM, { V: 1 });
    expectAll(handle, ABORTED);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.configAbort });
    machine.guest.attach(STREAM, space);
    machine.command(cfgiSte(STREAM), SYNC);
    expectAll(handle, DATA);
  });

  test('makes other accesses of the same: PRIVCFG and INSTCFG (5.2)', () => {
    const { machine, space, handle } = device();
    space.map(0x1000, DATA, PAGE, { unprivileged: false });
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expect([0, 1, 4, 5].map((access) => handle.translate(0x1000, access))).toEqual([
      -1,
      -1,
      DATA,
      DATA,
    ]);
    // PRIVCFG=3: privileged.
    machine.guest.attach(STREAM, space, { PRIVCFG: 3 });
    machine.command(cfgiSte(STREAM), SYNC);
    expect([0, 1, 4, 5].map((access) => handle.translate(0x1000, access))).toEqual([
      DATA,
      DATA,
      DATA,
      DATA,
    ]);
    // PRIVCFG=2: unprivileged.
    machine.guest.attach(STREAM, space, { PRIVCFG: 2 });
    machine.command(cfgiSte(STREAM), SYNC);
    expect([0, 1, 4, 5].map((access) => handle.translate(0x1000, access))).toEqual([
      -1, -1, -1, -1,
    ]);
  });

  test('of another stream is no matter', () => {
    const { machine, handle } = device();
    machine.guest.attach(STREAM + 1, otherSpace(machine));
    const other = machine.smmu.attach(STREAM + 1);
    expectAll(other, DATA + PAGE);
    machine.guest.setSte(STREAM + 1, { V: 0 });
    machine.command(cfgiSte(STREAM + 1), SYNC);
    machine.memory.clear();
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    expect(machine.memory.loads).toEqual([]);
    expectAll(other, ABORTED);
  });
});

test('more streams than the configuration cache holds: each is answered all the same', () => {
  const machine = new DeviceMachine({ guest: { streamIdBits: 13 } });
  const space = machine.space(ASID);
  space.map(0x1000, DATA, PAGE);
  const streams = 4200;
  for (let streamId = 0; streamId < streams; streamId++) machine.guest.attach(streamId, space);
  machine.start();
  const handles = Array.from({ length: streams }, (_, streamId) => machine.smmu.attach(streamId));
  for (let round = 0; round < 2; round++) {
    expect(handles.filter((handle) => handle.translate(0x1000, 0) !== DATA)).toEqual([]);
  }
  const other = otherSpace(machine);
  for (const streamId of [0, streams - 1]) {
    machine.guest.attach(streamId, other);
    machine.command(cfgiSte(streamId), SYNC);
    expect(handles[streamId]!.translate(0x1000, 0)).toBe(DATA + PAGE);
  }
  expect(handles[1]!.translate(0x1000, 0)).toBe(DATA);
});

describe('a CD that changed', () => {
  test.each([
    ['CFGI_CD', cfgiCd(STREAM, 0)],
    ['CFGI_CD_ALL', cfgiCdAll(STREAM)],
    ['CFGI_STE', cfgiSte(STREAM)],
  ])('is used after %s: other tables', (_, command) => {
    const { machine, space, handle } = device();
    const other = otherSpace(machine);
    // TTB0 is the second 64-bit word.
    machine.put(space.cdAddress + 8, machine.peek(other.cdAddress + 8));
    machine.command(command, nhAsid(ASID), SYNC);
    expectAll(handle, DATA + PAGE);
  });

  test('to EPD0, and to invalid', () => {
    const { machine, space, handle } = device();
    space.changeCd({ EPD0: 1 });
    machine.command(cfgiCd(STREAM, 0), SYNC);
    expectAll(handle, ABORTED);
    expect(handle.fault).toMatchObject({ event: 0x10, reason: Reason.walksDisabled });
    space.changeCd({ EPD0: 0, V: 0 });
    machine.command(cfgiCd(STREAM, 0), SYNC);
    expectAll(handle, ABORTED);
    expect(handle.fault).toMatchObject({ event: 0xa });
  });

  test('from CD.A=1 to CD.A=0', () => {
    const { machine, space, handle } = device();
    expect(handle.translate(0x9000, 0)).toBe(-1);
    space.changeCd({ A: 0 });
    expect(handle.translate(0x9000, 0)).toBe(-1);
    machine.command(cfgiCd(STREAM, 0), SYNC);
    expect(handle.translate(0x9000, 0)).toBe(-2);
    expectAll(handle, DATA);
  });

  test('of one substream: the others are not asked anew', () => {
    const machine = new DeviceMachine();
    const spaces = new Map([0, 1, 2].map((n) => [n, machine.space(ASID + n)]));
    for (const [n, space] of spaces) space.map(0x1000, DATA + n * PAGE, PAGE);
    const table = machine.guest.attachSubstreams(STREAM, spaces);
    machine.start();
    const handle = machine.smmu.attach(STREAM);
    const [one, two] = [handle.substream(1), handle.substream(2)];
    expect(one.translate(0x1000, 0)).toBe(DATA + PAGE);
    expect(two.translate(0x1000, 0)).toBe(DATA + 2 * PAGE);
    // CD 1 becomes what CD 0 is.
    const words = [0, 8, 16, 24].map((at) => machine.peek(table + at));
    machine.put(table + 64, ...words);
    machine.command(cfgiCd(STREAM, 1), SYNC);
    machine.memory.clear();
    expect(two.translate(0x1000, 0)).toBe(DATA + 2 * PAGE);
    expect(machine.memory.loads).toEqual([]);
    expect(one.translate(0x1000, 0)).toBe(DATA);
    machine.guest.setSte(STREAM, { V: 0 });
    machine.command(cfgiSte(STREAM), SYNC);
    expect([handle, one, two].map((each) => each.translate(0x1000, 0))).toEqual([-1, -1, -1]);
  });
});

describe('a translation that was invalidated', () => {
  test.each([
    [
      'unmapped',
      (space: AddressSpaceBuilder) => {
        space.unmap(0x1000, PAGE);
      },
      ABORTED,
    ],
    [
      'mapped elsewhere',
      (space: AddressSpaceBuilder) => {
        space.map(0x1000, DATA + PAGE, PAGE);
      },
      DATA + PAGE,
    ],
  ])('%s: the new one is used, in every handle', (_, change, answer) => {
    const { machine, space, handle } = device();
    machine.guest.attach(STREAM + 1, space);
    const other = machine.smmu.attach(STREAM + 1);
    warm(other);
    change(space);
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expectAll(handle, answer);
    expectAll(other, answer);
  });

  test('the right to write that was taken away is not used', () => {
    const { machine, space, handle } = device();
    expect(handle.translate(0x1000, 1)).toBe(DATA);
    space.map(0x1000, DATA, PAGE, { write: false });
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expect([handle.translate(0x1000, 0), handle.translate(0x1000, 1)]).toEqual([DATA, ABORTED]);
  });
});

describe('reset()', () => {
  test('goes back to the state after power-on: addresses bypass', () => {
    const { machine, space, handle } = device();
    machine.smmu.reset();
    expect([handle.translate(0x1000, 0), handle.translate(0x1000n, 0)]).toEqual([0x1000, 0x1000]);
    expect(handle.read(DATA, new Uint8Array(4))).toBe(4);
    // The guest starts again, with other tables: nothing was kept, without any command.
    space.map(0x1000, DATA + PAGE, PAGE);
    machine.start();
    expectAll(handle, DATA + PAGE);
  });

  test('forgets the CD as well: the guest that starts again may use another one', () => {
    const { machine, handle } = device();
    machine.guest.attach(STREAM, otherSpace(machine));
    machine.smmu.reset();
    machine.start();
    expectAll(handle, DATA + PAGE);
  });

  test('is followed by the handles of substreams', () => {
    const machine = new DeviceMachine();
    const space = machine.space(ASID);
    space.map(0x1000, DATA, PAGE);
    machine.guest.attachSubstreams(
      STREAM,
      new Map([
        [0, space],
        [3, space],
      ]),
    );
    machine.start();
    const handle = machine.smmu.attach(STREAM);
    const three = handle.substream(3);
    expect(three.translate(0x1000, 0)).toBe(DATA);
    machine.smmu.reset();
    expect(three.translate(0x1000, 0)).toBe(0x1000);
    machine.start();
    space.map(0x1000, DATA + PAGE, PAGE);
    expect(three.translate(0x1000, 0)).toBe(DATA + PAGE);
    expect(handle.substream(3) === three).toBe(true);
  });

  test('has its own counts', () => {
    const { machine, handle } = device();
    machine.smmu.reset();
    handle.translate(0x1000, 0);
    expect(machine.smmu.stats()).toMatchObject({ translations: 1, walks: 0 });
  });
});

function through(state: SmmuState): SmmuState {
  return JSON.parse(JSON.stringify(state)) as SmmuState;
}

describe('restore() and narrow()', () => {
  test('a handle that was attached before sees the restored state', () => {
    const { machine, space, handle } = device();
    const smmu: Smmu = machine.anotherSmmu();
    const other = smmu.attach(STREAM);
    expect(other.translate(0x1000, 0)).toBe(0x1000);
    const substream = other.substream(1);
    smmu.restore(through(machine.smmu.save()));
    expectAll(other, DATA);
    expect(substream.translate(0x1000, 0)).toBe(ABORTED);
    expect(substream.fault).toMatchObject({ event: 0x8, substreamId: 1 });
    // The configuration came with the state, translations did not.
    space.map(0x1000, DATA + PAGE, PAGE);
    const third = machine.anotherSmmu();
    const fresh = third.attach(STREAM);
    third.restore(through(machine.smmu.save()));
    expect(fresh.translate(0x1000, 0)).toBe(DATA + PAGE);
    expectAll(handle, DATA);
    // Each vSMMU gets its own commands.
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expectAll(handle, DATA + PAGE);
    expectAll(other, DATA);
  });

  test('a state that is refused leaves the handle as it was', () => {
    const { machine } = device();
    const smmu = machine.anotherSmmu();
    const other = smmu.attach(STREAM);
    const state = { ...through(machine.smmu.save()), version: 9 } as unknown as SmmuState;
    expect(() => {
      smmu.restore(state);
    }).toThrow(RangeError);
    expect(other.translate(0x1000, 0)).toBe(0x1000);
  });

  test('narrowed features hold for handles attached before', () => {
    const machine = new DeviceMachine();
    const space = machine.space(ASID);
    machine.guest.attach(STREAM, space);
    space.map(0x1000, DATA, PAGE);
    space.map(0x2000, 2 ** 44, PAGE);
    const handle = machine.smmu.attach(STREAM);
    expect(handle.translate(2 ** 45, 0)).toBe(2 ** 45);
    machine.smmu.narrow({ ...machine.smmu.features, OAS: 44, DS: 0, VAX: 0 });
    // SMMUEN=0: addresses beyond the output size abort (3.4).
    expect(handle.translate(2 ** 45, 0)).toBe(ABORTED);
    expect(handle.fault).toMatchObject({ event: 0, reason: Reason.globalBypassAddress });
    machine.start();
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    expect(handle.translate(0x2000, 0)).toBe(ABORTED);
    // F_ADDR_SIZE.
    expect(handle.fault).toMatchObject({ event: 0x11, reason: Reason.outputAddress });
  });
});
