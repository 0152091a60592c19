import { Errno, errnoName } from '../iommufd/iommufd-error.js';
import {
  readFields,
  writeFields,
  type ByteLayout,
  type ByteValues,
} from '../memory/byte-layout.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import type { Halves, U64 } from '../memory/u64.js';
import {
  AreaPermission,
  type IoasSink,
  type SinkAnswer,
  type SinkCapabilities,
} from '../mirror/sink.js';
import { HostRegions } from './host-regions.js';

/** Header of every message (vfio-user specification, section Header). */
const Header = {
  message_id: [0, 2],
  command: [2, 2],
  message_size: [4, 4],
  flags: [8, 4],
  error: [12, 4],
} as const satisfies ByteLayout;

/** Payload of the request (section VFIO_USER_DMA_MAP). */
const DmaMap = {
  argsz: [0, 4],
  flags: [4, 4],
  offset: [8, 8],
  address: [16, 8],
  size: [24, 8],
} as const satisfies ByteLayout;

/** Payload of the request and of its reply (section VFIO_USER_DMA_UNMAP). */
const DmaUnmap = {
  argsz: [0, 4],
  flags: [4, 4],
  address: [8, 8],
  size: [16, 8],
} as const satisfies ByteLayout;

const HEADER_BYTES = 16;
const DMA_MAP_BYTES = 32;
const DMA_UNMAP_BYTES = 24;

const HeaderFlag = { typeMask: 0xf, reply: 1, error: 0x20 } as const;
const DmaMapFlag = { readable: 1, writeable: 2 } as const;
const Command = { VFIO_USER_DMA_MAP: 2, VFIO_USER_DMA_UNMAP: 3 } as const;

/** Guest RAM that the server reads and writes through messages: it cannot map it. */
export type VfioUserRegion = AddressRange;

/** Guest RAM in a file that the server may map. It keeps that memory until it gives it back by itself. */
export interface VfioUserFileRegion extends AddressRange {
  /** File descriptor of the memory. */
  readonly fd: number;
  /** Offset of its first byte in the file: a multiple of 4096. */
  readonly fileOffset: U64;
}

/** How a {@link VfioUserSink} is made. */
export interface VfioUserSinkOptions {
  /** Guest RAM. */
  readonly regions: readonly (VfioUserRegion | VfioUserFileRegion)[];
  /**
   * Sends a message to the server, and gives the message that it replies, header included.
   * @param fd goes with the message, as ancillary data; `undefined` when none does.
   */
  readonly send: (message: Uint8Array, fd: number | undefined) => Uint8Array | Promise<Uint8Array>;
  /** The smallest of the server's `pgsizes`, when it is more than 4096 bytes. */
  readonly pageSize?: number;
  /** The server's `max_dma_maps`. Default 65,535, as the specification says. */
  readonly areas?: number;
}

/** A vfio-user server failed a command, or replied what is no reply to it. */
export class VfioUserError extends Error {
  override readonly name = 'VfioUserError';
  /** Command that failed, for example `VFIO_USER_DMA_MAP`. */
  readonly command: string;
  /** Linux error number of the reply; 0 when it gives none. */
  readonly errno: number;

  constructor(command: string, errno: number, problem: string) {
    super(`${command} failed: ${problem}`);
    this.command = command;
    this.errno = errno;
  }
}

/**
 * Tells a vfio-user server what its device may reach, with VFIO_USER_DMA_MAP and VFIO_USER_DMA_UNMAP
 * (vfio-user specification, sections of these names; byte order is the host's, little-endian here).
 * An operation is done when the server has replied; by then it has let go of what was unmapped. When
 * it refuses, `map` and `unmap` throw a {@link VfioUserError}, or reject with it.
 */
export class VfioUserSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  private readonly regions: HostRegions<VfioUserRegion | VfioUserFileRegion>;
  private readonly send: VfioUserSinkOptions['send'];
  private readonly start: Halves = { high: 0, low: 0 };
  private nextId = 0;

  /** @throws RangeError when regions overlap, or do not consist of pages. */
  constructor({ regions, send, pageSize = 4096, areas = 65_535 }: VfioUserSinkOptions) {
    this.regions = new HostRegions(
      regions,
      (region) => ['fileOffset', 'fd' in region ? region.fileOffset : 0],
      4096,
    );
    this.send = send;
    this.capabilities = { unmaps: 'area', pageSize, memory: this.regions.regions, areas };
  }

  /** @throws RangeError when the area does not lie in one of the regions. */
  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    const region = this.regions.locate(address, length, this.start);
    const fd = 'fd' in region ? region.fd : undefined;
    const payload: ByteValues<typeof DmaMap> = {
      argsz: DMA_MAP_BYTES,
      flags:
        ((permissions & AreaPermission.read) !== 0 ? DmaMapFlag.readable : 0) |
        ((permissions & AreaPermission.write) !== 0 ? DmaMapFlag.writeable : 0),
      offset: fd === undefined ? 0 : this.start,
      address: iova,
      size: length,
    };
    return this.request('VFIO_USER_DMA_MAP', DmaMap, DMA_MAP_BYTES, payload, fd);
  }

  unmap(iova: number, length: number): SinkAnswer {
    const payload: ByteValues<typeof DmaUnmap> = {
      argsz: DMA_UNMAP_BYTES,
      address: iova,
      size: length,
    };
    return this.request('VFIO_USER_DMA_UNMAP', DmaUnmap, DMA_UNMAP_BYTES, payload, undefined);
  }

  private request<L extends ByteLayout>(
    name: keyof typeof Command,
    layout: L,
    bytes: number,
    payload: ByteValues<L>,
    fd: number | undefined,
  ): SinkAnswer {
    const id = this.nextId;
    this.nextId = (id + 1) & 0xffff;
    const message = new Uint8Array(HEADER_BYTES + bytes);
    writeFields(message, 0, Header, {
      message_id: id,
      command: Command[name],
      message_size: message.length,
    });
    writeFields(message, HEADER_BYTES, layout, payload);
    const reply = this.send(message, fd);
    return reply instanceof Uint8Array
      ? isDone(name, id, reply)
      : reply.then((later) => isDone(name, id, later));
  }
}

function isDone(name: keyof typeof Command, id: number, reply: Uint8Array): true {
  const header = reply.length < HEADER_BYTES ? undefined : readFields(reply, 0, Header);
  if (
    header?.message_id !== id ||
    header.command !== Command[name] ||
    header.message_size !== reply.length ||
    (header.flags & HeaderFlag.typeMask) !== HeaderFlag.reply
  ) {
    throw new VfioUserError(name, 0, 'what the server sent is not the reply to it');
  }
  if ((header.flags & HeaderFlag.error) === 0) return true;
  // Nothing there: what was to go is gone.
  if (name === 'VFIO_USER_DMA_UNMAP' && header.error === Errno.ENOENT) return true;
  throw new VfioUserError(name, header.error, errnoName(header.error));
}
