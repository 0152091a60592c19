/** Commands (vfio-user specification, section Commands) that a client sends to a server. */
export const VfioUserCommand = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DEVICE_RESET: 13,
} as const;

/** A message of the client. */
export interface VfioUserRequest {
  readonly id: number;
  readonly command: number;
  /** The client waits for the reply. */
  readonly wantsReply: boolean;
  /** What comes behind the header. */
  readonly body: Buffer;
}

/** The header: message_id, command, message_size, flags, error (section Header). */
const HEADER_BYTES = 16;
const Flag = { typeMask: 0xf, reply: 1, noReply: 0x10, error: 0x20 } as const;
/** What a server of one device never needs. */
const MOST_BYTES = 1 << 20;

/** The client sent something that is no message. */
export class VfioUserProtocolError extends Error {
  override readonly name = 'VfioUserProtocolError';
}

/** Cuts what comes through a socket into messages. */
export class VfioUserFraming {
  private rest: Buffer = Buffer.alloc(0);

  /** @returns the messages that `chunk` completes. */
  push(chunk: Buffer): VfioUserRequest[] {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const requests: VfioUserRequest[] = [];
    while (this.rest.length >= HEADER_BYTES) {
      const { rest } = this;
      const size = rest.readUInt32LE(4);
      const flags = rest.readUInt32LE(8);
      if (size < HEADER_BYTES || size > MOST_BYTES || (flags & Flag.typeMask) !== 0) {
        throw new VfioUserProtocolError(`${size} bytes, flags 0x${flags.toString(16)}`);
      }
      if (rest.length < size) break;
      requests.push({
        id: rest.readUInt16LE(0),
        command: rest.readUInt16LE(2),
        wantsReply: (flags & Flag.noReply) === 0,
        body: rest.subarray(HEADER_BYTES, size),
      });
      this.rest = rest.subarray(size);
    }
    return requests;
  }
}

/** The message that answers `request`. */
export function replyTo(request: VfioUserRequest, body: Uint8Array = Buffer.alloc(0)): Buffer {
  return message(request, Flag.reply, 0, body);
}

/** The message that refuses `request`, with a Linux error number. */
export function refusalOf(request: VfioUserRequest, errno: number): Buffer {
  return message(request, Flag.reply | Flag.error, errno, Buffer.alloc(0));
}

function message(
  { id, command }: VfioUserRequest,
  flags: number,
  errno: number,
  body: Uint8Array,
): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUInt16LE(id, 0);
  bytes.writeUInt16LE(command, 2);
  bytes.writeUInt32LE(bytes.length, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(errno, 12);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}
