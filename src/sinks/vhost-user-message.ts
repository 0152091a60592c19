import { readFields, writeFields, type ByteLayout, type ByteValue } from '../memory/byte-layout.js';
import type { Halves } from '../memory/u64.js';

/**
 * The messages of the vhost-user protocol that carry IOTLB entries, after its specification (QEMU,
 * `docs/interop/vhost-user.rst`, sections Message Specification and IOMMU support). The protocol's byte
 * order is the machine's; little-endian here.
 */

/** Header of every message (section Header). */
const Header = {
  request: [0, 4],
  flags: [4, 4],
  size: [8, 4],
} as const satisfies ByteLayout;

/** `struct vhost_iotlb_msg` (section An IOTLB message). */
const IotlbMessage = {
  iova: [0, 8],
  size: [8, 8],
  uaddr: [16, 8],
  perm: [24, 1],
  type: [25, 1],
} as const satisfies ByteLayout;

const HEADER_BYTES = 12;
/** What the fields of an IOTLB message take. */
const IOTLB_FIELD_BYTES = 26;
/** The size of the C structure on 64-bit machines: implementations send its padding too. */
const IOTLB_BYTES = 32;

/** Bits of the header's flags. */
const Flag = { versionMask: 3, version: 1, reply: 4, needReply: 8 } as const;

const IOTLB_MSG = 22;
const BACKEND_IOTLB_MSG = 1;

/** Types of an IOTLB message. */
export const IotlbType = { miss: 1, update: 2, invalidate: 3, accessFail: 4 } as const;

/** A message of the back-end: what it says, or as much of it as can be answered. */
export interface BackendIotlb {
  /** An {@link IotlbType}; 0 when the message is malformed. */
  readonly type: number;
  readonly iova: Readonly<Halves>;
  readonly permissions: number;
  /** Whether the back-end waits for an answer. */
  readonly needsReply: boolean;
}

const MALFORMED: BackendIotlb = {
  type: 0,
  iova: { high: 0, low: 0 },
  permissions: 0,
  needsReply: false,
};

/** VHOST_USER_IOTLB_MSG, front-end to back-end, which asks for a reply. */
export function encodeIotlb(
  type: number,
  iova: number,
  size: number,
  uaddr: ByteValue,
  perm: number,
): Uint8Array {
  const message = new Uint8Array(HEADER_BYTES + IOTLB_BYTES);
  const flags = Flag.version | Flag.needReply;
  writeFields(message, 0, Header, { request: IOTLB_MSG, flags, size: IOTLB_BYTES });
  writeFields(message, HEADER_BYTES, IotlbMessage, { iova, size, uaddr, perm, type });
  return message;
}

/** Whether `reply` is the back-end's reply to VHOST_USER_IOTLB_MSG, and says success. */
export function isSuccess(reply: Uint8Array): boolean {
  if (reply.length !== HEADER_BYTES + 8) return false;
  const { request, flags, size } = readFields(reply, 0, Header);
  return (
    request === IOTLB_MSG &&
    (flags & (Flag.versionMask | Flag.reply)) === (Flag.version | Flag.reply) &&
    size === 8 &&
    reply.subarray(HEADER_BYTES).every((byte) => byte === 0)
  );
}

/** What the back-end's VHOST_USER_BACKEND_IOTLB_MSG says. */
export function decodeBackendIotlb(message: Uint8Array): BackendIotlb {
  if (message.length < HEADER_BYTES) return MALFORMED;
  const { request, flags, size } = readFields(message, 0, Header);
  if (
    request !== BACKEND_IOTLB_MSG ||
    (flags & (Flag.versionMask | Flag.reply)) !== Flag.version ||
    size !== message.length - HEADER_BYTES
  ) {
    return MALFORMED;
  }
  const needsReply = (flags & Flag.needReply) !== 0;
  // 32-bit machines pad to 28 bytes, packed structures have none.
  if (size < IOTLB_FIELD_BYTES || size > IOTLB_BYTES) return { ...MALFORMED, needsReply };
  const { iova, perm, type } = readFields(message, HEADER_BYTES, IotlbMessage);
  const isKnown = type === IotlbType.miss || type === IotlbType.accessFail;
  if (!isKnown || perm < 1 || perm > 3) return { ...MALFORMED, needsReply };
  return { type, iova, permissions: perm, needsReply };
}

/** The front-end's reply to VHOST_USER_BACKEND_IOTLB_MSG: 0 for success, otherwise 1. */
export function encodeBackendReply(success: boolean): Uint8Array {
  const reply = new Uint8Array(HEADER_BYTES + 8);
  const flags = Flag.version | Flag.reply;
  writeFields(reply, 0, Header, { request: BACKEND_IOTLB_MSG, flags, size: 8 });
  if (!success) reply[HEADER_BYTES] = 1;
  return reply;
}
