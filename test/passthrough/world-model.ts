/** A world of several physical SMMUs and devices, and what the manual says of it. */
import { expect } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN, type Entry } from '../smmu/smmu-machine.js';
import { STREAM } from '../transaction/machine.js';
import { CFGI_ALL, Rig, STES, type PassthroughDevice, type Plugged } from './device-rig.js';
import { Driver } from './world-guest.js';
import { Hardware, type Words } from './world-hardware.js';

export const QUEUES = EVENTQEN | CMDQEN;
export const SIDS = [0x20, 0x21, 0x22, 0x60];
export const SUBSTREAMS = 4;

/** STEs; `many` has 4 CDs. */
export const WORLD_STES = {
  ...STES,
  many: [0x1000_0000_43e0_000bn, 0xd6n],
  manyAts: [0x1000_0000_43e0_000bn, 0x1000_00d6n],
} as const;
export type WorldSte = keyof typeof WORLD_STES;
const DISPOSITIONS: Record<WorldSte, string> = {
  invalid: 'abort',
  abort: 'abort',
  bypass: 'bypass',
  s1: 's1',
  other: 's1',
  ats: 's1',
  many: 's1',
  manyAts: 's1',
  illegal: 'abort',
};

export interface Slot {
  readonly plugged: Plugged;
  readonly physicalId: number;
  device: PassthroughDevice | undefined;
  /** StreamID that the guest knows it by; -1: none. */
  sid: number;
  /** What its DMA is to meet. */
  expected: string;
  /** How much of its history was looked at. */
  seen: number;
}

export interface WorldOptions {
  readonly smmus: number;
  readonly block: number;
  readonly counts: 'checked' | 'issued';
  readonly retries: number;
  readonly issueTwice: boolean;
}

export class World {
  readonly rig: Rig;
  readonly slots: Slot[] = [];
  readonly driver: Driver;
  readonly table = new Map<number, WorldSte>();
  /** ASID of each CD in memory. */
  readonly asids = new Map<string, number>();
  isEnabled = false;
  aborts = false;
  /** How often the interesting things came. */
  readonly counts = { accesses: 0, errors: 0, refusals: 0, invalidated: 0 };
  private readonly hardware: Hardware[];
  private pending: { words: Words; apply: (() => void)[] }[] = [];

  private constructor(rig: Rig) {
    this.rig = rig;
    this.hardware = rig.physicals.map((_, smmu) => new Hardware(rig.kernel, smmu));
    this.driver = new Driver(rig, (words) => {
      this.consumed(words);
    });
  }

  static async make(options: WorldOptions): Promise<World> {
    const { smmus, block, counts, retries, issueTwice } = options;
    const rig = await Rig.make({
      cache: { entries: 64 },
      kernel: { smmus: Array.from({ length: smmus }, () => ({})), block, counts },
      physical: { retries, issueTwice },
    });
    const world = new World(rig);
    rig.machine.start(QUEUES);
    for (const sid of SIDS) world.ste(sid, 's1');
    for (let i = 0; i < 3; i++) await world.open(i % smmus);
    return world;
  }

  async open(smmu: number): Promise<void> {
    const plugged = await this.rig.plug(smmu);
    const physicalId = this.rig.physicalId(plugged);
    const slot = { plugged, physicalId, device: undefined, sid: -1, expected: 'blocked', seen: 1 };
    this.slots.push(slot);
  }

  ste(sid: number, name: WorldSte): void {
    this.table.set(sid, name);
    this.rig.ste(sid, WORLD_STES[name]);
  }

  issue(...entries: readonly Entry[]): void {
    this.counts.errors += this.driver.issue(...entries);
    if (this.driver.givenUp.length > 0) {
      // What it gave up may have been done for some devices: the driver tries again.
      this.driver.givenUp = [];
      this.calm();
      this.driver.issue(CFGI_ALL);
    }
  }

  /** Nothing is refused any more. */
  calm(): void {
    this.rig.refuse = () => undefined;
    this.rig.kernel.failInvalidation(undefined);
  }

  /** What registers and the STE say now. */
  reference(sid: number): string {
    if (sid < 0) return 'abort';
    if (!this.isEnabled) return this.aborts ? 'abort' : 'bypass';
    return DISPOSITIONS[this.table.get(sid)!];
  }

  /** Registers have changed: all devices follow, or abort when the host refuses. */
  followAll(): void {
    for (const slot of this.slots) {
      if (slot.sid < 0) continue;
      slot.expected = this.reference(slot.sid);
      const isRefused = this.rig.reports.some(({ device }) => device === slot.device);
      if (isRefused || this.rig.reports.length > 0) this.acceptAbort(slot);
    }
  }

  /** A host that has refused may have left a device to abort; the guest's next CFGI_STE mends it. */
  acceptAbort(slot: Slot): void {
    if (this.rig.kind(slot.plugged) === 'abort') slot.expected = 'abort';
  }

  /** Compares, and lets every device that is translated for make accesses. */
  check(pages: readonly number[]): void {
    this.catchUp();
    for (const slot of this.slots) {
      const kind = this.rig.kind(slot.plugged);
      same('attachment', kind, slot.expected);
      const { device } = slot;
      if (device !== undefined) {
        same('StreamID', device.streamId, slot.sid);
        same('disposition', device.disposition, kind === 's1' ? 'nested' : kind);
      }
      for (const page of pages) this.access(slot, page);
    }
    this.emulated();
    this.counts.refusals += this.rig.reports.length;
    this.rig.reports.length = 0;
  }

