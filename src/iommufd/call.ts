import type { ByteFields, ByteLayout } from '../memory/byte-layout.js';
import { splitU64, type Halves } from '../memory/u64.js';
import type { HostAnswer } from '../passthrough/backend.js';
import type { HostCalls } from './host-calls.js';
import { IommufdError } from './iommufd-error.js';
import {
  decodeRequest,
  encodeRequest,
  type IommufdRequest,
  type RequestValues,
} from './request.js';

/**
 * The one place where a request of the kernel is made: with a {@link HostCalls} that answers at once
 * the answer is there at once, and with one that answers with promises it is a promise.
 */

/** Buffers whose addresses the kernel has, for each call that it has not answered: nobody may free them. */
const underWay = new Set<readonly ArrayBufferView[]>();

/**
 * Makes a request, its `size` or `argsz` filled in and fields without a value 0, on an argument that no
 * other call uses.
 * @param fd file that the request goes to.
 * @param pointed buffers that `values` have the addresses of: they are kept until the kernel has
 * answered.
 * @returns the fields of the structure as the kernel has left them.
 * @throws IommufdError when the kernel refuses: at once when the call answers at once, else the promise
 * rejects with it.
 * @throws TypeError, likewise, when the call answers with anything but an integer.
 * @throws RangeError when a value does not fit its field; then there was no call.
 */
export function callKernel<L extends ByteLayout>(
  calls: HostCalls,
  fd: number,
  request: IommufdRequest<L>,
  values: RequestValues<L>,
  pointed: readonly ArrayBufferView[] = [],
): HostAnswer<ByteFields<L>> {
  const argument = encodeRequest(request, values, hostBytes(request.byteLength));
  return after(askKernel(calls, fd, request, argument, pointed), (result) => {
    checkDone(request, result);
    return decodeRequest(request, argument);
  });
}

/**
 * Makes a request whose structure is `argument` already, as {@link callKernel} does.
 * @returns 0 or more when it is done, the negated Linux error number when the kernel refuses.
 * @throws TypeError when the call answers with anything but an integer.
 */
export function askKernel(
  calls: HostCalls,
  fd: number,
  request: IommufdRequest,
  argument: Uint8Array,
  pointed: readonly ArrayBufferView[] = [],
): HostAnswer<number> {
  const kept = [argument, ...pointed];
  let isWaiting = false;
  underWay.add(kept);
  try {
    const result: unknown = calls.ioctl(fd, request.number, argument);
    if (!isLater(result)) return integerOf(request, result);
    isWaiting = true;
    return Promise.resolve(result)
      .finally(() => underWay.delete(kept))
      .then((later) => integerOf(request, later));
  } finally {
    if (!isWaiting) underWay.delete(kept);
  }
}

/** @throws IommufdError when `result`, of {@link askKernel}, is a refusal. */
export function checkDone(request: IommufdRequest, result: number): void {
  if (result < 0) throw new IommufdError(request.name, -result);
}

/** Goes on with `answer`: at once when it is there, when it comes when it is a promise. */
export function after<T, U>(
  answer: HostAnswer<T>,
  next: (value: T) => HostAnswer<U>,
): HostAnswer<U> {
  return isLater(answer) ? answer.then(next) : next(answer);
}

/**
 * Zeroed bytes for the kernel. They do not move: V8 keeps small typed arrays that were made without a
 * buffer in its heap, where a collection moves them.
 */
export function hostBytes(byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(byteLength));
}

/**
 * Where `bytes` lie in this process, as a field of a request takes it.
 * @throws RangeError or TypeError when the address that `calls` gives is no 64-bit value.
 */
export function locate(calls: HostCalls, bytes: Uint8Array): Halves {
  return splitU64('calls.addressOf(bytes)', calls.addressOf(bytes), { high: 0, low: 0 });
}

function isLater<T>(answer: HostAnswer<T>): answer is PromiseLike<T> {
  return typeof (answer as Partial<PromiseLike<T>> | null | undefined)?.then === 'function';
}

function integerOf(request: IommufdRequest, result: unknown): number {
  if (Number.isInteger(result)) return result as number;
  const what = typeof result === 'number' ? String(result) : `a value of type ${typeof result}`;
  throw new TypeError(
    `calls.ioctl answered ${request.name} with ${what}: it must be 0 or more, or a negated error number`,
  );
}
