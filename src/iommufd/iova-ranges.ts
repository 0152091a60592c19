import { readFields } from '../memory/byte-layout.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import { hexU64, type Halves } from '../memory/u64.js';
import type { HostAnswer } from '../passthrough/backend.js';
import { reservedFromIovaRanges } from '../sinks/iommufd-sink.js';
import { checkCalls, checkFd, checkId } from './arguments.js';
import { after, askKernel, callKernel, checkDone, hostBytes, locate } from './call.js';
import type { HostCalls } from './host-calls.js';
import {
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_IOVA_RANGES,
  IommuIovaRange,
  IOVA_RANGE_BYTES,
} from './ioas-requests.js';
import { Errno, IommufdError } from './iommufd-error.js';
import { decodeRequest, encodeRequest } from './request.js';

/** Ranges that there is room for at first. */
const FIRST_CAPACITY = 32;
/** Ranges that an answer may have: 1 MiB of them. A real IOAS has a handful. */
const MOST_RANGES = 0x1_0000;

/** IOVAs that can be mapped. */
export interface AllowedIovas {
  /** First IOVA. */
  readonly start: Readonly<Halves>;
  /** Last IOVA, inclusive. */
  readonly last: Readonly<Halves>;
}

/** What an IOAS lets be mapped. */
export interface IovaRanges {
  /** Ascending and disjoint. */
  readonly ranges: readonly AllowedIovas[];
  /**
   * Bytes that IOVAs, lengths and addresses in the process must be multiples of: a power of two, 1 while
   * the IOAS has no HWPT. Above 4096 it is {@link IommufdSinkOptions.pageSize}.
   */
  readonly alignment: number;
}

/**
 * Makes an IOAS (IOMMU_IOAS_ALLOC).
 * @param fd file descriptor of `/dev/iommu`.
 * @returns its id.
 * @throws IommufdError, or rejects with it, when the kernel refuses.
 * @throws RangeError or TypeError when an argument is not what it should be.
 */
export function allocateIoas(calls: HostCalls, fd: number): HostAnswer<number> {
  checkCalls(calls);
  checkFd('fd', fd);
  return after(callKernel(calls, fd, IOMMU_IOAS_ALLOC, {}), ({ out_ioas_id }) => out_ioas_id);
}

/**
 * Which IOVAs an IOAS lets be mapped, now (IOMMU_IOAS_IOVA_RANGES): each HWPT and each device takes
 * some away, so ask when they are attached.
 * @param fd file descriptor of `/dev/iommu`.
 * @param ioasId id of the IOAS.
 * @throws IommufdError, or rejects with it, when the kernel refuses; with EMSGSIZE when there are more
 * than 65,536 ranges, with EPROTO when the answer makes no sense.
 * @throws RangeError or TypeError when an argument is not what it should be.
 */
export function iovaRanges(calls: HostCalls, fd: number, ioasId: number): HostAnswer<IovaRanges> {
  checkCalls(calls);
  checkFd('fd', fd);
  checkId('ioasId', ioasId);
  return askRanges(calls, fd, ioasId, FIRST_CAPACITY);
}

/**
 * The IOVAs that an IOAS does not let be mapped, for {@link IommufdSinkOptions.reserved}: what lies
 * between `ranges`. A page of 4096 bytes that is allowed only in part is reserved.
 * @param ranges of {@link iovaRanges}.
 * @throws RangeError when the ranges are not ascending and disjoint.
 */
export function reservedOf(ranges: readonly AllowedIovas[]): AddressRange[] {
  const at = firstMisplaced(ranges);
  if (at !== -1) {
    const { start, last } = ranges[at]!;
    const range = `${hexU64(start.high, start.low)} to ${hexU64(last.high, last.low)}`;
    throw new RangeError(
      `ranges[${at}] is ${range}: ranges must be ascending and disjoint, as iovaRanges gives them`,
    );
  }
  return reservedFromIovaRanges(ranges);
}

function askRanges(
  calls: HostCalls,
  fd: number,
  ioasId: number,
  capacity: number,
): HostAnswer<IovaRanges> {
  const request = IOMMU_IOAS_IOVA_RANGES;
  const array = hostBytes(capacity * IOVA_RANGE_BYTES);
  const values = { ioas_id: ioasId, num_iovas: capacity, allowed_iovas: locate(calls, array) };
  const argument = encodeRequest(request, values, hostBytes(request.byteLength));
  return after(askKernel(calls, fd, request, argument, [array]), (result) => {
    const { num_iovas: count, out_iova_alignment } = decodeRequest(request, argument);
    if (result === -Errno.EMSGSIZE && count > capacity && count <= MOST_RANGES) {
      // There may be more of them at the next call: twice as many end it soon.
      return askRanges(calls, fd, ioasId, Math.min(Math.max(count, 2 * capacity), MOST_RANGES));
    }
    checkDone(request, result);
    if (count > capacity) throw new IommufdError(request.name, Errno.EPROTO);
    const ranges = Array.from({ length: count }, (_, i) =>
      readFields(array, i * IOVA_RANGE_BYTES, IommuIovaRange),
    );
    const alignment = out_iova_alignment.high * 0x1_0000_0000 + out_iova_alignment.low;
    if (firstMisplaced(ranges) !== -1 || !Number.isInteger(Math.log2(alignment))) {
      throw new IommufdError(request.name, Errno.EPROTO);
    }
    return { ranges, alignment };
  });
}

/** Index of the first range that ends before it begins, or begins before the one before it has ended; or -1. */
function firstMisplaced(ranges: readonly AllowedIovas[]): number {
  return ranges.findIndex(
    ({ start, last }, i) => isBelow(last, start) || (i > 0 && !isBelow(ranges[i - 1]!.last, start)),
  );
}

function isBelow(a: Readonly<Halves>, b: Readonly<Halves>): boolean {
  return a.high === b.high ? a.low < b.low : a.high < b.high;
}
