import { Access, type GuestMemory, type StreamHandle, type U64 } from 'vsmmu';
import type { Dma } from '../devices/dma.js';
import type { Vsmmu } from '../machine/vsmmu.js';
import type { Differences } from './differences.js';

/** A way to memory that can say where an access goes. */
export interface LocatingDma extends Dma {
  readonly streamId: number;
  /** The guest-physical address; negative when the access faults. */
  locate(iova: bigint, isWrite: boolean): number;
  /** Event of the last fault. */
  lastEvent(): number;
}

/** DMA through a stream handle of the library. */
export class HandleDma implements LocatingDma {
  readonly streamId: number;
  private readonly vsmmu: Vsmmu;

  constructor(vsmmu: Vsmmu, streamId: number) {
    this.vsmmu = vsmmu;
    this.streamId = streamId;
    vsmmu.attachHandle(streamId);
  }

  read(iova: U64, into: Uint8Array): number {
    return this.handle.read(iova, into);
  }

  write(iova: U64, from: Uint8Array): number {
    return this.handle.write(iova, from);
  }

  load16(iova: U64): number {
    return this.handle.load16(iova);
  }

  store16(iova: U64, value: number): number {
    return this.handle.store16(iova, value);
  }

  locate(iova: bigint, isWrite: boolean): number {
    return this.handle.translate(iova, isWrite ? Access.write : Access.read);
  }

  lastEvent(): number {
    return this.handle.fault.event;
  }

  private get handle(): StreamHandle {
    return this.vsmmu.handle(this.streamId);
  }
}

const PAGE = 4096;

/** DMA that knows nothing but the IOAS in a mirror's sink: every access must be found there. */
export class MirrorDma implements LocatingDma {
  readonly streamId: number;
  /** Accesses that were found at once, and those that had to be asked for. */
  hits = 0;
  misses = 0;
  private readonly vsmmu: Vsmmu;
  private readonly memory: GuestMemory;
  private readonly differences: Differences;
  private readonly two = new Uint8Array(2);
  private readonly area = { iova: 0, length: 0, address: 0, permissions: 0 };

  constructor(
    vsmmu: Vsmmu,
    streamId: number,
    policy: 'demand' | 'invalidate',
    memory: GuestMemory,
    differences: Differences,
  ) {
    this.vsmmu = vsmmu;
    this.streamId = streamId;
    this.memory = memory;
    this.differences = differences;
    vsmmu.attachMirror(streamId, policy);
  }

  /** At the doorbell: a mirror that is not asked on a miss learns of new mappings. */
  sync(): void {
    const { stream } = this.vsmmu.mirrored(this.streamId);
    if (stream.policy === 'invalidate' && !stream.sync()) this.differences.add('a sync failed');
  }

  read(iova: U64, into: Uint8Array): number {
    return this.move(BigInt(iova), into, false);
  }

  write(iova: U64, from: Uint8Array): number {
    return this.move(BigInt(iova), from, true);
  }

  load16(iova: U64): number {
    const isRead = this.read(iova, this.two) === 2;
    return isRead ? this.two[0]! | (this.two[1]! << 8) : -1;
  }

  store16(iova: U64, value: number): number {
    this.two[0] = value;
    this.two[1] = value >>> 8;
    return this.write(iova, this.two) === 2 ? 0 : -1;
  }

  locate(iova: bigint, isWrite: boolean): number {
    const needed = isWrite ? 2 : 1;
    const found = this.find(iova, needed);
    if (found >= 0) {
      this.hits++;
      return found;
    }
    const { stream } = this.vsmmu.mirrored(this.streamId);
    if (stream.policy === 'demand') {
      this.misses++;
      if (stream.miss(iova, needed)) {
        const filled = this.find(iova, needed);
        if (filled >= 0) return filled;
      }
    }
    this.differences.add(
      `stream 0x${this.streamId.toString(16)}: ${isWrite ? 'write' : 'read'} of 0x${iova.toString(16)} is not in the IOAS (${stream.servedBy})`,
    );
    return -1;
  }

  lastEvent(): number {
    return 0;
  }

  private find(iova: bigint, needed: number): number {
    const { ioas } = this.vsmmu.mirrored(this.streamId).ioas;
    const { area } = this;
    const at = Number(iova);
    if (!ioas.find(at, area) || (area.permissions & needed) === 0) return -1;
    return area.address + (at - area.iova);
  }

  private move(iova: bigint, bytes: Uint8Array, isWrite: boolean): number {
    let done = 0;
    while (done < bytes.length) {
      const at = iova + BigInt(done);
      const count = Math.min(bytes.length - done, PAGE - Number(at % BigInt(PAGE)));
      const address = this.locate(at, isWrite);
      if (address < 0) break;
      const isDone = isWrite
        ? this.memory.storeBytes(address, bytes, done, count)
        : this.memory.loadBytes(address, bytes, done, count);
      if (!isDone) break;
      done += count;
    }
    return done;
  }
}
