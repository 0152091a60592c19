import type { U64 } from '../memory/u64.js';

/** The two things that talking to a kernel takes; `vsmmu/node` has them over koffi. */
export interface HostCalls {
  /**
   * Makes the system call on the `argument` bytes, in which the kernel writes its answer too.
   * @returns 0 or more when it is done, the negated Linux error number when it failed; or a promise of
   * that. An argument that was answered with a number is used again by the next call.
   */
  ioctl(fd: number, request: number, argument: Uint8Array): number | Promise<number>;

  /** Where the first byte of `bytes` lies in this process: what the kernel's pointers are made of. */
  addressOf(bytes: Uint8Array): U64;
}
