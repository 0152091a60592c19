import { describe, expect, test } from 'vitest';
import type { FeatureOptions } from '../../src/registers/feature-set.js';
import { Translation } from '../../src/transaction/translation.js';
import { STREAM } from '../transaction/machine.js';
import { CMDQEN, EVENTQEN, R, SMMUEN, SmmuMachine, type Entry } from './smmu-machine.js';

const FAULT = 0x4000_0000n;
/** What answered the stalled accesses, by the name that the test gave them. */
type Answers = [name: string, outcome: number][];

const ABORTED = 1;
const ZEROED = 2;
const STALLED = 3;

/** CD.S, bit 44: faults stall. */
function stalling(features: FeatureOptions = {}, eventqLog2 = 3): SmmuMachine {
  return new SmmuMachine({ features, eventqLog2 }).cd([0, 44, 44, 1]).start();
}

function access(m: SmmuMachine, answers: Answers, name = 'a', iova = FAULT): Translation {
  return m.translate(iova, 0, STREAM, -1, (answer) => void answers.push([name, answer.outcome]));
}

/** CMD_RESUME: Ac [12] retry, Ab [13] abort. */
function resume(stag: number, ac: 0 | 1, ab: 0 | 1, streamId = STREAM): Entry {
  const low = 0x44n | (BigInt(ac) << 12n) | (BigInt(ab) << 13n) | (BigInt(streamId) << 32n);
  return [low, BigInt(stag)];
}

const stallTerm = (streamId: number): Entry => [0x45n | (BigInt(streamId) << 32n), 0n];

describe('a fault with CD.S=1 (3.12.2)', () => {
  test('stalls, with a record of Stall=1 and a STAG', () => {
    const machine = stalling();
    const answers: Answers = [];
    expect(access(machine, answers)).toMatchObject({ outcome: STALLED, event: 0x10, stag: 1 });
    // Stall [31], STAG [15:0], RnW [35], CLASS=IN [41:40].
    expect(machine.record(0)).toEqual([0x10_0000_0010n, 0x208_8000_0001n, FAULT, 0n]);
    access(machine, answers, 'b');
    expect(machine.record(1)[1]).toBe(0x208_8000_0002n);
    expect(machine.smmu.stalledAccesses.map(({ stag }) => stag)).toEqual([1, 2]);
    expect(machine.smmu.stats()).toMatchObject({ stalled: 2 });
    expect(answers).toEqual([]);
  });

  test('is recorded even with CD.R=0', () => {
    const machine = new SmmuMachine().cd([0, 44, 44, 1], [0, 45, 45, 0]).start();
    access(machine, []);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
  });

  test('records of stalls are never merged', () => {
    const machine = stalling().ste([1, 19, 19, 1]); // MEV
    access(machine, []);
    access(machine, []);
    expect(machine.read(R.EVENTQ_PROD)).toBe(2);
  });

  test('a device that cannot wait is aborted, and the record says Stall=0', () => {
    const machine = stalling();
    expect(machine.translate(FAULT)).toMatchObject({ outcome: ABORTED, stall: false });
    expect(machine.record(0)).toEqual([0x10_0000_0010n, 0x208_0000_0000n, FAULT, 0n]);
  });

  test('at most STALL_MAX accesses stall; the next one aborts', () => {
    const machine = stalling({ STALL_MAX: 2 });
    const answers: Answers = [];
    access(machine, answers);
    access(machine, answers);
    expect(access(machine, answers, 'c')).toMatchObject({ outcome: ABORTED });
    expect(machine.record(2)[1]).toBe(0x208_0000_0000n);
    machine.command(resume(1, 0, 1));
    expect(access(machine, answers, 'd').outcome).toBe(STALLED);
    expect(answers).toEqual([['a', ABORTED]]);
  });

  test('STAGs are not given twice while they wait', () => {
    const machine = stalling({ STALL_MAX: 2 });
    access(machine, []);
    for (let i = 0; i < 0x1_0000; i++) {
      const { stag } = access(machine, []);
      expect(stag).not.toBe(1);
      machine.write(R.EVENTQ_CONS, machine.read(R.EVENTQ_PROD)).command(resume(stag, 0, 1));
    }
    expect(machine.smmu.stalledAccesses.map(({ stag }) => stag)).toEqual([1]);
  });

  test('transact() waits for the answer, and never fails for what a guest does', async () => {
    const machine = stalling();
    await expect(machine.smmu.transact(STREAM, -1, 0x1234n, 0)).resolves.toMatchObject({
      outcome: 0,
      outputAddress: 0x8000_1234,
    });
    const waiting = machine.smmu.transact(STREAM, -1, FAULT, 0);
    machine.command(resume(1, 0, 1));
    await expect(waiting).resolves.toMatchObject({ outcome: ABORTED });
  });

  test.each([
    [-1, -1, 0n, /streamId is -0x1/],
    [2 ** 32, -1, 0n, /streamId/],
    [0, 2 ** 20, 0n, /substreamId/],
    [0, -2, 0n, /substreamId/],
    [0, -1, -1n, /iova/],
  ])('transact(%d, %d, %d) is refused', (streamId, substreamId, iova, message) => {
    const { smmu } = new SmmuMachine();
    expect(() => smmu.transact(streamId, substreamId, iova, 0)).toThrow(message);
  });
});

