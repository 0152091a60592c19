import { describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, NOWHERE, R, RAM, SMMUEN, SmmuMachine } from '../smmu/smmu-machine.js';

const FAULT = 0x4000_0000n;
const ALL = SMMUEN | EVENTQEN | CMDQEN;
const DOORBELL = 0x0802_0040;
/** GERROR bits. */
const CMDQ_ERR = 1;
const EVENTQ_ABT = 4;
const MSI_EVENTQ = 1 << 5;
const MSI_GERROR = 1 << 7;

/** A machine whose sources are configured as messages before it is enabled. */
function withMessages(eventq: bigint, gerror: bigint, irq = 0b101): SmmuMachine {
  const machine = new SmmuMachine();
  machine.write64(R.EVENTQ_IRQ_CFG0, eventq).write(R.EVENTQ_IRQ_CFG1, 0xe0e0_e0e0);
  machine.write64(R.GERROR_IRQ_CFG0, gerror).write(R.GERROR_IRQ_CFG1, 0x1234);
  return machine.start(ALL, irq);
}

describe('the interrupt of the event queue (3.18.1)', () => {
  test('an edge when the queue stops being empty, none while it is not', () => {
    const machine = new SmmuMachine().start();
    machine.translate(FAULT);
    machine.translate(FAULT);
    expect(machine.wires).toEqual(['eventq']);
    machine.write(R.EVENTQ_CONS, 1).translate(FAULT);
    expect(machine.wires).toEqual(['eventq']);
    machine.write(R.EVENTQ_CONS, 3).translate(FAULT);
    expect(machine.wires).toEqual(['eventq', 'eventq']);
  });

  test('none while EVENTQ_IRQEN is 0; enabling it raises none for what was before', () => {
    const machine = new SmmuMachine().start(ALL, 0b001);
    machine.translate(FAULT);
    machine.write(R.IRQ_CTRL, 0b101);
    expect(machine.wires).toEqual([]);
    machine.write(R.EVENTQ_CONS, 1).translate(FAULT);
    expect(machine.wires).toEqual(['eventq']);
  });

  test('PROD has moved by the time of the interrupt', () => {
    const machine = new SmmuMachine().start();
    const seen: number[] = [];
    machine.onWire = () => seen.push(machine.read(R.EVENTQ_PROD));
    machine.translate(FAULT);
    expect(seen).toEqual([1]);
  });

  test('a message into RAM instead of the edge', () => {
    const machine = withMessages(BigInt(RAM + 0x40), 0n);
    machine.translate(FAULT);
    expect(machine.peek(RAM + 0x40)).toBe(0xe0e0_e0e0n);
    expect([machine.wires, machine.messages]).toEqual([[], []]);
  });

  test('a message to a doorbell', () => {
    const machine = withMessages(BigInt(DOORBELL), 0n);
    machine.doorbell = () => true;
    machine.translate(FAULT);
    expect(machine.messages).toEqual([[DOORBELL, 0xe0e0_e0e0]]);
    expect(machine.read(R.GERROR)).toBe(0);
  });

  test('an aborted message: MSI_EVENTQ_ABT_ERR; the record is there all the same', () => {
    const machine = withMessages(BigInt(NOWHERE), 0n);
    machine.translate(FAULT);
    expect(machine.read(R.GERROR)).toBe(MSI_EVENTQ);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
    expect(machine.wires).toEqual(['gerror']);
  });

  test('an address beyond OAS is cut: nothing above it is ever accessed', () => {
    const machine = withMessages((0xfn << 52n) | BigInt(RAM + 0x40), 0n);
    machine.translate(FAULT);
    expect(machine.peek(RAM + 0x40)).toBe(0xe0e0_e0e0n);
  });

  test('without anybody to interrupt, all goes on', () => {
    const machine = new SmmuMachine({ interrupts: {} }).start();
    expect(machine.translate(FAULT).outcome).toBe(1);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
  });

  test('a guest that reads the queue in the interrupt and makes the device access again', () => {
    const machine = new SmmuMachine().start();
    let depth = 0;
    machine.onWire = () => {
      machine.write(R.EVENTQ_CONS, machine.read(R.EVENTQ_PROD));
      if (depth++ < 20) machine.translate(FAULT, 0, 0x11); // Another event: C_BAD_STE.
    };
    machine.translate(FAULT);
    const { events } = machine.smmu.stats();
    expect(events.F_TRANSLATION).toMatchObject({ written: 1 });
    expect(events.C_BAD_STE).toMatchObject({ written: 20 });
    expect(machine.read(R.EVENTQ_PROD)).toBe(21 % 16);
  });
});

describe('GERROR and its interrupt (3.18.2, 6.3.19)', () => {
  test('an error is one occurrence until it is acknowledged', () => {
    const machine = new SmmuMachine().start();
    machine.command([0xffn, 0n]);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([CMDQ_ERR, 0]);
    expect(machine.wires).toEqual(['gerror']);
    // GERRORN is what software writes; the SMMU never changes it.
    machine.write(R.GERRORN, CMDQ_ERR);
    expect([machine.read(R.GERROR), machine.read(R.GERRORN)]).toEqual([0, CMDQ_ERR]);
    expect(machine.wires).toEqual(['gerror', 'gerror']);
  });

  test('none while GERROR_IRQEN is 0', () => {
    const machine = new SmmuMachine().start(ALL, 0b100);
    machine.command([0xffn, 0n]);
    machine.write(R.IRQ_CTRL, 0b101);
    expect([machine.read(R.GERROR), machine.wires]).toEqual([CMDQ_ERR, []]);
  });

  test('as a message', () => {
    const machine = withMessages(0n, BigInt(RAM + 0x80));
    machine.command([0xffn, 0n]);
    expect(machine.peek(RAM + 0x80)).toBe(0x1234n);
    expect(machine.wires).toEqual([]);
  });

  test('an aborted message activates MSI_GERROR_ABT_ERR, which raises nothing itself', () => {
    const machine = withMessages(0n, BigInt(NOWHERE));
    machine.command([0xffn, 0n]);
    expect(machine.read(R.GERROR)).toBe(CMDQ_ERR | MSI_GERROR);
    expect(machine.messages).toHaveLength(1);
    machine.write(R.GERRORN, CMDQ_ERR);
    expect(machine.read(R.GERROR)).toBe(MSI_GERROR);
    expect(machine.messages).toHaveLength(2);
  });

  test('errors are independent of each other', () => {
    const machine = new SmmuMachine().start(0);
    machine.write64(R.EVENTQ_BASE, BigInt(NOWHERE)).write(R.CR0, ALL);
    machine.translate(FAULT);
    machine.command([0xffn, 0n]);
    expect(machine.read(R.GERROR)).toBe(EVENTQ_ABT | CMDQ_ERR);
    machine.write(R.GERRORN, EVENTQ_ABT);
    machine.translate(FAULT);
    expect([machine.read(R.GERROR), machine.cerror]).toEqual([CMDQ_ERR, 1]);
    expect(machine.wires).toEqual(['gerror', 'gerror', 'gerror']);
  });

  test('software that toggles GERRORN of an inactive error causes no interrupt', () => {
    const machine = new SmmuMachine().start();
    machine.write(R.GERRORN, 0xffff_ffff);
    expect([machine.read(R.GERROR), machine.wires]).toEqual([0, []]);
    expect(machine.read(R.GERRORN)).toBe(0x1fd);
  });
});
