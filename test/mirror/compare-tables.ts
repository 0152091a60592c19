import { IntervalList } from '../../src/ioas/interval-list.js';
import { RunColumns } from '../../src/ioas/runs.js';
import { AreaSizes } from '../../src/mirror/area-sizes.js';
import { Comparison } from '../../src/mirror/comparison.js';
import { SinkLimits } from '../../src/mirror/sink-limits.js';
import type { SinkCapabilities } from '../../src/mirror/sink.js';
import { AreaSink } from './area-sink.js';

const PAGE = 4096;
const RIGHTS: Readonly<Record<string, number>> = { r: 1, w: 2, rw: 3 };
/** Marks of what is left of an area: bits 2 and 3. */
const MARKS = ['', ' before', ' after'];

/** `10+4>100 rw`: pages 0x10 to 0x13 go to page 0x100 and what follows. */
interface Row {
  iova: number;
  length: number;
  address: number;
  permissions: number;
}

export function row(text: string): Row {
  const found = /^([0-9a-f]+)\+([0-9a-f]+)>([0-9a-f]+) (r|w|rw)$/.exec(text);
  if (found === null) throw new Error(`no row: ${text}`);
  const [iova, length, address] = found.slice(1, 4).map((hex) => PAGE * parseInt(hex, 16));
  return { iova: iova!, length: length!, address: address!, permissions: RIGHTS[found[4]!]! };
}

function hex(bytes: number): string {
  return (bytes / PAGE).toString(16);
}

export function columnsOf(rows: readonly string[]): RunColumns {
  const columns = new RunColumns(0, 4);
  for (const text of rows) {
    const { iova, length, address, permissions } = row(text);
    const index = columns.add();
    columns.iovas[index] = iova;
    columns.lengths[index] = length;
    columns.addresses[index] = address;
    columns.permissions[index] = permissions;
  }
  return columns;
}

/** Runs as rows, in pages. */
export function rowsOf({ iovas, lengths, addresses, permissions, count }: RunColumns): string[] {
  return Array.from({ length: count }, (_, i) => {
    const rights = ['', 'r', 'w', 'rw'][permissions[i]! & 3]!;
    const mark = MARKS[permissions[i]! >> 2]!;
    return `${hex(iovas[i]!)}+${hex(lengths[i]!)}>${hex(addresses[i]!)} ${rights}${mark}`;
  });
}

export function comparisonOf(
  unmaps: 'any' | 'areas' | 'area',
  sizes = new AreaSizes(),
): Comparison {
  return new Comparison(limitsOf({ unmaps }), sizes);
}

export function limitsOf(capabilities: SinkCapabilities, most = 1000): SinkLimits {
  return new SinkLimits('sink', new AreaSink(capabilities), most);
}

export function heldOf(rows: readonly string[]): IntervalList {
  const held = new IntervalList();
  for (const text of rows) {
    const { iova, length, address, permissions } = row(text);
    held.put(iova, length, address, permissions);
  }
  return held;
}

/** What a comparison of pages `[from, to)` finds: `-10+4` are unmaps, `+10+4>100 rw` are maps. */
export function found(
  comparison: Comparison,
  held: readonly string[],
  wanted: readonly string[],
  from = 0,
  to = 2 ** 52,
): string[] {
  comparison.compare(heldOf(held), limited(columnsOf(wanted)), PAGE * from, PAGE * to);
  const { iovas, lengths, count } = comparison.unmaps;
  return [
    ...Array.from({ length: count }, (_, i) => `-${hex(iovas[i]!)}+${hex(lengths[i]!)}`),
    ...rowsOf(comparison.maps).map((text) => `+${text}`),
  ];
}

/** Columns that throw when somebody looks at them without end. */
function limited(columns: RunColumns): RunColumns {
  let left = 100_000;
  columns.lengths = new Proxy(columns.lengths, {
    get(target, name) {
      if (--left < 0) throw new Error('a comparison without end');
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return columns;
}
