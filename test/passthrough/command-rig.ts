/** A vSMMU with its guest, and passthrough devices behind physical SMMUs that do what a test says. */
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { InvalidationError } from '../../src/passthrough/backend.js';
import { IommufdError } from '../../src/iommufd/iommufd-error.js';
import type { PassthroughDevice } from '../../src/passthrough/passthrough-device.js';
import type {
  PassthroughReport,
  PhysicalOptions,
} from '../../src/passthrough/passthrough-options.js';
import type { Passthrough } from '../../src/passthrough/passthrough.js';
import type { PhysicalSmmu } from '../../src/passthrough/physical-smmu.js';
import {
  CMDQ,
  CMDQEN,
  EVENTQEN,
  R,
  SMMUEN,
  SmmuMachine,
  type Entry,
  type MachineOptions,
} from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';
import { ScriptedHost } from './command-host.js';

/** StreamID of the device of the first physical SMMU; those of the others follow. */
export const SID = 0x20;
/** The kernel's id of that device. */
export const DEVICE = 100;
export const ON = SMMUEN | EVENTQEN | CMDQEN;

/** STEs: V, Config=5 with EATS=1 and EATS=0; Config=4; Config=0. */
export const STES = {
  ats: [0x43e0_000bn, 0x1000_00d6n],
  s1: [0x43e0_000bn, 0xd6n],
  bypass: [0x9n, 0n],
  abort: [0x1n, 0n],
} as const;
export type SteName = keyof typeof STES;

// Commands (IHI 0070, section 4) as their two 64-bit words; `tag` makes them differ.
const sid = (streamId: number): bigint => BigInt(streamId) << 32n;
export const nhVa = (tag: number): Entry => [0x5_0000_0000_0012n, (BigInt(tag) << 12n) | 1n];
export const nhVaa = (tag: number): Entry => [0x13n, (BigInt(tag) << 12n) | 1n];
export const nhAsid = (tag: number): Entry => [0x11n | (BigInt(tag) << 48n), 0n];
export const NH_ALL: Entry = [0x10n, 0n];
export const NSNH_ALL: Entry = [0x30n, 0n];
export const cfgiCd = (tag = 0, streamId = SID): Entry => [
  0x05n | (BigInt(tag) << 12n) | sid(streamId),
  1n,
];
export const cfgiCdAll = (streamId = SID): Entry => [0x06n | sid(streamId), 0n];
export const atcInv = (tag: number, streamId = SID): Entry => [
  0x40n | sid(streamId),
  BigInt(tag) << 12n,
];
export const cfgiSte = (streamId = SID): Entry => [0x03n | sid(streamId), 1n];
export const cfgiRange = (range: number, streamId = SID): Entry => [
  0x04n | sid(streamId),
  BigInt(range),
];
export const prefetch = (streamId = SID): Entry => [0x01n | sid(streamId), 0n];
export type { Entry } from '../smmu/smmu-machine.js';
export const SYNC: Entry = [0x46n, 0n];
/** No command has opcode 0. */
export const ILLEGAL: Entry = [0n, 0n];

/** CMDQ_CONS.ERR. */
export const ILL = 1;
export const ABT = 2;
export const ATC_INV_SYNC = 3;

/** Linux error numbers. */
export const EIO = 5;
export const ENOMEM = 12;
export const ETIMEDOUT = 110;

/** What a kernel refuses commands with. */
export function refusal(errno: number, handled = 0): IommufdError {
  return new InvalidationError(errno, handled);
}

export interface CommandRigOptions extends MachineOptions {
  /** Physical SMMUs, each with a device. Default: 1. */
  readonly smmus?: number;
  readonly physical?: PhysicalOptions;
  /** STE of the devices. Default: `ats`. */
  readonly ste?: SteName;
  readonly report?: (report: PassthroughReport) => void;
  /** Called with the guest's RAM, before anything is read: for a memory that lies before it. */
  readonly behind?: (ram: GuestMemory) => void;
}

export class CommandRig {
  readonly machine: SmmuMachine;
  readonly hosts: ScriptedHost[] = [];
  readonly passthrough: Passthrough;
  readonly physicals: PhysicalSmmu[] = [];
  readonly devices: PassthroughDevice[] = [];

  private constructor(options: CommandRigOptions) {
    const { report, behind } = options;
    this.machine = new SmmuMachine({ cmdqLog2: 6, ...options });
    behind?.(this.machine.ram);
    this.passthrough = this.machine.smmu.passthrough(report === undefined ? {} : { report });
  }

  /** Devices are attached, and the guest has enabled everything; hosts are quiet and answer at once. */
  static async make(options: CommandRigOptions = {}): Promise<CommandRig> {
    const rig = new CommandRig(options);
    const { smmus = 1, physical, ste = 'ats' } = options;
    for (let i = 0; i < smmus; i++) {
      const host = new ScriptedHost();
      rig.hosts.push(host);
      rig.physicals.push(rig.passthrough.addPhysical(host, physical));
      rig.ste(ste, SID + i);
      rig.devices.push(await rig.attach(i, SID + i, DEVICE + i));
    }
    rig.machine.start(ON);
    for (const host of rig.hosts) host.quiet();
    return rig;
  }

  get host(): ScriptedHost {
    return this.hosts[0]!;
  }

  get device(): PassthroughDevice {
    return this.devices[0]!;
  }

  attach(smmu: number, streamId: number, device: number): Promise<PassthroughDevice> {
    return this.passthrough.attach(streamId, { physical: this.physicals[smmu]!, device });
  }

  ste(name: SteName, streamId = SID): this {
    this.machine.put(STREAM_TABLE + 64 * streamId, ...STES[name]);
    return this;
  }

  quiet(): this {
    for (const host of this.hosts) host.quiet();
    return this;
  }

  /** Enqueues commands, and tells the vSMMU. */
  command(...entries: readonly Entry[]): this {
    this.machine.command(...entries);
    return this;
  }

  /** CMDQ_CONS.RD, with its wrap bit. */
  get cons(): number {
    return this.machine.read(R.CMDQ_CONS) & 0xf_ffff;
  }

  /** CMDQ_CONS.ERR while GERROR.CMDQ_ERR is active, else 0. */
  get error(): number {
    return this.isStopped ? this.machine.cerror : 0;
  }

  get isStopped(): boolean {
    return ((this.machine.read(R.GERROR) ^ this.machine.read(R.GERRORN)) & 1) === 1;
  }

  /** CONS and the error. */
  get state(): [cons: number, error: number] {
    return [this.cons, this.error];
  }

  /** The guest has seen the error. */
  acknowledge(): this {
    this.machine.write(R.GERRORN, this.machine.read(R.GERROR));
    return this;
  }

  /** Writes another command over the one at CONS. */
  overwrite(entry: Entry): this {
    const size = 1 << this.machine.cmdqLog2;
    this.machine.put(CMDQ + 16 * (this.cons & (size - 1)), ...entry);
    return this;
  }

  /** Answers come as promises from now on. */
  later(): this {
    for (const host of this.hosts) host.isLater = true;
    return this;
  }

  /** Answers everything that is asked, until nothing is. */
  async settle(): Promise<void> {
    await turn();
    for (let host = this.waiting; host !== undefined; host = this.waiting) {
      host.answer();
      await turn();
    }
  }

  private get waiting(): ScriptedHost | undefined {
    return this.hosts.find(({ pending }) => pending.length > 0);
  }
}

/** Lets everything run that promises have set going. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
