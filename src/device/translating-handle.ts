import type { GuestMemory } from '../memory/guest-memory.js';
import { hex } from '../memory/hex.js';
import { splitU64, type Halves, type U64 } from '../memory/u64.js';
import { Entry, ENTRY_LOG2, isNonGlobal, spanLog2Of } from '../tlb/entry.js';
import type { Tlb } from '../tlb/tlb.js';
import { CachedContext } from '../transaction/configuration-cache.js';
import { Reason } from '../transaction/reason.js';
import type { StallListener } from '../transaction/stall.js';
import { Outcome, Translation } from '../transaction/translation.js';
import type { Segments } from './segments.js';
import type { AccessesUnderWay } from './under-way.js';

/** What a handle needs of the vSMMU. */
export interface HandleHost {
  readonly memory: GuestMemory;
  readonly tlb: Tlb;
  readonly accessesUnderWay: AccessesUnderWay;
  /** Bits of a physical address. */
  readonly outputBits: number;
  translate(
    streamId: number,
    substreamId: number,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
    answered?: StallListener,
  ): number;
  /**
   * Finds or makes the TLB entry for an access through a CD, after the micro-TLB had none.
   * @returns where it begins in the words of the TLB's store; -1 when {@link translate} has to be asked.
   */
  fill(context: CachedContext, streamId: number, high: number, low: number, access: number): number;
  /** The CD that accesses of a stream use; one without a slot when there is none. */
  contextOf(streamId: number, substreamId: number): CachedContext;
  /** A 32-bit write to an address that is not RAM. */
  message(address: number, data: number): boolean;
}

/** Of a handle whose stream has not translated anything yet: answers nothing. */
const UNBOUND = new CachedContext();
const WINDOW = 0x1_0000_0000;

/** What a device holds to translate the addresses of its DMA. */
export class TranslatingHandle {
  /** StreamID of the accesses. */
  readonly streamId: number;
  /** SubstreamID (PASID) of the accesses; -1 without one. */
  readonly substreamId: number;

  /** @internal The vSMMU. */
  protected host: HandleHost;
  /** Bytes from the address that was last located to the end of what its translation holds for. */
  protected readonly reach = new Float64Array(1);
  /** log2 of the bytes of that translation; 64 when no stage translated. */
  protected spanLog2 = 0;
  /** 1 when that translation is non-global. */
  protected nonGlobal = 0;
  /** As {@link fault}. */
  protected lastFault = new Translation();
  /** Where the access has come to: bits 63:32 of the IOVA, signed. */
  protected high = 0;
  /** Bits 31:0 of it, signed. */
  protected low = 0;

  /** The access has come to 2^64. */
  private isBeyond = false;
  private readonly halves: Halves = { high: 0, low: 0 };
  private tlb: Tlb;
  private context = UNBOUND;
  private isAttached = true;
  private answer: Translation | undefined;

  /** @internal `Smmu.attach` makes handles. */
  constructor(host: HandleHost, streamId: number, substreamId: number) {
    this.host = host;
    this.tlb = host.tlb;
    this.streamId = streamId;
    this.substreamId = substreamId;
  }

  /**
   * The last fault of an access through this handle: what happened, where, and why. An event of 0
   * says that the guest was told nothing: nobody answers at the output address, for example.
   */
  get fault(): Readonly<Translation> {
    return this.lastFault;
  }

  /** @internal The vSMMU has been reset or restored. */
  connect(host: HandleHost): void {
    this.host = host;
    this.tlb = host.tlb;
    this.context = UNBOUND;
  }

  /**
   * Translates one address.
   * @param iova a number below 2^53, or a bigint below 2^64.
   * @param access {@link Access} bits.
   * @returns the guest-physical address; or, negative, the {@link Outcome} of an access that failed
   * (-1 aborted, -2 reads as zeros and ignores writes), which {@link fault} tells more of.
   * @throws RangeError when `iova` or `access` is out of range.
   * @throws Error when the handle is detached.
   */
  translate(iova: U64, access: number): number {
    if (typeof iova === 'number') {
      const low = iova | 0;
      const high = (iova / WINDOW) | 0;
      // Not equal for what is no integer, negative or too large: that throws.
      if (high * WINDOW + (low >>> 0) === iova && high < 0x20_0000) {
        const { context, tlb } = this;
        const at = tlb.probe(context.slot, high, low, context.needed[access]!);
        if (at >= 0) return iova + tlb.store.deltas[at >> ENTRY_LOG2]!;
        // The 0 tells V8 that both answers are doubles: else each hit would allocate its own.
        return this.resolve(at, high, low, access) - 0;
      }
    }
    this.begin(iova);
    return this.locate(access) - 0;
  }

  /**
   * Translates the addresses of an access of many bytes into the fewest contiguous segments.
   * @param iova a number below 2^53, or a bigint below 2^64.
   * @param length bytes, 0 or more.
   * @param access {@link Access} bits.
   * @param into gets the segments; what it held is lost.
   * @returns the bytes translated: `length`, or less when the access faults there; the fault has
   * been recorded.
   * @throws RangeError when `iova`, `length` or `access` is out of range.
   * @throws Error when the handle is detached.
   */
  translateRange(iova: U64, length: number, access: number, into: Segments): number {
    checkLength(length);
    checkAccess(access);
    this.begin(iova);
    into.clear();
    let done = 0;
    while (done < length) {
      const address = this.locate(access);
      if (address < 0) break;
      const bytes = Math.min(this.reach[0]!, length - done);
      into.add(address, bytes);
      done += bytes;
      this.advance(bytes);
    }
    return done;
  }

