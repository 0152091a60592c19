/**
 * A vSMMU with its guest, and behind it physical SMMUs that the model of the kernel has: the whole way
 * from a register write of the guest to a system call.
 */
import { KernelModel, type KernelModelOptions } from '../../src/fixtures/kernel-model.js';
import type { KernelCall } from '../../src/fixtures/kernel-requests.js';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { allocateIoas } from '../../src/iommufd/iova-ranges.js';
import type { PhysicalBackend } from '../../src/passthrough/backend.js';
import type { PassthroughDevice } from '../../src/passthrough/passthrough-device.js';
import type {
  PassthroughReport,
  PhysicalOptions,
} from '../../src/passthrough/passthrough-options.js';
import type { Passthrough } from '../../src/passthrough/passthrough.js';
import type { PhysicalSmmu } from '../../src/passthrough/physical-smmu.js';
import { R, SmmuMachine, type Entry, type MachineOptions } from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';

export type { PassthroughDevice } from '../../src/passthrough/passthrough-device.js';

// Commands (IHI 0070, section 4), as their two words.
const at = (streamId: number): bigint => BigInt(streamId) << 32n;
export const cfgiSte = (streamId: number): Entry => [0x3n | at(streamId), 1n];
/** Names 2^(range+1) StreamIDs. */
export const cfgiRange = (streamId: number, range: number): Entry => [
  0x4n | at(streamId),
  BigInt(range),
];
export const CFGI_ALL: Entry = [0x4n, 31n];
export const cfgiCd = (streamId: number, substreamId = 0): Entry => [
  0x5n | (BigInt(substreamId) << 12n) | at(streamId),
  1n,
];
export const cfgiCdAll = (streamId: number): Entry => [0x6n | at(streamId), 0n];
export const TLBI_ALL: Entry = [0x10n, 0n];
export const tlbiAsid = (asid: number): Entry => [0x11n | (BigInt(asid) << 48n), 0n];
export const tlbiVa = (asid: number, va: bigint): Entry => [0x12n | (BigInt(asid) << 48n), va | 1n];
export const tlbiVaa = (va: bigint): Entry => [0x13n, va | 1n];
export const TLBI_NSNH: Entry = [0x30n, 0n];
export const atcInv = (streamId: number): Entry => [0x40n | at(streamId), 52n];
export const CMD_SYNC: Entry = [0x46n, 0n];

/** GBPA.Update with ABORT, and without. */
export const GBPA_ABORT = 0x8010_0000;
export const GBPA_BYPASS = 0x8000_0000;

/** First 128 bits of STEs: V and Config (IHI 0070, section 5.2). */
export const STES = {
  invalid: [0n, 0n],
  abort: [0x1n, 0n],
  bypass: [0x9n, 0n],
  s1: [0x43e0_000bn, 0xd6n],
  other: [0x43e1_000bn, 0xd6n],
  ats: [0x43e0_000bn, 0x1000_00d6n],
  /** Config=111: there is no stage 2. */
  illegal: [0x43e0_000fn, 0n],
} as const satisfies Record<string, readonly [bigint, bigint]>;
export type SteName = keyof typeof STES;

export interface RigOptions extends MachineOptions {
  /** Physical SMMUs. Default: 1. */
  readonly kernel?: KernelModelOptions;
  /** How each of them is added. */
  readonly physical?: PhysicalOptions;
  /** Whether the guest is shown what the hardware can do; without, all that `features` says. Default true. */
  readonly narrows?: boolean;
  /** Events that each vEVENTQ has room for. */
  readonly veventqDepth?: number;
}

/** Says which system calls fail: gives a Linux error number. */
export type Refuse = (call: KernelCall, name: string) => number | undefined;

/** A device that the VMM has opened. */
export interface Plugged {
  readonly smmu: number;
  readonly fd: number;
  readonly id: number;
}

const ATTACH = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';

export class Rig {
  readonly machine: SmmuMachine;
  readonly kernel: KernelModel;
  readonly passthrough: Passthrough;
  readonly backends: IommufdSmmu[] = [];
  readonly physicals: PhysicalSmmu[] = [];
  readonly reports: PassthroughReport[] = [];
  /** System calls since the last {@link quiet}: short names. */
  calls: string[] = [];
  refuse: Refuse = () => undefined;

  private readonly waiting: Plugged[] = [];
  private readonly physicalIds = new Map<number, number>();

  private constructor(options: RigOptions) {
    const { kernel, ...machine } = options;
    this.machine = new SmmuMachine({ cmdqLog2: 6, ...machine });
    this.kernel = new KernelModel(kernel);
    this.passthrough = this.machine.smmu.passthrough({
      report: (report) => this.reports.push(report),
    });
    this.kernel.failing((call) => {
      const name = call.name.replace(ATTACH, 'ATTACH').replace('IOMMU_', '');
      this.calls.push(name);
      return this.refuse(call, name);
    });
  }

