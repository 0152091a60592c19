import { FRAME_BYTES } from '../../src/arch/registers.js';
import type { RandomMachine } from '../transaction/random-machine.js';

/** The registers of a random machine in a frame, at the offsets of IHI 0070, section 6. */
export function frameOf(machine: RandomMachine): Uint32Array {
  const { features } = machine;
  const frame = new Uint32Array(FRAME_BYTES / 4);
  const values: Readonly<Record<number, number>> = {
    0x00: features.idr0,
    0x04: features.idr1,
    0x0c: features.idr3,
    0x14: features.idr5,
    0x1c: features.aidr,
    0x20: machine.cr0,
    0x2c: machine.cr2,
    0x44: machine.gbpa,
    0x80: Number(machine.strtabBase & 0xffff_ffffn),
    0x84: Number(machine.strtabBase >> 32n),
    0x88: machine.strtabBaseCfg,
  };
  for (const [offset, value] of Object.entries(values)) frame[Number(offset) / 4] = value;
  return frame;
}
