import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SmmuState } from '../../src/state.js';
import { CMDQ, EVENTQ, R, RAM, SmmuMachine } from './smmu-machine.js';
import { perform, step, type Journal, type Step } from './random-script.js';

/** Without a TLB: it is not saved, and a walk may find what an entry does not say yet. */
const OPTIONS = {
  commandBudget: 2,
  features: { STALL_MAX: 3 },
  eventqLog2: 2,
  cache: { entries: 0 },
} as const;

/** All that a guest can read: registers, queue and message memory. */
function visible(machine: SmmuMachine): unknown {
  const registers = Object.values(R).map((offset) => machine.read(offset));
  const high = [R.STRTAB_BASE, R.CMDQ_BASE, R.EVENTQ_BASE].map((offset) =>
    machine.read(offset + 4),
  );
  const events = Array.from({ length: 16 }, (_, i) => machine.peek(EVENTQ + 8 * i));
  const commands = Array.from({ length: 32 }, (_, i) => machine.peek(CMDQ + 8 * i));
  const messages = Array.from({ length: 64 }, (_, i) => machine.peek(RAM + 8 * i));
  return { registers, high, events, commands, messages };
}

/** A fresh machine over a copy of the memory of `machine`. */
function copyOf(machine: SmmuMachine): SmmuMachine {
  const copy = new SmmuMachine(OPTIONS);
  const words = new Uint32Array(1024);
  for (const address of machine.ram.pageAddresses()) {
    machine.ram.load(address, words, 0, 1024);
    copy.ram.addPage(address, new Uint8Array(words.slice().buffer));
  }
  copy.prod = machine.prod;
  return copy;
}

function through(state: SmmuState): SmmuState {
  return JSON.parse(JSON.stringify(state)) as SmmuState;
}

describe('save and restore', () => {
  test('whatever a guest did before, the restored vSMMU behaves as the saved one', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.array(step, { minLength: 1, maxLength: 40 }),
        (before: Step[], after: Step[]) => {
          const machine = new SmmuMachine(OPTIONS).start();
          const journal: Journal = [];
          for (const one of before) perform(machine, one, journal);
          const copy = copyOf(machine);
          const other: Journal = [];
          const state = through(machine.smmu.save());
          copy.smmu.restore(state);
          for (const { stag } of copy.smmu.stalledAccesses) {
            copy.smmu.adopt(stag, (answer) => {
              const where =
                answer.outcome === 0
                  ? `0x${answer.outputAddress.toString(16)}`
                  : `event ${answer.event}`;
              other.push(`late ${answer.streamId} ${answer.outcome} ${where}`);
            });
          }
          expect(copy.smmu.save()).toEqual(state);
          expect(visible(copy)).toEqual(visible(machine));
          journal.length = 0;
          machine.wires.length = 0;
          machine.messages.length = 0;
          machine.sevs = 0;
          for (const one of after) {
            perform(machine, one, journal);
            perform(copy, one, other);
          }
          expect(other).toEqual(journal);
          expect(visible(copy)).toEqual(visible(machine));
          expect(copy.wires).toEqual(machine.wires);
          expect(copy.messages).toEqual(machine.messages);
          expect(copy.sevs).toBe(machine.sevs);
          expect(copy.smmu.save()).toEqual(machine.smmu.save());
        },
      ),
      { numRuns: 400 },
    );
  });

  test('configuration that is cached stays so: memory that changed is not read', () => {
    const machine = new SmmuMachine(OPTIONS).start();
    machine.translate();
    const copy = copyOf(machine);
    copy.smmu.restore(through(machine.smmu.save()));
    copy.put(0x43c0_0400, 0n).put(0x43e0_0000, 0n);
    expect(copy.translate()).toMatchObject({ outcome: 0, outputAddress: 0x8000_1234 });
    expect(copy.smmu.stats()).toMatchObject({ steFetches: 0, cdFetches: 0 });
  });

  test('commands that were left behind are announced', () => {
    const machine = new SmmuMachine({ commandBudget: 1 }).start();
    machine.command([0x30n, 0n], [0x30n, 0n], [0x30n, 0n]);
    let calls = 0;
    const copy = new SmmuMachine({ commandsPending: () => (calls += 1) });
    copy.put(CMDQ, 0x30n, 0n, 0x30n, 0n, 0x30n, 0n);
    copy.smmu.restore(through(machine.smmu.save()));
    expect([calls, copy.read(R.CMDQ_CONS)]).toEqual([1, 1]);
    copy.smmu.drain(9);
    expect(copy.read(R.CMDQ_CONS)).toBe(3);
  });

  test('features that the guest has relied on stay as they are, though nothing is enabled now', () => {
    const machine = new SmmuMachine(OPTIONS);
    machine.write(R.CR0, 0x1);
    machine.write(R.CR0, 0x0);
    const fresh = new SmmuMachine(OPTIONS);
    fresh.smmu.restore(through(machine.smmu.save()));
    expect(() => {
      fresh.smmu.narrow(fresh.smmu.features);
    }).toThrow(/narrow its features before/);
  });

  test('a vSMMU in use is not restored into', () => {
    const machine = new SmmuMachine(OPTIONS).start();
    const state = machine.smmu.save();
    expect(() => {
      machine.smmu.restore(state);
    }).toThrow(/this vSMMU is in use/);
  });
});

