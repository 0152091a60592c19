import { hex } from '../memory/hex.js';
import { joinU64, splitU64, type Halves, type U64, type Wide } from '../memory/u64.js';
import { Access } from '../transaction/permissions.js';
import { Reason } from '../transaction/reason.js';
import { Outcome } from '../transaction/translation.js';
import { ByteHandle, isWithinPage } from './byte-handle.js';
import type { Dma } from './dma.js';
import type { HandleHost } from './translating-handle.js';

/**
 * What an emulated device holds to do DMA: reads and writes of guest memory at translated addresses.
 * Guest memory is little-endian. What the guest does never throws: an access that faults ends where it
 * faults, and says how far it got.
 */
export class StreamHandle extends ByteHandle implements Dma {
  private readonly release: () => void;
  private readonly substreams = new Map<number, StreamHandle>();
  /** Scratch of loads and stores. */
  private readonly eight = new Uint8Array(8);
  private readonly four = this.eight.subarray(0, 4);
  private readonly two = this.eight.subarray(0, 2);
  private readonly view = new DataView(this.eight.buffer);
  private readonly value: Halves = { high: 0, low: 0 };

  /** @internal `Smmu.attach` makes handles. */
  constructor(host: HandleHost, streamId: number, substreamId: number, release: () => void) {
    super(host, streamId, substreamId);
    this.release = release;
  }

  /**
   * The handle for the accesses of this stream with a SubstreamID (PASID); the same one each time.
   * @throws RangeError when `substreamId` is not below 2^20.
   * @throws Error when this handle is one of a substream itself, or detached.
   */
  substream(substreamId: number): StreamHandle {
    if (!Number.isInteger(substreamId) || substreamId < 0 || substreamId >= 2 ** 20) {
      throw new RangeError(`substreamId is ${hex(substreamId)}: it must be below 2^20`);
    }
    if (this.substreamId >= 0) throw new Error('a substream has no substreams: ask its stream');
    this.begin(0);
    let handle = this.substreams.get(substreamId);
    if (handle === undefined) {
      const release = (): void => void this.substreams.delete(substreamId);
      handle = new StreamHandle(this.host, this.streamId, substreamId, release);
      this.substreams.set(substreamId, handle);
    }
    return handle;
  }

  /**
   * The device is gone: any further use of this handle, and of those of its substreams, throws.
   * Accesses under way go on.
   */
  detach(): void {
    if (!this.unbind()) return;
    for (const handle of [...this.substreams.values()]) handle.detach();
    this.release();
  }

  /** @internal The vSMMU has been reset or restored. */
  override connect(host: HandleHost): void {
    super.connect(host);
    for (const handle of this.substreams.values()) handle.connect(host);
  }

  /**
   * Reads a 16-bit value; an aligned one in one access.
   * @returns the value; or, negative, the outcome of a fault, as `translate`.
   */
  load16(iova: U64): number {
    const outcome = this.load(iova, this.two);
    return outcome < 0 ? outcome : this.view.getUint16(0, true);
  }

  /** Reads a 32-bit value; as {@link load16}. */
  load32(iova: U64): number {
    const outcome = this.load(iova, this.four);
    return outcome < 0 ? outcome : this.view.getUint32(0, true);
  }

  /** Reads a 64-bit value; as {@link load16}, with a bigint. */
  load64(iova: U64): Wide {
    const outcome = this.load(iova, this.eight);
    if (outcome < 0) return -joinU64(0, -outcome);
    return joinU64(this.view.getUint32(4, true), this.view.getUint32(0, true));
  }

  /**
   * Writes a 16-bit value; an aligned one in one access.
   * @returns 0; or, negative, the outcome of a fault, as `translate`: nothing is written then.
   * @throws RangeError when `value` is no unsigned 16-bit integer.
   */
  store16(iova: U64, value: number): number {
    checkValue(value, 0xffff);
    this.view.setUint16(0, value, true);
    return this.store(iova, 2);
  }

  /**
   * Writes a 32-bit value; as {@link store16}. Where no memory is, `Interrupts.message` is offered
   * the write: so a device sends a message-signalled interrupt.
   */
  store32(iova: U64, value: number): number {
    checkValue(value, 0xffff_ffff);
    this.view.setUint32(0, value, true);
    return this.store(iova, 4);
  }

  /** Writes a 64-bit value; as {@link store16}. */
  store64(iova: U64, value: U64): number {
    const { high, low } = splitU64('value', value, this.value);
    this.view.setUint32(0, low, true);
    this.view.setUint32(4, high, true);
    return this.store(iova, 8);
  }

  /** Reads all of `into`, a part of the scratch. Returns 0, or the negative outcome of a fault. */
  private load(iova: U64, into: Uint8Array): number {
    const { length } = into;
    if (isWithinPage(iova, length)) {
      return this.read(iova, into) === length ? 0 : -this.fault.outcome;
    }
    // Not into the scratch: an event's interrupt may bring another load.
    const bytes = new Uint8Array(length);
    if (this.read(iova, bytes) < length) return -this.fault.outcome;
    into.set(bytes);
    return 0;
  }

  /** Writes the first `size` bytes of the scratch, all or nothing. */
  private store(iova: U64, size: number): number {
    // A copy where two faults are possible: the interrupt of the first may bring another store.
    const bytes = isWithinPage(iova, size) ? this.eight : this.eight.slice(0, size);
    this.begin(iova);
    const address = this.locate(Access.write);
    if (address === -Outcome.aborted) return address;
    const first = this.pieceAt(address);
    if (first < size) return this.storeAcross(iova, address, first, bytes);
    if (address < 0 || this.host.memory.storeBytes(address, bytes, 0, size)) return 0;
    const isMessage = size === 4 && address % 4 === 0;
    if (isMessage && this.host.message(address, this.view.getUint32(0, true))) return 0;
    return this.fail(Access.write, Reason.noMemory);
  }

  /** A store of which `first` bytes go to `address`, and the rest somewhere else. */
  private storeAcross(iova: U64, address: number, first: number, bytes: Uint8Array): number {
    const { memory } = this.host;
    const rest = bytes.length - first;
    const before = new Uint8Array(rest);
    this.advance(first);
    const next = this.locate(Access.write);
    if (next === -Outcome.aborted) return next;
    if (next >= 0) {
      const isStored =
        memory.loadBytes(next, before, 0, rest) && memory.storeBytes(next, bytes, first, rest);
      if (!isStored) return this.fail(Access.write, Reason.noMemory);
    }
    if (address < 0 || memory.storeBytes(address, bytes, 0, first)) return 0;
    if (next >= 0) memory.storeBytes(next, before, 0, rest);
    this.begin(iova);
    return this.fail(Access.write, Reason.noMemory);
  }
}

function checkValue(value: number, largest: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= largest) return;
  throw new RangeError(`value is ${value}: it must be a whole number from 0 to ${hex(largest)}`);
}
