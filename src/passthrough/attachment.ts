import { answerOf, type Steps } from './host-steps.js';
import type { PassthroughDevice } from './passthrough-device.js';
import { Disposition, usesAts, VSTE_WORDS } from './vste.js';

const NONE = -1;

/** What a device is attached to: one of the shared HWPTs, or a nested one of its own. */
export class Attachment {
  /** A {@link Disposition}, or -1 before the first. */
  disposition: number = NONE;
  /** The vSTE of {@link Disposition.nested}. */
  readonly vste = new Uint32Array(VSTE_WORDS);

  private readonly owner: PassthroughDevice;
  /** The vSTE that the host is being asked for, with {@link Disposition.nested}. */
  private coming: Uint32Array | undefined;
  /** The nested HWPT, or 0. */
  private hwpt = 0;

  constructor(owner: PassthroughDevice) {
    this.owner = owner;
  }

  /**
   * Attaches the device to something else, at one stroke: the new HWPT is made, takes the place of the old
   * one, and that one is destroyed. When the host refuses, everything stays as it was, and what it threw
   * is thrown.
   * @returns `false` when it is attached so already.
   */
  *set(disposition: number, vste: Uint32Array): Steps<boolean> {
    const isNested = disposition === Disposition.nested;
    const isSame = !isNested || vste.every((word, i) => word === this.vste[i]);
    if (disposition === this.disposition && isSame) return false;
    const { physical } = this.owner;
    const words = vste.slice();
    if (!isNested) {
      yield* this.replace(disposition, words);
      return true;
    }
    this.coming = words;
    try {
      yield* physical.enter();
      try {
        yield* this.replace(disposition, words);
      } catch (error) {
        physical.leave();
        throw error;
      }
    } finally {
      this.coming = undefined;
    }
    return true;
  }

  /** Hardware may translate with the guest's CDs: now, or before what the host was asked is answered. */
  get isNested(): boolean {
    return this.disposition === Disposition.nested || this.coming !== undefined;
  }

  /** As {@link isNested}, of ATS. */
  get usesAts(): boolean {
    const isOn = this.disposition === Disposition.nested && usesAts(this.vste);
    return isOn || (this.coming !== undefined && usesAts(this.coming));
  }

  private *replace(disposition: number, vste: Uint32Array): Steps<void> {
    const { owner } = this;
    const { physical } = owner;
    const isNested = disposition === Disposition.nested;
    const hwpt = isNested
      ? yield* physical.deviceHwpt(owner, vste)
      : yield* physical.sharedHwpt(owner.device, disposition);
    try {
      yield* answerOf(physical.backend.attach(owner.device, hwpt));
    } catch (error) {
      physical.refused({ operation: 'attach', device: owner, error });
      if (isNested) yield* physical.discard(hwpt, owner);
      throw error;
    }
    const old = this.hwpt;
    this.hwpt = isNested ? hwpt : 0;
    this.disposition = disposition;
    this.vste.set(vste);
    if (old === 0) return;
    physical.leave();
    yield* physical.discard(old, owner);
  }
}
