import type { HostAnswer } from './backend.js';

/** Work that asks the host several things in turn: a generator that yields each answer that is yet to come. */
export type Steps<T> = Generator<PromiseLike<unknown>, T, unknown>;

/** An answer of the host, waited for if need be; a refusal is thrown where it is asked for. */
export function* answerOf<T>(answer: HostAnswer<T>): Steps<T> {
  return isLater(answer) ? ((yield answer) as T) : answer;
}

/** Whether an answer is yet to come. */
export function isLater<T>(answer: HostAnswer<T>): answer is PromiseLike<T> {
  return typeof (answer as Partial<PromiseLike<T>> | undefined)?.then === 'function';
}

/** How work ended. */
interface End<T> {
  done(result: T): void;
  failed(error: unknown): void;
}

/**
 * Does work in turn, each piece as a whole: two of them never ask the host at the same time. What does
 * not have to wait is done when {@link start} returns.
 */
export class Turns {
  private readonly waiting: (() => void)[] = [];
  private isTaken = false;

  /** Nothing is being done. */
  get isIdle(): boolean {
    return !this.isTaken;
  }

  /** Does `work` now, or when all that was asked for before is done. */
  start<T>(
    work: () => Steps<T>,
    done: (result: T) => void,
    failed: (error: unknown) => void,
  ): void {
    const end: End<T> = { done, failed };
    if (this.isTaken) {
      this.waiting.push(() => {
        this.begin(work, end);
      });
    } else {
      this.begin(work, end);
    }
  }

  /** As {@link start}, as a promise. */
  run<T>(work: () => Steps<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.start(work, resolve, reject);
    });
  }

  private begin<T>(work: () => Steps<T>, end: End<T>): void {
    this.isTaken = true;
    const steps = work();
    this.advance(steps, () => steps.next(), end);
  }

  /** Goes on until an answer must be waited for, or the work is over. */
  private advance<T>(steps: Steps<T>, step: () => IteratorResult<unknown, T>, end: End<T>): void {
    let next: IteratorResult<unknown, T>;
    try {
      next = step();
    } catch (error) {
      this.finish(() => {
        end.failed(error);
      });
      return;
    }
    if (next.done === true) {
      const { value } = next;
      this.finish(() => {
        end.done(value);
      });
      return;
    }
    Promise.resolve(next.value).then(
      (answer) => {
        this.advance(steps, () => steps.next(answer), end);
      },
      (error: unknown) => {
        this.advance(steps, () => steps.throw(error), end);
      },
    );
  }

  /** Whoever hears of the end may ask for more: it comes after what waits already. */
  private finish(tell: () => void): void {
    const next = this.waiting.shift();
    if (next === undefined) this.isTaken = false;
    tell();
    next?.();
  }
}
