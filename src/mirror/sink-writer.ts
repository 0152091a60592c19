import { IntervalList } from '../ioas/interval-list.js';
import type { RunColumns } from '../ioas/runs.js';
import { AreaSizes } from './area-sizes.js';
import { Comparison } from './comparison.js';
import { RangeSet } from './range-set.js';
import { ALLOWED, type IoasSink } from './sink.js';
import { askMap, askUnmap, isLater, noAnswer, Refused, type Answer } from './sink-answer.js';
import type { SinkLimits } from './sink-limits.js';

/** An operation that a sink refused. */
export interface Refusal {
  readonly operation: 'map' | 'unmap';
  /** First IOVA, in bytes. */
  readonly iova: number;
  /** Bytes. */
  readonly length: number;
  /** What the sink threw, or rejected with; `undefined` when it answered `false`. */
  readonly error: unknown;
}

/** Maps that a sink refuses before it is asked for no more until the next sync. */
const REFUSALS = 256;
/** Beside the {@link AreaPermission} bits of an area that is held: it may not be mapped, and is to be unmapped before it is relied on. */
const DOUBTFUL = 128;

/**
 * Carries out operations on a sink, and knows at any time which areas are mapped in it: each change is
 * noted when the sink says that it is done. Unmaps come before maps, and are waited for.
 */
export class SinkWriter {
  readonly sink: IoasSink;
  readonly limits: SinkLimits;
  /** What the sink has mapped. */
  readonly held = new IntervalList();
  readonly comparison: Comparison;
  /** Where the sink may not say what it should. */
  readonly dirty = new RangeSet();
  /** Where it does not since it refused: to be tried again. */
  readonly retry = new RangeSet();
  /** The embedder knows that the sink has refused something. */
  isReported = false;
  /** An area was left out since there are as many as there may be. */
  isFull = false;
  maps = 0;
  unmaps = 0;
  refusals = 0;

  private readonly sizes: AreaSizes;
  private readonly refused: (refusal: Refusal) => void;
  private readonly idle: () => void;
  /** Promises that are not settled, or 0. */
  private waiting = 0;
  private step: 'none' | 'unmapping' | 'mapping' = 'none';
  private refusalsNow = 0;

  /**
   * @param refused is told of each refusal.
   * @param idle is called when the operations are done after {@link isBusy} was true.
   */
  constructor(
    sink: IoasSink,
    limits: SinkLimits,
    refused: (refusal: Refusal) => void,
    idle: () => void,
  ) {
    this.sink = sink;
    this.limits = limits;
    this.refused = refused;
    this.idle = idle;
    this.sizes = new AreaSizes(limits.pageSize);
    this.comparison = new Comparison(limits, this.sizes);
  }

  /** Operations are under way. */
  get isBusy(): boolean {
    return this.step !== 'none';
  }

  /** What was refused is done: the next refusal is to be told again. */
  forgetReport(): void {
    if (this.dirty.isEmpty && this.retry.isEmpty && !this.isBusy) this.isReported = false;
  }

  /** Carries out what {@link comparison} found; it must not change while {@link isBusy}. */
  apply(): void {
    const { unmaps } = this.comparison;
    this.refusalsNow = 0;
    this.step = 'unmapping';
    for (let i = 0; i < unmaps.count; i++) this.unmap(unmaps.iovas[i]!, unmaps.lengths[i]!);
    if (this.waiting === 0) this.mapAll();
  }

  /**
   * Lets the only run that is wanted come in the place of an area of just its bounds, without a
   * comparison: what a guest does most.
   * @returns `false` when there is no such area, and nothing was done.
   */
  retarget(wanted: RunColumns): boolean {
    if (wanted.count !== 1) return false;
    const { held } = this;
    const iova = wanted.iovas[0]!;
    const length = wanted.lengths[0]!;
    held.seek(iova);
    const { chunk, index } = held;
    const isThere = !held.isAtEnd && chunk.iovas[index] === iova && chunk.lengths[index] === length;
    if (!isThere) return false;
    const address = wanted.addresses[0]!;
    const permissions = wanted.permissions[0]!;
    if (chunk.addresses[index] === address && chunk.permissions[index] === permissions) return true;
    this.refusalsNow = 0;
    this.step = 'unmapping';
    this.unmaps++;
    const answer = askUnmap(this.sink, iova, length);
    if (answer !== true) {
      this.comparison.maps.copyFrom(wanted, iova, iova + length);
      this.unmapAnswered(iova, length, false, answer);
      if (this.waiting === 0) this.mapAll();
      return true;
    }
    this.step = 'mapping';
    this.maps++;
    const mapped = askMap(this.sink, iova, address, length, permissions);
    if (mapped === true) {
      // The area stays where it is.
      chunk.addresses[index] = address;
      chunk.permissions[index] = permissions;
    } else {
      held.drop(iova, iova + length);
      this.mapAnswered(iova, address, length, permissions, mapped);
    }
    if (this.waiting === 0) this.step = 'none';
    return true;
  }

  /** @param isDoubtful it may be unmapped already. */
  private unmap(iova: number, length: number, isDoubtful = false): void {
    this.unmaps++;
    this.unmapAnswered(iova, length, isDoubtful, askUnmap(this.sink, iova, length));
  }

