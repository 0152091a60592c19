import {
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_UNMAP,
  IoasMapFlag,
} from '../iommufd/ioas-requests.js';
import { Errno, IommufdError } from '../iommufd/iommufd-error.js';
import { encodeRequest, type IommufdRequest } from '../iommufd/request.js';
import type { ByteLayout, ByteValues } from '../memory/byte-layout.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import type { Halves, U64 } from '../memory/u64.js';
import {
  AreaPermission,
  type IoasSink,
  type SinkAnswer,
  type SinkCapabilities,
} from '../mirror/sink.js';
import { HostRegions } from './host-regions.js';

/** Guest RAM that is mapped into this process. */
export interface UserRegion extends AddressRange {
  /** Address of its first byte in this process: a multiple of the sink's page size. */
  readonly userAddress: U64;
}

/** Guest RAM in a memfd. */
export interface FileRegion extends AddressRange {
  /** File descriptor of the memfd. */
  readonly fd: number;
  /** Offset of its first byte in the memfd: a multiple of the sink's page size. */
  readonly fileOffset: U64;
}

/** How an {@link IommufdSink} is made. */
export interface IommufdSinkOptions {
  /** File descriptor of `/dev/iommu`. */
  readonly fd: number;
  /** The IOAS: what IOMMU_IOAS_ALLOC answered. */
  readonly ioasId: number;
  /** Guest RAM, where devices can be let at it. Regions in a memfd are mapped with IOMMU_IOAS_MAP_FILE. */
  readonly regions: readonly (UserRegion | FileRegion)[];
  /**
   * Makes the system call on the `argument` bytes, in which the kernel writes its answer too.
   * @returns 0 or more when it is done, the negated Linux error number when it failed; or a promise of
   * that. The argument of a call that answered with a number is used again by the next one; one that
   * answered with a promise keeps its argument to itself.
   */
  readonly ioctl: (fd: number, request: number, argument: Uint8Array) => number | Promise<number>;
  /** IOVAs that the kernel refuses: what lies outside IOMMU_IOAS_IOVA_RANGES. Default: none. */
  readonly reserved?: readonly AddressRange[];
  /** What IOMMU_IOAS_IOVA_RANGES gives as `out_iova_alignment`, when it is more than 4096 bytes. */
  readonly pageSize?: number;
  /** Areas that there may be at a time. Default: no limit but the kernel's memory. */
  readonly areas?: number;
}

/**
 * Keeps an IOAS of the kernel's iommufd: what devices behind a hardware IOMMU see is what the guest's
 * tables say. Each map is one area; the kernel unmaps areas as a whole only. When the kernel refuses,
 * `map` and `unmap` throw an {@link IommufdError}, or reject with it.
 */
export class IommufdSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  private readonly fd: number;
  private readonly ioasId: number;
  private readonly ioctl: IommufdSinkOptions['ioctl'];
  private readonly regions: HostRegions<UserRegion | FileRegion>;
  private readonly start: Halves = { high: 0, low: 0 };
  private argument = new Uint8Array(IOMMU_IOAS_MAP.byteLength);

  /** @throws RangeError when a number is out of range or a region is not what the kernel can map. */
  constructor(options: IommufdSinkOptions) {
    const { fd, ioasId, regions, ioctl, reserved, pageSize = 4096, areas } = options;
    checkId('fd', fd);
    checkId('ioasId', ioasId);
    for (const [i, region] of regions.entries()) {
      if ('fd' in region) checkId(`regions[${i}].fd`, region.fd);
    }
    this.fd = fd;
    this.ioasId = ioasId;
    this.ioctl = ioctl;
    this.regions = new HostRegions(
      regions,
      (region) =>
        'fd' in region ? ['fileOffset', region.fileOffset] : ['userAddress', region.userAddress],
      pageSize,
    );
    this.capabilities = {
      unmaps: 'areas',
      pageSize,
      memory: this.regions.regions,
      ...(reserved === undefined ? {} : { reserved }),
      ...(areas === undefined ? {} : { areas }),
    };
  }

  /** @throws RangeError when the area does not lie in one of the regions. */
  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    const region = this.regions.locate(address, length, this.start);
    const common = {
      ioas_id: this.ioasId,
      flags:
        IoasMapFlag.FIXED_IOVA |
        ((permissions & AreaPermission.read) !== 0 ? IoasMapFlag.READABLE : 0) |
        ((permissions & AreaPermission.write) !== 0 ? IoasMapFlag.WRITEABLE : 0),
      length,
      iova,
    };
    return 'fd' in region
      ? this.request(IOMMU_IOAS_MAP_FILE, { ...common, fd: region.fd, start: this.start })
      : this.request(IOMMU_IOAS_MAP, { ...common, user_va: this.start });
  }

  unmap(iova: number, length: number): SinkAnswer {
    // 2^64 bytes do not fit the field: the kernel takes its largest value as everything.
    const bytes = length < 2 ** 64 ? length : { high: 0xffff_ffff, low: 0xffff_ffff };
    return this.request(IOMMU_IOAS_UNMAP, { ioas_id: this.ioasId, iova, length: bytes });
  }

  private request<L extends ByteLayout>(
    request: IommufdRequest<L>,
    values: ByteValues<Omit<L, 'size'>>,
  ): SinkAnswer {
    const argument = this.argument.subarray(0, request.byteLength);
    encodeRequest(request, values, argument);
    const result = this.ioctl(this.fd, request.number, argument);
    if (typeof result === 'number') return isDone(request, result);
    this.argument = new Uint8Array(IOMMU_IOAS_MAP.byteLength);
    return result.then((later) => isDone(request, later));
  }
}

/**
 * The IOVAs outside the ranges that IOMMU_IOAS_IOVA_RANGES allows, for
 * {@link IommufdSinkOptions.reserved}; a page that is allowed only in part is reserved.
 * @param allowed ranges, ascending and disjoint as the kernel gives them; `last` is inclusive.
 */
export function reservedFromIovaRanges(
  allowed: readonly { readonly start: Halves; readonly last: Halves }[],
): AddressRange[] {
  const reserved: AddressRange[] = [];
  let from = 0;
  for (const { start, last } of allowed) {
    const base = floorPage(start) + (start.low % 4096 === 0 ? 0 : 4096);
    const end = floorPage(last) + (last.low % 4096 === 4095 ? 4096 : 0);
    if (end <= base) continue;
    if (base > from) reserved.push({ base: from, byteLength: base - from });
    from = end;
  }
  if (from < 2 ** 64) reserved.push({ base: from, byteLength: 2 ** 64 - from });
  return reserved;
}

function floorPage({ high, low }: Halves): number {
  return high * 0x1_0000_0000 + (low - (low % 4096));
}

function isDone(request: IommufdRequest, result: number): true {
  // Nothing there: what was to go is gone.
  const isGone = request.number === IOMMU_IOAS_UNMAP.number && result === -Errno.ENOENT;
  if (result >= 0 || isGone) return true;
  throw new IommufdError(request.name, -result);
}

function checkId(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) return;
  throw new RangeError(`${name} is ${value}: it must be an integer from 0 to 2^31-1`);
}
