/**
 * Linux error numbers that the kernel's iommufd, and servers of host protocols, answer with. EPROTO is
 * the library's own: a kernel answered with what its interface does not allow.
 */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  E2BIG: 7,
  EBADF: 9,
  ENOMEM: 12,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  ESPIPE: 29,
  EDEADLOCK: 35,
  EPROTO: 71,
  EOVERFLOW: 75,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ETIMEDOUT: 110,
} as const;

/** Name of a Linux error number, for messages; `errno N` for one that {@link Errno} does not list. */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(Errno)) if (value === errno) return name;
  return `errno ${errno}`;
}

/** The host kernel refused an iommufd request. */
export class IommufdError extends Error {
  override readonly name = 'IommufdError';
  /** Request that failed, for example `IOMMU_IOAS_MAP`. */
  readonly request: string;
  /** Linux error number, positive; see {@link Errno}. */
  readonly errno: number;

  constructor(request: string, errno: number) {
    super(`${request} failed: ${errnoName(errno)}`);
    this.request = request;
    this.errno = errno;
  }
}
