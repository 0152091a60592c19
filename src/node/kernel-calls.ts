import type { HostCalls } from '../iommufd/host-calls.js';
import type { U64 } from '../memory/u64.js';

/** What is used of the package koffi; the same in its versions 2.16 to 3. */
interface Koffi {
  load(library: null): { func(prototype: string): unknown };
  errno(): number;
  address(bytes: Uint8Array): U64;
}

/** C's ioctl as koffi calls a function with a variable list: each argument of that list has its type. */
type VariadicIoctl = (fd: number, request: number, type: string, argument: Uint8Array) => number;

/** The call as the manual page of Linux has it. musl takes the request as an int: its low 32 bits. */
const IOCTL = 'int ioctl(int fd, unsigned long request, ...)';

/**
 * System calls of this process, for what talks to the kernel's iommufd and VFIO. They are made through
 * the package koffi, an optional dependency that is loaded here and nowhere else:
 *
 * ```ts
 * const calls = await openKernelCalls();
 * calls.ioctl(fd, 0x3b81, argument); // IOMMU_IOAS_ALLOC
 * ```
 *
 * - `ioctl` blocks this thread until the kernel is done, and always answers with a number: what C's
 *   `ioctl` returns, or the negated `errno`. `fd` is an integer of 32 bits, of which the kernel answers
 *   -EBADF for all that are not open; `request` is an integer from 0 to 2^32-1. The kernel reads and
 *   writes as many bytes as the request has, whatever the length of `argument` is: a shorter array
 *   damages the memory of the process. It throws a TypeError for an argument without bytes (empty, or
 *   transferred to another thread), and a RangeError for a number out of range.
 * - `addressOf` answers with a bigint. The address stays true as long as somebody holds `bytes` and its
 *   buffer is not transferred: keep the array until the kernel needs the address no more. It throws a
 *   TypeError for an array without bytes, which has no first byte.
 *
 * Both take arrays over any buffer, shared ones too, and parts of a buffer; nothing is copied.
 *
 * @throws Error (the promise rejects) when this is not Linux, when koffi is not installed, or when it
 * does not load: its `cause` is then what koffi says.
 */
export function openKernelCalls(): Promise<HostCalls> {
  return connect(process.platform, () => import('koffi'));
}

/**
 * {@link openKernelCalls} of a platform and a package that are handed in.
 * @param load imports the package.
 * @internal
 */
export async function connect(
  platform: NodeJS.Platform,
  load: () => Promise<{ readonly default: Koffi }>,
): Promise<HostCalls> {
  if (platform !== 'linux') {
    throw new Error(`This is ${platform}: iommufd and VFIO are system calls of Linux`);
  }
  let koffi: Koffi;
  try {
    // The whole of it in all versions, whether they are ES modules or not.
    koffi = (await load()).default;
  } catch (error) {
    throw new Error(loadProblem(error), { cause: error });
  }
  try {
    return new KoffiCalls(koffi);
  } catch (error) {
    throw new Error(`koffi cannot call ioctl: ${messageOf(error)}`, { cause: error });
  }
}

class KoffiCalls implements HostCalls {
  private readonly koffi: Koffi;
  private readonly call: VariadicIoctl;

  constructor(koffi: Koffi) {
    this.koffi = koffi;
    // null: what this process has loaded already, so its C library, whatever the name of that is.
    this.call = koffi.load(null).func(IOCTL) as VariadicIoctl;
    // Versions before 2.16 know no address of an array.
    koffi.address(new Uint8Array(1));
  }

  ioctl(fd: number, request: number, argument: Uint8Array): number {
    // koffi rounds and wraps numbers without a word.
    if (fd !== (fd | 0)) {
      throw new RangeError(`fd is ${fd}: give the file descriptor, an integer of 32 bits`);
    }
    if (request !== request >>> 0) {
      throw new RangeError(
        `request is ${request}: give the number of the ioctl, an integer from 0 to 2^32-1`,
      );
    }
    checkBytes('argument', argument);
    const result = this.call(fd, request, 'void *', argument);
    return result < 0 ? -this.koffi.errno() : result;
  }

  addressOf(bytes: Uint8Array): U64 {
    checkBytes('bytes', bytes);
    return this.koffi.address(bytes);
  }
}

function checkBytes(name: string, bytes: unknown): void {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`${name} is a ${typeof bytes}: give a Uint8Array`);
  }
  if (bytes.length === 0) {
    throw new TypeError(
      `${name} has no bytes: it is empty, or its buffer was transferred; give an array that has some`,
    );
  }
}

function loadProblem(error: unknown): string {
  const message = messageOf(error);
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  // The second as require has it: the CommonJS build imports so.
  const isAbsent =
    (code === 'ERR_MODULE_NOT_FOUND' && message.startsWith("Cannot find package 'koffi'")) ||
    (code === 'MODULE_NOT_FOUND' && message.startsWith("Cannot find module 'koffi'"));
  return isAbsent
    ? 'System calls need the package koffi, which is not installed: npm install koffi'
    : `koffi is installed, but does not load: ${message}; ` +
        'install it again, with its optional dependencies: npm install koffi';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