/** A state with all that a state can have. */
function rich(): SmmuState {
  const machine = new SmmuMachine(OPTIONS).cd([0, 44, 44, 1]).start();
  machine.translate();
  machine.translate(0x4000_0000n, 0, 0x10, -1, () => undefined);
  machine.translate(0x5000_0000n, 1, 0x10, -1, () => undefined);
  return through(machine.smmu.save());
}

type Path = readonly (string | number)[];

/** The state with the value at `path` replaced, or left out for undefined. */
function damaged(path: Path, value: unknown): SmmuState {
  const state = rich();
  let at = state as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  at[path.at(-1)!] = value;
  return through(state);
}

const ZEROS = Array.from({ length: 16 }, () => '0x0');

describe('states that are refused: damaged, foreign, of another version', () => {
  test.each<[Path, unknown, RegExp]>([
    [['format'], 'qemu-state', /format must be vsmmu-state/],
    [['version'], 2, /version must be 1/],
    [['features'], undefined, /features must be an object/],
    [['features', 'SIDSIZE'], 31, /features\.SIDSIZE must be 32/],
    [['features', 'OAS'], undefined, /features\.OAS must be 52/],
    [['registers'], [], /registers must be an object/],
    [['registers', 'CR0'], 13, /registers\.CR0 must be a hexadecimal string/],
    [['registers', 'CR0'], '0x5', /registers\.CR0ACK must be equal to CR0/],
    [['registers', 'CR1'], '0x100000000', /registers\.CR1 must be of 32 bits/],
    [['registers', 'CR1'], 'zz', /registers\.CR1/],
    [['registers', 'IDR0'], '0x0', /registers\.IDR0 must be what the features say/],
    [['registers', 'CIDR0'], undefined, /registers\.CIDR0/],
    [['registers', 'CR9'], '0x1', /registers\.CR9 must be the name of a register/],
    // Bits that the guest could not have written.
    [['registers', 'CR1'], '0xffffffff', /registers\.CR1/],
    [['registers', 'GERROR'], '0x2', /registers\.GERROR/],
    [['registers', 'GATOS_CTRL'], '0x1', /registers\.GATOS_CTRL/],
    [['registers', 'IRQ_CTRLACK'], '0x1', /registers\.IRQ_CTRLACK must be equal to IRQ_CTRL/],
    [['configurations'], {}, /configurations must be a list/],
    [['configurations', 0], null, /configurations\[0\]/],
    [['configurations', 0, 'cds'], undefined, /configurations\[0\]/],
    [['configurations', 0, 'streamId'], -1, /configurations\[0\]\.streamId/],
    [['configurations', 0, 'streamId'], 2 ** 32, /configurations\[0\]\.streamId/],
    [['configurations', 0, 'ste'], ['0x0'], /configurations\[0\]\.ste must be a list of 16 words/],
    [['configurations', 0, 'ste'], ZEROS, /configurations\[0\]\.ste must be a legal STE/],
    [['configurations', 0, 'ste', 3], '0x100000000', /words of 32 bits/],
    [['configurations', 0, 'cds', 0], null, /configurations\[0\]\.cds\[0\]/],
    [['configurations', 0, 'cds', 0, 'cd'], ZEROS, /cds\[0\]\.cd must be a legal CD/],
    [['configurations', 0, 'cds', 0, 'index'], 2 ** 20, /cds\[0\]\.index/],
    [['stalled'], 'none', /stalled must be a list/],
    [['stalled'], [1, 2, 3, 4], /stalled must be of 3 accesses at most/],
    [['stalled', 0], 5, /stalled\[0\] must be an object/],
    [['stalled', 0, 'iova'], 5, /stalled\[0\]\.iova/],
    [['stalled', 0, 'stag'], 0x1_0000, /stalled\[0\]\.stag/],
    [['stalled', 1, 'stag'], 1, /stalled\[1\]\.stag must be there only once/],
    [['stalled', 0, 'substreamId'], -2, /stalled\[0\]\.substreamId/],
    [['stalled', 0, 'access'], 8, /stalled\[0\]\.access/],
    [['stalled', 0, 'record'], [], /stalled\[0\]\.record/],
    [['stalled', 0, 'recorded'], 1, /stalled\[0\]\.recorded must be true or false/],
    [['lastStag'], 1.5, /lastStag/],
    [['lastEvent'], null, /lastEvent must be an object/],
    [['lastEvent', 'index'], -2, /lastEvent\.index/],
    [['lastEvent', 'record'], '0x0', /lastEvent\.record/],
    [['invalidated'], 0, /invalidated must be true or false/],
  ])('%j = %j', (path, value, message) => {
    const machine = new SmmuMachine(OPTIONS);
    const before = machine.smmu.save();
    const restore = () => {
      machine.smmu.restore(damaged(path, value));
    };
    expect(restore).toThrow(RangeError);
    expect(restore).toThrow(message);
    expect(machine.smmu.save()).toEqual(before);
  });

  test('a stream or a CD that is there twice', () => {
    const state = rich();
    const twice = { ...state, configurations: [...state.configurations, ...state.configurations] };
    const { smmu } = new SmmuMachine(OPTIONS);
    expect(() => {
      smmu.restore(twice);
    }).toThrow(/configurations\[1\]\.streamId must be there only once/);
    const [stream] = state.configurations;
    const cds = [...stream!.cds, ...stream!.cds];
    expect(() => {
      smmu.restore({ ...state, configurations: [{ ...stream!, cds }] });
    }).toThrow(/cds\[1\]\.index must be there only once/);
    smmu.restore(state);
    expect(smmu.save()).toEqual(state);
  });

  test.each([null, undefined, 5, 'text', []])('%j is no state', (value) => {
    const { smmu } = new SmmuMachine(OPTIONS);
    expect(() => {
      smmu.restore(value as unknown as SmmuState);
    }).toThrow(/format must be vsmmu-state/);
  });

  test('any value anywhere is either refused or a state that works', () => {
    const paths: Path[] = [];
    const collect = (value: unknown, path: Path) => {
      if (path.length > 0) paths.push(path);
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) collect(inner, [...path, key]);
    };
    collect(rich(), []);
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        const machine = new SmmuMachine(OPTIONS);
        const state = damaged(path, value);
        try {
          machine.smmu.restore(state);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          return;
        }
        machine.write(R.EVENTQ_CONS, 0).write(R.CR0, 0xd);
        expect([0, 1, 2, 3]).toContain(machine.translate().outcome);
        expect(through(machine.smmu.save())).toEqual(machine.smmu.save());
      }),
      { numRuns: 1000 },
    );
  });
});
