/** A slow sink that keeps its areas in a list, insists on the contract, and fails when it is told to. */
import type { IoasSink, SinkAnswer, SinkCapabilities } from '../../src/mirror/sink.js';

export interface Area {
  readonly iova: number;
  readonly length: number;
  readonly address: number;
  readonly permissions: number;
}

/** Operations that are to fail. */
export interface Faults {
  /** Operations that succeed before. */
  skip: number;
  count: number;
  /** Only these; both when left out. */
  readonly only?: 'map' | 'unmap' | undefined;
  readonly how: 'refuse' | 'throw' | 'reject';
  /** Areas that an unmap of several removes all the same. */
  readonly areas: number;
}

/** An operation that was not answered. */
interface Pending {
  readonly kind: 'map' | 'unmap';
  readonly iova: number;
  readonly length: number;
  /** Index of the command that was being executed. */
  readonly position: number;
  readonly settle: () => void;
}

/** Who knows more than the sink. */
export interface SinkWatcher {
  /** Index of the command that is being executed, or waits. */
  position(): number;
  mapping(sink: ModelSink, area: Area): void;
  unmapping(sink: ModelSink, iova: number, length: number): void;
  complain(message: string): void;
}

const NO_FAULTS: Faults = { skip: 0, count: 0, how: 'refuse', areas: 0 };

