import { Cerror, Command } from '../arch/command.js';
import { get } from '../arch/field.js';
import { Errno } from '../iommufd/iommufd-error.js';
import type { HostAnswer, PhysicalBackend } from './backend.js';
import { BATCH_LIMIT, CommandBatch } from './command-batch.js';
import { errnoOf, handledOf, Refusal } from './host-refusal.js';
import { answerOf, isLater, type Steps } from './host-steps.js';

/** How commands are sent, and who knows about it. */
export interface DeliveryOptions {
  readonly backend: PhysicalBackend;
  /** Times that commands are sent again after a refusal that may pass. */
  readonly retries: number;
  /** Commands are sent twice: an erratum of some hardware. */
  readonly issueTwice: boolean;
  /** Whether a device with this StreamID is behind this physical SMMU. */
  readonly isBound: (streamId: number) => boolean;
  /** The host has refused a call. */
  readonly refused: (error: unknown) => void;
}

const { ATC_INV, CFGI_CD, CFGI_CD_ALL } = Command;

/** Sends batches to one physical SMMU, and finds out which command it does not take. */
export class Delivery {
  /** Why the last batch was not taken as a whole: a {@link Cerror}. */
  cerror: number = Cerror.NONE;
  /** Ordinal of the first command that was not taken then. */
  stoppedAt = 0;
  /** Commands sent, as often as they were. */
  commands = 0;
  /** Calls. */
  calls = 0;

  private readonly options: DeliveryOptions;
  /** ATC_INVs that timed out: the next CMD_SYNC says so, and the one after it sends them once more. */
  private late = new CommandBatch();
  /** The guest knows of them. */
  isLateTold = false;

  constructor(options: DeliveryOptions) {
    this.options = options;
  }

  /** Sends `batch`. @returns `false` when {@link finish} has to see to the rest. */
  begin(batch: CommandBatch): boolean {
    for (let left = this.options.issueTwice ? 2 : 1; left > 0; left--) {
      batch.begun = this.ask(batch.commands, batch.count);
      if (batch.begun !== undefined) return false;
    }
    return true;
  }

  /**
   * Goes on with `batch`, begun or not, until it is taken or {@link cerror} says why not. The kernel may
   * count commands that it has only checked: those before the one that it refuses are sent again.
   */
  *finish(batch: CommandBatch): Steps<void> {
    const { count } = batch;
    this.cerror = Cerror.NONE;
    let from = 0;
    let end = count;
    for (;;) {
      let refusal = from < end ? yield* this.attempt(batch, from, end) : undefined;
      if (refusal !== undefined && (yield* this.leavesAtc(batch, from, end, refusal))) {
        refusal = undefined;
      }
      if (refusal === undefined) {
        if (end === count) return;
        if (!this.namesNobody(batch, end)) {
          this.stop(batch, end, Cerror.ILL);
          return;
        }
        from = end + 1;
        end = count;
        continue;
      }
      const handled = handledOf(refusal.error);
      if (errnoOf(refusal.error) !== Errno.EIO || handled >= end - from) {
        this.stop(batch, from, Cerror.ABT);
        return;
      }
      end = from + handled;
    }
  }

  /** ATC_INVs that timed out are to be told of, or sent a last time. */
  get hasLate(): boolean {
    return this.late.count > 0;
  }

  /** Sends the ATC_INVs that timed out a last time: the guest was told of them, and goes on. */
  *sendLate(): Steps<void> {
    const { late } = this;
    if (late.count === 0) return;
    this.late = new CommandBatch();
    this.isLateTold = false;
    yield* this.issue(late.commands, late.count);
  }

  /** The vSMMU is another one: its guest has sent nothing yet. */
  forget(): void {
    this.late = new CommandBatch();
    this.isLateTold = false;
  }

  /** Sends commands `from` to `end`, again if that may help. */
  private *attempt(batch: CommandBatch, from: number, end: number): Steps<Refusal | undefined> {
    const commands = from === 0 ? batch.commands : batch.commands.subarray(4 * from);
    for (let left = this.options.retries; ; left--) {
      const { begun } = batch;
      batch.begun = undefined;
      const refusal = yield* this.issue(commands, end - from, begun);
      if (refusal === undefined || left === 0 || errnoOf(refusal.error) === Errno.EIO) {
        return refusal;
      }
    }
  }

  /** @param begun what the first call has come to, when it was made already. */
  private *issue(
    commands: Uint32Array,
    count: number,
    begun?: HostAnswer<Refusal | undefined>,
  ): Steps<Refusal | undefined> {
    let refusal = yield* answerOf(begun ?? this.ask(commands, count));
    if (refusal === undefined && this.options.issueTwice) {
      refusal = yield* answerOf(this.ask(commands, count));
    }
    if (refusal !== undefined) this.options.refused(refusal.error);
    return refusal;
  }

  /** Makes a call, and listens to its answer from now on. @returns how it was refused. */
  private ask(commands: Uint32Array, count: number): HostAnswer<Refusal | undefined> {
    this.calls++;
    this.commands += count;
    try {
      const answer = this.options.backend.invalidate(commands, count);
      if (!isLater(answer)) return undefined;
      return Promise.resolve(answer).then(
        () => undefined,
        (error: unknown) => new Refusal(error),
      );
    } catch (error) {
      return new Refusal(error);
    }
  }

  /** Whether only ATC_INVs keep a call from being done in time: the others are, without them. */
  private *leavesAtc(
    batch: CommandBatch,
    from: number,
    end: number,
    { error }: Refusal,
  ): Steps<boolean> {
    if (!batch.hasAtc || errnoOf(error) !== Errno.ETIMEDOUT) return false;
    const others = new CommandBatch();
    const slow: Uint32Array[] = [];
    for (let i = from; i < end; i++) {
      const words = batch.commands.subarray(4 * i, 4 * i + 4);
      const opcode = batch.opcode(i);
      if (opcode === ATC_INV.opcode) slow.push(words);
      else others.add(words, opcode, batch.ordinals[i]!);
    }
    if (slow.length === 0) return false;
    const isDone =
      others.count === 0 || (yield* this.attempt(others, 0, others.count)) === undefined;
    if (!isDone) return false;
    for (const words of slow) {
      if (this.late.count < BATCH_LIMIT) this.late.add(words, ATC_INV.opcode, 0);
    }
    this.isLateTold = false;
    return true;
  }

  /** Whether command `i` names a device that has gone since it was taken in: it has no effect. */
  private namesNobody(batch: CommandBatch, i: number): boolean {
    const opcode = batch.opcode(i);
    const isOfStream =
      opcode === ATC_INV.opcode || opcode === CFGI_CD.opcode || opcode === CFGI_CD_ALL.opcode;
    const streamId = get(batch.commands, 4 * i, CFGI_CD_ALL.fields.StreamID);
    return isOfStream && !this.options.isBound(streamId);
  }

  private stop(batch: CommandBatch, i: number, cerror: number): void {
    this.stoppedAt = batch.ordinals[i]!;
    this.cerror = cerror;
  }
}
