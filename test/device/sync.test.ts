import { describe, expect, test } from 'vitest';
import type { Entry } from '../smmu/smmu-machine.js';
import {
  cfgiCd,
  cfgiCdAll,
  cfgiSte,
  cfgiSteRange,
  CFGI_ALL,
  DATA,
  nhAsid,
  nhVa,
  nhVaa,
  nhVaRange,
  NH_ALL,
  NSNH_ALL,
  PAGE,
  STREAM,
  SYNC,
  SYNC_IRQ,
} from './device-machine.js';
import { SlowAccess } from './slow-access.js';
import { device, expectWaiting, isHeld, ASID, OTHER_ASID } from './sync-device.js';

describe('CMD_SYNC waits for an access that uses what was invalidated', () => {
  const naming: [name: string, command: Entry][] = [
    ['TLBI_NH_VA', nhVa(ASID, 0x2000)],
    ['TLBI_NH_VAA', nhVaa(0x2000)],
    ['TLBI_NH_VA of a range', nhVaRange(ASID, 0x2000, 0, 1)],
    ['TLBI_NH_VA of a range that begins before', nhVaRange(ASID, 0, 2, 0)],
    ['TLBI_NH_ASID', nhAsid(ASID)],
    ['TLBI_NH_ALL', NH_ALL],
    ['TLBI_NSNH_ALL', NSNH_ALL],
    ['CFGI_STE', cfgiSte(STREAM)],
    ['CFGI_STE_RANGE', cfgiSteRange(STREAM + 7, 2)],
    ['CFGI_ALL', CFGI_ALL],
    ['CFGI_CD', cfgiCd(STREAM, 0)],
    ['CFGI_CD_ALL', cfgiCdAll(STREAM)],
  ];

  test.each(naming)('%s, the access being the first of its stream', async (_, command) => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x2010, 16);
    expect(await isHeld(machine, access, command)).toBe(true);
    expect(access.result).toBe(16);
  });

  test.each(naming)('%s, the pages being warm, and one of several', async (_, command) => {
    const { machine, handle } = device();
    for (const iova of [0x1000, 0x2000, 0x3000]) handle.translate(iova, 0);
    expect(await isHeld(machine, new SlowAccess(handle, 0x1800, 0x2000), command)).toBe(true);
  });

  test.each(naming)('%s, nothing being cached', async (_, command) => {
    const { machine, handle } = device({ cache: { entries: 0 } });
    for (let round = 0; round < 2; round++) {
      expect(await isHeld(machine, new SlowAccess(handle, 0x2010, 16), command)).toBe(true);
    }
  });

  test('the commands before it are done', () => {
    const { machine, handle, space } = device();
    const access = new SlowAccess(handle, 0x2000, 16);
    space.map(0x2000, DATA + 7 * PAGE, PAGE);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expect(access.isActive).toBe(true);
    // The invalidation has been carried out.
    expect(handle.translate(0x2000, 0)).toBe(DATA + 7 * PAGE);
    expectWaiting(machine);
  });

  test('and then goes on by itself, with the commands behind', async () => {
    const { machine, handle, other } = device();
    const access = new SlowAccess(handle, 0x2000, 16);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ, nhAsid(OTHER_ASID), SYNC_IRQ);
    expectWaiting(machine, 3);
    machine.command(NH_ALL, SYNC_IRQ);
    expectWaiting(machine, 5);
    expect(other.translate(0x1000, 0)).toBe(DATA + 4 * PAGE);
    await access.finish();
    expect(machine.commandsLeft).toBe(0);
    expect(machine.wires).toEqual(['cmdSync', 'cmdSync', 'cmdSync']);
    expect(machine.pendingCalls).toBe(0);
  });

  test('an access that fails is done, too', async () => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x2000, 16);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expectWaiting(machine);
    await access.fail();
    expect(access.result).toMatchObject({ message: 'the device is broken' });
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
  });

  test('one that performs at once is under way until its promise settles', async () => {
    const { machine, handle } = device();
    const waits = handle.dma(0x2000, 16, 0, () => undefined);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expectWaiting(machine);
    await waits;
    expect(machine.commandsLeft).toBe(0);
  });

  test('its message is sent when it completes, not before', async () => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x2000, 16);
    // CS=SIG_IRQ, MSIData [63:32], MSIAddress [119:66].
    const message: Entry = [0x1046n | (0x77n << 32n), BigInt(DATA + 5 * PAGE)];
    machine.command(nhVa(ASID, 0x2000), message);
    expect(machine.peek(DATA + 5 * PAGE)).toBe(0n);
    await access.finish();
    expect(machine.peek(DATA + 5 * PAGE)).toBe(0x77n);
  });

  test('for all of them', async () => {
    const { machine, handle, other } = device();
    const accesses = [
      new SlowAccess(handle, 0x1000, 16),
      new SlowAccess(other, 0x1000, 16),
      new SlowAccess(handle, 0x1000, 32, 1),
    ];
    machine.command(nhVaa(0x1000), NH_ALL, SYNC_IRQ);
    expectWaiting(machine);
    await accesses[1]!.finish();
    expectWaiting(machine);
    await accesses[0]!.fail();
    expectWaiting(machine);
    await accesses[2]!.finish();
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
  });

  test('once for each CMD_SYNC', async () => {
    const { machine, handle } = device();
    const one = new SlowAccess(handle, 0x1000, 16);
    const two = new SlowAccess(handle, 0x2000, 16);
    machine.command(nhVa(ASID, 0x1000), SYNC, nhVa(ASID, 0x2000), SYNC);
    expectWaiting(machine, 3);
    await two.finish();
    expectWaiting(machine, 3);
    const three = new SlowAccess(handle, 0x2000, 16);
    await one.finish();
    // The second invalidation came after the third access had begun.
    expectWaiting(machine, 1);
    await three.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('a CMD_SYNC without an invalidation before it does not wait', () => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x1000, 16);
    machine.command(SYNC, SYNC);
    expect([machine.commandsLeft, access.isActive]).toEqual([0, true]);
  });

  test('one that was queued later waits as well', async () => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x1000, 16);
    machine.command(nhVa(ASID, 0x1000));
    expect(machine.commandsLeft).toBe(0);
    machine.command(SYNC_IRQ);
    expectWaiting(machine);
    await access.finish();
    expect(machine.wires).toEqual(['cmdSync']);
  });

  test('an access that ends between the two is not waited for', async () => {
    const { machine, handle } = device();
    const access = new SlowAccess(handle, 0x1000, 16);
    machine.command(nhVa(ASID, 0x1000));
    await access.finish();
    machine.command(SYNC);
    expect(machine.commandsLeft).toBe(0);
  });
});

