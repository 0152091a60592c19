import { describe, expect, test } from 'vitest';
import {
  CMDQ,
  CMDQEN,
  NOWHERE,
  R,
  RAM,
  SmmuMachine,
  type Entry,
  type MachineOptions,
} from '../smmu/smmu-machine.js';

const SIG_NONE = 0n;
const SIG_IRQ = 1n;
const SIG_SEV = 2n;

/** CMD_SYNC: CS [13:12], MSH [23:22] inner shareable, MSIAttr [27:24] write-back, MSIData, MSIAddress. */
function sync(signal: bigint, address = 0n, data = 0n): Entry {
  return [0x46n | (signal << 12n) | (3n << 22n) | (0xfn << 24n) | (data << 32n), address];
}

function started(options: MachineOptions = {}): SmmuMachine {
  return new SmmuMachine(options).start(CMDQEN, 1);
}

const GERROR_MSI_CMDQ = 1 << 4;
const DOORBELL = 0x0802_0040;

describe('CMD_SYNC (4.7.3)', () => {
  test('SIG_NONE: CONS moves, nothing else', () => {
    const machine = started().command(sync(SIG_NONE, BigInt(RAM), 5n));
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
    expect([machine.wires, machine.messages, machine.sevs]).toEqual([[], [], 0]);
    expect(machine.peek(RAM)).toBe(0n);
  });

  test('SIG_IRQ: a message into RAM, and the edge on the wire', () => {
    const machine = started();
    machine.put(RAM + 0x100, 0xaaaa_aaaa_bbbb_bbbbn);
    machine.command(sync(SIG_IRQ, BigInt(RAM + 0x104), 0x1234_5678n));
    expect(machine.peek(RAM + 0x100)).toBe(0x1234_5678_bbbb_bbbbn);
    expect([machine.wires, machine.messages]).toEqual([['cmdSync'], []]);
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
  });

  test('Linux polls its own slot: data 0 over the first word of the command', () => {
    const machine = started();
    machine.command([0x30n, 0n]);
    machine.command(sync(SIG_IRQ, BigInt(CMDQ + 16), 0n));
    expect(machine.peek(CMDQ + 16)).toBe(0n);
    expect(machine.peek(CMDQ + 24)).toBe(BigInt(CMDQ + 16));
    expect([machine.read(R.CMDQ_CONS), machine.cerror]).toEqual([2, 0]);
  });

  test('SIG_IRQ: a message to a doorbell', () => {
    const machine = started();
    machine.doorbell = (address) => address === DOORBELL;
    machine.command(sync(SIG_IRQ, BigInt(DOORBELL), 0xffff_fffen));
    expect(machine.messages).toEqual([[DOORBELL, 0xffff_fffe]]);
    expect([machine.read(R.GERROR), machine.read(R.CMDQ_CONS)]).toEqual([0, 1]);
  });

  test('an aborted message: MSI_CMDQ_ABT_ERR, its interrupt, and the command is consumed', () => {
    const machine = started().command(sync(SIG_IRQ, BigInt(NOWHERE), 1n), sync(SIG_NONE));
    expect(machine.read(R.GERROR)).toBe(GERROR_MSI_CMDQ);
    expect(machine.read(R.CMDQ_CONS)).toBe(2);
    expect(machine.wires).toEqual(['gerror', 'cmdSync']);
    // Active already: no second occurrence.
    machine.command(sync(SIG_IRQ, BigInt(NOWHERE), 1n));
    expect(machine.read(R.GERROR)).toBe(GERROR_MSI_CMDQ);
    machine.write(R.GERRORN, GERROR_MSI_CMDQ);
    machine.command(sync(SIG_IRQ, BigInt(NOWHERE), 1n));
    expect(machine.read(R.GERROR)).toBe(0);
  });

  test('an embedder without message() has nobody there', () => {
    const machine = started({ interrupts: {} });
    machine.command(sync(SIG_IRQ, BigInt(NOWHERE), 1n), sync(SIG_SEV));
    expect([machine.read(R.GERROR), machine.read(R.CMDQ_CONS)]).toEqual([GERROR_MSI_CMDQ, 2]);
  });

  test('MSIAddress 0: wired only', () => {
    const machine = started();
    machine.command(sync(SIG_IRQ, 0n, 7n), sync(SIG_IRQ, 3n, 7n));
    expect([machine.wires, machine.messages]).toEqual([['cmdSync', 'cmdSync'], []]);
  });

  test('MSIAddress is cut to OAS', () => {
    const machine = started({ features: { OAS: 44 } });
    machine.command(sync(SIG_IRQ, (0xfffn << 44n) | BigInt(RAM), 9n));
    expect(machine.peek(RAM)).toBe(9n);
  });

  test('without IDR0.MSI the address means nothing', () => {
    const machine = started({ features: { preset: 'qemu' } });
    machine.command(sync(SIG_IRQ, BigInt(RAM), 9n));
    expect([machine.peek(RAM), machine.wires]).toEqual([0n, ['cmdSync']]);
  });

  test.each([
    ['full', 1],
    ['qemu', 0],
  ] as const)('SIG_SEV on the preset %s: %i events', (preset, events) => {
    const machine = started({ features: { preset } }).command(sync(SIG_SEV));
    expect([machine.sevs, machine.read(R.CMDQ_CONS), machine.wires]).toEqual([events, 1, []]);
  });

  test('the wire of CMD_SYNC does not ask IRQ_CTRL', () => {
    const machine = new SmmuMachine().start(CMDQEN, 0).command(sync(SIG_IRQ));
    expect(machine.wires).toEqual(['cmdSync']);
  });

  test('order: the effects of older commands, the message, CONS', () => {
    const order: string[] = [];
    const machine = started();
    machine.smmu.addKeeper({
      invalidateAll: () => order.push(`all, CONS ${machine.read(R.CMDQ_CONS)}`),
      invalidateAsid: () => undefined,
      invalidateRange: () => undefined,
      invalidateStreams: () => undefined,
      invalidateContext: () => undefined,
    });
    machine.doorbell = (address) => {
      order.push(`message to ${address}, CONS ${machine.read(R.CMDQ_CONS)}`);
      return true;
    };
    machine.onWire = (line) => order.push(`${line}, CONS ${machine.read(R.CMDQ_CONS)}`);
    machine.command([0x30n, 0n], sync(SIG_IRQ, 0x40n, 1n), [0x10n, 0n]);
    order.push(`CONS ${machine.read(R.CMDQ_CONS)}`);
    expect(order).toEqual([
      'all, CONS 0',
      'message to 64, CONS 1',
      'cmdSync, CONS 1',
      'all, CONS 2',
      'CONS 3',
    ]);
  });
});