describe('CMD_RESUME and CMD_STALL_TERM (4.6)', () => {
  test.each([
    ['Ab=1', {}, 1, ABORTED],
    ['Ab=0', {}, 0, ZEROED],
    ['Ab=0 with TERM_MODEL=1', { TERM_MODEL: 1 }, 0, ABORTED],
  ] as const)('terminate with %s', (_, features, ab, outcome) => {
    const machine = stalling(features);
    const answers: Answers = [];
    access(machine, answers);
    machine.command(resume(1, 0, ab));
    expect(answers).toEqual([['a', outcome]]);
    expect(machine.smmu.stalledAccesses).toEqual([]);
    expect(machine.cerror).toBe(0);
  });

  test('retry, from the beginning: what the guest has mapped meanwhile is found', () => {
    const machine = stalling();
    const seen: Translation[] = [];
    machine.translate(FAULT + 5n, 0, STREAM, -1, (answer) => seen.push(answer));
    machine.put(0x43e3_0008, 0xc000_0f45n).command(resume(1, 1, 0));
    expect(seen).toMatchObject([{ outcome: 0, outputAddress: 0xc000_0005, streamId: STREAM }]);
  });

  test('retry of what still faults stalls again, under another STAG', () => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers);
    machine.command(resume(1, 1, 0));
    expect(answers).toEqual([]);
    expect(machine.record(1)[1]).toBe(0x208_8000_0002n);
    machine.command(resume(2, 0, 0));
    expect(answers).toEqual([['a', ZEROED]]);
  });

  test.each([
    ['an unknown STAG', 2, STREAM],
    ['the STAG of another stream', 1, STREAM + 1],
  ])('%s is passed over', (_, stag, streamId) => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers);
    machine.command(resume(stag, 0, 1, streamId));
    expect([answers, machine.cerror, machine.read(R.CMDQ_CONS)]).toEqual([[], 0, 1]);
    expect(machine.smmu.stalledAccesses).toHaveLength(1);
  });

  test('STALL_TERM aborts all of a stream, oldest first', () => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers, 'a');
    access(machine, answers, 'b');
    machine.command(stallTerm(STREAM + 1));
    expect(answers).toEqual([]);
    machine.command(stallTerm(STREAM));
    expect(answers).toEqual([
      ['a', ABORTED],
      ['b', ABORTED],
    ]);
  });

  test('SMMUEN 1 to 0 aborts all; a further write of 0 does nothing', () => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers);
    machine.write(R.CR0, EVENTQEN | CMDQEN).write(R.CR0, 0);
    expect(answers).toEqual([['a', ABORTED]]);
  });

  test('a reset aborts all', () => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers);
    machine.smmu.reset();
    expect([answers, machine.smmu.stalledAccesses]).toEqual([[['a', ABORTED]], []]);
  });

  test('adopt() names who waits; an unknown STAG is refused', () => {
    const machine = stalling();
    access(machine, []);
    const answers: Answers = [];
    machine.smmu.adopt(1, (answer) => void answers.push(['adopted', answer.outcome]));
    expect(() => {
      machine.smmu.adopt(2, () => undefined);
    }).toThrow(/stag is 2: no such access is stalled/);
    machine.command(resume(1, 0, 1));
    expect(answers).toEqual([['adopted', ABORTED]]);
  });
});

describe('an event queue that takes no record (3.12.2)', () => {
  const full = (): SmmuMachine => {
    const machine = stalling({}, 0);
    machine.translate(FAULT);
    return machine;
  };

  test('full: the record is held without overflow, until CONS moves', () => {
    const machine = full();
    const answers: Answers = [];
    expect(access(machine, answers).outcome).toBe(STALLED);
    access(machine, answers, 'b');
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
    machine.write(R.EVENTQ_CONS, 1);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
    expect(machine.record(0)[1]).toBe(0x208_8000_0001n);
    machine.write(R.EVENTQ_CONS, 0);
    expect(machine.record(0)[1]).toBe(0x208_8000_0002n);
    expect(machine.smmu.stats().events.F_TRANSLATION).toMatchObject({ written: 3, overflowed: 0 });
  });

  test('off: until EVENTQEN', () => {
    const machine = new SmmuMachine().cd([0, 44, 44, 1]).start(SMMUEN | CMDQEN);
    access(machine, []);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
    machine.write(R.CR0, SMMUEN | CMDQEN | EVENTQEN);
    expect([machine.read(R.EVENTQ_PROD), machine.record(0)[1]]).toEqual([1, 0x208_8000_0001n]);
  });

  test('not backed: until the acknowledgement of EVENTQ_ABT_ERR', () => {
    const machine = new SmmuMachine().cd([0, 44, 44, 1]).start(0);
    machine.write64(R.EVENTQ_BASE, 0x2000_0003n).write(R.CR0, SMMUEN | EVENTQEN);
    access(machine, []);
    expect([machine.read(R.GERROR), machine.read(R.EVENTQ_PROD)]).toEqual([4, 0]);
    machine.ram.addPage(0x2000_0000);
    machine.write(R.GERRORN, 4);
    expect([machine.read(R.EVENTQ_PROD), machine.peek(0x2000_0008)]).toEqual([1, 0x208_8000_0001n]);
  });

  test('after an invalidation and CMD_SYNC what is held is retried, not recorded stale', () => {
    const machine = full();
    const answers: Answers = [];
    access(machine, answers);
    machine.put(0x43e3_0008, 0xc000_0f45n);
    machine.command([0x46n, 0n]);
    expect(answers).toEqual([]);
    machine.command([0x12n, FAULT], [0x46n, 0n]);
    expect(answers).toEqual([['a', 0]]);
    machine.write(R.EVENTQ_CONS, 1);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
  });

  test('what is recorded already waits for CMD_RESUME', () => {
    const machine = stalling();
    const answers: Answers = [];
    access(machine, answers);
    machine.put(0x43e3_0008, 0xc000_0f45n).command([0x30n, 0n], [0x46n, 0n]);
    expect(answers).toEqual([]);
  });
});
