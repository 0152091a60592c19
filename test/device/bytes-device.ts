import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { DATA, DeviceMachine, PAGE, STREAM } from './device-machine.js';

const ASID = 5;
export const HOLE = 0x9000_0000;

export interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

/**
 * Pages at 0x1000 and 0x2000, of which the second is read-only, and at 0x4000, which leads to no
 * memory; 0x3000 and 0x5000 are not mapped; 0x7000 and 0x8000 are, the second before the first.
 */
export function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(ASID, cd);
  machine.guest.attach(STREAM, space);
  space.map(0x1000, DATA + 4 * PAGE, PAGE);
  space.map(0x2000, DATA + PAGE, PAGE, { write: false });
  space.map(0x4000, HOLE, PAGE);
  space.map(0x7000, DATA + 3 * PAGE, PAGE);
  space.map(0x8000, DATA + 2 * PAGE, PAGE);
  machine.putBytes(
    DATA,
    Array.from({ length: 8 * PAGE }, (_, i) => patternAt(DATA + i)),
  );
  machine.start();
  return { machine, space, handle: machine.smmu.attach(STREAM) };
}

/** What RAM holds at first. */
export function patternAt(address: number): number {
  return (address * 7 + (address >> 12) * 13) & 0xff;
}

export function pattern(address: number, length: number): number[] {
  return Array.from({ length }, (_, i) => patternAt(address + i));
}

export const filled = (length: number): Uint8Array => new Uint8Array(length).fill(0xee);
