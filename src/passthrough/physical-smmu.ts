import { Cerror, Command } from '../arch/command.js';
import { Event } from '../arch/event.js';
import { get, set } from '../arch/field.js';
import { VeventReader } from '../iommufd/vevent-reader.js';
import { hex } from '../memory/hex.js';
import type { PhysicalBackend } from './backend.js';
import { CommandBatch } from './command-batch.js';
import { Delivery } from './delivery.js';
import { answerOf, type Steps } from './host-steps.js';
import type { PassthroughDevice } from './passthrough-device.js';
import type { PassthroughReport, PhysicalOptions } from './passthrough-options.js';
import { ABORT_VSTE, BYPASS_VSTE, Disposition } from './vste.js';

/** What a physical SMMU was asked. */
export interface PhysicalStats {
  /** Devices that stage 1 of the guest translates for, now. */
  readonly translating: number;
  /** Commands sent, as often as they were. */
  readonly commands: number;
  /** Calls that they were sent with. */
  readonly calls: number;
  /** Commands not sent, since one that waited to be sent did what they do. */
  readonly dropped: number;
  /** Nested HWPTs made for devices. */
  readonly hwpts: number;
  /** Calls that the host refused. */
  readonly refusals: number;
  /** Event records of the hardware that were passed on to the guest's event queue. */
  readonly events: number;
  /** Event records of StreamIDs that no device here has any more: not passed on. */
  readonly strayEvents: number;
  /** Event records that the host says it has lost. */
  readonly lostEvents: number;
}

const { CFGI_CD_ALL, TLBI_NSNH_ALL } = Command;
/** Where every record has it. */
const { StreamID } = Event.F_STREAM_DISABLED.fields;

/** Who has the physical SMMU. */
export interface PhysicalOwner {
  report(report: PassthroughReport): void;
  /** Puts a record of the hardware, 8 words, into the guest's event queue. */
  recordEvent(words: Uint32Array): void;
  /** Records were lost: the guest's event queue overflows. */
  overflow(): void;
}

/** One physical SMMU behind the vSMMU; `Passthrough.addPhysical` makes it. */
export class PhysicalSmmu {
  /** @internal */
  readonly backend: PhysicalBackend;
  /** @internal What waits to be sent. */
  batch = new CommandBatch();
  /** @internal */
  readonly delivery: Delivery;
  /** @internal By StreamID of the guest. */
  readonly devices = new Map<number, PassthroughDevice>();
  /** @internal Devices that stage 1 of the guest translates for. */
  translating = 0;

  private readonly owner: PhysicalOwner;
  private reader: VeventReader;
  /** HWPTs of all devices, by {@link Disposition}; 0 until one is needed. */
  private readonly shared = [0, 0];
  private hasTranslated = false;
  /** Invalidations were not sent while it translated for nobody: its TLBs may have kept what they name. */
  private isStale = false;
  private dropped = 0;
  private hwpts = 0;
  private refusals = 0;
  private events = 0;
  private strayEvents = 0;
  private lostEvents = 0;

  /** @internal */
  constructor(backend: PhysicalBackend, options: PhysicalOptions, owner: PhysicalOwner) {
    const { retries = 0, issueTwice = false } = options;
    if (!Number.isSafeInteger(retries) || retries < 0) {
      throw new RangeError(`options.retries is ${retries}: it must be a whole number, 0 or more`);
    }
    this.backend = backend;
    this.owner = owner;
    this.reader = this.newReader();
    this.delivery = new Delivery({
      backend,
      retries,
      issueTwice,
      isBound: (streamId) => this.devices.has(streamId),
      refused: (error) => {
        this.refused({ operation: 'invalidate', error });
      },
    });
  }

  /** What it was asked so far. */
  stats(): PhysicalStats {
    const { translating, dropped, hwpts, refusals, events, strayEvents, lostEvents } = this;
    const { commands, calls } = this.delivery;
    return {
      translating,
      commands,
      calls,
      dropped,
      hwpts,
      refusals,
      events,
      strayEvents,
      lostEvents,
    };
  }

  /**
   * Takes what read(2) gave of the vEVENTQ of this physical SMMU, in any pieces: events of hardware go
   * into the guest's event queue, and when the host has lost some the guest sees an overflow.
   * @throws Error when the framing is not the kernel's.
   */
  takeEvents(bytes: Uint8Array): void {
    try {
      this.reader.push(bytes);
    } catch (error) {
      this.reader = this.newReader();
      throw error;
    }
  }

  /** @internal A command that names it. */
  take(words: Uint32Array, opcode: number, ordinal: number): void {
    if (!this.batch.add(words, opcode, ordinal)) this.dropped++;
  }

  /** @internal What waits to be sent is given up; what is being sent keeps its batch. */
  cancel(): void {
    this.batch = new CommandBatch();
  }

