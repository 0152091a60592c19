/** Every layout of `src/arch`, by the name it has in `fixtures/layouts`. */
import { Cd, CD_BYTES, L1cd, L1CD_BYTES } from '../../src/arch/cd.js';
import { Command, COMMAND_BYTES, CommandOpcode } from '../../src/arch/command.js';
import {
  Descriptor,
  DESCRIPTOR_BYTES,
  LeafDescriptor,
  TableDescriptor,
} from '../../src/arch/descriptor.js';
import { Event, EVENT_BYTES, EventID } from '../../src/arch/event.js';
import type { Field, Layout } from '../../src/arch/field.js';
import { Register } from '../../src/arch/registers.js';
import { L1std, L1STD_BYTES, Ste, STE_BYTES } from '../../src/arch/ste.js';

export interface LibraryLayout {
  layout: Layout;
  bytes: number;
  /** Opcode of a command, number of an event, offset of a register. */
  number: number;
  /** Field of the number, in commands and events. */
  numberField?: Field;
  access?: string;
}

/** By file of `fixtures/layouts`, then by structure. */
export const LIBRARY: Readonly<Record<string, Readonly<Record<string, LibraryLayout>>>> = {
  ste: { STE: { layout: Ste, bytes: STE_BYTES, number: 0 } },
  l1std: { L1STD: { layout: L1std, bytes: L1STD_BYTES, number: 0 } },
  cd: { CD: { layout: Cd, bytes: CD_BYTES, number: 0 } },
  l1cd: { L1CD: { layout: L1cd, bytes: L1CD_BYTES, number: 0 } },
  descriptor: {
    Table: { layout: { ...Descriptor, ...TableDescriptor }, bytes: DESCRIPTOR_BYTES, number: 0 },
    Leaf: { layout: { ...Descriptor, ...LeafDescriptor }, bytes: DESCRIPTOR_BYTES, number: 0 },
  },
  commands: Object.fromEntries(
    Object.entries(Command).map(([name, { opcode, fields }]) => [
      name,
      { layout: fields, bytes: COMMAND_BYTES, number: opcode, numberField: CommandOpcode },
    ]),
  ),
  events: Object.fromEntries(
    Object.entries(Event).map(([name, { id, fields }]) => [
      name,
      { layout: fields, bytes: EVENT_BYTES, number: id, numberField: EventID },
    ]),
  ),
  registers: Object.fromEntries(
    Object.entries(Register).map(([name, { offset, size, access, fields }]) => [
      name,
      { layout: fields, bytes: size, number: offset, access },
    ]),
  ),
};
