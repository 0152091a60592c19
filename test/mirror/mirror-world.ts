/** A guest, its vSMMU with a mirror, slow sinks, and the model that says what they may hold. */
import { Mirror } from '../../src/mirror/mirror.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { Smmu } from '../../src/smmu.js';
import type { ReferenceMachine } from '../reference/index.js';
import { R } from '../smmu/smmu-machine.js';
import { checkStream } from './mirror-model-check.js';
import { changedRuns } from './mirror-model-held.js';
import { StreamModel } from './mirror-model.js';
import { hex, type Area, type ModelSink } from './mirror-model-sink.js';
import { CellReader } from './mirror-model-tables.js';
import type { WorldCommand } from './mirror-world-commands.js';
import { CMDQ, STREAM_TABLE, WorldGuest } from './mirror-world-guest.js';
import { Layout } from './mirror-world-layout.js';
import type { Attached, WorldOptions } from './mirror-world-options.js';
import { makeSink, reported } from './mirror-world-sinks.js';

const CMDQ_LOG2 = 7;
/** Registers that the reference reads, by their offsets. */
const READ = { idr0: R.IDR0, idr1: R.IDR1, idr3: R.IDR3, idr5: R.IDR5, aidr: R.AIDR } as const;

export class World {
  readonly options: WorldOptions;
  readonly layout: Layout;
  readonly guest: WorldGuest;
  readonly smmu: Smmu;
  readonly mirror: Mirror;
  readonly models: readonly StreamModel[];
  readonly attached: Attached[] = [];
  /** What has happened, in words. */
  readonly log: string[] = [];
  /** Pages that the mirror has said to hold tables. */
  readonly tablePages = new Set<number>();
  /** Writes to tables that the VMM has seen, and not told. */
  notices: { address: number; length: number }[] = [];
  /** Tables are told of one by one: what is mapped may come from old ones and new ones. */
  isMixing = false;
  /** What `schedule` was given. */
  task: (() => void) | undefined;
  readonly commands: WorldCommand[] = [];
  /** Of {@link commands}. */
  executed = 0;
  isEnabled = true;
  aborts = false;
  private readonly machine: ReferenceMachine;
  private readonly wrong: string[] = [];

  constructor(options: WorldOptions) {
    this.options = options;
    const { streams, oas, tables, work } = options;
    const pageSizes = streams.flatMap(({ sinks }) => sinks.map(({ pageSize }) => pageSize ?? 0));
    this.layout = new Layout({ ...options, unit: Math.max(...pageSizes) });
    const substreams = streams.some(({ substreamId }) => substreamId !== undefined);
    this.guest = new WorldGuest(this.layout, { ...options, substreams });
    const { memory } = this.guest;
    this.smmu = new Smmu({
      memory,
      features: { OAS: oas, VAX: 0, STT: 0, SIDSIZE: 8 },
      cache: { entries: 64 },
    });
    const registers = Object.entries(READ).map(([name, offset]) => [
      name,
      Number(this.smmu.readRegister(offset, 4)),
    ]);
    this.machine = {
      ...(Object.fromEntries(registers) as Record<keyof typeof READ, number>),
      memory,
      cr0: 9,
      cr2: 0,
      gbpa: 0,
      strtabBase: BigInt(STREAM_TABLE),
      strtabBaseCfg: 3,
    };
    for (let slot = 0; slot < 2; slot++) {
      this.guest.setCd(slot, { space: slot, asid: slot + 1, root: 0, valid: true });
    }
    for (let streamId = 0; streamId < 4; streamId++) this.guest.setSte(streamId, 'cd 0');
    const reader = new CellReader(this.layout, this.machine, memory);
    this.models = streams.map(
      ({ streamId, substreamId = -1, privileged = false }) =>
        new StreamModel(reader, streamId, substreamId, privileged),
    );
    this.smmu.writeRegister(R.STRTAB_BASE, 8, STREAM_TABLE);
    this.smmu.writeRegister(R.STRTAB_BASE_CFG, 4, 3);
    this.smmu.writeRegister(R.CMDQ_BASE, 8, CMDQ + CMDQ_LOG2);
    this.smmu.writeRegister(R.CR0, 4, 9);
    this.update();
    this.mirror = this.smmu.mirror({
      ram: this.layout.ram,
      limits: {
        ...(tables === undefined ? {} : { tables }),
        ...(work === undefined ? {} : { work }),
      },
      tablePages: {
        added: (page) => {
          if (this.tablePages.has(page)) this.complain(`table page ${hex(page)} added again`);
          this.tablePages.add(page);
        },
        removed: (page) => {
          if (!this.tablePages.delete(page)) this.complain(`table page ${hex(page)} was not there`);
        },
      },
      report: (report) => {
        reported(this, report);
      },
      schedule: (task) => {
        if (this.task !== undefined) this.complain('scheduled twice');
        this.task = task;
      },
    });
    for (const index of streams.keys()) this.attach(index);
  }