  /** What the history of a device shows of the last step: nothing that nobody asked for. */
  private catchUp(): void {
    for (const slot of this.slots) {
      const history = this.rig.kernel.history(slot.plugged.fd);
      const steps = history.slice(slot.seen);
      slot.seen = history.length;
      if (steps.length > 0) this.hardware[slot.plugged.smmu]!.attached(slot.physicalId);
      for (const { kind } of steps) {
        if (kind === 'bypass') same('bypass is allowed', this.allowsBypass(slot), true);
      }
    }
    for (const hardware of this.hardware) hardware.catchUp();
  }

  private allowsBypass({ sid, expected }: Slot): boolean {
    return expected === 'bypass' || this.reference(sid) === 'bypass';
  }

  private access({ plugged, physicalId, sid }: Slot, page: number): void {
    const attachment = this.rig.kernel.attachment(plugged.fd);
    if (attachment.kind !== 's1') return;
    const count = attachment.ste[1] >>> 27 === 0 ? 1 : SUBSTREAMS;
    const substreamId = page % count;
    const asid = this.asids.get(`${sid}:${substreamId}`) ?? 1;
    const hardware = this.hardware[plugged.smmu]!;
    const wrong = hardware.access(physicalId, substreamId, page, asid, attachment.ats);
    same('used', wrong, '');
    this.counts.accesses++;
  }

  /** The emulated device beside them: its tables map the first GiB at 2 GiB. */
  private emulated(): void {
    const { outcome, outputAddress } = this.rig.machine.translate(0x1234n, 0, STREAM);
    same('emulated access', outcome === 0, this.isEnabled || !this.aborts);
    if (outcome === 0) same('output', outputAddress, this.isEnabled ? 0x8000_1234 : 0x1234);
  }

  private consumed(words: Words): void {
    const opcode = words[0]! & 0xff;
    if (opcode !== 0x46) {
      this.pending.push({ words, apply: this.effectsOf(words, opcode) });
      return;
    }
    this.catchUp();
    for (const { apply } of this.pending) for (const effect of apply) effect();
    this.counts.invalidated += this.pending.length;
    this.pending = [];
  }

  /** What a command promises, once a CMD_SYNC behind it is done. */
  private effectsOf(words: Words, opcode: number): (() => void)[] {
    if ((opcode & 0xf0) === 0x10 || opcode === 0x30) {
      return this.hardware.map((hardware) => () => {
        hardware.tlbiDone(words);
      });
    }
    const isRange = opcode === 0x04;
    const count = isRange ? 2 ** ((words[2]! & 31) + 1) : 1;
    const first = isRange ? words[1]! - (words[1]! % count) : words[1]!;
    const named = this.slots.filter(({ sid }) => sid >= first && sid < first + count);
    return named.map((slot) => {
      const { plugged, physicalId } = slot;
      const hardware = this.hardware[plugged.smmu]!;
      if (opcode === 0x40) {
        return () => {
          hardware.atcDone(physicalId);
        };
      }
      const isCfgiSte = opcode === 0x03 || opcode === 0x04;
      // While SMMUEN is 0 too: a device may abort since the host refused it what registers said.
      if (isCfgiSte) slot.expected = this.reference(slot.sid);
      const cds = isCfgiSte ? [0x06, 0, 0, 0] : words;
      return () => {
        hardware.cdsDone(cds, physicalId);
      };
    });
  }

  /** The vSMMU is reset, and its guest boots again. */
  restart(): void {
    const { machine } = this.rig;
    machine.smmu.reset();
    this.isEnabled = false;
    this.aborts = false;
    this.followAll();
    this.check([]);
    machine.prod = 0;
    this.driver.restart();
    machine.start(QUEUES);
  }

  /** Everything goes: nothing may be left in the kernel. */
  async end(): Promise<void> {
    const { rig } = this;
    this.calm();
    for (const { device, sid } of this.slots) {
      if (device !== undefined && sid >= 0) await device.detach();
    }
    for (const { plugged } of this.slots) await rig.backends[plugged.smmu]!.detach(plugged.id);
    for (const [smmu, physical] of rig.physicals.entries()) {
      expect(physical.stats().translating).toBe(0);
      await rig.passthrough.removePhysical(physical);
      await rig.backends[smmu]!.close();
    }
    for (const { plugged } of this.slots) rig.kernel.closeDevice(plugged.fd);
    const left = rig.kernel.objects().map(({ kind }) => kind);
    expect(left.filter((kind) => kind !== 'device')).toEqual(['ioas']);
  }

  /** Writes SMMUEN or GBPA, until CR0ACK has followed; `isNews`: devices are to follow. */
  registers(isNews: boolean, write: () => void): void {
    write();
    if (isNews) this.followAll();
    const now = this.isEnabled ? QUEUES | SMMUEN : QUEUES;
    if (this.rig.machine.read(R.CR0ACK) !== now) {
      this.calm();
      write();
      same('CR0ACK', this.rig.machine.read(R.CR0ACK), now);
      this.followAll();
    }
  }
}

/** As `expect(...).toBe(...)`, which takes a hundred times as long. */
function same(what: string, found: unknown, expected: unknown): void {
  if (found === expected) return;
  throw new Error(`${what}: ${String(found)}, which should be ${String(expected)}`);
}
