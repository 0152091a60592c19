import { refusalOf, replyTo, VfioUserCommand, type VfioUserRequest } from './vfio-user-protocol.js';

/** Registers that the guest reaches through a BAR. */
export interface BarAccess {
  /** Bytes that the BAR takes: a power of 2. */
  readonly bytes: number;
  read(offset: number, count: number): Buffer;
  write(offset: number, data: Buffer): void;
}

/** What comes of a request. */
export interface Served {
  readonly reply: Buffer;
  /** Still to be done, when the reply is on its way. */
  readonly effect?: () => void;
}

/** Regions of a PCI device: BAR0 to BAR5, the ROM, configuration space, VGA. */
const REGIONS = 9;
const BAR0 = 0;
const CONFIGURATION = 7;
/** Kinds of interrupts of a PCI device: the machine needs none of them. */
const INTERRUPT_KINDS = 5;
const DeviceFlag = { reset: 1, pci: 2 } as const;
const RegionFlag = { read: 1, write: 2 } as const;
const EINVAL = 22;
const EOPNOTSUPP = 95;

/** Of a conventional PCI device. */
const CONFIGURATION_BYTES = 256;
/** A system peripheral of no special kind; nobody's, since the guest does not see it. */
const VENDOR = 0x1234;
const DEVICE = 0x0001;
const CLASS = 0x0880;

/** Of the version that both sides speak: 0.0, with limits that suit one device. */
const VERSION_REPLY = Buffer.concat([
  Buffer.alloc(4),
  Buffer.from('{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576}}\0'),
]);

/**
 * The server's side of vfio-user: a PCI device of one BAR, without interrupts. Where the guest's RAM is
 * it is told, but knows already.
 */
export class VfioUserDevice {
  private readonly bar: BarAccess;
  private readonly configuration = Buffer.alloc(CONFIGURATION_BYTES);

  constructor(bar: BarAccess) {
    this.bar = bar;
    this.configuration.writeUInt16LE(VENDOR, 0x00);
    this.configuration.writeUInt16LE(DEVICE, 0x02);
    this.configuration.writeUInt16LE(CLASS, 0x0a);
  }

  serve(request: VfioUserRequest): Served {
    const { body } = request;
    switch (request.command) {
      case VfioUserCommand.VERSION:
        return { reply: replyTo(request, VERSION_REPLY) };
      case VfioUserCommand.DEVICE_GET_INFO:
        return { reply: replyTo(request, deviceInfo()) };
      case VfioUserCommand.DEVICE_GET_REGION_INFO:
        return { reply: replyTo(request, this.regionInfo(body.readUInt32LE(8))) };
      case VfioUserCommand.DEVICE_GET_IRQ_INFO:
        return { reply: replyTo(request, words(16, 0, body.readUInt32LE(8), 0)) };
      case VfioUserCommand.REGION_READ:
        return this.read(request);
      case VfioUserCommand.REGION_WRITE:
        return this.write(request);
      case VfioUserCommand.DMA_UNMAP:
        return { reply: replyTo(request, body) };
      // The guest starts once: a reset finds everything as it was made.
      case VfioUserCommand.DEVICE_RESET:
      case VfioUserCommand.DEVICE_SET_IRQS:
      case VfioUserCommand.DMA_MAP:
        return { reply: replyTo(request) };
      default:
        return { reply: refusalOf(request, EOPNOTSUPP) };
    }
  }

  private regionInfo(index: number): Buffer {
    const bytes = this.bytesOf(index);
    const flags = bytes === 0 ? 0 : RegionFlag.read | RegionFlag.write;
    return words(32, flags, index, 0, bytes, 0, 0, 0);
  }

  private bytesOf(index: number): number {
    if (index === BAR0) return this.bar.bytes;
    return index === CONFIGURATION ? CONFIGURATION_BYTES : 0;
  }

  private read(request: VfioUserRequest): Served {
    const { offset, region, count } = accessOf(request.body);
    if (offset + count > this.bytesOf(region)) return { reply: refusalOf(request, EINVAL) };
    const data =
      region === BAR0
        ? this.bar.read(offset, count)
        : this.configuration.subarray(offset, offset + count);
    return { reply: replyTo(request, Buffer.concat([request.body.subarray(0, 16), data])) };
  }

  /**
   * The processor that writes goes on with the reply. What the write leads to is done when the next request
   * is served: nobody can see that it came later.
   */
  private write(request: VfioUserRequest): Served {
    const { offset, region, count } = accessOf(request.body);
    const data = request.body.subarray(16, 16 + count);
    if (offset + count > this.bytesOf(region) || data.length < count) {
      return { reply: refusalOf(request, EINVAL) };
    }
    const reply = replyTo(request, request.body.subarray(0, 16));
    if (region === BAR0) {
      return {
        reply,
        effect: () => {
          this.bar.write(offset, data);
        },
      };
    }
    data.copy(this.configuration, offset);
    return { reply };
  }
}

function deviceInfo(): Buffer {
  return words(16, DeviceFlag.reset | DeviceFlag.pci, REGIONS, INTERRUPT_KINDS);
}

/** How REGION_READ and REGION_WRITE begin. */
function accessOf(body: Buffer): { offset: number; region: number; count: number } {
  return {
    offset: Number(body.readBigUInt64LE(0)),
    region: body.readUInt32LE(8),
    count: body.readUInt32LE(12),
  };
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32LE(value, 4 * i));
  return bytes;
}
