import { describe, expect, test } from 'vitest';
import { CommandRig, nhVa, ON, SYNC } from '../passthrough/command-rig.js';
import { CMDQEN, EVENTQEN, R, SmmuMachine, SMMUEN } from './smmu-machine.js';

/** TLBI_NSNH_ALL. */
const ALL = [0x30n, 0n] as const;
const CMD_SYNC = [0x46n, 0n] as const;

describe('registersChanged', () => {
  test('is called when a CMD_SYNC is done that waited for an access', async () => {
    const seen: number[] = [];
    const machine: SmmuMachine = new SmmuMachine({
      registersChanged: () => void seen.push(machine.read(R.CMDQ_CONS)),
    }).start();
    let end = (): void => undefined;
    const access = machine.smmu
      .attach(0x10)
      .dma(0x1000, 16, 0, () => new Promise<void>((done) => (end = done)));
    machine.command(ALL, CMD_SYNC);
    expect([machine.read(R.CMDQ_CONS), seen]).toEqual([1, []]);
    end();
    await access;
    expect([machine.read(R.CMDQ_CONS), seen.at(-1)]).toEqual([2, 2]);
  });

  test('is called when hardware has answered, and when CR0ACK follows', async () => {
    const seen: number[][] = [];
    let look = (): void => undefined;
    const rig = await CommandRig.make({
      registersChanged: () => {
        look();
      },
    });
    look = () => void seen.push([rig.machine.read(R.CMDQ_CONS), rig.machine.read(R.CR0ACK)]);
    rig.later().command(nhVa(1), SYNC);
    expect(seen).toEqual([]);
    await rig.settle();
    expect(seen).toEqual([[2, ON]]);
    rig.machine.write(R.CR0, ON & ~SMMUEN);
    await rig.settle();
    expect(seen.at(-1)).toEqual([2, ON & ~SMMUEN]);
  });

  test('is not called for what a register write has done when it returns', () => {
    let calls = 0;
    const machine = new SmmuMachine({ registersChanged: () => calls++ });
    machine.start(SMMUEN | EVENTQEN | CMDQEN).command(ALL, CMD_SYNC);
    expect([machine.read(R.CMDQ_CONS), calls]).toEqual([2, 0]);
  });
});