describe('CMD_SYNC does not wait for an access that was not named', () => {
  test.each<[name: string, command: Entry]>([
    ['another page', nhVa(ASID, 0x3000)],
    ['another page of any ASID', nhVaa(0x1000)],
    ['another ASID', nhVa(OTHER_ASID, 0x2000)],
    ['pages before', nhVaRange(ASID, 0, 1, 0)],
    ['pages behind', nhVaRange(ASID, 0x3000, 31, 2)],
    ['all of another ASID', nhAsid(OTHER_ASID)],
    ['another stream', cfgiSte(STREAM + 1)],
    ['other streams', cfgiSteRange(STREAM + 8, 2)],
    ['another CD of the stream', cfgiCd(STREAM, 1)],
    ['the CD of another stream', cfgiCd(STREAM + 1, 0)],
    ['the CDs of another stream', cfgiCdAll(STREAM + 1)],
  ])('%s', async (_, command) => {
    const { machine, handle } = device();
    for (let round = 0; round < 2; round++) {
      expect(await isHeld(machine, new SlowAccess(handle, 0x2000, PAGE), command)).toBe(false);
    }
  });

  test('one that began after the invalidation', () => {
    const { machine, handle } = device();
    handle.translate(0x1000, 0);
    machine.command(NH_ALL, cfgiSte(STREAM));
    const access = new SlowAccess(handle, 0x1000, 16);
    machine.command(SYNC);
    expect([machine.commandsLeft, access.isActive]).toEqual([0, true]);
  });

  test('the part that faulted, and was not performed', async () => {
    const { machine, handle } = device();
    const access = () => new SlowAccess(handle, 0x3000, 2 * PAGE);
    expect(await isHeld(machine, access(), nhVa(ASID, 0x4000))).toBe(false);
    machine.takeEvents();
    machine.wires.length = 0;
    expect(await isHeld(machine, access(), nhVa(ASID, 0x3000))).toBe(true);
  });

  test('a translation that is no DMA', () => {
    const { machine, handle } = device();
    handle.translate(0x1000, 0);
    handle.read(0x1000, new Uint8Array(4));
    machine.command(NH_ALL, SYNC);
    expect(machine.commandsLeft).toBe(0);
  });
});