  /** No sink is to answer, and nothing is scheduled. */
  get isSettled(): boolean {
    return this.task === undefined && this.sinks.every(({ pending }) => pending.length === 0);
  }

  get sinks(): readonly ModelSink[] {
    return this.attached.flatMap(({ sinks }) => sinks);
  }

  /** Streams that are attached, by their index in the options. */
  stream(index: number): Attached | undefined {
    const model = this.models[index % this.models.length]!;
    return this.attached.find((one) => one.model === model && !one.isDetached);
  }

  attach(index: number): void {
    const { streamId, substreamId, privileged, policy, sinks } = this.options.streams[index]!;
    const model = this.models[index]!;
    const made = sinks.map((of, i) => makeSink(this, `stream ${index} sink ${i}`, of));
    model.sinks.splice(0, Infinity, ...made);
    const attached = { model, sinks: made, policy, mirror: undefined as StreamMirror | undefined };
    const one: Attached = { ...attached, isDetached: false, isLimited: false };
    this.attached.push(one);
    model.reread(0, 2 ** 64);
    this.call(`attach ${index}: ${policy}`, () => {
      one.mirror = this.mirror.attach(streamId, {
        sinks: made,
        policy,
        privileged: privileged === true,
        ...(substreamId === undefined ? {} : { substreamId }),
      });
    });
  }

  /** The guest has written to its memory: the VMM sees what goes to tables that are watched. */
  written(what: string): void {
    const { guest } = this;
    this.log.push(what);
    this.update();
    const seen = guest.written.filter(({ address }) => this.tablePages.has(pageOf(address)));
    guest.written = [];
    for (const { address, length } of seen) {
      const last = this.notices.at(-1);
      if (last !== undefined && last.address + last.length === address) last.length += length;
      else this.notices.push({ address, length });
    }
    if (this.options.tellsAtOnce) this.tell();
  }

  /** The VMM tells the mirror what was written. */
  tell(): void {
    const { notices } = this;
    if (notices.length === 0) return;
    this.notices = [];
    this.isMixing ||= notices.length > 1;
    for (const one of this.attached) if (this.isTracked(one)) one.model.reread(0, 2 ** 64);
    const what = notices.map(({ address, length }) => `${hex(address)} ${length}`);
    this.call(`tableWritten ${what.join(', ')}`, () => {
      for (const { address, length } of notices) this.mirror.tableWritten(address, length);
    });
  }

  /** Everything that was written to tables is brought to the sinks of this stream at once. */
  isTracked({ mirror, isDetached }: Attached): boolean {
    return mirror?.servedBy === 'tracked' && !isDetached;
  }

  /** Enqueues commands, as many as the queue has room for. */
  issue(...commands: readonly WorldCommand[]): void {
    const room = 2 ** CMDQ_LOG2 - 1 - this.commands.length;
    for (const command of commands.slice(0, Math.max(0, room))) {
      const at = BigInt(CMDQ + 16 * this.commands.length);
      this.guest.memory.poke(at, command.words[0]);
      this.guest.memory.poke(at + 8n, command.words[1]);
      this.commands.push(command);
    }
    this.call(commands.map(({ name }) => name).join('; '), () => {
      this.smmu.writeRegister(R.CMDQ_PROD, 4, this.commands.length);
    });
  }

