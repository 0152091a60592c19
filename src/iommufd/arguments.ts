import type { HostCalls } from './host-calls.js';

/** Checks of what an embedder gives to the requests of this folder. */

/** @throws TypeError when `calls` is no {@link HostCalls}. */
export function checkCalls(calls: HostCalls): void {
  for (const method of ['ioctl', 'addressOf'] as const) {
    if (typeof (calls as Partial<HostCalls> | null | undefined)?.[method] !== 'function') {
      throw new TypeError(`calls has no method ${method}: pass a HostCalls`);
    }
  }
}

/** @throws RangeError when `value` cannot be an open file descriptor. */
export function checkFd(name: string, value: number): void {
  checkInteger(name, value, 0, 2 ** 31 - 1, 'pass a file descriptor');
}

/** @throws RangeError when `value` cannot be the id of an object of the kernel: 0 is none. */
export function checkId(name: string, value: number): void {
  checkInteger(name, value, 1, 2 ** 32 - 1, 'pass an id that the kernel gave');
}

/** @throws RangeError when `value` is not an integer from `least` to `most`. */
export function checkInteger(
  name: string,
  value: number,
  least: number,
  most: number,
  remedy: string,
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(
    `${name} is ${String(value)}: it must be an integer from ${least} to ${most}; ${remedy}`,
  );
}

/** @throws Error on a big-endian host: words of the guest go to the kernel as they lie in memory. */
export function checkByteOrder(): void {
  if (new Uint8Array(Uint32Array.of(1).buffer)[0] === 1) return;
  throw new Error('this host is big-endian: requests of iommufd need a little-endian one');
}
