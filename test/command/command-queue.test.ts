import { describe, expect, test } from 'vitest';
import {
  CMDQ,
  CMDQEN,
  NOWHERE,
  R,
  SmmuMachine,
  SYNC,
  type Entry,
  type MachineOptions,
} from '../smmu/smmu-machine.js';

/** PREFETCH_CONFIG: legal, and does nothing. */
const NOP: Entry = [0x01n, 0n];
const ILLEGAL: Entry = [0xffn, 0n];
const SYNC_NONE: Entry = [SYNC, 0n];

function started(options: MachineOptions = {}): SmmuMachine {
  return new SmmuMachine(options).start(CMDQEN);
}

/** Whether CMDQ_ERR is active: its bits of GERROR and GERRORN differ. */
function isStopped(machine: SmmuMachine): boolean {
  return ((machine.read(R.GERROR) ^ machine.read(R.GERRORN)) & 1) === 1;
}

function acknowledge(machine: SmmuMachine): void {
  machine.write(R.GERRORN, machine.read(R.GERROR));
}

function consumed(machine: SmmuMachine): number {
  return Object.values(machine.smmu.stats().commands).reduce((sum, count) => sum + count, 0);
}

describe('indexes (3.5.1)', () => {
  const SIZES = Array.from({ length: 20 }, (_, log2) => log2);

  test.each(SIZES)('a queue of 2^%i entries wraps', (cmdqLog2) => {
    const machine = new SmmuMachine({ cmdqLog2, eventqLog2: 0 });
    const size = 2 ** cmdqLog2;
    machine.write64(R.CMDQ_BASE, BigInt(CMDQ + cmdqLog2));
    // The last entry, with the wrap flag set: the next index is 0 with the flag clear.
    machine.write(R.CMDQ_PROD, 2 * size - 1).write(R.CMDQ_CONS, 2 * size - 1);
    machine.write(R.CR0, CMDQEN);
    machine.prod = 2 * size - 1;
    machine.command(NOP);
    expect(machine.read(R.CMDQ_CONS)).toBe(0);
    machine.command(SYNC_NONE);
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
    expect(machine.smmu.stats().commands).toEqual({ PREFETCH_CONFIG: 1, SYNC: 1 });
  });

  test('a full queue is executed to its end', () => {
    const machine = started({ cmdqLog2: 3 });
    machine.command(NOP, NOP, NOP);
    machine.command(...Array.from({ length: 8 }, () => NOP));
    expect(consumed(machine)).toBe(11);
    expect(machine.read(R.CMDQ_CONS)).toBe(11);
    expect(machine.read(R.CMDQ_PROD)).toBe(11);
  });

  test.each([
    [4, 31],
    [4, 19],
    [4, 5],
    [0, 31],
  ])('with CMDQS=%i a LOG2SIZE of %i is capped; it reads back as written', (cmdqs, log2) => {
    const machine = new SmmuMachine({ features: { CMDQS: cmdqs }, cmdqLog2: cmdqs });
    machine.write64(R.CMDQ_BASE, BigInt(CMDQ + log2)).write(R.CR0, CMDQEN);
    const size = 2 ** cmdqs;
    for (let i = 0; i < 2 * size + 1; i++) machine.command(NOP);
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
    expect(consumed(machine)).toBe(2 * size + 1);
    expect(machine.read64(R.CMDQ_BASE)).toBe(BigInt(CMDQ + log2));
  });

  test('the base is aligned down to the size of the queue, and cut to OAS', () => {
    const machine = new SmmuMachine({ features: { preset: 'qemu' }, cmdqLog2: 8 });
    // 256 entries are 4 KiB: address bits 11:5 count for nothing, nor do bits 55:44.
    machine.write64(R.CMDQ_BASE, 0x00ff_f000_0000_0fe0n + BigInt(CMDQ) + 8n);
    machine.write(R.CR0, CMDQEN).command(SYNC_NONE);
    expect(machine.smmu.stats().commands).toEqual({ SYNC: 1 });
  });

  test('bits of CONS above the wrap flag read as zero, those of PROD have no effect', () => {
    const machine = new SmmuMachine({ cmdqLog2: 2 });
    machine.write64(R.CMDQ_BASE, BigInt(CMDQ + 2)).write(R.CMDQ_CONS, 0xf_fffa);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
    machine.write(R.CMDQ_PROD, 0xf_fff8 | 3).write(R.CR0, CMDQEN);
    expect(consumed(machine)).toBe(0);
    expect(isStopped(machine)).toBe(true); // The entry is zeros: opcode 0 is reserved.
    const other = new SmmuMachine({ cmdqLog2: 2 });
    other.put(CMDQ + 32, ...NOP);
    other.write64(R.CMDQ_BASE, BigInt(CMDQ + 2)).write(R.CMDQ_CONS, 2);
    other.write(R.CMDQ_PROD, 0xf_fff8 | 3).write(R.CR0, CMDQEN);
    expect([consumed(other), other.read(R.CMDQ_CONS)]).toEqual([1, 3]);
  });

  test('a smaller queue cuts CONS', () => {
    const machine = new SmmuMachine();
    machine.write64(R.CMDQ_BASE, BigInt(CMDQ + 10)).write(R.CMDQ_CONS, 0x7ff);
    machine.write64(R.CMDQ_BASE, BigInt(CMDQ + 3));
    expect(machine.read(R.CMDQ_CONS)).toBe(0xf);
  });

  test('inconsistent indexes cost less than two rounds of the queue', () => {
    const machine = started({ cmdqLog2: 3, commandBudget: 1_000_000 });
    for (let i = 0; i < 8; i++) machine.enqueue(NOP);
    machine.write(R.CMDQ_PROD, 15);
    expect(consumed(machine)).toBe(15);
    expect(machine.read(R.CMDQ_CONS)).toBe(15);
  });
});

