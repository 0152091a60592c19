import { describe, expect, test } from 'vitest';
import { CMDQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { cfgiSte, CommandRig, nhVa, ON, SYNC } from './command-rig.js';

/** Pieces of work that wait for the host. */
function waiting({ passthrough }: CommandRig): number {
  return (Reflect.get(passthrough.turns, 'waiting') as unknown[]).length;
}

/** GBPA.Update and ABORT. */
const UPDATE = 0x8000_0000;
const ABORT = 0x0010_0000;

describe('while the host does not answer, no more work waits than once', () => {
  test('of SMMUEN and GBPA, however often they are written', async () => {
    const rig = await CommandRig.make();
    rig.later();
    for (let i = 0; i < 100; i++) {
      rig.machine.write(R.CR0, ON & ~SMMUEN);
      rig.machine.write(R.GBPA, UPDATE + (i % 2) * ABORT).write(R.CR0, ON);
    }
    rig.machine.write(R.CR0, ON & ~SMMUEN).write(R.GBPA, UPDATE + ABORT);
    expect(waiting(rig)).toBeLessThanOrEqual(1);
    await rig.settle();
    expect([rig.device.disposition, rig.machine.read(R.CR0ACK)]).toEqual(['abort', ON & ~SMMUEN]);
  });

  test('of the command queue, however often it is turned off and on', async () => {
    const rig = await CommandRig.make();
    rig.later().ste('s1').command(nhVa(1), cfgiSte(), nhVa(2), SYNC);
    for (let i = 0; i < 100; i++) {
      rig.machine.write(R.CR0, ON & ~CMDQEN).write(R.CR0, ON);
    }
    expect(waiting(rig)).toBeLessThanOrEqual(1);
    await rig.settle();
    expect(rig.state).toEqual([4, 0]);
    expect(rig.host.sent.flat()).toEqual([nhVa(1), nhVa(1), nhVa(2)]);
  });

  test('of a CFGI_STE, however often the queue is turned off and on', async () => {
    const rig = await CommandRig.make();
    rig.later().ste('s1').command(cfgiSte(), nhVa(2), SYNC);
    for (let i = 0; i < 100; i++) {
      rig.machine.write(R.CR0, ON & ~CMDQEN).write(R.CR0, ON);
    }
    expect(waiting(rig)).toBeLessThanOrEqual(1);
    await rig.settle();
    expect([rig.state, rig.host.sent.flat().at(-1)]).toEqual([[3, 0], nhVa(2)]);
  });

  test('of what is held: 4,096 commands, which are the first call', async () => {
    const rig = await CommandRig.make({ cmdqLog2: 13, commandBudget: 10_000 });
    const run = Array.from({ length: 4200 }, (_, i) => nhVa(i));
    rig.later().command(nhVa(5000));
    rig.machine.write(R.CR0, ON & ~CMDQEN);
    rig.command(...run).machine.write(R.CR0, ON);
    expect(rig.host.sent).toEqual([[nhVa(5000)]]);
    await rig.settle();
    expect(rig.host.sent.slice(1)).toEqual([[nhVa(5000), ...run.slice(0, 4095)], run.slice(4095)]);
    expect(rig.state).toEqual([4201, 0]);
    expect(rig.machine.smmu.stats().commands).toEqual({ TLBI_NH_VA: 4201 });
  });
});