  /** @internal An invalidation that it need not see, since it translates for nobody. */
  skip(): void {
    if (this.hasTranslated) this.isStale = true;
  }

  /** @internal A device is about to be translated for: nothing may be left of what was invalidated meanwhile. */
  *enter(): Steps<void> {
    this.translating++;
    this.hasTranslated = true;
    if (!this.isStale || (yield* this.invalidateAll())) return;
    this.leave();
    throw new Error('the TLBs of the physical SMMU could not be invalidated');
  }

  /** @internal A device is not translated for any more. */
  leave(): void {
    this.translating--;
  }

  /** @internal Invalidates all translations of the guest that hardware may have. @returns whether that is done. */
  *invalidateAll(): Steps<boolean> {
    if (!this.hasTranslated) return true;
    this.isStale = false;
    const cerror = yield* this.issue(Uint32Array.of(TLBI_NSNH_ALL.opcode, 0, 0, 0));
    if (cerror === Cerror.NONE) return true;
    this.isStale = true;
    return false;
  }

  /** @internal Invalidates the CDs of a stream. @returns a {@link Cerror}. */
  invalidateCds(streamId: number): Steps<number> {
    const words = Uint32Array.of(CFGI_CD_ALL.opcode, 0, 0, 0);
    set(words, 0, CFGI_CD_ALL.fields.StreamID, streamId);
    return this.issue(words);
  }

  /** @internal The HWPT of all devices that abort, or bypass. */
  *sharedHwpt(device: number, disposition: number): Steps<number> {
    if (this.shared[disposition] === 0) {
      const vste = disposition === Disposition.bypass ? BYPASS_VSTE : ABORT_VSTE;
      this.shared[disposition] = yield* this.allocate(device, vste, undefined);
    }
    return this.shared[disposition]!;
  }

  /** @internal Destroys the HWPTs of all devices. @throws the refusal of the host. */
  *release(): Steps<void> {
    for (const [disposition, hwpt] of this.shared.entries()) {
      if (hwpt === 0) continue;
      try {
        yield* answerOf(this.backend.destroy(hwpt));
      } catch (error) {
        this.refused({ operation: 'destroy', error });
        throw error;
      }
      this.shared[disposition] = 0;
    }
  }

  /** @internal Makes the nested HWPT of a device. */
  *deviceHwpt(device: PassthroughDevice, vste: Uint32Array): Steps<number> {
    const hwpt = yield* this.allocate(device.device, vste, device);
    this.hwpts++;
    return hwpt;
  }

  /**
   * @internal Destroys what nothing uses; the guest is not concerned when the host will not.
   * @returns whether it has.
   */
  *discard(object: number, device: PassthroughDevice): Steps<boolean> {
    try {
      yield* answerOf(this.backend.destroy(object));
      return true;
    } catch (error) {
      this.refused({ operation: 'destroy', device, error });
      return false;
    }
  }

  /** @internal */
  refused(refusal: Omit<PassthroughReport, 'physical'>): void {
    this.refusals++;
    this.owner.report({ physical: this, ...refusal });
  }

  /** @internal Makes `device` the one that commands for `streamId` reach. */
  *bindVdevice(device: PassthroughDevice, streamId: number): Steps<number> {
    try {
      const vdevice = yield* answerOf(this.backend.bind(device.device, streamId));
      return checkId('bind', vdevice);
    } catch (error) {
      this.refused({ operation: 'bind', device, error });
      throw error;
    }
  }

  private newReader(): VeventReader {
    return new VeventReader({
      event: (words) => {
        this.event(words);
      },
      lost: (count) => {
        this.lostEvents += count;
        this.owner.overflow();
      },
    });
  }

  private event(words: Uint32Array): void {
    if (!this.devices.has(get(words, 0, StreamID))) {
      this.strayEvents++;
      return;
    }
    this.events++;
    this.owner.recordEvent(words);
  }

  private *allocate(
    device: number,
    vste: Uint32Array,
    forDevice: PassthroughDevice | undefined,
  ): Steps<number> {
    try {
      return checkId('allocate', yield* answerOf(this.backend.allocate(device, vste)));
    } catch (error) {
      const about = forDevice === undefined ? {} : { device: forDevice };
      this.refused({ operation: 'allocate', ...about, error });
      throw error;
    }
  }

  private *issue(words: Uint32Array): Steps<number> {
    const batch = new CommandBatch();
    batch.add(words, words[0]! & 0xff, 0);
    yield* this.delivery.finish(batch);
    return this.delivery.cerror;
  }
}

function checkId(method: string, id: unknown): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id > 0) return id;
  const what = typeof id === 'number' ? hex(id) : typeof id;
  throw new TypeError(`the backend's ${method} answered ${what}: it must be the id of an object`);
}
