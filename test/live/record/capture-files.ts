import { hex } from './journal.js';
import type { RecordingEnd } from './recorder.js';

/** What a recording says of itself. */
export interface RecordingOrigin {
  readonly name: string;
  readonly description: string;
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly devices: readonly { readonly name: string; readonly streamId: number }[];
  /** Of the vSMMU, unless the library's. */
  readonly commandBudget?: number;
  readonly cacheEntries?: number;
  /** Anything else worth knowing, such as versions. */
  readonly more?: Readonly<Record<string, string>>;
}

/** `capture.json` of a recording. */
export function captureJson(origin: RecordingOrigin, end: RecordingEnd): string {
  const { name, description, ramBase, ramBytes, devices, more } = origin;
  const { commandBudget, cacheEntries } = origin;
  const notes: string[] = [];
  if (end.isCut) notes.push('cut off at a limit');
  if (end.lost > 0) notes.push(`${end.lost} writes of the vSMMU out of any call are not in it`);
  const json = {
    name,
    description,
    ...more,
    ramBase: hex(ramBase),
    ramSize: hex(ramBytes),
    notes,
    recording: {
      version: 1,
      ...(commandBudget === undefined ? {} : { commandBudget }),
      ...(cacheEntries === undefined ? {} : { cacheEntries }),
    },
    registers: end.registers,
    devices: devices.map((device) => ({ ...device, bdf: '' })),
  };
  return `${JSON.stringify(json, undefined, 1)}\n`;
}

/** `memory.bin` of a recording, before it is compressed. */
export function memoryFile({ pages }: RecordingEnd): Buffer {
  const bytes = Buffer.alloc(pages.length * 4104);
  pages.forEach(({ address, words }, i) => {
    const at = i * 4104;
    bytes.writeBigUInt64LE(BigInt(address), at);
    words.forEach((word, j) => bytes.writeUInt32LE(word, at + 8 + 4 * j));
  });
  return bytes;
}
