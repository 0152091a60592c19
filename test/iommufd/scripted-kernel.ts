import type { HostCalls } from '../../src/iommufd/host-calls.js';

/** What the kernel was asked, with the words of the structure as it was when the call began. */
export interface Asked {
  name: string;
  fd: number;
  view: DataView;
  argument: Uint8Array;
  /** What a pointer of the structure led to, copied. */
  data?: Uint8Array;
}

/** The ioctl numbers of `linux/iommufd.h` and `linux/vfio.h`, and where each answer's id goes. */
const REQUESTS: Record<number, readonly [name: string, bytes: number, idAt?: number]> = {
  0x3b76: ['BIND', 24, 12],
  0x3b77: ['ATTACH', 16],
  0x3b78: ['DETACH', 12],
  0x3b80: ['DESTROY', 8],
  0x3b81: ['IOAS_ALLOC', 12, 8],
  0x3b84: ['IOVA_RANGES', 32],
  0x3b89: ['HWPT_ALLOC', 48, 16],
  0x3b8a: ['GET_HW_INFO', 40],
  0x3b8d: ['INVALIDATE', 32],
  0x3b90: ['VIOMMU_ALLOC', 40, 20],
  0x3b91: ['VDEVICE_ALLOC', 24, 12],
  0x3b93: ['VEVENTQ_ALLOC', 32, 20],
};

/** Pointers of the structures: where they lie, and where how many bytes they lead to. */
const POINTERS: Record<string, (view: DataView) => readonly [pointer: number, bytes: number]> = {
  HWPT_ALLOC: (view) => [32, view.getUint32(28, true)],
  GET_HW_INFO: (view) => [16, view.getUint32(12, true)],
  INVALIDATE: (view) => [8, view.getUint32(20, true) * view.getUint32(24, true)],
  IOVA_RANGES: (view) => [16, 16 * view.getUint32(8, true)],
};

/** An SMMU of v3.4 that has everything: IDR0 to IDR5, IIDR, AIDR. Capabilities are 6, PASIDs 2^16. */
export const HARDWARE: readonly number[] = [
  0x0c4f_76bf, 0x0d07_4510, 0, 0x0002_37bc, 0, 0x0100_04f5, 0x43b, 0x4,
];

/**
 * A kernel that knows the structures by literal offsets and nothing else of the library. It gives ids
 * from 1 upward and does what `script` says, by name of the request.
 */
export class ScriptedKernel implements HostCalls {
  readonly log: Asked[] = [];
  /** What happens instead of success: a result, after which the structure may have been written to. */
  readonly script = new Map<string, (asked: Asked, data: Uint8Array) => unknown>();
  /** Answers are promises, which {@link answer} resolves. */
  isLater = false;
  /** Addresses that were asked for. */
  located = 0;
  private ids = 0;
  private readonly memory: { base: bigint; bytes: Uint8Array }[] = [];
  private readonly waiting: (() => void)[] = [];

  readonly ioctl = (fd: number, number: number, argument: Uint8Array): number | Promise<number> => {
    const known = REQUESTS[number];
    if (known === undefined) return -25;
    const [name, bytes, idAt] = known;
    const copy = argument.slice();
    const asked: Asked = { name, fd, view: new DataView(copy.buffer), argument };
    this.log.push(asked);
    const view = new DataView(argument.buffer, argument.byteOffset, argument.byteLength);
    if (argument.length !== bytes || view.getUint32(0, true) !== bytes) return -22;
    const pointer = POINTERS[name]?.(view);
    let data = new Uint8Array(0);
    if (pointer !== undefined && pointer[1] > 0) {
      data = this.follow(view.getBigUint64(pointer[0], true), pointer[1]);
      asked.data = data.slice();
    }
    const work = (): unknown => {
      const scripted = this.script.get(name)?.(asked, data);
      if (scripted !== undefined) return scripted;
      if (idAt !== undefined) view.setUint32(idAt, ++this.ids, true);
      if (name === 'GET_HW_INFO') this.giveHardware(view, data);
      if (name === 'VEVENTQ_ALLOC') view.setInt32(24, 99, true);
      return 0;
    };
    if (!this.isLater) return work() as number;
    return new Promise((resolve) => {
      this.waiting.push(() => {
        resolve(work() as number);
      });
    });
  };

  /** Buffers begin 16 bytes below a boundary of 4 GiB, so that offsets carry. */
  readonly addressOf = (bytes: Uint8Array): bigint => {
    this.located++;
    const known = this.memory.find((entry) => entry.bytes.buffer === bytes.buffer);
    if (known !== undefined) return known.base + BigInt(bytes.byteOffset);
    const whole = new Uint8Array(bytes.buffer);
    const base = 0x7f00_ffff_fff0n + (BigInt(this.memory.length) << 33n);
    this.memory.push({ base, bytes: whole });
    return base + BigInt(bytes.byteOffset);
  };

  /** Makes requests of this name fail. */
  fail(name: string, errno: number): void {
    this.script.set(name, () => -errno);
  }

  /** Names of what was asked, from call number `from`. */
  names(from = 0): string[] {
    return this.log.slice(from).map(({ name }) => name);
  }

  /** Does what waits, the oldest first, and what it leads to, until nothing waits. */
  async answer(): Promise<void> {
    for (let idle = 0; idle < 10; idle++) {
      const next = this.waiting.shift();
      if (next !== undefined) {
        next();
        idle = 0;
      }
      await Promise.resolve();
    }
  }

  /** The process's memory at an address that {@link addressOf} gave, or lies behind one. */
  follow(address: bigint, length: number): Uint8Array<ArrayBuffer> {
    for (const { base, bytes } of this.memory) {
      if (address < base || address + BigInt(length) > base + BigInt(bytes.length)) continue;
      const at = Number(address - base);
      return bytes.subarray(at, at + length) as Uint8Array<ArrayBuffer>;
    }
    throw new Error(`nobody asked for an address before 0x${address.toString(16)}`);
  }

  private giveHardware(view: DataView, data: Uint8Array): void {
    const into = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (const [i, word] of HARDWARE.entries()) into.setUint32(8 + 4 * i, word, true);
    view.setUint32(12, 40, true);
    view.setUint32(24, 2, true);
    view.setUint8(28, 16);
    view.setUint32(32, 6, true);
  }
}
