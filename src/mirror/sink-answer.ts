import type { IoasSink, SinkAnswer } from './sink.js';

/** A sink threw, or rejected. */
export class Refused {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** What a sink may answer, or do instead. */
export type Answer = SinkAnswer | Refused;

// Functions with `try` by themselves: the ones that call them stay fast.

/** Asks a sink for an area. */
export function askMap(
  sink: IoasSink,
  iova: number,
  address: number,
  length: number,
  permissions: number,
): Answer {
  try {
    return sink.map(iova, address, length, permissions);
  } catch (error) {
    return new Refused(error);
  }
}

/** Asks a sink to unmap a range. */
export function askUnmap(sink: IoasSink, iova: number, length: number): Answer {
  try {
    return sink.unmap(iova, length);
  } catch (error) {
    return new Refused(error);
  }
}

/** Whether an answer is yet to come. */
export function isLater(answer: Answer): answer is Promise<boolean> {
  return typeof (answer as Partial<Promise<boolean>> | undefined | null)?.then === 'function';
}

/** What an answer is that is none: a sink written in JavaScript may give anything. */
export function noAnswer(answer: unknown): Refused {
  const what = `the sink answered ${typeof answer}`;
  return new Refused(new TypeError(`${what}: it must be a boolean, or a promise of one`));
}
