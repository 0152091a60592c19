import { describe, expect, test } from 'vitest';
import { STREAM } from '../transaction/machine.js';
import { CMDQEN, R, SmmuMachine, type Entry } from './smmu-machine.js';
import type { Translation } from '../../src/transaction/translation.js';

const FAULT = 0x4000_0000n;
const ABORTED = 1;
const STALLED = 3;
type Answers = [name: string, outcome: number][];

/** CD.S, bit 44: faults stall. */
function stalling(eventqLog2 = 3): SmmuMachine {
  return new SmmuMachine({ eventqLog2 }).cd([0, 44, 44, 1]).start();
}

function access(m: SmmuMachine, answers: Answers, name = 'a'): Translation {
  return m.translate(FAULT, 0, STREAM, -1, (answer) => void answers.push([name, answer.outcome]));
}

/** CMD_RESUME: Ac [12] retry, Ab [13] abort. */
function resume(stag: number, ac: 0 | 1, ab: 0 | 1): Entry {
  return [0x44n | (BigInt(ac) << 12n) | (BigInt(ab) << 13n) | (0x10n << 32n), BigInt(stag)];
}

describe('callbacks that call back, as a guest does that handles interrupts at once', () => {
  test('a guest that reads the record in its interrupt: each stall is recorded once', () => {
    const machine = stalling(0);
    machine.onWire = () => machine.write(R.EVENTQ_CONS, machine.read(R.EVENTQ_PROD));
    const answers: Answers = [];
    access(machine, answers, 'a');
    access(machine, answers, 'b');
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ written: 2 });
    expect(machine.wires).toEqual(['eventq', 'eventq']);
  });

  test('a guest that resumes in its interrupt: the answer comes, and translate() says stalled', () => {
    const machine = stalling();
    const answers: Answers = [];
    machine.onWire = (line) => {
      if (line === 'eventq') machine.command(resume(1, 0, 1));
    };
    expect(access(machine, answers).outcome).toBe(STALLED);
    expect(answers).toEqual([['a', ABORTED]]);
  });

  test('a guest that always retries at once is bounded by the budget', () => {
    const machine = new SmmuMachine({ commandBudget: 50 }).cd([0, 44, 44, 1]).start();
    let stag = 0;
    machine.onWire = (line) => {
      if (line !== 'eventq') return;
      machine.write(R.EVENTQ_CONS, machine.read(R.EVENTQ_PROD)).command(resume(++stag, 1, 0));
    };
    access(machine, []);
    expect(stag).toBeLessThanOrEqual(60);
    expect(machine.smmu.stalledAccesses).toHaveLength(1);
  });

  test('a listener that translates again, and one that ends all the others', () => {
    const machine = stalling(0);
    machine.translate(FAULT); // The queue is full: stalls are held.
    const answers: Answers = [];
    machine.translate(FAULT, 0, STREAM, -1, (answer) => {
      answers.push(['a', answer.outcome]);
      machine.write(R.CR0, CMDQEN);
      answers.push(['again', machine.translate().outcome]);
    });
    access(machine, answers, 'b');
    access(machine, answers, 'c');
    machine.put(0x43e3_0008, 0xc000_0f45n).command([0x30n, 0n], [0x46n, 0n]);
    // Retried by CMD_SYNC; then SMMUEN=0 aborts those that were not retried yet, once.
    expect(answers).toEqual([
      ['a', 0],
      ['b', ABORTED],
      ['c', ABORTED],
      ['again', 0],
    ]);
  });
});
