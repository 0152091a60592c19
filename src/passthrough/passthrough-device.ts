import { Cerror } from '../arch/command.js';
import { Event } from '../arch/event.js';
import { hex } from '../memory/hex.js';
import { Translation } from '../transaction/translation.js';
import { Attachment } from './attachment.js';
import { cerrorOf } from './host-refusal.js';
import type { Steps } from './host-steps.js';
import type { Passthrough } from './passthrough.js';
import type { PhysicalSmmu } from './physical-smmu.js';
import { Disposition, dispositionOf, VSTE_WORDS } from './vste.js';

const NOBODY = -1;
const NAMES = ['abort', 'bypass', 'nested'] as const;

/** What has made it necessary to look at a device again. */
export type Occasion = 'command' | 'registers';

/** A passthrough device: what its DMA meets follows the guest's STE. `Passthrough.attach` makes it. */
export class PassthroughDevice {
  /** The physical SMMU that it is behind. */
  readonly physical: PhysicalSmmu;
  /** The kernel's id of the device. */
  readonly device: number;

  private readonly passthrough: Passthrough;
  private readonly attachment = new Attachment(this);
  private readonly wanted = new Uint32Array(VSTE_WORDS);
  private readonly fault = new Translation();
  /** Number of the event that the STE came to when it was last looked at; 0 for none. */
  private lastEvent = 0;
  /** The vDEVICE, or 0; of a device without StreamID, one that the host would not destroy. */
  private vdevice = 0;
  private boundTo = NOBODY;
  private isGone = false;

  /** @internal */
  constructor(passthrough: Passthrough, physical: PhysicalSmmu, device: number) {
    this.passthrough = passthrough;
    this.physical = physical;
    this.device = device;
  }

  /** StreamID that the guest knows it by; -1 while it is retired. */
  get streamId(): number {
    return this.boundTo;
  }

  /** What its DMA meets now. */
  get disposition(): 'abort' | 'bypass' | 'nested' | 'none' {
    return NAMES[this.attachment.disposition] ?? 'none';
  }

  /**
   * Takes the StreamID from the device: its DMA aborts, and no command reaches it, until {@link bind}.
   * For what moves a device or resets it: bus renumbering (retire all, then bind all), function-level
   * reset (retire, reset, bind).
   * @returns fulfilled when it is done, which it is at once with a backend that answers at once; rejected
   * with the host's refusal: then nothing has changed but that, possibly, DMA aborts.
   * @throws Error when the device is detached.
   */
  retire(): Promise<void> {
    this.checkThere();
    return this.passthrough.turns.run(() => this.leave());
  }

  /**
   * Gives the device, which is retired, a StreamID: from now on its DMA meets what the guest's STE says.
   * @returns as {@link retire}.
   * @throws RangeError when `streamId` is out of range.
   * @throws Error when the device is detached, or has a StreamID, or another device has this one, or the
   * physical SMMU is being removed.
   * @throws TypeError when that is removed.
   */
  bind(streamId: number): Promise<void> {
    this.checkThere();
    this.passthrough.checkStays('the physical SMMU of the device', this.physical);
    this.passthrough.claim(streamId, this);
    return this.passthrough.turns.run(() => this.enter(streamId));
  }

  /**
   * The device goes (hot-unplug): its DMA aborts, and what was made for it is destroyed. The VMM takes it
   * from the guest, and closes it, when this is fulfilled.
   * @returns as {@link retire}.
   * @throws Error when it is detached already.
   */
  detach(): Promise<void> {
    this.checkThere();
    this.isGone = true;
    return this.passthrough.turns
      .run(() => this.leave())
      .catch((error: unknown) => {
        this.isGone = false;
        throw error;
      });
  }

  /** @internal Stage 1 of the guest may translate for it. */
  get isNested(): boolean {
    return this.attachment.isNested;
  }

  /** @internal ATC_INV may reach it. */
  get usesAts(): boolean {
    return this.attachment.usesAts;
  }

  /** @internal Makes the vDEVICE, and attaches. */
  *enter(streamId: number): Steps<void> {
    const { physical, passthrough } = this;
    try {
      yield* this.dropVdevice();
      this.vdevice = yield* physical.bindVdevice(this, streamId);
    } catch (error) {
      passthrough.release(streamId);
      throw error;
    }
    this.boundTo = streamId;
    physical.devices.set(streamId, this);
    const cerror = yield* this.follow('registers');
    if (cerror !== Cerror.NONE) {
      yield* this.unbind();
      throw new Error(`stream ${hex(streamId)} could not be attached: see the report`);
    }
  }

  /**
   * @internal Brings what the device meets in step with the guest's registers and STE.
   * @returns a {@link Cerror}: NONE unless the host refuses, and the device is as it was before.
   */
  *follow(occasion: Occasion): Steps<number> {
    const disposition = this.evaluate(occasion);
    try {
      const isNew = yield* this.attachment.set(disposition, this.wanted);
      // The guest may have changed CDs, which CFGI_STE covers as well (IHI 0070, section 4.3).
      const isKept = !isNew && disposition === Disposition.nested;
      if (!isKept || occasion === 'registers') return Cerror.NONE;
      return yield* this.physical.invalidateCds(this.boundTo);
    } catch (error) {
      if (occasion === 'command') return cerrorOf(error);
      return yield* this.block();
    }
  }

  /** Registers cannot say no: where the host will not give what they ask for, nothing may pass. */
  private *block(): Steps<number> {
    try {
      yield* this.attachment.set(Disposition.abort, this.wanted);
      return Cerror.NONE;
    } catch (error) {
      return cerrorOf(error);
    }
  }

  private *leave(): Steps<void> {
    yield* this.attachment.set(Disposition.abort, this.wanted);
    yield* this.unbind();
  }

  private *unbind(): Steps<void> {
    if (this.boundTo !== NOBODY) {
      this.physical.devices.delete(this.boundTo);
      this.passthrough.release(this.boundTo);
      this.boundTo = NOBODY;
      this.lastEvent = 0;
    }
    yield* this.dropVdevice();
  }

  private *dropVdevice(): Steps<void> {
    if (this.vdevice !== 0 && (yield* this.physical.discard(this.vdevice, this))) this.vdevice = 0;
  }

  /** What the guest says the DMA of the device is to meet; the vSTE of a nested one is in {@link wanted}. */
  private evaluate(occasion: Occasion): number {
    const { host } = this.passthrough;
    const before = this.lastEvent;
    this.lastEvent = 0;
    if (!host.isEnabled) return host.globalAbort ? Disposition.abort : Disposition.bypass;
    const event = host.fetchSte(this.boundTo, this.fault);
    if (event === 0) return dispositionOf(host.ste, host.features, this.wanted);
    // A stream that the table does not have yet may come.
    if (event === Event.C_BAD_STREAMID.id && occasion === 'registers') return Disposition.abort;
    this.lastEvent = event;
    // Hardware records nothing for a vSTE that aborts.
    if (event !== before) host.recordFault(this.fault, event);
    return Disposition.abort;
  }

  private checkThere(): void {
    if (this.isGone) throw new Error('the device is detached: attach it again');
  }
}
