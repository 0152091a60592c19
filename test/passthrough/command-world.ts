/**
 * A guest, its VMM and hosts that answer in any order; beside them what has to hold: an invalidation that
 * CONS has passed is completed on every physical SMMU that translates, by a call made after the guest had
 * issued it, or it is made good before that SMMU translates again.
 */
import { expect } from 'vitest';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { SmmuState } from '../../src/state.js';
import { CMDQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { covers, isAtc, isCd, isOfTlb, streamOf, type Issued } from './command-entries.js';
import { entriesOf, type HostCall, type ScriptedHost } from './command-host.js';
import {
  cfgiSte,
  CommandRig,
  DEVICE,
  EIO,
  ENOMEM,
  ETIMEDOUT,
  ILL,
  ON,
  refusal,
  SID,
  SYNC,
  turn,
  type Entry,
  type SteName,
} from './command-rig.js';
import { STEPS, type StepName } from './command-steps.js';

const QUEUE_LOG2 = 6;
const SIZE = 1 << QUEUE_LOG2;
const STE_NAMES: readonly SteName[] = ['ats', 's1', 'bypass', 'abort'];
const EMULATED = 0x10;

export class World {
  readonly rig: CommandRig;
  private now = 0;
  private tags = 0;
  /** All that the guest has issued: the number of each is its index. */
  private commands: Issued[] = [];
  /** Commands that CONS has passed. */
  private passed = 0;
  /** What each SMMU has not completed yet. */
  private readonly owed: Set<Issued>[] = [];
  /** Devices that are nested, or about to be. */
  private readonly translating: Set<number>[] = [];
  private readonly made = new Map<HostCall, number>();
  private readonly steOf = new Map<number, SteName>();
  private readonly moving = new Set<number>();
  private inside = false;
  private readonly failures: unknown[] = [];
  private handle: StreamHandle | undefined;
  private endAccess: (() => void) | undefined;

  private constructor(rig: CommandRig) {
    this.rig = rig;
    for (const [smmu, host] of rig.hosts.entries()) {
      this.owed.push(new Set());
      this.translating.push(new Set([DEVICE + smmu]));
      this.steOf.set(SID + smmu, 'ats');
      host.onCall = (call) => {
        this.guard(() => {
          this.called(smmu, host, call);
        });
      };
      host.onDone = (call) => {
        this.guard(() => {
          this.done(smmu, host, call);
        });
      };
    }
  }

  static async make(smmus: number): Promise<World> {
    const rig = await CommandRig.make({ smmus, cmdqLog2: QUEUE_LOG2 });
    // The HWPT that aborts is there from now on, so that registers are never refused.
    for (const i of rig.hosts.keys()) rig.ste('abort', SID + i).command(cfgiSte(SID + i));
    for (const i of rig.hosts.keys()) rig.ste('ats', SID + i).command(cfgiSte(SID + i), SYNC);
    const world = new World(rig.quiet());
    world.passed = rig.cons;
    for (let i = 0; i < rig.cons; i++) {
      world.commands.push({ entry: SYNC, at: 0, isPassed: true });
    }
    rig.later();
    return world;
  }

  tag(): number {
    return ++this.tags;
  }

  streamOf(n: number): number {
    // One of them is nobody's.
    return SID + (n % (this.rig.hosts.length + 1));
  }

  async step(name: StepName, n: number): Promise<void> {
    STEPS[name](this, n);
    this.observe();
    this.checkEmulated();
    // Now and then several things happen at once.
    if (n % 4 !== 0) await turn();
    this.observe();
    this.checkFailure();
  }

  /** The guest's driver writes CMDQ_PROD once for all of them. */
  issue(...entries: readonly Entry[]): void {
    if (this.commands.length - this.passed + entries.length >= SIZE) return;
    for (const entry of entries) this.owe(entry);
    this.rig.command(...entries);
  }

  private owe(entry: Entry): void {
    const issued: Issued = { entry, at: ++this.now, isPassed: false };
    this.commands.push(issued);
    if (isOfTlb(entry)) for (const owed of this.owed) owed.add(issued);
    const owner = this.owed[streamOf(entry) - SID];
    if (isCd(entry) || isAtc(entry)) owner?.add(issued);
  }

  changeSte(n: number): void {
    const name = STE_NAMES[n % STE_NAMES.length]!;
    const streamId = SID + (n % this.rig.hosts.length);
    if (this.commands.length - this.passed >= SIZE - 1) return;
    this.rig.ste(name, streamId);
    this.steOf.set(streamId, name);
    this.issue(cfgiSte(streamId));
  }

  answer(n: number, error: unknown): void {
    const hosts = this.rig.hosts.filter(({ pending }) => pending.length > 0);
    if (hosts.length === 0) return;
    hosts[n % hosts.length]!.answer(0, error);
  }

  refuse(n: number): void {
    const hosts = this.rig.hosts.filter(({ pending }) => pending.length > 0);
    if (hosts.length === 0) return;
    const [call] = hosts[n % hosts.length]!.pending;
    const { method, words } = call!;
    const count = words.length / 4;
    const isIllegal = method === 'invalidate' && n % 3 === 0;
    // Attaching never fails: what registers ask for is not to be refused for good.
    if (method === 'attach') this.answer(n, undefined);
    else if (isIllegal) this.answer(n, refusal(EIO, n % count));
    else this.answer(n, refusal(n % 2 === 0 && !entriesOf(words).some(isAtc) ? ETIMEDOUT : ENOMEM));
  }

  acknowledge(): void {
    if (!this.rig.isStopped) return;
    if (this.rig.error === ILL) {
      this.rig.overwrite(SYNC);
      const given = this.commands[this.passed]!;
      this.commands[this.passed] = { entry: SYNC, at: given.at, isPassed: false };
      for (const owed of this.owed) owed.delete(given);
    }
    this.rig.acknowledge();
  }

  switchQueue(): void {
    this.rig.machine.write(R.CR0, this.rig.machine.read(R.CR0) ^ CMDQEN);
  }

  /** A guest waits for CR0ACK before it writes SMMUEN again. */
  switchEnable(): void {
    const { machine } = this.rig;
    if (machine.read(R.CR0) !== machine.read(R.CR0ACK)) return;
    machine.write(R.CR0, machine.read(R.CR0) ^ SMMUEN);
  }

  retireOrBind(n: number): void {
    const index = n % this.rig.devices.length;
    const device = this.rig.devices[index]!;
    if (this.moving.has(index)) return;
    this.moving.add(index);
    const over = (): void => void this.moving.delete(index);
    // Refusals are among the steps.
    void (device.streamId < 0 ? device.bind(SID + index) : device.retire()).then(over, over);
  }

  /** An access of the emulated device that takes time begins, or the one under way ends. */
  switchAccess(): void {
    if (this.endAccess !== undefined) {
      this.endAccess();
      this.endAccess = undefined;
      return;
    }
    this.handle ??= this.rig.machine.smmu.attach(EMULATED);
    const perform = (): Promise<void> => new Promise((resolve) => (this.endAccess = resolve));
    void this.handle.dma(0x1000, 16, 0, perform);
  }

  /** Migration into the same vSMMU. */
  restore(): void {
    const { smmu } = this.rig.machine;
    const state = JSON.parse(JSON.stringify(smmu.save())) as SmmuState;
    this.inside = true;
    smmu.reset();
    smmu.restore(state);
    this.inside = false;
  }

  changeMode(n: number): void {
    const host = this.rig.hosts[n % this.rig.hosts.length]!;
    host.isLater = !host.isLater;
  }

  /** Everything is answered, and the guest does what it can: then all is done. */
  async end(): Promise<void> {
    const { rig } = this;
    const { machine } = rig;
    if (this.endAccess !== undefined) this.switchAccess();
    for (let i = 0; i < 100; i++) {
      await rig.settle();
      this.observe();
      machine.write(R.CR0, machine.read(R.CR0) | CMDQEN);
      this.acknowledge();
      if (rig.cons === machine.prod && this.isQuiet) break;
    }
    await rig.settle();
    for (const index of rig.devices.keys()) {
      if (rig.devices[index]!.streamId < 0) this.retireOrBind(index);
    }
    await rig.settle();
    machine.write(R.CR0, ON);
    await rig.settle();
    this.issue(SYNC);
    await rig.settle();
    this.observe();
    expect([rig.state, this.moving.size]).toEqual([[machine.prod, 0], 0]);
    expect(machine.read(R.CR0ACK)).toBe(ON);
    for (const [index, device] of rig.devices.entries()) {
      const ste = this.steOf.get(SID + index);
      const wanted = ste === 'ats' || ste === 's1' ? 'nested' : ste;
      // A nested one may have been refused: then it aborts.
      expect([wanted, 'abort']).toContain(device.disposition);
    }
    this.checkEmulated();
    this.checkFailure();
  }

  private get isQuiet(): boolean {
    return !this.rig.isStopped && this.rig.hosts.every(({ pending }) => pending.length === 0);
  }

  /** What fails inside a call of the library would be a refusal of the host. */
  private guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.failures.push(error);
    }
  }

  private checkFailure(): void {
    expect(this.failures).toEqual([]);
  }

  private called(smmu: number, host: ScriptedHost, call: HostCall): void {
    this.observe();
    expect(host.pending.length, 'calls of one host at once').toBe(0);
    this.made.set(call, ++this.now);
    if (call.method !== 'attach' || !host.nested.has(call.object)) return;
    const isFirst = this.translating[smmu]!.size === 0;
    const stale = [...this.owed[smmu]!].filter(({ entry, isPassed }) => isPassed && isOfTlb(entry));
    if (isFirst) expect(stale, 'not invalidated before a device is nested').toEqual([]);
    this.translating[smmu]!.add(call.device);
  }

  private done(smmu: number, host: ScriptedHost, call: HostCall): void {
    this.observe();
    const owed = this.owed[smmu]!;
    const translating = this.translating[smmu]!;
    if (call.method === 'attach') {
      if (!host.nested.has(call.object)) translating.delete(call.device);
      // The STE is another one: CDs are read anew.
      for (const issued of [...owed]) {
        if (issued.at < this.made.get(call)! && (isCd(issued.entry) || isAtc(issued.entry))) {
          owed.delete(issued);
        }
      }
    }
    if (call.method !== 'invalidate') return;
    const entries = entriesOf(call.words);
    for (const issued of [...owed]) {
      if (issued.at > this.made.get(call)!) continue;
      const { entry } = issued;
      const isCdOfAll =
        isCd(entry) && entries.some((by) => by[0] === (((entry[0] >> 32n) << 32n) | 6n));
      if (isCdOfAll || entries.some((by) => covers(by, entry))) owed.delete(issued);
    }
  }

  /** CONS may have moved. */
  private observe(): void {
    if (this.inside) return;
    const { rig } = this;
    const moved = (rig.cons - this.passed) & (2 * SIZE - 1);
    expect(this.passed + moved, 'CONS is behind PROD').toBeLessThanOrEqual(this.commands.length);
    for (let i = 0; i < moved; i++) this.pass(this.commands[this.passed++]!);
  }

  private pass(issued: Issued): void {
    issued.isPassed = true;
    const { entry } = issued;
    for (const [smmu, owed] of this.owed.entries()) {
      if (!owed.has(issued)) continue;
      const device = this.rig.devices[smmu]!;
      const isFor = isOfTlb(entry) || device.disposition === 'nested';
      // The guest may have written another STE meanwhile: what counts is the one that hardware has.
      const { attached, withAts } = this.rig.hosts[smmu]!;
      const isWithout = isAtc(entry) && !withAts.has(attached.get(DEVICE + smmu)!);
      if (!isFor || isWithout || (device.streamId < 0 && !isOfTlb(entry))) {
        owed.delete(issued);
        continue;
      }
      const isNeeded = this.translating[smmu]!.size > 0;
      if (isNeeded) expect(entry, `consumed, but not completed by SMMU ${smmu}`).toBe('completed');
    }
  }

  /** The emulated device goes on all the time. */
  private checkEmulated(): void {
    const { machine } = this.rig;
    const isEnabled = (machine.read(R.CR0) & SMMUEN) !== 0;
    const { outcome, outputAddress } = machine.translate(0x1234n, 0, EMULATED);
    expect([outcome, outputAddress]).toEqual([0, isEnabled ? 0x8000_1234 : 0x1234]);
  }
}