describe('errors stop the queue (7.1)', () => {
  test('a queue outside RAM: CERROR_ABT with CONS unchanged; the acknowledgement tries again', () => {
    const machine = new SmmuMachine();
    machine.write64(R.CMDQ_BASE, BigInt(NOWHERE + 4)).write(R.CR0, CMDQEN);
    machine.write(R.CMDQ_PROD, 3);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0200_0000);
    expect(isStopped(machine)).toBe(true);
    acknowledge(machine);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0200_0000);
    expect(isStopped(machine)).toBe(true);
    expect(machine.smmu.stats().failedCommands).toBe(2);
    machine.ram.addPage(NOWHERE);
    for (const slot of [0, 1, 2]) machine.put(NOWHERE + 16 * slot, ...NOP);
    acknowledge(machine);
    expect(machine.read(R.CMDQ_CONS)).toBe(3);
    expect(isStopped(machine)).toBe(false);
  });

  test('a queue that ends outside RAM stops where its memory ends', () => {
    const machine = new SmmuMachine({ cmdqLog2: 9 });
    machine.ram.addPage(NOWHERE); // The first 256 of 512 entries.
    machine.write64(R.CMDQ_BASE, BigInt(NOWHERE + 9)).write(R.CMDQ_CONS, 255);
    machine.put(NOWHERE + 16 * 255, ...NOP);
    machine.write(R.CR0, CMDQEN).write(R.CMDQ_PROD, 257);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0200_0100);
  });

  test('CONS stays on the command, later ones have no effect; GERROR toggles and interrupts once', () => {
    const machine = new SmmuMachine().start(CMDQEN, 1);
    machine.command(NOP, ILLEGAL, [0x46n | (1n << 12n), 0n]);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0001);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([1, 0]);
    expect(machine.wires).toEqual(['gerror']);
    machine.command(NOP);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0001);
    expect(machine.wires).toEqual(['gerror']);
  });

  test('a repaired entry and the acknowledgement alone start it again, without a PROD write', () => {
    const machine = started();
    machine.command(NOP, ILLEGAL, NOP);
    machine.put(CMDQ + 16, SYNC, 0n);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0001);
    acknowledge(machine);
    expect(machine.read(R.CMDQ_CONS)).toBe(3);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([1, 1]);
    expect(machine.smmu.stats().commands).toEqual({ PREFETCH_CONFIG: 2, SYNC: 1 });
  });

  test('an entry that was not repaired raises the same error again, GERROR toggles back', () => {
    const machine = new SmmuMachine().start(CMDQEN, 1);
    machine.command(ILLEGAL);
    acknowledge(machine);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([0, 1]);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0000);
    expect(machine.wires).toEqual(['gerror', 'gerror']);
  });

  test('PROD may go back as far as CONS while the error is active', () => {
    const machine = started();
    machine.command(NOP, ILLEGAL, NOP, NOP);
    machine.write(R.CMDQ_PROD, 1);
    acknowledge(machine);
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
    expect(isStopped(machine)).toBe(false);
    machine.prod = 1;
    machine.command(NOP);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
  });

  test('CMDQEN off and on neither clears the error nor starts the queue', () => {
    const machine = started();
    machine.command(ILLEGAL, NOP);
    machine.write(R.CR0, 0);
    machine.put(CMDQ, ...NOP);
    machine.write(R.CR0, CMDQEN).write(R.CMDQ_PROD, 2);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0000);
    expect(isStopped(machine)).toBe(true);
    machine.write(R.CR0, 0);
    acknowledge(machine);
    expect(machine.read(R.CMDQ_CONS)).toBe(0);
    machine.write(R.CR0, CMDQEN);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
  });

  test('acknowledging another error does not start it', () => {
    const machine = started();
    machine.command(ILLEGAL);
    machine.put(CMDQ, ...NOP);
    machine.write(R.GERRORN, 4);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0000);
  });

  test('a handler that acknowledges at once, in the interrupt, is no endless loop', () => {
    const machine = new SmmuMachine({ commandBudget: 100 }).start(CMDQEN, 1);
    machine.onWire = () => {
      acknowledge(machine);
    };
    machine.command(ILLEGAL);
    expect(machine.wires.length).toBe(100);
    machine.onWire = () => {
      machine.put(CMDQ, ...NOP);
      acknowledge(machine);
    };
    machine.smmu.drain(10);
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
    expect(isStopped(machine)).toBe(false);
  });
});

describe('enable (6.3.9)', () => {
  test('nothing is fetched while CMDQEN is 0; enabling executes what is there', () => {
    const machine = new SmmuMachine().start(0);
    machine.command(NOP, NOP);
    expect(machine.read(R.CMDQ_CONS)).toBe(0);
    machine.write(R.CR0, CMDQEN);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
  });
});