  enable(isEnabled: boolean): void {
    this.isEnabled = isEnabled;
    this.machine.cr0 = isEnabled ? 9 : 8;
    this.register(`SMMUEN ${isEnabled}`, R.CR0, this.machine.cr0);
  }

  /** GBPA.ABORT says what becomes of accesses while SMMUEN is 0. */
  abort(aborts: boolean): void {
    this.aborts = aborts;
    this.machine.gbpa = aborts ? 0x10_0000 : 0;
    this.register(`GBPA.ABORT ${aborts}`, R.GBPA, 0x8000_0000 + this.machine.gbpa);
  }

  /** Calls into the library, and looks at what has come of it. */
  call<T>(what: string, work: () => T): T {
    this.log.push(what);
    const { isMixing } = this;
    const before = this.attached.flatMap((one) =>
      one.sinks.map((sink) => ({ ...snapshotOf(sink), sink, isDemand: one.policy === 'demand' })),
    );
    const result = work();
    this.progress();
    for (const { sink, areas, operations, hasRefused, isDemand } of before) {
      const { unmaps = 'any', areas: limit } = sink.capabilities;
      if (unmaps !== 'any' || limit !== undefined || hasRefused || sink.hasRefused) continue;
      if (!this.isSettled || isMixing || this.options.work !== undefined) continue;
      const count = snapshotOf(sink).operations - operations;
      const runs = changedRuns(areas, sink.areas, sink.capabilities, isDemand);
      if (count > 2 * runs) this.complain(`${sink.name}: ${count} operations for ${runs} changes`);
    }
    this.check();
    return result;
  }

  /** Takes up what commands were executed meanwhile, and what is complete. */
  progress(): void {
    const consumed = this.position();
    for (; this.executed < consumed; this.executed++) {
      const { named } = this.commands[this.executed]!;
      for (const model of this.models) model.execute(named);
      if (named.kind !== 'sync') continue;
      for (const { pending, name } of this.sinks) {
        if (pending.every(({ position }) => position > this.executed)) continue;
        this.complain(`CMD_SYNC is complete before ${name} has answered`);
      }
      // Between two commands of one go nobody sees that a sink says what it should.
      if (this.executed + 1 < consumed) for (const sink of this.sinks) sink.mayBeOver = true;
    }
    if (this.isSettled) {
      this.isMixing = false;
      for (const model of this.models) model.complete();
      if (consumed < this.commands.length) this.complain('the command queue does not go on');
    } else if (consumed < this.commands.length && this.commands[consumed]!.named.kind !== 'sync') {
      this.complain('the command queue waits without a CMD_SYNC');
    }
  }

  /** @throws Error with the log when anything is not as the model says. */
  check(): void {
    for (const one of this.attached) if (one.mirror !== undefined) checkStream(this, one);
    if (this.wrong.length === 0) return;
    throw new Error(`${this.wrong.join('\n')}\nafter:\n  ${this.log.join('\n  ')}`);
  }

  /** The index of the command at CONS. */
  position(): number {
    return Number(this.smmu.readRegister(R.CMDQ_CONS, 4));
  }

  complain(message: string): void {
    this.wrong.push(message);
  }

  /** Memory or registers have changed. */
  update(): void {
    for (const model of this.models) model.update();
  }

  private register(what: string, offset: number, value: number): void {
    this.update();
    for (const model of this.models) model.reread(0, 2 ** 64);
    this.call(what, () => {
      this.smmu.writeRegister(offset, 4, value);
    });
  }
}

function snapshotOf({ areas, maps, unmaps, hasRefused }: ModelSink): {
  areas: readonly Area[];
  operations: number;
  hasRefused: boolean;
} {
  return { areas, operations: maps + unmaps, hasRefused };
}

function pageOf(address: number): number {
  return address - (address % 4096);
}
