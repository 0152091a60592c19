import { hex } from '../memory/hex.js';
import { formatSize, plural, type DeviceNames } from './output.js';
import type { Output, Terminal } from './terminal.js';

/** Ranges of one address space, ascending; `Runs` is one. Addresses and lengths are in bytes. */
export interface Ranges {
  readonly count: number;
  iova(index: number): number;
  length(index: number): number;
  address(index: number): number;
  /** Permission bits. */
  permissions(index: number): number;
}

/** Prints the ranges of address spaces, one after the other, as they come. */
export class RangeWriter {
  private readonly terminal: Terminal;
  private readonly names: DeviceNames;
  private readonly json: boolean;
  private first = true;

  constructor(terminal: Terminal, names: DeviceNames, json: boolean) {
    this.terminal = terminal;
    this.names = names;
    this.json = json;
  }

  /** Nobody reads any more. */
  get closed(): boolean {
    return this.terminal.out.closed;
  }

  /**
   * Prints one address space.
   * @param substreamId -1 for accesses without one.
   * @param how the space is reached, for people.
   * @param bits the permission bits of reads and of writes.
   */
  async write(
    streamId: number,
    substreamId: number,
    runs: Ranges,
    how: string,
    bits: { readonly read: number; readonly write: number },
  ): Promise<void> {
    const { out } = this.terminal;
    const print = this.json
      ? this.jsonPrinter(streamId, substreamId, runs)
      : this.textPrinter(this.heading(streamId, substreamId, runs, how), runs);
    for (let i = 0; i < runs.count && !out.closed; i++) {
      const permissions = runs.permissions(i);
      print(i, (permissions & bits.read) !== 0, (permissions & bits.write) !== 0, out);
      if (out.full) await out.flush();
    }
    await out.flush();
  }

  private jsonPrinter(streamId: number, substreamId: number, runs: Ranges): Printer {
    const ssid = substreamId < 0 ? 'null' : String(substreamId);
    const start = `{"streamId":${streamId},"ssid":${ssid},"iova":"`;
    return (i, read, write, out) => {
      const range = `${hex(runs.iova(i))}","pa":"${hex(runs.address(i))}","length":"${hex(runs.length(i))}`;
      out.line(`${start}${range}","read":${read},"write":${write}}`);
    };
  }

  private textPrinter(heading: string, runs: Ranges): Printer {
    const { out, colors } = this.terminal;
    const iovaWidth = widest('IOVA', runs.count, (i) => runs.iova(i));
    const addressWidth = widest('PA', runs.count, (i) => runs.address(i));
    const lengthWidth = widest('length', runs.count, (i) => runs.length(i));
    if (!this.first) out.line();
    this.first = false;
    out.line(colors.bold(heading));
    if (runs.count > 0) {
      const columns = [
        'IOVA'.padStart(iovaWidth),
        'PA'.padStart(addressWidth),
        'length'.padStart(lengthWidth),
        'size'.padStart(SIZE_WIDTH),
      ];
      out.line(colors.dim(`  ${columns.join('  ')}  access`));
    }
    return (i, read, write) => {
      const columns = [
        hex(runs.iova(i)).padStart(iovaWidth),
        hex(runs.address(i)).padStart(addressWidth),
        hex(runs.length(i)).padStart(lengthWidth),
        formatSize(runs.length(i)).padStart(SIZE_WIDTH),
      ];
      const access = `${read ? 'r' : '-'}${write ? 'w' : '-'}`;
      out.line(`  ${columns.join('  ')}  ${write && read ? access : colors.yellow(access)}`);
    };
  }

  private heading(streamId: number, substreamId: number, runs: Ranges, how: string): string {
    const ssid = substreamId < 0 ? '' : `, SubstreamID ${substreamId}`;
    let bytes = 0;
    for (let i = 0; i < runs.count; i++) bytes += runs.length(i);
    const mapped =
      runs.count === 0
        ? 'nothing is mapped'
        : `${plural(runs.count, 'range')}, ${formatSize(bytes)}`;
    return `${this.names.label(streamId)}${ssid}, ${how}: ${mapped}`;
  }
}

/** Prints range number `i`. */
type Printer = (i: number, read: boolean, write: boolean, out: Output) => void;

/** Characters of the longest text of `formatSize` in a list. */
const SIZE_WIDTH = '1023 KiB'.length;

function widest(heading: string, count: number, value: (i: number) => number): number {
  let most = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, value(i));
  return Math.max(hex(most).length, heading.length);
}
