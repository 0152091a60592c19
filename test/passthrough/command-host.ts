import type { PhysicalBackend } from '../../src/passthrough/backend.js';
import type { Entry } from '../smmu/smmu-machine.js';

export type Method = 'allocate' | 'attach' | 'destroy' | 'bind' | 'invalidate';

/** A call of the library. */
export interface HostCall {
  readonly method: Method;
  /** Commands, or the vSTE, as they were when it was made. */
  readonly words: Uint32Array;
  /** What the library gave: it must stay as it is until the answer. */
  readonly given: Uint32Array;
  readonly device: number;
  /** The HWPT, vDEVICE or StreamID. */
  readonly object: number;
  /** Number of the call. */
  readonly at: number;
  answer: (error?: unknown) => void;
}

/** Any value, thrown: what the lint rules do not let a test write. */
export function raise(value: unknown): never {
  throw value;
}

const NOTHING = new Uint32Array(0);

/** A physical SMMU that does what a test says: answers at once or later, refuses, calls back. */
export class ScriptedHost implements PhysicalBackend {
  /** All calls, in order. */
  calls: HostCall[] = [];
  /** Calls without answer, oldest first. */
  readonly pending: HostCall[] = [];
  /** Answers are promises, settled by {@link answer}. */
  isLater = false;
  /** Called with each call, before it is answered; may throw what the host refuses with. */
  onCall: (call: HostCall) => void = () => undefined;
  /** Called when a call has been done. */
  onDone: (call: HostCall) => void = () => undefined;
  /** In place of the answer; `undefined` for the right one. */
  nonsense: (call: HostCall) => unknown = () => undefined;
  /** HWPTs that translate: those made of an STE with Config=5. */
  readonly nested = new Set<number>();
  /** Those of them that let the device use ATS: EATS=1. */
  readonly withAts = new Set<number>();
  /** HWPTs of devices. */
  readonly attached = new Map<number, number>();
  /** vDEVICEs that are there: their StreamIDs. */
  readonly vdevices = new Map<number, number>();
  private nextId = 1;
  private count = 0;

  /** Commands of each invalidation since the last {@link quiet}, as pairs of 64-bit words. */
  get sent(): Entry[][] {
    return this.calls
      .filter(({ method }) => method === 'invalidate')
      .map(({ words }) => entriesOf(words));
  }

  /** Names of calls since the last {@link quiet}. */
  get methods(): Method[] {
    return this.calls.map(({ method }) => method);
  }

  quiet(): this {
    this.calls = [];
    return this;
  }

  /** Answers the pending call number `index`; with `error` it is refused. */
  answer(index = 0, error?: unknown): void {
    const [call] = this.pending.splice(index, 1);
    if (call === undefined) throw new Error(`no call ${index} is pending`);
    call.answer(error);
  }

  allocate(device: number, ste: Uint32Array): number | Promise<number> {
    return this.take('allocate', ste, device, 0, () => {
      const id = this.nextId++;
      if (((ste[0]! >>> 1) & 7) === 5) this.nested.add(id);
      if (((ste[2]! >>> 28) & 3) === 1) this.withAts.add(id);
      return id;
    });
  }

  attach(device: number, hwpt: number): void | Promise<void> {
    return this.take('attach', NOTHING, device, hwpt, () => {
      this.attached.set(device, hwpt);
    });
  }

  destroy(object: number): void | Promise<void> {
    return this.take('destroy', NOTHING, 0, object, () => {
      this.nested.delete(object);
      this.withAts.delete(object);
      this.vdevices.delete(object);
    });
  }

  bind(device: number, streamId: number): number | Promise<number> {
    return this.take('bind', NOTHING, device, streamId, () => {
      this.vdevices.set(this.nextId, streamId);
      return this.nextId++;
    });
  }

  invalidate(commands: Uint32Array, count: number): void | Promise<void> {
    return this.take('invalidate', commands.subarray(0, 4 * count), 0, 0, () => undefined);
  }

  private take<T>(
    method: Method,
    given: Uint32Array,
    device: number,
    object: number,
    done: () => T,
  ): T | Promise<T> {
    const call: HostCall = {
      method,
      words: given.slice(),
      given,
      device,
      object,
      at: this.count++,
      answer: () => undefined,
    };
    this.calls.push(call);
    this.onCall(call);
    const result = (): T => {
      const isKept = call.given.every((word, i) => word === call.words[i]);
      if (!isKept) throw new Error(`${method}: its words have changed before it was answered`);
      const right = done();
      this.onDone(call);
      return (this.nonsense(call) as T | undefined) ?? right;
    };
    if (!this.isLater) return result();
    const answered = new Promise<unknown>((resolve) => {
      call.answer = resolve;
      this.pending.push(call);
    });
    const promise = answered.then((error) => (error === undefined ? result() : raise(error)));
    // Whether somebody listens in time is a test of its own.
    promise.catch(() => undefined);
    return promise;
  }
}

/** Commands as pairs of 64-bit words. */
export function entriesOf(words: Uint32Array): Entry[] {
  return Array.from({ length: words.length / 4 }, (_, i) => {
    const [a, b, c, d] = Array.from(words.subarray(4 * i, 4 * i + 4), BigInt);
    return [a! | (b! << 32n), c! | (d! << 32n)];
  });
}
