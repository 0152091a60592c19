/**
 * CMD_SYNC and accesses of devices that take time (IHI 0070, section 4.7.3): it completes once nobody
 * uses any more what was invalidated before it.
 */
import { expect } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import type { Entry } from '../smmu/smmu-machine.js';
import {
  BLOCK,
  DATA,
  DeviceMachine,
  PAGE,
  STREAM,
  SYNC_IRQ,
  type DeviceMachineOptions,
} from './device-machine.js';
import { SlowAccess } from './slow-access.js';

export const ASID = 5;
/** The ASID of the next stream. */
export const OTHER_ASID = 6;
/** A global page (nG=0). */
export const GLOBAL = 0x9000;
export const UPPER = 0xffff_8000_0000_1000n;

export interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
  readonly other: StreamHandle;
}

/** Two streams with pages at 0x1000 to 0x3fff, and a global one; the first has blocks as well. */
export function device(
  options: DeviceMachineOptions = {},
  cd: Readonly<Record<string, number>> = {},
): Device {
  const machine = new DeviceMachine(options);
  const space = machine.space(ASID, cd);
  const next = machine.space(OTHER_ASID);
  machine.guest.attach(STREAM, space);
  machine.guest.attach(STREAM + 1, next);
  for (const [i, each] of [space, next].entries()) {
    each.map(0x1000, DATA + 4 * i * PAGE, 3 * PAGE);
    each.map(GLOBAL, DATA + 8 * PAGE, PAGE, { leaf: { nG: 0 } });
  }
  space.map(BLOCK, DATA + BLOCK, 2 * BLOCK);
  space.map(UPPER, DATA, PAGE);
  machine.start();
  const [handle, other] = [machine.smmu.attach(STREAM), machine.smmu.attach(STREAM + 1)];
  return { machine, space, handle, other };
}

/** CMD_SYNC is not done: no progress, no signal, nothing to drain. */
export function expectWaiting(machine: DeviceMachine, left = 1): void {
  expect(machine.commandsLeft).toBe(left);
  expect(machine.wires).toEqual([]);
  expect(machine.smmu.drain(100)).toBe(false);
  expect(machine.commandsLeft).toBe(left);
  expect(machine.pendingCalls).toBe(0);
}

/** Whether `commands` and a CMD_SYNC behind them complete while `access` is under way; then it is done. */
export async function isHeld(
  machine: DeviceMachine,
  access: SlowAccess,
  ...commands: readonly Entry[]
): Promise<boolean> {
  expect(access.isActive).toBe(true);
  machine.wires.length = 0;
  machine.command(...commands, SYNC_IRQ);
  const held = machine.commandsLeft > 0;
  if (held) expectWaiting(machine);
  await access.finish();
  expect(machine.commandsLeft).toBe(0);
  expect(machine.wires).toEqual(['cmdSync']);
  return held;
}
