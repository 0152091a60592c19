import type { Segments } from '../../src/device/segments.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { BLOCK, DATA, DeviceMachine, PAGE, STREAM } from './device-machine.js';

export const ASID = 5;

export interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

export type Segment = readonly [address: number, length: number];

/** Pages at 0x1000 and 0x2000 that lie apart, and a block at 0x20_0000. */
export function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(ASID, cd);
  machine.guest.attach(STREAM, space);
  space.map(0x1000, DATA, PAGE);
  space.map(0x2000, DATA + 2 * PAGE, PAGE);
  space.map(BLOCK, DATA + BLOCK, BLOCK);
  machine.start();
  return { machine, space, handle: machine.smmu.attach(STREAM) };
}

export function segmentsOf(segments: Segments): Segment[] {
  const list: Segment[] = [];
  for (let i = 0; i < segments.count; i++) {
    list.push([segments.addresses[i]!, segments.lengths[i]!]);
  }
  return list;
}

/** Notes what `perform` is given. */
export function noting(calls: Segment[][]): (segments: Segments) => void {
  return (segments) => void calls.push(segmentsOf(segments));
}

/** Lets all that is not waiting for anything go on. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}
