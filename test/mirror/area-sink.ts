import type { IoasSink, SinkAnswer, SinkCapabilities } from '../../src/mirror/sink.js';

/** An area that a sink has mapped. */
export interface Area {
  iova: number;
  length: number;
  address: number;
  permissions: number;
}

/** An operation that a sink was asked for, with its number, counted from 1. */
export interface Asked extends Area {
  readonly kind: 'map' | 'unmap';
  readonly index: number;
}

/** How a sink refuses. */
export type Refusing = 'false' | 'throw' | 'reject' | 'reject false';

const RIGHTS = ['', ' r', ' w', ' rw'];

function hex(value: number): string {
  return value.toString(16);
}

/** `iova+length>address rw`, all in hexadecimal. */
export function areaText({ iova, length, address, permissions }: Area): string {
  return `${hex(iova)}+${hex(length)}>${hex(address)}${RIGHTS[permissions] ?? ' ?'}`;
}

export function areaTexts(areas: Iterable<Area>): string[] {
  return [...areas].map(areaText);
}

/** Areas that continue each other are one. */
export function joined(areas: Iterable<Area>): string[] {
  const result: Area[] = [];
  for (const area of areas) {
    const last = result.at(-1);
    const continues =
      last !== undefined &&
      last.iova + last.length === area.iova &&
      last.address + last.length === area.address &&
      last.permissions === area.permissions;
    if (continues) last.length += area.length;
    else result.push({ ...area });
  }
  return result.map(areaText);
}

/**
 * A sink that holds areas as a plain list, and checks that nothing is asked of it that its capabilities
 * rule out: what is wrong is written down in {@link wrongs}.
 */
export class AreaSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  /** Operations as text, refused ones included: `unmap 1000+1000`, `map 1000+1000>80000000 rw`. */
  log: string[] = [];
  readonly wrongs: string[] = [];
  operations = 0;
  /** Answers come when they are released; see {@link release}. */
  isSlow = false;
  /** How an operation is refused, if it is. */
  refuses: (asked: Asked) => Refusing | undefined = () => undefined;
  /** Called in each operation, before it is done. */
  called: (asked: Asked) => void = () => undefined;
  private held: Area[] = [];
  private waiting: (() => void)[] = [];

  constructor(capabilities: SinkCapabilities = {}) {
    this.capabilities = capabilities;
  }

  /** What is mapped, ascending. */
  get areas(): readonly Area[] {
    return this.held;
  }

  get texts(): string[] {
    return areaTexts(this.held);
  }

  /** What is mapped, without the bounds of areas that continue each other. */
  get content(): string[] {
    return joined(this.held);
  }

  /** Operations that have not been answered. */
  get pending(): number {
    return this.waiting.length;
  }

  /** The log since the last call. */
  take(): string[] {
    const { log } = this;
    this.log = [];
    return log;
  }

  /** Answers the operations that wait, and gives the mirror time to take note. */
  async release(count = Infinity): Promise<void> {
    for (const done of this.waiting.splice(0, count)) done();
    for (let i = 0; i < 4; i++) await Promise.resolve();
  }

  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    const area: Area = { iova, length, address, permissions };
    this.log.push(`map ${areaText(area)}`);
    this.check(area);
    if (!(permissions >= 1 && permissions <= 3)) this.wrong(area, 'permissions');
    if (address % 4096 !== 0 || address < 0) this.wrong(area, 'address');
    const { memory, reserved = [] } = this.capabilities;
    const inMemory = ({ base, byteLength }: { base: number; byteLength: number }): boolean =>
      address >= base && address + length <= base + byteLength;
    if (memory?.some(inMemory) === false) this.wrong(area, 'memory');
    if (reserved.some(({ base, byteLength }) => meets(area, base, base + byteLength))) {
      this.wrong(area, 'reserved');
    }
    return this.answer({ ...area, kind: 'map', index: ++this.operations }, () => {
      if (this.held.some((other) => meets(other, iova, iova + length))) this.wrong(area, 'overlap');
      this.held.push(area);
      this.held.sort((a, b) => a.iova - b.iova);
      if (this.held.length > (this.capabilities.areas ?? Infinity)) this.wrong(area, 'areas');
    });
  }

  unmap(iova: number, length: number): SinkAnswer {
    const area: Area = { iova, length, address: 0, permissions: 0 };
    this.log.push(`unmap ${hex(iova)}+${hex(length)}`);
    this.check(area);
    return this.answer({ ...area, kind: 'unmap', index: ++this.operations }, () => {
      const { unmaps = 'any' } = this.capabilities;
      const met = this.held.filter((other) => meets(other, iova, iova + length));
      const whole = met.every((o) => o.iova >= iova && o.iova + o.length <= iova + length);
      if (unmaps !== 'any' && !whole) this.wrong(area, 'part of an area');
      if (unmaps === 'area' && met.length > 0) {
        const [one] = met;
        if (met.length > 1 || one!.iova !== iova || one!.length !== length) {
          this.wrong(area, 'not one area');
        }
      }
      this.held = this.held.flatMap((other) => cut(other, iova, iova + length));
    });
  }

  private check(area: Area): void {
    const page = this.capabilities.pageSize ?? 4096;
    const { iova, length } = area;
    if (iova % page !== 0 || length % page !== 0 || length <= 0) this.wrong(area, 'pages');
    if (iova < 0 || iova + length > 2 ** 64) this.wrong(area, 'range');
  }

  private wrong(area: Area, what: string): void {
    this.wrongs.push(`${what}: ${areaText(area)}`);
  }

  private answer(asked: Asked, carryOut: () => void): SinkAnswer {
    this.called(asked);
    const how = this.refuses(asked);
    if (how === 'throw') throw new Error(`refused ${asked.index}`);
    if (how === 'reject') return Promise.reject(new Error(`refused ${asked.index}`));
    if (how === 'reject false') return Promise.resolve(false);
    if (how === undefined && !this.isSlow) carryOut();
    if (!this.isSlow) return how === undefined;
    return new Promise((resolve) => {
      this.waiting.push(() => {
        if (how === undefined) carryOut();
        resolve(how === undefined);
      });
    });
  }
}

function meets({ iova, length }: Area, from: number, to: number): boolean {
  return iova < to && iova + length > from;
}

/** What is left of an area without `[from, to)`. */
function cut(area: Area, from: number, to: number): Area[] {
  const { iova, length, address, permissions } = area;
  if (!meets(area, from, to)) return [area];
  const left: Area[] = [];
  if (iova < from) left.push({ iova, length: from - iova, address, permissions });
  if (iova + length > to) {
    left.push({
      iova: to,
      length: iova + length - to,
      address: address + (to - iova),
      permissions,
    });
  }
  return left;
}