describe('a guest that handles the interrupt of CMD_SYNC at once', () => {
  test('may write further commands: they follow, once each, and nothing is left to announce', () => {
    let announced = 0;
    const machine = started({ commandsPending: () => (announced += 1) });
    let more = 3;
    machine.onWire = () => {
      if (more-- > 0) machine.command([0x30n, 0n], sync(SIG_IRQ));
    };
    machine.command(sync(SIG_IRQ));
    expect(machine.smmu.stats().commands).toEqual({ SYNC: 4, TLBI_NSNH_ALL: 3 });
    expect([machine.read(R.CMDQ_CONS), announced]).toEqual([7, 0]);
  });

  test('may disable the queue, which then stands behind the CMD_SYNC, and set up another', () => {
    const machine = started();
    const seen: number[] = [];
    machine.onWire = () => {
      machine.onWire = () => undefined;
      machine.write(R.CR0, 0);
      seen.push(machine.read(R.CMDQ_CONS));
      machine.write64(R.CMDQ_BASE, BigInt(RAM + 0x1_0000 + 1));
      machine.write(R.CMDQ_CONS, 0).write(R.CMDQ_PROD, 1);
      machine.put(RAM + 0x1_0000, 0x10n, 0n).write(R.CR0, CMDQEN);
    };
    machine.command(sync(SIG_IRQ), [0x30n, 0n]);
    expect(seen).toEqual([1]);
    expect(machine.smmu.stats().commands).toEqual({ SYNC: 1, TLBI_NH_ALL: 1 });
    expect(machine.read(R.CMDQ_CONS)).toBe(1);
  });

  test('a reset in the interrupt ends the queue of before', () => {
    const machine = started();
    machine.onWire = () => {
      machine.smmu.reset();
    };
    machine.command(sync(SIG_IRQ), sync(SIG_IRQ, BigInt(RAM), 7n));
    expect([machine.wires, machine.peek(RAM)]).toEqual([['cmdSync'], 0n]);
    expect([machine.read(R.CMDQ_CONS), machine.read(R.CR0)]).toEqual([0, 0]);
  });
});
