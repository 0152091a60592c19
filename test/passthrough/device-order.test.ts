import { beforeEach, describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  CFGI_ALL,
  cfgiRange,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  GBPA_BYPASS,
  Rig,
  type PassthroughDevice,
  type Plugged,
  type SteName,
} from './device-rig.js';

const SID = 0x10;
const QUEUES = EVENTQEN | CMDQEN;

let rig: Rig;
let device: PassthroughDevice;
let plugged: Plugged;

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  rig.ste(SID, 's1');
  ({ device, plugged } = await rig.device(SID));
});

describe('what a change asks the kernel for', () => {
  test('the first of each disposition makes its HWPT; a shared one is made once', async () => {
    rig.machine.write(R.GBPA, GBPA_ABORT);
    expect(rig.calls).toEqual(['HWPT_ALLOC', 'ATTACH']);
    rig.quiet().machine.write(R.GBPA, GBPA_BYPASS);
    rig.machine.write(R.GBPA, GBPA_ABORT);
    expect(rig.calls).toEqual(['ATTACH', 'ATTACH']);
    await rig.device(SID + 1);
    expect(rig.count('hwpt-nested')).toBe(2);
  });

  test('a nested HWPT is made, takes its place, and the one before is destroyed', () => {
    rig.machine.write(R.CR0, QUEUES | SMMUEN);
    expect(rig.calls).toEqual(['HWPT_ALLOC', 'ATTACH']);
    rig.quiet().configure(SID, 'other');
    expect(rig.calls).toEqual(['HWPT_ALLOC', 'ATTACH', 'DESTROY']);
    expect(rig.kernel.attachment(plugged.fd)).toMatchObject({ ste: [0x43e1_000b, 0, 0xd4, 0] });
    rig.quiet().configure(SID, 'bypass');
    expect(rig.calls).toEqual(['ATTACH', 'DESTROY']);
  });

  test.each<[string, SteName, string[]]>([
    ['abort', 'abort', []],
    ['bypass', 'bypass', []],
    ['nested', 's1', ['CFGI_CD_ALL']],
  ])('nothing when %s stays as it was, but CDs of a nested one go', (_, name, hardware) => {
    rig.machine.write(R.CR0, QUEUES | SMMUEN);
    rig.configure(SID, name).quiet();
    for (const command of [cfgiSte(SID), cfgiRange(SID, 3), CFGI_ALL]) {
      rig.quiet().machine.command(command, CMD_SYNC);
      expect(rig.hardware()).toEqual(hardware);
      expect(rig.calls).toEqual(hardware.map(() => 'HWPT_INVALIDATE'));
    }
  });

  test.each<[string, readonly [bigint, bigint], number]>([
    ['another stream', cfgiSte(SID + 1), 0],
    ['a range that ends before it', cfgiRange(0, 3), 0],
    ['a range that begins behind it', cfgiRange(0x20, 4), 0],
    ['a range whose StreamID is not its first', cfgiRange(0x1f, 3), 1],
    ['a range that has it as its first', cfgiRange(SID, 0), 1],
    ['the range of all', CFGI_ALL, 1],
  ])('CFGI of %s', (_, command, expected) => {
    rig.machine.write(R.CR0, QUEUES | SMMUEN);
    rig.quiet().ste(SID, 'bypass').machine.command(command, CMD_SYNC);
    expect(rig.calls).toHaveLength(2 * expected);
    expect(device.disposition).toBe(expected === 1 ? 'bypass' : 'nested');
  });

  test('registers that say what they said before ask for nothing', () => {
    for (const cr0 of [QUEUES, QUEUES | SMMUEN]) {
      rig.machine.write(R.CR0, cr0);
      rig.quiet().machine.write(R.CR0, cr0);
      rig.machine.write(R.CR0, cr0 & ~EVENTQEN).write(R.CR0, cr0);
      expect(rig.calls).toEqual([]);
    }
    // GBPA counts for nothing while SMMUEN is 1.
    rig.machine.write(R.GBPA, GBPA_ABORT);
    expect([rig.calls, device.disposition]).toEqual([[], 'nested']);
  });
});

/** What guests do; each with what follows from it in the {@link Reference}. */
const ACTIONS = {
  on: (r: Reference) => {
    r.enable(true);
  },
  off: (r: Reference) => {
    r.enable(false);
  },
  gbpaAbort: (r: Reference) => {
    r.gbpa(true);
  },
  gbpaBypass: (r: Reference) => {
    r.gbpa(false);
  },
  toS1: (r: Reference) => {
    r.ste('s1');
  },
  toBypass: (r: Reference) => {
    r.ste('bypass');
  },
  toIllegal: (r: Reference) => {
    r.ste('illegal');
  },
  cfgi: (r: Reference) => {
    r.command(cfgiSte(SID));
  },
  all: (r: Reference) => {
    r.command(CFGI_ALL);
  },
} as const;
type Action = keyof typeof ACTIONS;

/** The rules of the manual, in the order in which a guest meets them. */
class Reference {
  enabled = false;
  aborts = false;
  table: SteName = 's1';
  disposition = 'bypass';

  enable(on: boolean): void {
    rig.machine.write(R.CR0, on ? QUEUES | SMMUEN : QUEUES);
    if (on !== this.enabled) {
      this.enabled = on;
      this.look();
    }
  }

  gbpa(aborts: boolean): void {
    rig.machine.write(R.GBPA, aborts ? GBPA_ABORT : GBPA_BYPASS);
    this.aborts = aborts;
    if (!this.enabled) this.look();
  }

  ste(name: SteName): void {
    rig.ste(SID, name);
    this.table = name;
  }

  command(command: readonly [bigint, bigint]): void {
    rig.machine.command(command, CMD_SYNC);
    if (this.enabled) this.look();
  }

  private look(): void {
    const global = this.aborts ? 'abort' : 'bypass';
    const stream = this.table === 's1' ? 'nested' : this.table === 'bypass' ? 'bypass' : 'abort';
    this.disposition = this.enabled ? stream : global;
  }
}

describe('all sequences of four steps', () => {
  const names = Object.keys(ACTIONS) as Action[];

  test.each(names)('that begin with %s', (first) => {
    const shared = rig.kernel.objects().length;
    let sequences = 0;
    for (const second of names) {
      for (const third of names) {
        for (const fourth of names) {
          // Back to where every sequence begins, by way of what is no bypass.
          rig.machine.write(R.CR0, QUEUES).write(R.GBPA, GBPA_BYPASS);
          rig.ste(SID, 's1');
          const reference = new Reference();
          for (const name of [first, second, third, fourth]) {
            const before = rig.kernel.history(plugged.fd).length;
            ACTIONS[name](reference);
            const steps = rig.kernel.history(plugged.fd).slice(before);
            expect(device.disposition).toBe(reference.disposition);
            // At one stroke: nothing but what it is to be.
            const kind = reference.disposition === 'nested' ? 's1' : reference.disposition;
            expect(steps.every((step) => step.kind === kind)).toBe(true);
            expect(steps.length).toBeLessThanOrEqual(1);
            expect(rig.kind(plugged)).toBe(kind);
          }
          sequences++;
        }
      }
    }
    expect(sequences).toBe(729);
    rig.machine.write(R.CR0, QUEUES).write(R.GBPA, GBPA_ABORT);
    // The two shared ones, of which there was one at first.
    expect(rig.kernel.objects().length).toBe(shared + 1);
  });
});
