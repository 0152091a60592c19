import { describe, expect, test } from 'vitest';
import {
  BLOCK,
  cfgiCd,
  cfgiCdAll,
  cfgiSte,
  CFGI_ALL,
  DATA,
  DeviceMachine,
  nhAsid,
  nhVa,
  nhVaa,
  NH_ALL,
  PAGE,
  STREAM,
  SYNC,
} from './device-machine.js';
import { SlowAccess } from './slow-access.js';
import { device, isHeld, ASID, OTHER_ASID, GLOBAL, UPPER } from './sync-device.js';

describe('what an access uses', () => {
  test.each([false, true])('is the whole block, warm: %s', async (isWarm) => {
    const { machine, handle } = device();
    if (isWarm) handle.translate(BLOCK, 0);
    const access = () => new SlowAccess(handle, BLOCK + 0x1000, 16);
    expect(await isHeld(machine, access(), nhVa(ASID, BLOCK + 0x1f_f000))).toBe(true);
    expect(await isHeld(machine, access(), nhVa(ASID, BLOCK))).toBe(true);
    expect(await isHeld(machine, access(), nhVa(ASID, 2 * BLOCK))).toBe(false);
    expect(await isHeld(machine, access(), nhVa(ASID, BLOCK - PAGE))).toBe(false);
    const both = () => new SlowAccess(handle, 2 * BLOCK - 1, 2);
    expect(await isHeld(machine, both(), nhVa(ASID, 3 * BLOCK - PAGE))).toBe(true);
    expect(await isHeld(machine, both(), nhVa(ASID, 3 * BLOCK))).toBe(false);
  });

  test('of a global page is named with any ASID, but not by ASID', async () => {
    const { machine, handle } = device();
    const access = () => new SlowAccess(handle, GLOBAL, 16);
    for (let round = 0; round < 2; round++) {
      expect(await isHeld(machine, access(), nhAsid(ASID))).toBe(false);
      expect(await isHeld(machine, access(), nhVa(OTHER_ASID, GLOBAL))).toBe(true);
      expect(await isHeld(machine, access(), nhVa(OTHER_ASID, GLOBAL + PAGE))).toBe(false);
      expect(await isHeld(machine, access(), NH_ALL)).toBe(true);
    }
  });

  test('of global pages and others is told apart', async () => {
    const { machine, space, handle } = device();
    space.map(GLOBAL + PAGE, DATA, PAGE);
    const access = () => new SlowAccess(handle, GLOBAL, 2 * PAGE);
    expect(await isHeld(machine, access(), nhVa(OTHER_ASID, GLOBAL))).toBe(true);
    expect(await isHeld(machine, access(), nhVa(OTHER_ASID, GLOBAL + PAGE))).toBe(false);
    expect(await isHeld(machine, access(), nhVa(ASID, GLOBAL + PAGE))).toBe(true);
    expect(await isHeld(machine, access(), nhAsid(ASID))).toBe(true);
  });

  test('lies in the upper half as well', async () => {
    const { machine, handle } = device();
    for (let round = 0; round < 2; round++) {
      const access = () => new SlowAccess(handle, UPPER, 16);
      expect(await isHeld(machine, access(), nhVa(ASID, UPPER))).toBe(true);
      expect(await isHeld(machine, access(), nhVa(ASID, UPPER + 0x1000n))).toBe(false);
      expect(await isHeld(machine, access(), nhVa(ASID, 0x1000))).toBe(false);
    }
  });

  test.each([
    [0x1200_0000_0000_1000n, 0x1000n],
    [0x1000n, 0x3400_0000_0000_1000n],
    [0x1200_0000_0000_1000n, 0x3400_0000_0000_1000n],
  ])('with a tag (TBI) is the page without: %d and %d', async (used, named) => {
    const { machine, handle } = device({}, { TBI0: 1 });
    expect(await isHeld(machine, new SlowAccess(handle, used, 16), nhVa(ASID, named))).toBe(true);
  });

  test('of a stream that bypasses is its STE', async () => {
    const { machine, handle } = device();
    machine.guest.bypass(STREAM);
    const access = () => new SlowAccess(handle, DATA, 16);
    for (const command of [NH_ALL, nhVaa(DATA), nhAsid(0), nhAsid(ASID)]) {
      expect(await isHeld(machine, access(), command)).toBe(false);
    }
    expect(await isHeld(machine, access(), cfgiSte(STREAM))).toBe(true);
    expect(await isHeld(machine, access(), CFGI_ALL)).toBe(true);
  });

  test('of a substream is its own CD and ASID', async () => {
    const machine = new DeviceMachine();
    const spaces = new Map([0, 1].map((n) => [n, machine.space(ASID + n)]));
    for (const space of spaces.values()) space.map(0x1000, DATA, PAGE);
    machine.guest.attachSubstreams(STREAM, spaces);
    machine.start();
    const handle = machine.smmu.attach(STREAM);
    const one = () => new SlowAccess(handle.substream(1), 0x1000, 16);
    const none = () => new SlowAccess(handle, 0x1000, 16);
    for (let round = 0; round < 2; round++) {
      expect(await isHeld(machine, one(), cfgiCd(STREAM, 0))).toBe(false);
      expect(await isHeld(machine, one(), cfgiCd(STREAM, 1))).toBe(true);
      expect(await isHeld(machine, one(), cfgiCdAll(STREAM))).toBe(true);
      expect(await isHeld(machine, one(), nhAsid(ASID))).toBe(false);
      expect(await isHeld(machine, one(), nhAsid(ASID + 1))).toBe(true);
      expect(await isHeld(machine, none(), cfgiCd(STREAM, 0))).toBe(true);
      expect(await isHeld(machine, none(), cfgiCd(STREAM, 1))).toBe(false);
      expect(await isHeld(machine, none(), nhVa(ASID, 0x1000))).toBe(true);
    }
  });

  test('is not taken from under it by an interrupt that its own fault raises', () => {
    const { machine, space, handle } = device();
    handle.translate(0x3000, 0);
    machine.onWire = (line) => {
      if (line !== 'eventq') return;
      // The guest handles the fault behind the access by unmapping the page before, all at once.
      space.unmap(0x3000, PAGE);
      machine.command(nhVa(ASID, 0x3000), SYNC);
    };
    const access = new SlowAccess(handle, 0x3000, 2 * PAGE);
    // Once CMD_SYNC is done nobody may use the page.
    const isSynchronized = machine.commandsLeft === 0;
    expect([isSynchronized, access.addresses]).not.toEqual([true, [DATA + 2 * PAGE]]);
  });
});
