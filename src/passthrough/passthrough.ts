import { Cerror } from '../arch/command.js';
import { hex } from '../memory/hex.js';
import type { Features } from '../registers/features.js';
import { checkStreamId } from '../stream-id.js';
import type { PhysicalBackend } from './backend.js';
import { CommandForwarder } from './command-forwarder.js';
import { Turns, type Steps } from './host-steps.js';
import { PassthroughDevice } from './passthrough-device.js';
import type { PassthroughHost } from './passthrough-host.js';
import type {
  PassthroughDeviceOptions,
  PassthroughOptions,
  PhysicalOptions,
} from './passthrough-options.js';
import type { PassthroughStats } from './passthrough-stats.js';
import { PhysicalSmmu } from './physical-smmu.js';

/** What a {@link Passthrough} asks of the vSMMU that it belongs to. */
export interface PassthroughOwner {
  /** Shows the guest no more than hardware with `features` can. */
  narrow(features: Features): void;
  /** Whether an emulated device has a StreamID. */
  isEmulated(streamId: number): boolean;
}

/**
 * Passthrough devices behind a vSMMU: their invalidations go to hardware, and what their DMA meets
 * follows the guest's STEs. `Smmu.passthrough` makes it; see `docs/passthrough.md`.
 */
export class Passthrough {
  /** @internal */
  host!: PassthroughHost;
  /** @internal Who asks the host does so in turn. */
  readonly turns = new Turns();
  /** @internal Where commands of the guest go. */
  readonly forwarder = new CommandForwarder(this);

  private readonly options: PassthroughOptions;
  private readonly owner: PassthroughOwner;
  /** @internal */
  readonly physicals: PhysicalSmmu[] = [];
  /** Those of {@link physicals} that are about to go. */
  private readonly leaving = new Set<PhysicalSmmu>();
  /** @internal The vDEVICE table: who has a StreamID, or is about to get it. */
  readonly devices = new Map<number, PassthroughDevice>();
  /** @internal Whether devices meet what registers say. */
  registers: 'followed' | 'pending' | 'refused' = 'followed';

  /** What registers have asked for before the last change of it is of no interest. */
  private epoch = 0;
  /** What registers ask for is to be done, and waits for its turn. */
  private isWaiting = false;
  /** The vSMMU is another one, of which hardware knows nothing yet. */
  private isNew = false;

  /** @internal */
  constructor(options: PassthroughOptions, owner: PassthroughOwner) {
    this.options = options;
    this.owner = owner;
  }

  /**
   * Adds a physical SMMU. What the guest sees of the vSMMU is narrowed to what this one can do as well.
   * @throws TypeError when the backend lacks a method.
   * @throws RangeError when an option is out of range, or the features have nothing in common.
   * @throws Error when the guest has read and enabled features that this one does not have.
   */
  addPhysical(backend: PhysicalBackend, options: PhysicalOptions = {}): PhysicalSmmu {
    checkBackend(backend);
    const physical = new PhysicalSmmu(backend, options, {
      report: (report) => this.options.report?.(report),
      recordEvent: (words) => {
        this.host.recordEvent(words);
      },
      overflow: () => {
        this.host.overflow();
      },
    });
    if (backend.features !== undefined) this.owner.narrow(backend.features);
    this.physicals.push(physical);
    return physical;
  }

  /**
   * Takes a physical SMMU away: the HWPTs that its devices shared are destroyed. Before, its devices are
   * detached here, and detached or closed in the kernel.
   * @returns as {@link PassthroughDevice.retire}; the kernel refuses with EBUSY while a device still has
   * one of the HWPTs, and it can be called again.
   * @throws TypeError when it is none of this vSMMU.
   * @throws Error when a device is attached to it.
   */
  removePhysical(physical: PhysicalSmmu): Promise<void> {
    this.checkPhysical('physical', physical);
    for (const [streamId, device] of this.devices) {
      if (device.physical !== physical) continue;
      throw new Error(`stream ${hex(streamId)} is behind the physical SMMU: detach it first`);
    }
    this.leaving.add(physical);
    return this.turns
      .run(() => physical.release())
      .then(() => {
        const at = this.physicals.indexOf(physical);
        if (at >= 0) this.physicals.splice(at, 1);
      })
      .finally(() => this.leaving.delete(physical));
  }