  /** ASID of the CD that the last translation used. */
  protected get asid(): number {
    return this.context.context.asid;
  }

  /** Any further use throws. @returns `false` when that is so already. */
  protected unbind(): boolean {
    const wasAttached = this.isAttached;
    this.isAttached = false;
    this.context = UNBOUND;
    return wasAttached;
  }

  /** The next access begins at `iova`. */
  protected begin(iova: U64): void {
    if (!this.isAttached) throw new Error(detached(this.streamId));
    const { high, low } = splitU64('iova', iova, this.halves);
    this.high = high | 0;
    this.low = low | 0;
    this.isBeyond = false;
  }

  /** The access goes on `bytes` further, which are not more than {@link reach}. */
  protected advance(bytes: number): void {
    const sum = (this.low >>> 0) + bytes;
    this.low = sum | 0;
    this.high = (this.high + Math.floor(sum / WINDOW)) | 0;
    this.isBeyond = (this.high | this.low) === 0;
  }

  /**
   * Translates the address that the access has come to, and says in {@link reach}, {@link spanLog2}
   * and {@link nonGlobal} how far the answer holds.
   * @param answered gets the answer of an access that stalls.
   * @returns as {@link translate}; -3 for an access that stalls.
   */
  protected locate(access: number, answered?: StallListener): number {
    const { high, low, context } = this;
    if (this.isBeyond) return this.fail(access, Reason.endOfSpace);
    const at = this.tlb.probe(context.slot, high, low, context.needed[access]!);
    return this.resolve(at, high, low, access, answered);
  }

  /** Ends an access at the address that it has come to, for a reason that is no event of the SMMU. */
  protected fail(access: number, reason: number): number {
    const fault = this.lastFault;
    fault.outcome = Outcome.aborted;
    fault.event = 0;
    fault.recorded = false;
    fault.stall = false;
    fault.reason = reason;
    fault.stag = 0;
    fault.level = 0;
    fault.class = 0;
    fault.fetchAddress = NaN;
    fault.streamId = this.streamId;
    fault.substreamId = this.substreamId;
    fault.inputHigh = this.high >>> 0;
    fault.inputLow = this.low >>> 0;
    fault.access = access;
    return -Outcome.aborted;
  }

  /**
   * The address of `high:low`, and how far that holds, by the TLB entry `known` or, when that is -1,
   * by the shadow cache or a walk. The length of this method keeps V8 from inlining it, which would
   * make {@link translate} too long to be inlined itself: each hit would then allocate a double.
   */
  private resolve(
    known: number,
    high: number,
    low: number,
    access: number,
    answered?: StallListener,
  ): number {
    const { host, streamId, substreamId } = this;
    let at = known;
    if (at < 0) {
      if (!this.isAttached) throw new Error(detached(streamId));
      checkAccess(access);
      at = host.fill(this.context, streamId, high, low, access);
    }
    if (at >= 0) {
      const { words } = this.tlb.store;
      const offsetHigh = words[at + Entry.offsetHigh]!;
      const lowMask = words[at + Entry.lowMask]!;
      this.spanLog2 = spanLog2Of(words, at);
      this.nonGlobal = isNonGlobal(words, at) ? 1 : 0;
      this.reach[0] = (offsetHigh & ~high) * WINDOW + (~(low | lowMask) >>> 0) + 1;
      return (
        (words[at + Entry.outputHigh]! | (high & offsetHigh)) * WINDOW +
        ((words[at + Entry.outputLow]! | (low & ~lowMask)) >>> 0)
      );
    }
    // Taken while it is in use: an event's interrupt may bring the next access of this handle.
    const answer = this.answer ?? new Translation();
    this.answer = undefined;
    const outcome = host.translate(streamId, substreamId, high, low, access, answer, answered);
    if (outcome !== Outcome.translated) {
      this.answer = this.lastFault;
      this.lastFault = answer;
      this.high = high;
      this.low = low;
      return -outcome;
    }
    this.answer = answer;
    const { bypassed, outputAddress } = answer;
    if (this.context.slot < 0 && !bypassed) this.context = host.contextOf(streamId, substreamId);
    const bytes = 2 ** (bypassed ? host.outputBits : answer.leafLog2);
    this.reach[0] = bytes - (outputAddress % bytes);
    this.spanLog2 = bypassed ? 64 : answer.leafLog2;
    this.nonGlobal = answer.nonGlobal;
    return outputAddress;
  }
}

function detached(streamId: number): string {
  return `the handle of stream ${hex(streamId)} is detached: attach the stream again`;
}

/** @throws RangeError when `access` is no combination of {@link Access} bits. */
export function checkAccess(access: number): void {
  if (!Number.isInteger(access) || access < 0 || access > 7) {
    throw new RangeError(`access is ${access}: it must be made of Access bits, 0 to 7`);
  }
}

/** @throws RangeError when `length` is no number of bytes. */
export function checkLength(length: number): void {
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new RangeError(`length is ${length}: it must be a whole number of bytes, 0 or more`);
  }
}
