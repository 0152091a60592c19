import { describe, expect, test } from 'vitest';
import type { SmmuState } from '../../src/state.js';
import { R } from '../smmu/smmu-machine.js';
import {
  ALL_ON,
  DATA,
  nhAsid,
  nhVa,
  NH_ALL,
  PAGE,
  SYNC_IRQ,
  TABLES,
  type DeviceMachineOptions,
} from './device-machine.js';
import { SlowAccess } from './slow-access.js';
import { device, expectWaiting, ASID, OTHER_ASID, type Device } from './sync-device.js';

const CMDQEN = 8;

describe('while CMD_SYNC waits', () => {
  function waiting(options: DeviceMachineOptions = {}): Device & { readonly access: SlowAccess } {
    const made = device(options);
    const access = new SlowAccess(made.handle, 0x2000, 16);
    made.machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expectWaiting(made.machine);
    return { ...made, access };
  }

  test('translations, other streams, and registers go on', async () => {
    const { machine, space, handle, other, access } = waiting();
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    expect(other.translate(0x2000, 1)).toBe(DATA + 5 * PAGE);
    expect(handle.write(0x2000, Uint8Array.of(1, 2))).toBe(2);
    expect(handle.translate(0x8000, 0)).toBe(-1);
    expect(machine.takeEvents()).toHaveLength(1);
    machine.wires.length = 0;
    expect(machine.write(R.IRQ_CTRL, 5).read(R.IRQ_CTRLACK)).toBe(5);
    space.map(0x2000, DATA + 7 * PAGE, PAGE);
    // A new access of the page does not make the wait longer.
    const later = new SlowAccess(handle, 0x2000, 16);
    await access.finish();
    expect([machine.commandsLeft, later.isActive]).toEqual([0, true]);
  });

  test('accesses that were not named may end', async () => {
    const { machine, handle, access } = waiting();
    const later = new SlowAccess(handle, 0x1000, 16);
    await later.finish();
    expectWaiting(machine);
    await access.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('writes of CMDQ_PROD, GERRORN, EVENTQ_CONS and CR0 do not make it go on', async () => {
    const { machine, access } = waiting();
    machine.write(R.GERRORN, 0).write(R.EVENTQ_CONS, 0).write(R.CR0, ALL_ON);
    machine.command();
    expectWaiting(machine);
    await access.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('the queue can be switched off, and on: it waits again', async () => {
    const { machine, access } = waiting();
    machine.write(R.CR0, ALL_ON & ~CMDQEN);
    expectWaiting(machine);
    machine.write(R.CR0, ALL_ON);
    expectWaiting(machine);
    await access.finish();
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
  });

  test('an access that ends while the queue is off: it completes when that is on again', async () => {
    const { machine, access } = waiting();
    machine.write(R.CR0, ALL_ON & ~CMDQEN);
    await access.finish();
    expectWaiting(machine);
    machine.write(R.CR0, ALL_ON);
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
  });

  test('the queue that begins anew does not lose its first commands', async () => {
    const { machine, access } = waiting();
    // The driver gives up on the queue: off, empty, on.
    const prod = machine.read(R.CMDQ_PROD);
    machine
      .write(R.CR0, ALL_ON & ~CMDQEN)
      .write(R.CMDQ_CONS, prod)
      .write(R.CR0, ALL_ON);
    machine.command(nhAsid(OTHER_ASID));
    expect(machine.commandsLeft).toBe(0);
    // What was invalidated is still in use: a CMD_SYNC waits, whichever it is.
    machine.command(SYNC_IRQ);
    expectWaiting(machine);
    await access.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('with a budget of 0 the embedder is told when it can go on', async () => {
    const { machine, handle } = device({ commandBudget: 0 });
    const access = new SlowAccess(handle, 0x2000, 16);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ, NH_ALL);
    expect(machine.pendingCalls).toBe(1);
    expect(machine.smmu.drain(1)).toBe(true);
    expect(machine.smmu.drain(1)).toBe(false);
    expect([machine.commandsLeft, machine.pendingCalls]).toEqual([2, 1]);
    await access.finish();
    expect([machine.commandsLeft, machine.pendingCalls]).toEqual([2, 2]);
    expect(machine.smmu.drain(100)).toBe(false);
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
  });

  test('a detached device is waited for', async () => {
    const { machine, handle, access } = waiting();
    handle.detach();
    expectWaiting(machine);
    await access.finish();
    expect([machine.commandsLeft, access.result]).toEqual([0, 16]);
  });

  test('a state that is saved goes on elsewhere without the accesses of here', async () => {
    const { machine, access } = waiting();
    const state = JSON.parse(JSON.stringify(machine.smmu.save())) as SmmuState;
    expect(state.registers).toMatchObject({ CMDQ_PROD: '0x2', CMDQ_CONS: '0x1' });
    const smmu = machine.anotherSmmu();
    smmu.restore(state);
    // Nothing is under way there: the embedder is told that there are commands.
    expect(machine.pendingCalls).toBe(1);
    expect(smmu.drain(100)).toBe(false);
    expect([smmu.readRegister(R.CMDQ_CONS, 4), machine.wires]).toEqual([2, ['cmdSync']]);
    machine.pendingCalls = 0;
    machine.wires.length = 0;
    expectWaiting(machine);
    await access.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('a reset ends the wait; the access that was under way is no matter to what follows', async () => {
    const { machine, handle, access } = waiting();
    machine.smmu.reset();
    machine.start();
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expect([machine.commandsLeft, machine.wires]).toEqual([0, ['cmdSync']]);
    machine.wires.length = 0;
    const next = new SlowAccess(handle, 0x2000, 16);
    machine.command(nhVa(ASID, 0x2000), SYNC_IRQ);
    expectWaiting(machine);
    await access.finish();
    expect(access.result).toBe(16);
    expectWaiting(machine);
    await next.finish();
    expect(machine.commandsLeft).toBe(0);
  });

  test('the tables are not read for it', () => {
    const { machine } = waiting();
    machine.memory.clear();
    for (let i = 0; i < 5; i++) machine.smmu.drain(10);
    expect(machine.memory.loadsIn(TABLES, DATA)).toBe(0);
  });
});