  static async make(options: RigOptions = {}): Promise<Rig> {
    const rig = new Rig(options);
    const { kernel } = rig;
    const ioasId = await allocateIoas(kernel, kernel.fd);
    const count = options.kernel?.smmus?.length ?? 1;
    for (let smmu = 0; smmu < count; smmu++) {
      const fd = rig.open(smmu);
      const { veventqDepth } = options;
      const backend = await IommufdSmmu.open({
        calls: kernel,
        fd: kernel.fd,
        ioasId,
        deviceFd: fd,
        ...(veventqDepth !== undefined && { veventqDepth }),
      });
      rig.backends.push(backend);
      const shown = options.narrows === false ? featureless(backend) : backend;
      rig.physicals.push(rig.passthrough.addPhysical(shown, options.physical));
      rig.waiting.push({ smmu, fd, id: backend.firstDevice });
    }
    return rig.quiet();
  }

  /** The VMM opens a device, and gives it to the kernel. */
  async plug(smmu = 0): Promise<Plugged> {
    const index = this.waiting.findIndex((one) => one.smmu === smmu);
    const [found] = index < 0 ? [] : this.waiting.splice(index, 1);
    if (found !== undefined) return found;
    const fd = this.open(smmu);
    return { smmu, fd, id: await this.backends[smmu]!.addDevice(fd) };
  }

  /** Attaches a device that is opened. */
  attach(streamId: number, { smmu, id }: Plugged): Promise<PassthroughDevice> {
    return this.passthrough.attach(streamId, { physical: this.physicals[smmu]!, device: id });
  }

  /** Opens and attaches. */
  async device(
    streamId: number,
    smmu = 0,
  ): Promise<{ device: PassthroughDevice; plugged: Plugged }> {
    const plugged = await this.plug(smmu);
    const device = await this.attach(streamId, plugged);
    this.quiet();
    return { device, plugged };
  }

  /** The StreamID that hardware knows a device by: 0x1000, 0x1035, ... in the order of opening. */
  physicalId({ fd }: Plugged): number {
    return this.physicalIds.get(fd)!;
  }

  /** Kinds of what the DMA of a device went through since it was bound; equal neighbours once. */
  history({ fd }: Plugged): string[] {
    const kinds = this.kernel.history(fd).map(({ kind }) => kind as string);
    return kinds.filter((kind, i) => kind !== kinds[i - 1]);
  }

  kind({ fd }: Plugged): string {
    return this.kernel.attachment(fd).kind;
  }

  /** The STE of a stream: its first 128 bits. */
  ste(streamId: number, ste: SteName | readonly [bigint, bigint]): this {
    const [w0, w1] = typeof ste === 'string' ? STES[ste] : ste;
    this.machine.put(STREAM_TABLE + 64 * streamId, w0, w1);
    return this;
  }

  /** Writes an STE and tells the SMMU, as a driver does. */
  configure(streamId: number, ste: SteName | readonly [bigint, bigint]): this {
    this.ste(streamId, ste).machine.command(cfgiSte(streamId), CMD_SYNC);
    return this;
  }

  /** Acknowledges a command error, so that the queue goes on. */
  acknowledge(): this {
    this.machine.write(R.GERRORN, this.machine.read(R.GERROR));
    return this;
  }

  /** Whether the command queue has stopped. */
  get isStopped(): boolean {
    return ((this.machine.read(R.GERROR) ^ this.machine.read(R.GERRORN)) & 1) === 1;
  }

  /** Event records in the guest's queue, from slot `from` on, as four 64-bit words each. */
  events(from = 0): bigint[][] {
    const prod = this.machine.read(R.EVENTQ_PROD) & ((2 << this.machine.eventqLog2) - 1);
    return Array.from({ length: prod - from }, (_, i) => this.machine.record(from + i));
  }

  /** Names of what reached the command queue of a physical SMMU, without each SYNC. */
  hardware(smmu = 0): string[] {
    return this.kernel
      .hardware(smmu)
      .map(({ opcode }) => opcode)
      .filter((opcode) => opcode !== 'SYNC');
  }

  /** How many objects of a kind the kernel has. */
  count(kind: string): number {
    return this.kernel.objects().filter((object) => object.kind === kind).length;
  }

  /** Forgets calls, reports and what hardware was told. */
  quiet(): this {
    this.calls = [];
    this.reports.length = 0;
    this.kernel.clearHardware();
    return this;
  }

  private open(smmu: number): number {
    const streamId = 0x1000 + 0x35 * this.physicalIds.size;
    const fd = this.kernel.addDevice({ smmu, streamId });
    this.physicalIds.set(fd, streamId);
    return fd;
  }
}

/** A backend that says nothing of what its hardware can do. */
export function featureless(backend: IommufdSmmu): PhysicalBackend {
  return {
    allocate: (device, ste) => backend.allocate(device, ste),
    attach: (device, hwpt) => backend.attach(device, hwpt),
    destroy: (object) => backend.destroy(object),
    bind: (device, streamId) => backend.bind(device, streamId),
    invalidate: (commands, count) => backend.invalidate(commands, count),
  };
}

/** Lets promises that wait for nothing else be fulfilled. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