  /**
   * Attaches a device: makes its vDEVICE, and lets its DMA meet what the guest's registers and STE say.
   * @param streamId StreamID that the guest knows it by, below 2^32.
   * @returns the device; fulfilled at once with a backend that answers at once, and rejected when the
   * host refuses, of which {@link PassthroughOptions.report} is told.
   * @throws RangeError when an argument is out of range.
   * @throws Error when a device with this StreamID is attached already, or the physical SMMU is being
   * removed.
   */
  attach(streamId: number, options: PassthroughDeviceOptions): Promise<PassthroughDevice> {
    const { physical, device } = options;
    this.checkPhysical('options.physical', physical);
    if (this.leaving.has(physical)) {
      throw new Error(
        'options.physical is being removed: wait for removePhysical, and add it again',
      );
    }
    if (!Number.isSafeInteger(device) || device < 0) {
      throw new RangeError(
        `options.device is ${hex(device)}: it must be the kernel's id of a device`,
      );
    }
    const attached = new PassthroughDevice(this, physical, device);
    this.claim(streamId, attached);
    return this.turns.run(() => attached.enter(streamId)).then(() => attached);
  }

  /** The device with a StreamID; `undefined` when there is none. */
  deviceOf(streamId: number): PassthroughDevice | undefined {
    return this.devices.get(streamId);
  }

  /** What was forwarded so far, and what was not. */
  stats(): PassthroughStats {
    return this.forwarder.counts.stats(this.physicals.map((physical) => physical.stats()));
  }

  /** @internal `device`, which has none and waits for none, is to have a StreamID that nobody else has. */
  claim(streamId: number, device: PassthroughDevice): void {
    checkStreamId(streamId);
    for (const [other, claimant] of this.devices) {
      if (claimant !== device) continue;
      throw new Error(`the device has StreamID ${hex(other)}: retire it first`);
    }
    if (this.devices.has(streamId)) {
      throw new Error(`stream ${hex(streamId)} is passed through already: detach its device first`);
    }
    if (this.owner.isEmulated(streamId)) {
      throw new Error(`stream ${hex(streamId)} is an emulated device: detach its handle first`);
    }
    this.devices.set(streamId, device);
  }

  /** @internal A StreamID is free again. */
  release(streamId: number): void {
    this.devices.delete(streamId);
  }

  /**
   * @internal The vSMMU is another one (reset, restored): hardware forgets what it knows of the guest, and
   * devices meet what the registers say now.
   */
  connect(host: PassthroughHost): void {
    this.host = host;
    this.forwarder.connect(host.features);
    this.isNew = true;
    this.begin();
  }

  /** @internal SMMUEN or GBPA has changed: `host.followed` is called when all devices meet that. */
  reconfigure(): void {
    this.begin();
  }

  /** @internal Devices may come to a physical SMMU. */
  checkStays(name: string, physical: PhysicalSmmu): void {
    this.checkPhysical(name, physical);
    if (!this.leaving.has(physical)) return;
    throw new Error(`${name} is being removed: wait for removePhysical, and add it again`);
  }

  private checkPhysical(name: string, physical: PhysicalSmmu): void {
    if (this.physicals.includes(physical)) return;
    throw new TypeError(`${name} is none of this vSMMU: make it with addPhysical`);
  }

  /** @internal Lets devices meet what the guest's registers and STEs say. @returns a {@link Cerror}. */
  *follow(first: number, last: number, occasion: 'command' | 'registers'): Steps<number> {
    let result: number = Cerror.NONE;
    for (const [streamId, device] of [...this.devices]) {
      if (streamId < first || streamId > last || device.streamId !== streamId) continue;
      const cerror = yield* device.follow(occasion);
      if (result === Cerror.NONE) result = cerror;
    }
    return result;
  }

  /**
   * Does what registers ask for. The guest may write them as often as it likes before the host answers:
   * what waits looks at them when it begins, so that there is never more of it than once.
   */
  private begin(): void {
    let epoch = ++this.epoch;
    this.registers = 'pending';
    if (this.isWaiting) return;
    this.isWaiting = true;
    const end = (cerror: number): void => {
      if (epoch !== this.epoch) return;
      this.registers = cerror === Cerror.NONE ? 'followed' : 'refused';
      if (cerror === Cerror.NONE) this.host.followed();
    };
    const work = (): Steps<number> => {
      this.isWaiting = false;
      epoch = this.epoch;
      return this.followRegisters();
    };
    this.turns.start(work, end, (error) => {
      this.host.failed(error);
      end(Cerror.ABT);
    });
  }

  private *followRegisters(): Steps<number> {
    if (this.isNew) {
      this.isNew = false;
      for (const physical of this.physicals) {
        yield* physical.invalidateAll();
        for (const [streamId, { isNested }] of physical.devices) {
          if (isNested) yield* physical.invalidateCds(streamId);
        }
      }
    }
    return yield* this.follow(0, 2 ** 32 - 1, 'registers');
  }
}

const METHODS = ['allocate', 'attach', 'destroy', 'bind', 'invalidate'] as const;

function checkBackend(backend: PhysicalBackend): void {
  for (const method of METHODS) {
    if (typeof (backend as Partial<PhysicalBackend> | undefined)?.[method] === 'function') continue;
    throw new TypeError(`backend has no method ${method}: pass a PhysicalBackend`);
  }
}
