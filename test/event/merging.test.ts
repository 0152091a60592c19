import { describe, expect, test } from 'vitest';
import { CD, CD_TABLE, edited, STE, STREAM_TABLE } from '../transaction/machine.js';
import { EVENTQEN, R, SMMUEN, SmmuMachine } from '../smmu/smmu-machine.js';

const FAULT = 0x4000_0000n;
const MERGING = 0x10;
const OTHER = 0x11;
const STRICT = 0x12;

/** Two streams with MEV=1, bit 19 of word 1, and one without; substreams are on. */
function started(): SmmuMachine {
  const machine = new SmmuMachine({ eventqLog2: 4 });
  const s1cdMax = [0, 63, 59, 2] as const;
  machine.put(STREAM_TABLE + 64 * MERGING, ...edited(STE, [1, 19, 19, 1], s1cdMax));
  machine.put(STREAM_TABLE + 64 * OTHER, ...edited(STE, [1, 19, 19, 1], s1cdMax));
  machine.put(STREAM_TABLE + 64 * STRICT, ...edited(STE, s1cdMax));
  for (let i = 0; i < 4; i++) machine.put(CD_TABLE + 64 * i, ...CD);
  return machine.start();
}

function records(machine: SmmuMachine): number {
  return machine.read(R.EVENTQ_PROD);
}

describe('merging of equal records (7.3.1)', () => {
  test.each<[string, (machine: SmmuMachine) => void, expected: number]>([
    ['the same again', (m) => m.translate(FAULT, 0, MERGING), 1],
    ['another place in the same page', (m) => m.translate(FAULT + 0xfffn, 0, MERGING), 1],
    ['another page', (m) => m.translate(FAULT + 0x1000n, 0, MERGING), 2],
    ['another half of 64 bits', (m) => m.translate(FAULT + (1n << 40n), 0, MERGING), 2],
    ['a write', (m) => m.translate(FAULT, 1, MERGING), 2],
    ['privileged', (m) => m.translate(FAULT, 4, MERGING), 2],
    ['another stream', (m) => m.translate(FAULT, 0, OTHER), 2],
    ['another SubstreamID', (m) => m.translate(FAULT, 0, MERGING, 1), 2],
    ['another event', (m) => m.translate(0n, 2, MERGING, 9), 2],
  ])('%s', (_, again, expected) => {
    const machine = started();
    machine.translate(FAULT, 0, MERGING);
    again(machine);
    expect(records(machine)).toBe(expected);
  });

  test('not without MEV', () => {
    const machine = started();
    for (let i = 0; i < 3; i++) machine.translate(FAULT, 0, STRICT);
    expect(records(machine)).toBe(3);
  });

  test('the whole InputAddr counts where the page does not: C_BAD_SUBSTREAMID has none', () => {
    const machine = started();
    for (let i = 0; i < 3; i++) machine.translate(BigInt(i), 0, MERGING, 5);
    expect(records(machine)).toBe(1);
    expect(machine.smmu.stats().events.C_BAD_SUBSTREAMID).toMatchObject({ written: 1, merged: 2 });
  });

  test('not with a record between them', () => {
    const machine = started();
    machine.translate(FAULT, 0, MERGING);
    machine.translate(FAULT, 0, STRICT);
    machine.translate(FAULT, 0, MERGING);
    expect(records(machine)).toBe(3);
  });

  test('not with a record that the guest has read', () => {
    const machine = started();
    machine.translate(FAULT, 0, MERGING);
    machine.write(R.EVENTQ_CONS, 1).translate(FAULT, 0, MERGING);
    expect(records(machine)).toBe(2);
  });

  test('in a full queue nothing is lost by merging, and OVFLG stays', () => {
    const machine = started();
    for (let i = 0; i < 16; i++) machine.translate(FAULT + BigInt(i) * 0x1000n, 0, MERGING);
    machine.translate(FAULT + 0xf000n, 0, MERGING);
    expect(records(machine)).toBe(16);
    machine.translate(FAULT, 0, MERGING);
    expect(records(machine)).toBe(0x8000_0010);
  });

  test('a queue that is off discards, and does not merge', () => {
    const machine = started();
    machine.translate(FAULT, 0, MERGING);
    machine.write(R.CR0, SMMUEN).translate(FAULT, 0, MERGING);
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ discarded: 1, merged: 0 });
  });

  test('not with what was recorded in a queue of before', () => {
    const machine = started();
    machine.translate(FAULT, 0, MERGING);
    machine.write(R.CR0, SMMUEN).write64(R.EVENTQ_BASE, 0x4300_0004n);
    // The guest says that there is an unread record in the new queue; it is not this one.
    machine
      .write(R.EVENTQ_PROD, 1)
      .write(R.EVENTQ_CONS, 0)
      .write(R.CR0, SMMUEN | EVENTQEN);
    machine.translate(FAULT, 0, MERGING);
    expect(records(machine)).toBe(2);
    expect(machine.peek(0x4300_0020)).toBe(0x10_0000_0010n);
  });
});
