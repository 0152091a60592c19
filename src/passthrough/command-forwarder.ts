import { Cerror, Command } from '../arch/command.js';
import { get } from '../arch/field.js';
import { HELD, PENDING, WAITS, type HardwareSide } from '../command/hardware-side.js';
import type { Features } from '../registers/features.js';
import type { CommandBatch } from './command-batch.js';
import type { Delivery } from './delivery.js';
import { ForwardedCommands } from './forwarded-command.js';
import type { Steps } from './host-steps.js';
import type { Passthrough } from './passthrough.js';
import { Inside, RouteCounts } from './passthrough-stats.js';

const { CFGI_CD_ALL, ATC_INV } = Command;
const { StreamID } = CFGI_CD_ALL.fields;

/** Takes commands of the guest to the physical SMMUs that they concern: gathers them, and sends them. */
export class CommandForwarder implements HardwareSide {
  stoppedAt = 0;
  readonly counts = new RouteCounts();

  private readonly passthrough: Passthrough;
  private commands!: ForwardedCommands;
  /** Some batch is not empty. */
  private isHolding = false;
  /** Answers to what was asked before the last change of it are of no interest. */
  private epoch = 0;
  /** Something that the queue has asked for is under way, or waits for its turn. */
  private isAsked = false;

  constructor(passthrough: Passthrough) {
    this.passthrough = passthrough;
  }

  /** The vSMMU is another one, with these features. */
  connect(features: Features): void {
    this.commands = new ForwardedCommands(features);
    this.cancel();
    for (const { delivery } of this.passthrough.physicals) delivery.forget();
  }

  owns(words: Uint32Array): boolean {
    return this.passthrough.devices.has(get(words, 0, StreamID));
  }

  takeTlbi(words: Uint32Array, opcode: number, ordinal: number): number {
    const { commands } = this;
    commands.write(words, opcode);
    let isForwarded = false;
    for (const physical of this.passthrough.physicals) {
      if (physical.translating === 0) {
        physical.skip();
        continue;
      }
      isForwarded = true;
      physical.take(commands.words, opcode, ordinal);
    }
    if (!isForwarded) return this.leaveInside(opcode, Inside.nobodyTranslates);
    this.counts.countForwarded(opcode);
    this.isHolding = true;
    return HELD;
  }

  takeStream(words: Uint32Array, opcode: number, ordinal: number): number {
    const device = this.passthrough.devices.get(get(words, 0, StreamID));
    if (device === undefined) return this.leaveInside(opcode, Inside.otherStream);
    if (!device.isNested) return this.leaveInside(opcode, Inside.notNested);
    if (opcode === ATC_INV.opcode && !device.usesAts) {
      return this.leaveInside(opcode, Inside.noAts);
    }
    if (!this.commands.write(words, opcode)) return this.leaveInside(opcode, Inside.noEffect);
    device.physical.take(this.commands.words, opcode, ordinal);
    this.counts.countForwarded(opcode);
    this.isHolding = true;
    return HELD;
  }

  flush(): number {
    if (!this.isHolding) return Cerror.NONE;
    const { turns, physicals } = this.passthrough;
    if (!turns.isIdle) return this.sendAll();
    const { epoch } = this;
    let isDone = true;
    for (const { batch, delivery } of physicals) {
      if (batch.count === 0) continue;
      if (delivery.begin(batch)) batch.clear();
      else isDone = false;
    }
    // A backend that has called back may have turned the queue off.
    if (epoch !== this.epoch) return Cerror.NONE;
    if (!isDone) return this.sendAll();
    this.isHolding = false;
    return Cerror.NONE;
  }

  configure(first: number, last: number): number {
    return this.perform(() => this.passthrough.follow(first, last, 'command'));
  }

  /** ATC_INVs that timed out: as on hardware CMD_SYNC says so, once (IHI 0070, section 7.1). */
  synchronize(): number {
    const { physicals } = this.passthrough;
    let isLate = false;
    let isNews = false;
    for (const { delivery } of physicals) {
      if (!delivery.hasLate) continue;
      isLate = true;
      if (!delivery.isLateTold) isNews = true;
    }
    if (!isLate) return Cerror.NONE;
    if (!isNews) return this.perform(() => this.sendLate());
    for (const { delivery } of physicals) delivery.isLateTold = true;
    return Cerror.ATC_INV_SYNC;
  }

  cancel(): void {
    this.epoch++;
    this.isHolding = false;
    // What is being sent keeps its batch.
    for (const physical of this.passthrough.physicals) physical.cancel();
  }

  /** Sends what waits now, as far as it is not sent: what is gathered later is no part of it. */
  private sendAll(): number {
    const { physicals } = this.passthrough;
    const parts = physicals.map(({ batch, delivery }) => ({ batch, delivery }));
    return this.perform(() => this.send(parts.filter(({ batch }) => batch.count > 0)));
  }

  /** @returns a {@link Cerror}; {@link stoppedAt} is set. */
  private *send(
    parts: readonly { readonly batch: CommandBatch; readonly delivery: Delivery }[],
  ): Steps<number> {
    const { epoch } = this;
    let cerror: number = Cerror.NONE;
    let stoppedAt = Infinity;
    for (const { batch, delivery } of parts) {
      yield* delivery.finish(batch);
      if (delivery.cerror !== Cerror.NONE && delivery.stoppedAt < stoppedAt) {
        cerror = delivery.cerror;
        stoppedAt = delivery.stoppedAt;
      }
      batch.clear();
    }
    if (epoch === this.epoch) {
      this.isHolding = false;
      this.stoppedAt = stoppedAt;
    }
    return cerror;
  }

  private *sendLate(): Steps<number> {
    for (const { delivery } of this.passthrough.physicals) yield* delivery.sendLate();
    return Cerror.NONE;
  }

  /** Does `work` unless the queue was turned off before its turn: then its commands are fetched again. */
  private *unlessOff(epoch: number, work: () => Steps<number>): Steps<number> {
    return epoch === this.epoch ? yield* work() : Cerror.NONE;
  }

  /**
   * Does `work`, whose result the command queue waits for.
   * @returns it, or {@link PENDING}; NONE when the queue was turned off meanwhile; {@link WAITS} while
   * what it had asked for before it was turned off is not over, so that there is never more than one.
   */
  private perform(work: () => Steps<number>): number {
    if (this.isAsked) return WAITS;
    this.isAsked = true;
    let result: number = PENDING;
    let isLater = false;
    const { epoch } = this;
    const { turns } = this.passthrough;
    const end = (cerror: number): void => {
      this.isAsked = false;
      if (!isLater) result = epoch === this.epoch ? cerror : Cerror.NONE;
      else if (epoch === this.epoch) this.passthrough.host.answer(cerror);
      else this.passthrough.host.proceed();
    };
    const begin = (): Steps<number> => this.unlessOff(epoch, work);
    turns.start(begin, end, (error) => {
      this.passthrough.host.failed(error);
      if (epoch === this.epoch) {
        // Nothing is known of what was sent: all of it counts as not taken.
        for (const physical of this.passthrough.physicals) physical.cancel();
        this.isHolding = false;
        this.stoppedAt = 0;
      }
      end(Cerror.ABT);
    });
    isLater = true;
    return result;
  }

  private leaveInside(opcode: number, reason: number): number {
    this.counts.countInside(opcode, reason);
    return Cerror.NONE;
  }
}
