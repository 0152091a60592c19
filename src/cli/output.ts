import { hex } from '../memory/hex.js';
import Table from 'cli-table3';
import { get, getAddress, isAddress, type Layout } from '../arch/field.js';
import type { Capture, CaptureDevice } from '../fixtures/capture.js';

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** A number of bytes as people say it: `4 KiB`, `1.5 MiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0 && value === 1) return '1 byte';
  return `${Number.isInteger(value) ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]!}`;
}

/** A 32-bit word as `0x` and eight digits. */
export function hexWord(word: number): string {
  return `0x${(word >>> 0).toString(16).padStart(8, '0')}`;
}

/** Two 32-bit words, the low one first, as `0x` and sixteen digits. */
export function hexDoubleword(low: number, high: number): string {
  return `${hexWord(high)}${hexWord(low).slice(2)}`;
}

/** Words as doublewords of sixteen digits. */
export function hexDoublewords(words: Uint32Array): string[] {
  const texts: string[] = [];
  for (let i = 0; i < words.length; i += 2) texts.push(hexDoubleword(words[i]!, words[i + 1]!));
  return texts;
}

/** Fields of a structure by name: addresses as hexadecimal strings, the rest as numbers. */
export type FieldRecord = Readonly<Record<string, number | string>>;

/** The named fields of a structure; all of them when no names are given. */
export function fieldRecord(
  words: Uint32Array,
  at: number,
  layout: Layout,
  names: readonly string[] = Object.keys(layout),
): FieldRecord {
  return Object.fromEntries(
    names.map((name) => {
      const field = layout[name]!;
      return [name, isAddress(field) ? hex(getAddress(words, at, field)) : get(words, at, field)];
    }),
  );
}

/** `1 range`, `2 ranges`. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : many}`;
}

/** Rows as aligned columns without lines, indented by two spaces. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const empty = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };
  const edges = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '' };
  const bottom = { bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' };
  const made = new Table({
    chars: { ...empty, ...edges, ...bottom, left: '  ', right: '', middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: Array.from({ length: columns }, (_, i) => (right.includes(i) ? 'right' : 'left')),
  });
  for (const row of rows) made.push([...row]);
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Phrases joined by `mark` and a space, in lines of about `width` characters. */
export function wrap(phrases: readonly string[], width: number, mark = ','): string {
  const lines: string[] = [];
  let line = '';
  phrases.forEach((phrase, i) => {
    const piece = i < phrases.length - 1 ? phrase + mark : phrase;
    if (line !== '' && line.length + 1 + piece.length > width) {
      lines.push(line);
      line = piece;
    } else {
      line = line === '' ? piece : `${line} ${piece}`;
    }
  });
  return [...lines, line].join('\n');
}

/** Text of a capture without control characters, which a terminal might obey. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

/** Which devices have which StreamID. */
export class DeviceNames {
  private readonly byStream = new Map<number, CaptureDevice[]>();

  constructor(capture: Capture) {
    for (const device of capture.devices) {
      const others = this.byStream.get(device.streamId);
      if (others === undefined) this.byStream.set(device.streamId, [device]);
      else others.push(device);
    }
  }

  /** StreamIDs that devices have, ascending. */
  streamIds(): number[] {
    return [...this.byStream.keys()].sort((a, b) => a - b);
  }

  /** The devices of a stream. */
  of(streamId: number): readonly CaptureDevice[] {
    return this.byStream.get(streamId) ?? [];
  }

  /** `StreamID 0x10 (virtio-blk 0000:00:02.0)`. */
  label(streamId: number): string {
    const names = this.of(streamId).map(({ name, bdf }) => printable(`${name} ${bdf}`).trim());
    return `StreamID ${hex(streamId)}${names.length === 0 ? '' : ` (${names.join(', ')})`}`;
  }
}
