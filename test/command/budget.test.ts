import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TranslationKeeper } from '../../src/tlb/translation-keeper.js';
import { CMDQEN, R, SmmuMachine, type Entry } from '../smmu/smmu-machine.js';

/** CFGI_STE of stream `streamId`. */
function cfgiSte(streamId: number): Entry {
  return [0x03n | (BigInt(streamId) << 32n), 1n];
}

const keeperOf = (streams: number[]): TranslationKeeper => ({
  invalidateAll: () => undefined,
  invalidateAsid: () => undefined,
  invalidateRange: () => undefined,
  invalidateContext: () => undefined,
  invalidateStreams: (first) => {
    streams.push(first);
  },
});

describe('commands in slices', () => {
  test('a register write executes up to the budget and tells that more is left', () => {
    let calls = 0;
    const options = { commandBudget: 3, commandsPending: () => (calls += 1) };
    const machine = new SmmuMachine(options).start(CMDQEN);
    machine.command(...[1, 2, 3, 4, 5, 6, 7].map(cfgiSte));
    expect([machine.read(R.CMDQ_CONS), calls]).toEqual([3, 1]);
    expect(machine.smmu.drain(3)).toBe(true);
    expect(machine.read(R.CMDQ_CONS)).toBe(6);
    expect(machine.smmu.drain(3)).toBe(false);
    expect([machine.read(R.CMDQ_CONS), calls]).toEqual([7, 1]);
    expect(machine.smmu.drain(0)).toBe(false);
  });

  test('a budget of 0 leaves all commands to drain()', () => {
    const machine = new SmmuMachine({ commandBudget: 0 }).start(CMDQEN);
    machine.command(cfgiSte(1), cfgiSte(2));
    expect(machine.read(R.CMDQ_CONS)).toBe(0);
    expect(machine.smmu.drain(0)).toBe(true);
    expect(machine.smmu.drain(5)).toBe(false);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
  });

  test('a queue that stopped has nothing left that could be executed', () => {
    const machine = new SmmuMachine({ commandBudget: 0 }).start(CMDQEN);
    machine.command([0n, 0n], cfgiSte(2));
    expect(machine.smmu.drain(5)).toBe(false);
    expect(machine.cerror).toBe(1);
  });

  test.each([-1, 1.5, NaN, Infinity])('a budget of %d is refused', (budget) => {
    expect(() => new SmmuMachine({ commandBudget: budget })).toThrow(/options\.commandBudget/);
    expect(() => new SmmuMachine().smmu.drain(budget)).toThrow(/budget is/);
  });

  test('however commands come and are drained, each is executed once, in order', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), count: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ kind: fc.constant('drain' as const), count: fc.integer({ min: 0, max: 9 }) }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 3, max: 5 }),
        fc.array(step, { maxLength: 40 }),
        (commandBudget, cmdqLog2, steps) => {
          const seen: number[] = [];
          const machine = new SmmuMachine({ commandBudget, cmdqLog2 }).start(CMDQEN);
          machine.smmu.addKeeper(keeperOf(seen));
          const mask = 2 ** (cmdqLog2 + 1) - 1;
          let added = 0;
          for (const { kind, count } of steps) {
            if (kind === 'drain') {
              const before = seen.length;
              const more = machine.smmu.drain(count);
              expect(seen.length).toBe(Math.min(added, before + count));
              expect(more).toBe(seen.length < added);
              continue;
            }
            const used = (machine.prod - machine.read(R.CMDQ_CONS)) & mask;
            const room = Math.min(count, 2 ** cmdqLog2 - used);
            for (let i = 0; i < room; i++) machine.enqueue(cfgiSte(added++));
            machine.write(R.CMDQ_PROD, machine.prod);
          }
          while (machine.smmu.drain(7));
          expect(seen).toEqual(Array.from({ length: added }, (_, i) => i));
          expect(machine.read(R.CMDQ_CONS)).toBe(added & mask);
        },
      ),
      { numRuns: 300 },
    );
  });
});
