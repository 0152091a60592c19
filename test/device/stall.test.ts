import { describe, expect, test } from 'vitest';
import { Reason } from '../../src/transaction/reason.js';
import { device, noting, settle, ASID, type Segment } from './dma-device.js';
import {
  DATA,
  DeviceMachine,
  nhVa,
  PAGE,
  resume,
  stallTerm,
  STREAM,
  SYNC,
} from './device-machine.js';

describe('a fault with CD.S=1 (3.12.2)', () => {
  const FAULT = 0x3000;

  test('aborts what cannot wait, and its record says Stall=0', () => {
    const { machine, handle } = device({ S: 1 });
    const into = new Uint8Array(0x20);
    expect(handle.translate(FAULT, 0)).toBe(-1);
    expect(handle.translate(BigInt(FAULT), 0)).toBe(-1);
    expect(handle.read(FAULT, into)).toBe(0);
    expect(handle.read(FAULT - 0x10, into)).toBe(0x10);
    expect(handle.write(FAULT, into)).toBe(0);
    expect(handle.load32(FAULT)).toBe(-1);
    expect(handle.store32(FAULT, 1)).toBe(-1);
    expect(handle.fault).toMatchObject({ outcome: 1, event: 0x10, stall: false });
    const records = machine.takeEvents();
    expect(records).toHaveLength(7);
    for (const record of records) expect(record[1]! & 0x8000_0000n).toBe(0n);
    expect(machine.smmu.stalledAccesses).toEqual([]);
  });

  test('makes dma() wait for the guest, which maps the page and resumes', async () => {
    const { machine, space, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(0x2ff0, 0x20, 0, noting(calls));
    await settle();
    expect(calls).toEqual([]);
    expect(machine.smmu.stalledAccesses).toMatchObject([{ stag: 1, inputLow: FAULT }]);
    // Stall [31], STAG [15:0], RnW [35], CLASS=IN [41:40].
    expect(machine.takeEvents()).toEqual([[0x10_0000_0010n, 0x208_8000_0001n, 0x3000n, 0n]]);
    space.map(FAULT, DATA, PAGE);
    machine.command(resume(STREAM, 1, 1, 0));
    await expect(waits).resolves.toBe(0x20);
    expect(calls).toEqual([
      [
        [DATA + 3 * PAGE - 0x10, 0x10],
        [DATA, 0x10],
      ],
    ]);
    expect(machine.takeEvents()).toEqual([]);
  });

  test.each([
    ['CMD_RESUME with Ab=1', resume(STREAM, 1, 0, 1), 1],
    ['CMD_RESUME with Ab=0', resume(STREAM, 1, 0, 0), 2],
    ['CMD_STALL_TERM', stallTerm(STREAM), 1],
  ])('that %s ends performs what is before it', async (_, command, outcome) => {
    const { machine, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(0x2ff0, 0x20, 1, noting(calls));
    machine.command(command);
    await expect(waits).resolves.toBe(0x10);
    expect(calls).toEqual([[[DATA + 3 * PAGE - 0x10, 0x10]]]);
    // The fault is the one that the guest was told of.
    expect(handle.fault).toMatchObject({
      outcome,
      event: 0x10,
      reason: Reason.descriptorInvalid,
      streamId: STREAM,
      inputLow: FAULT,
      access: 1,
    });
    expect(machine.takeEvents()).toHaveLength(1);
    expect(machine.smmu.stalledAccesses).toEqual([]);
  });

  test.each([
    ['CMD_RESUME', resume(STREAM, 1, 0, 1)],
    ['CMD_STALL_TERM', stallTerm(STREAM)],
  ])('of the first byte that %s aborts performs nothing', async (_, command) => {
    const { machine, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(FAULT, 0x20, 0, noting(calls));
    machine.command(command);
    await expect(waits).resolves.toBe(0);
    expect(calls).toEqual([]);
    expect(machine.smmu.stats().underWay).toBe(0);
  });

  test('SMMUEN=0 and a reset abort what waits', async () => {
    const { machine, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const first = handle.dma(FAULT, 0x20, 0, noting(calls));
    machine.write(0x20, 0xc);
    await expect(first).resolves.toBe(0);
    machine.write(0x20, 0xd);
    const second = handle.dma(FAULT, 0x20, 0, noting(calls));
    machine.smmu.reset();
    await expect(second).resolves.toBe(0);
    expect(calls).toEqual([]);
  });

  test('after a reset the access is one of the vSMMU as it is then', async () => {
    const { machine, space, handle } = device({ S: 1 });
    let finish!: () => void;
    const waits = handle.dma(
      0x2ff0,
      0x20,
      0,
      () =>
        new Promise<void>((resolve) => {
          finish = resolve;
        }),
    );
    machine.smmu.reset();
    machine.start();
    await settle();
    expect(machine.smmu.stats().underWay).toBe(1);
    space.unmap(0x2000, PAGE);
    machine.command(nhVa(ASID, 0x2000), SYNC);
    expect(machine.commandsLeft).toBe(1);
    finish();
    await expect(waits).resolves.toBe(0x10);
    expect(machine.commandsLeft).toBe(0);
  });

  test('starts again from the first byte: what was invalidated meanwhile is seen where it is now', async () => {
    const { machine, space, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(0x1ff0, 0x1020, 0, noting(calls));
    // While it waits, nothing is under way: CMD_SYNC completes.
    space.map(0x1000, DATA + 7 * PAGE, PAGE);
    machine.command(nhVa(ASID, 0x1000), SYNC);
    expect(machine.commandsLeft).toBe(0);
    space.map(FAULT, DATA + 9 * PAGE, PAGE);
    machine.command(resume(STREAM, 1, 1, 0));
    await expect(waits).resolves.toBe(0x1020);
    expect(calls).toEqual([
      [
        [DATA + 7 * PAGE + 0xff0, 0x10],
        [DATA + 2 * PAGE, PAGE],
        [DATA + 9 * PAGE, 0x10],
      ],
    ]);
  });

  test('also when the guest aborts it: only the part before it, where that is now', async () => {
    const { machine, space, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(0x1ff0, 0x1020, 0, noting(calls));
    space.map(0x2000, DATA + 7 * PAGE, PAGE);
    machine.command(nhVa(ASID, 0x2000), SYNC, resume(STREAM, 1, 0, 1));
    await expect(waits).resolves.toBe(0x1010);
    expect(calls).toEqual([
      [
        [DATA + 0xff0, 0x10],
        [DATA + 7 * PAGE, PAGE],
      ],
    ]);
  });

  test('stalls as often as it has to, also at a page before the one it waited for', async () => {
    const { machine, space, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const waits = handle.dma(0x2ff0, 0x1020, 0, noting(calls));
    space.map(FAULT, DATA, PAGE);
    space.unmap(0x2000, PAGE);
    machine.command(nhVa(ASID, 0x2000), SYNC, resume(STREAM, 1, 1, 0));
    await settle();
    expect(machine.smmu.stalledAccesses).toMatchObject([{ inputLow: 0x2ff0 }]);
    space.map(0x2000, DATA + 2 * PAGE, PAGE);
    machine.command(resume(STREAM, 2, 1, 0));
    await settle();
    expect(machine.smmu.stalledAccesses).toMatchObject([{ inputLow: 0x4000 }]);
    machine.command(resume(STREAM, 3, 0, 1));
    await expect(waits).resolves.toBe(0x1010);
    expect(calls).toEqual([
      [
        [DATA + 3 * PAGE - 0x10, 0x10],
        [DATA, PAGE],
      ],
    ]);
    expect(machine.takeEvents().map((record) => record[2])).toEqual([0x3000n, 0x2ff0n, 0x4000n]);
  });

  test('of several accesses: each waits for its own answer', async () => {
    const { machine, space, handle } = device({ S: 1 });
    const calls: Segment[][] = [];
    const first = handle.dma(FAULT, 0x10, 0, noting(calls));
    const second = handle.dma(FAULT + 0x1000, 0x20, 0, noting(calls));
    space.map(FAULT + 0x1000, DATA, PAGE);
    machine.command(resume(STREAM, 2, 1, 0));
    await expect(second).resolves.toBe(0x20);
    expect(machine.smmu.stalledAccesses).toMatchObject([{ stag: 1 }]);
    // The handle is free for others meanwhile.
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    machine.command(resume(STREAM, 1, 0, 1));
    await expect(first).resolves.toBe(0);
    expect(calls).toEqual([[[DATA, 0x20]]]);
  });

  test('of a substream carries its number', async () => {
    const machine = new DeviceMachine();
    const spaces = new Map([0, 1].map((n) => [n, machine.space(n, { S: 1 })]));
    machine.guest.attachSubstreams(STREAM, spaces);
    machine.start();
    const handle = machine.smmu.attach(STREAM).substream(1);
    const calls: Segment[][] = [];
    const waits = handle.dma(FAULT, 16, 1, noting(calls));
    expect(machine.takeEvents()).toEqual([[0x10_0000_1810n, 0x200_8000_0001n, 0x3000n, 0n]]);
    spaces.get(1)!.map(FAULT, DATA, PAGE);
    machine.command(resume(STREAM, 1, 1, 0));
    await expect(waits).resolves.toBe(16);
    expect(calls).toEqual([[[DATA, 16]]]);
  });

  test('beyond STALL_MAX does not wait', async () => {
    const machine = new DeviceMachine({ features: { STALL_MAX: 1 } });
    const space = machine.space(ASID, { S: 1 });
    machine.guest.attach(STREAM, space);
    machine.start();
    const handle = machine.smmu.attach(STREAM);
    const first = handle.dma(FAULT, 16, 0, () => undefined);
    await expect(handle.dma(FAULT, 16, 0, () => undefined)).resolves.toBe(0);
    machine.command(resume(STREAM, 1, 0, 1));
    await expect(first).resolves.toBe(0);
  });
});