export class ModelSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  readonly name: string;
  /** Ascending. */
  areas: readonly Area[] = [];
  maps = 0;
  unmaps = 0;
  refusals = 0;
  /** Most areas since it was last set to 0. */
  most = 0;
  pending: Pending[] = [];
  faults: Faults = NO_FAULTS;
  /** Pages that a miss was allowed for, as numbers of cells. */
  readonly missed = new Set<number>();
  /** The mirror has reported a refusal, and that is not over. */
  isReported = false;
  /** That may be over: the sink says what it should. */
  mayBeOver = false;
  /** Something was refused since the sink was last in step. */
  hasRefused = false;
  /** Areas that there were before the last unmap. */
  private before = 0;
  /** Areas that were unmapped since then. */
  private gone: readonly Area[] = [];
  private readonly answers: 'now' | 'later' | 'mixed';
  private readonly watcher: SinkWatcher;

  constructor(
    name: string,
    capabilities: SinkCapabilities,
    answers: 'now' | 'later' | 'mixed',
    watcher: SinkWatcher,
  ) {
    this.name = name;
    this.capabilities = capabilities;
    this.answers = answers;
    this.watcher = watcher;
  }

  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    this.maps++;
    const area = { iova, length, address, permissions };
    this.checkMap(area);
    this.watcher.mapping(this, area);
    return this.answer('map', iova, length, (fails) => {
      if (fails) return;
      this.areas = [...this.areas, area].sort((a, b) => a.iova - b.iova);
      this.most = Math.max(this.most, this.areas.length);
    });
  }

  unmap(iova: number, length: number): SinkAnswer {
    this.unmaps++;
    this.before = this.areas.length;
    this.checkUnmap(iova, length);
    this.watcher.unmapping(this, iova, length);
    return this.answer('unmap', iova, length, (fails, areas) => {
      if (this.hasRefused) this.gone = [...this.gone, ...this.within(iova, iova + length)];
      let left = fails ? areas : Infinity;
      // Of one single area a refusal means that it is still there.
      if (fails && this.within(iova, iova + length).length === 1) left = 0;
      this.areas = this.areas.flatMap((area) => {
        const rest = without(area, iova, iova + length);
        return rest[0] === area || left-- > 0 ? rest : [area];
      });
    });
  }

  /** It says what it should. */
  isInStep(): void {
    this.hasRefused = false;
    this.isReported = false;
    this.mayBeOver = false;
    this.gone = [];
  }

  /**
   * Whether a cell was in an area that went as a whole, after a refusal: what is left of it is mapped
   * again as it was, until what was refused is tried again.
   */
  isLeftOver(start: number, held: { address: number; permissions: number }): boolean {
    if (!this.hasRefused || (this.capabilities.unmaps ?? 'any') === 'any') return false;
    return this.gone.some(
      ({ iova, length, address, permissions }) =>
        start >= iova &&
        start < iova + length &&
        address + (start - iova) === held.address &&
        permissions === held.permissions,
    );
  }

  /** Answers a question; the effect comes with the answer. */
  settle(index: number): void {
    const [pending] = this.pending.splice(index % this.pending.length, 1);
    pending!.settle();
  }

  recover(): void {
    this.faults = NO_FAULTS;
  }

  within(from: number, to: number): readonly Area[] {
    return this.areas.filter((area) => area.iova < to && area.iova + area.length > from);
  }

  private answer(
    kind: 'map' | 'unmap',
    iova: number,
    length: number,
    effect: (fails: boolean, areas: number) => void,
  ): SinkAnswer {
    // What is not there can always be unmapped.
    const isGone = kind === 'unmap' && this.within(iova, iova + length).length === 0;
    const fails = !isGone && this.isFault(kind);
    const { how, areas } = this.faults;
    const take = (): void => {
      effect(fails, areas);
      if (!fails) return;
      this.refusals++;
      this.hasRefused = true;
      // A device misses again what was not mapped for it.
      if (kind === 'map') this.missed.clear();
    };
    const operations = this.maps + this.unmaps;
    const isLater = this.answers === 'later' || (this.answers === 'mixed' && operations % 3 !== 0);
    if (!isLater || (fails && how === 'throw')) {
      take();
      if (fails && how !== 'refuse') throw new Error('refused');
      return !fails;
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        take();
        if (fails && how === 'reject') reject(new Error('refused'));
        else resolve(!fails);
      };
      this.pending.push({ kind, iova, length, position: this.watcher.position(), settle });
    });
  }

  private isFault(kind: 'map' | 'unmap'): boolean {
    const { faults } = this;
    if (faults.count === 0 || (faults.only !== undefined && faults.only !== kind)) return false;
    if (faults.skip > 0) {
      faults.skip--;
      return false;
    }
    faults.count--;
    return true;
  }

  private checkMap({ iova, length, address, permissions }: Area): void {
    const { pageSize = 4096, reserved = [], memory, areas = Infinity } = this.capabilities;
    const end = iova + length;
    const what = `map of ${hex(iova)} to ${hex(end)}`;
    const isPages = [iova, length, address].every((value) => value >= 0 && value % pageSize === 0);
    if (!isPages || length === 0 || end > 2 ** 64) this.complain(`${what}: no pages`);
    if (![1, 2, 3].includes(permissions)) this.complain(`${what}: permissions ${permissions}`);
    if (this.within(iova, end).length > 0) this.complain(`${what}: overlaps an area`);
    if (this.isPending(iova, end)) this.complain(`${what}: overlaps what is not answered`);
    if (reserved.some(({ base, byteLength }) => base < end && base + byteLength > iova)) {
      this.complain(`${what}: reserved`);
    }
    const isMemory = ({ base, byteLength }: { base: number; byteLength: number }): boolean =>
      address >= base && address + length <= base + byteLength;
    if (memory !== undefined && !memory.some(isMemory)) this.complain(`${what}: no memory`);
    const pending = this.pending.filter(({ kind }) => kind === 'map').length;
    // An unmap of the middle of an area has made two of it: one may take the place of another.
    const most = Math.max(areas, this.before);
    if (this.areas.length + pending >= most) this.complain(`${what}: too many areas`);
    if (this.pending.some(({ kind }) => kind === 'unmap')) {
      this.complain(`${what}: before unmaps are answered`);
    }
  }

  private checkUnmap(iova: number, length: number): void {
    const { pageSize = 4096, unmaps = 'any' } = this.capabilities;
    const end = iova + length;
    const what = `unmap of ${hex(iova)} to ${hex(end)}`;
    const inside = this.within(iova, end);
    if (!(length > 0) || iova % pageSize !== 0 || length % pageSize !== 0) {
      this.complain(`${what}: no pages`);
    }
    if (this.isPending(iova, end)) this.complain(`${what}: overlaps what is not answered`);
    if (inside.length === 0 && !this.hasRefused) this.complain(`${what}: nothing is there`);
    if (unmaps === 'any') return;
    if (inside.some((area) => area.iova < iova || area.iova + area.length > end)) {
      this.complain(`${what}: a part of an area`);
    }
    if (unmaps === 'areas') return;
    if (inside.length !== 1 || inside[0]!.length !== length) this.complain(`${what}: not one area`);
  }

  private isPending(from: number, to: number): boolean {
    return this.pending.some(({ iova, length }) => iova < to && iova + length > from);
  }

  private complain(message: string): void {
    this.watcher.complain(`${this.name}: ${message}`);
  }
}

/** What is left of an area without `[from, to)`. */
export function without(area: Area, from: number, to: number): Area[] {
  const { iova, length, address, permissions } = area;
  if (iova >= to || iova + length <= from) return [area];
  const rest: Area[] = [];
  if (iova < from) rest.push({ iova, length: from - iova, address, permissions });
  if (iova + length > to) {
    rest.push({
      iova: to,
      length: iova + length - to,
      address: address + (to - iova),
      permissions,
    });
  }
  return rest;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