  private unmapAnswered(iova: number, length: number, isDoubtful: boolean, answer: Answer): void {
    if (answer === true) this.held.drop(iova, iova + length);
    else if (answer === false) this.unmapRefused(iova, length, isDoubtful, undefined);
    else if (answer instanceof Refused) this.unmapRefused(iova, length, isDoubtful, answer.error);
    else {
      this.await(answer, (settled) => {
        this.unmapAnswered(iova, length, isDoubtful, settled);
      });
    }
  }

  /** Of a range that held several areas each is asked for alone: after that it is known what is left. */
  private unmapRefused(iova: number, length: number, isDoubtful: boolean, error: unknown): void {
    this.refuse({ operation: 'unmap', iova, length, error });
    const { held } = this;
    const pieces: number[] = [];
    held.seek(iova);
    while (!held.isAtEnd) {
      const { chunk, index } = held;
      const from = Math.max(chunk.iovas[index]!, iova);
      if (from >= iova + length) break;
      pieces.push(from, Math.min(chunk.iovas[index]! + chunk.lengths[index]!, iova + length));
      held.next();
    }
    if (pieces.length === 2) {
      this.retry.add(pieces[0]!, pieces[1]!);
      if (isDoubtful) this.doubt(pieces[0]!);
      return;
    }
    for (let i = 0; i < pieces.length; i += 2) {
      this.unmap(pieces[i]!, pieces[i + 1]! - pieces[i]!, true);
    }
  }

  /** A sink that refuses even now to unmap the area at `iova` may have done so before. */
  private doubt(iova: number): void {
    const { held } = this;
    held.seek(iova);
    held.chunk.permissions[held.index]! |= DOUBTFUL;
  }

  private mapAll(): void {
    const { sink, held } = this;
    const { maps } = this.comparison;
    const isWhole = this.limits.unmaps !== 'any';
    this.step = 'mapping';
    for (let i = 0; i < maps.count; i++) {
      if (isWhole || this.refusalsNow > 0 || held.size + this.waiting >= this.limits.areas) {
        this.mapCarefully(i);
        continue;
      }
      // What `map` does, written out: a million pages took 70 ns each through calls, and 35 without.
      const iova = maps.iovas[i]!;
      const length = maps.lengths[i]!;
      const address = maps.addresses[i]!;
      const permissions = maps.permissions[i]!;
      this.maps++;
      let answer: Answer;
      try {
        answer = sink.map(iova, address, length, permissions);
      } catch (error) {
        answer = new Refused(error);
      }
      if (answer === true) {
        if (!held.append(iova, length, address, permissions)) {
          held.put(iova, length, address, permissions);
        }
      } else {
        this.mapAnswered(iova, address, length, permissions, answer);
      }
    }
    if (this.waiting === 0) this.step = 'none';
  }

  /** Maps run `i` in areas of the right sizes, as far as nothing is in the way. */
  private mapCarefully(i: number): void {
    const { maps } = this.comparison;
    const length = maps.lengths[i]!;
    const from = maps.iovas[i]!;
    const permissions = maps.permissions[i]!;
    for (let done = 0; done < length;) {
      const bytes =
        this.limits.unmaps === 'any'
          ? length
          : this.sizes.first(from + done, from + length, permissions);
      this.map(from + done, maps.addresses[i]! + done, bytes, permissions & ALLOWED);
      done += bytes;
    }
  }

  private map(iova: number, address: number, length: number, permissions: number): void {
    if (this.refusalsNow > 0 && (this.refusalsNow >= REFUSALS || this.isHeld(iova, length))) {
      this.retry.add(iova, iova + length);
      return;
    }
    if (this.held.size + this.waiting >= this.limits.areas) {
      this.isFull = true;
      return;
    }
    this.maps++;
    const answer = askMap(this.sink, iova, address, length, permissions);
    this.mapAnswered(iova, address, length, permissions, answer);
  }

  private mapAnswered(
    iova: number,
    address: number,
    length: number,
    permissions: number,
    answer: Answer,
  ): void {
    if (answer === true) {
      this.held.put(iova, length, address, permissions);
    } else if (answer === false || answer instanceof Refused) {
      const error = answer === false ? undefined : answer.error;
      this.retry.add(iova, iova + length);
      this.refuse({ operation: 'map', iova, length, error });
    } else {
      this.await(answer, (settled) => {
        this.mapAnswered(iova, address, length, permissions, settled);
      });
    }
  }

  /** Whether an area is in the way: its unmap was refused. */
  private isHeld(iova: number, length: number): boolean {
    const { held } = this;
    held.seek(iova);
    return !held.isAtEnd && held.chunk.iovas[held.index]! < iova + length;
  }

  private await(answer: Answer, settled: (answer: Answer) => void): void {
    if (!isLater(answer)) {
      settled(noAnswer(answer));
      return;
    }
    this.waiting++;
    const end = (result: Answer): void => {
      settled(result);
      this.waiting--;
      this.goOn();
    };
    Promise.resolve(answer).then(end, (error: unknown) => {
      end(new Refused(error));
    });
  }

  /** A promise is settled: when it was the last one, maps follow unmaps, and then it is done. */
  private goOn(): void {
    if (this.waiting > 0) return;
    if (this.step === 'unmapping') this.mapAll();
    if (this.waiting > 0) return;
    this.step = 'none';
    this.idle();
  }

  private refuse(refusal: Refusal): void {
    this.refusals++;
    this.refusalsNow++;
    this.refused(refusal);
  }
}
