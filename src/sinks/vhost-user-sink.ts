import { IntervalMap, type Interval } from '../ioas/interval-map.js';
import type { AddressRange } from '../memory/sparse-memory.js';
import { joinU64, type Halves, type U64 } from '../memory/u64.js';
import type { IoasSink, SinkAnswer, SinkCapabilities } from '../mirror/sink.js';
import { HostRegions } from './host-regions.js';
import {
  decodeBackendIotlb,
  encodeBackendReply,
  encodeIotlb,
  IotlbType,
  isSuccess,
} from './vhost-user-message.js';

/** Guest RAM that the back-end shares: a region of VHOST_USER_SET_MEM_TABLE or ADD_MEM_REG. */
export interface VhostUserRegion extends AddressRange {
  /** The region's user address in that message. */
  readonly userAddress: U64;
}

/** How a {@link VhostUserSink} is made. */
export interface VhostUserSinkOptions {
  /** Guest RAM, as the back-end was told of it. */
  readonly regions: readonly VhostUserRegion[];
  /**
   * Sends a message to the back-end, and gives the message that it replies, header included. Replies
   * come in the order of the messages. VHOST_USER_PROTOCOL_F_REPLY_ACK has been negotiated.
   */
  readonly send: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  /**
   * The back-end misses an IOVA: maps it, by way of {@link VhostUserSink.map}, when the guest's tables
   * do. The IOVA is any byte; a bigint when it is 2^53 or more.
   * @param permissions {@link AreaPermission} bits that the back-end needs.
   * @returns `false` when the guest does not let the device do that.
   */
  readonly miss: (iova: U64, permissions: number) => boolean;
}

/** What {@link VhostUserSink.receive} made of a message. */
export interface BackendAnswer {
  /**
   * `mapped`: a miss, which an UPDATE answers. `refused`: a miss at an address that is not to be had:
   * nothing is sent, as the protocol says. `accessFailed`: the back-end reports an access that its
   * IOTLB did not permit. `malformed`: no message that a front-end understands; closing the connection
   * is up to the embedder.
   */
  readonly outcome: 'mapped' | 'refused' | 'accessFailed' | 'malformed';
  /** IOVA of the miss or the failed access, any byte; 0 when malformed. */
  readonly iova: U64;
  /** {@link AreaPermission} bits that were wanted; 0 when malformed. */
  readonly permissions: number;
  /** What is to be sent back where the message came from; `undefined` when no reply is wanted. */
  readonly reply: Uint8Array | undefined;
}

/**
 * Keeps the IOTLB of a vhost-user back-end: UPDATE and INVALIDATE messages, each of which the back-end
 * acknowledges. An operation is done when the acknowledgement says so: what waits for an unmap waits
 * until the back-end no longer uses the entry. Any other reply is a refusal.
 *
 * A back-end may drop entries whenever it likes, and misses them later. The sink remembers what it
 * sent and repeats it then; the mirror is asked for what was never sent, or invalidated since.
 */
export class VhostUserSink implements IoasSink {
  readonly capabilities: SinkCapabilities;
  private readonly regions: HostRegions<VhostUserRegion>;
  private readonly send: VhostUserSinkOptions['send'];
  private readonly miss: VhostUserSinkOptions['miss'];
  private readonly sent = new IntervalMap();
  private readonly start: Halves = { high: 0, low: 0 };

  /** @throws RangeError when regions overlap, or do not consist of pages. */
  constructor({ regions, send, miss }: VhostUserSinkOptions) {
    this.regions = new HostRegions(regions, ({ userAddress }) => ['userAddress', userAddress], 1);
    this.send = send;
    this.miss = miss;
    this.capabilities = { memory: this.regions.regions };
  }

  /** @throws RangeError when the area does not lie in one of the regions. */
  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    const answer = this.update(iova, address, length, permissions);
    // In the order of the messages, not of the replies: an unmap may come before this one's reply.
    this.sent.insert(iova, length, address, permissions);
    if (typeof answer === 'boolean') {
      if (!answer) this.sent.remove(iova, length);
      return answer;
    }
    return answer.then(
      (done) => {
        if (!done) this.sent.remove(iova, length);
        return done;
      },
      (error: unknown) => {
        this.sent.remove(iova, length);
        throw error;
      },
    );
  }

  unmap(iova: number, length: number): SinkAnswer {
    this.sent.remove(iova, length);
    if (length < 2 ** 64) return this.invalidate(iova, length);
    // 2^64 bytes do not fit the field.
    const lower = this.invalidate(0, 2 ** 63);
    const upper = this.invalidate(2 ** 63, 2 ** 63);
    if (typeof lower === 'boolean' && typeof upper === 'boolean') return lower && upper;
    return Promise.all([lower, upper]).then(([first, second]) => first && second);
  }

  /**
   * Takes a message that came on the back-end's channel. Whatever the back-end sends, this throws
   * nothing but what {@link VhostUserSinkOptions.miss} throws.
   */
  receive(message: Uint8Array): BackendAnswer {
    const { type, iova: halves, permissions, needsReply } = decodeBackendIotlb(message);
    const iova: U64 =
      halves.high < 2 ** 21
        ? halves.high * 0x1_0000_0000 + halves.low
        : joinU64(halves.high, halves.low);
    let outcome: BackendAnswer['outcome'] = 'malformed';
    if (type === IotlbType.accessFail) outcome = 'accessFailed';
    else if (type === IotlbType.miss) {
      const isMapped = this.repeat(halves, permissions) || this.miss(iova, permissions);
      outcome = isMapped ? 'mapped' : 'refused';
    }
    const success = outcome === 'mapped' || outcome === 'accessFailed';
    const reply = needsReply ? encodeBackendReply(success) : undefined;
    return { outcome, iova, permissions, reply };
  }

  /** Sends again what the back-end has dropped; `false` when it was not sent with these permissions. */
  private repeat({ high, low }: Readonly<Halves>, permissions: number): boolean {
    const page = high * 0x1_0000_0000 + (low - (low % 4096));
    const interval: Interval = { iova: 0, length: 0, address: 0, permissions: 0 };
    if (!this.sent.find(page, interval)) return false;
    if ((interval.permissions & permissions) !== permissions) return false;
    // Areas of neighbouring regions are joined in the interval; a message stays in one region.
    const region = this.regions.at(interval.address + (page - interval.iova))!;
    const from = Math.max(interval.address, region.base);
    const end = Math.min(interval.address + interval.length, region.base + region.byteLength);
    const iova = interval.iova + (from - interval.address);
    try {
      const answer = this.update(iova, from, end - from, interval.permissions);
      if (typeof answer === 'boolean') return answer;
      // The back-end misses it once more if this one is lost.
      answer.catch(() => false);
      return true;
    } catch {
      return false;
    }
  }

  private update(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    this.regions.locate(address, length, this.start);
    return this.exchange(encodeIotlb(IotlbType.update, iova, length, this.start, permissions));
  }

  private invalidate(iova: number, length: number): SinkAnswer {
    return this.exchange(encodeIotlb(IotlbType.invalidate, iova, length, 0, 0));
  }

  private exchange(message: Uint8Array): SinkAnswer {
    const reply = this.send(message);
    return reply instanceof Uint8Array ? isSuccess(reply) : reply.then(isSuccess);
  }
}
