/**
 * Known errors of other implementations, one test each: what the architecture says instead.
 */
import { describe, expect, test } from 'vitest';
import { STREAM, STREAM_TABLE, STE } from '../transaction/machine.js';
import { CMDQEN, EVENTQEN, NOWHERE, R, SMMUEN, SmmuMachine } from './smmu-machine.js';

const WRITE = 1;
const F_STE_FETCH = 0x03n;
const F_CD_FETCH = 0x09n;
const F_WALK_EABT = 0x0bn;
const F_PERMISSION = 0x13;

/** The second level-0 entry: a table of its own, where the tests map what they want. */
const TABLE = 0x43e4_0000;
const AREA = 1n << 39n;

describe('errors of other implementations', () => {
  test('a read-only table (APTable) lets no write pass, after a read that it allowed', () => {
    const machine = new SmmuMachine().start();
    // APTable [62:61] = 2: read-only below.
    machine.put(0x43e2_0008, BigInt(TABLE) | 3n | (2n << 61n)).put(TABLE, 0x8000_0f45n);
    for (let i = 0; i < 3; i++) {
      expect(machine.translate(AREA)).toMatchObject({ outcome: 0, outputAddress: 0x8000_0000 });
      expect(machine.translate(AREA, WRITE)).toMatchObject({ outcome: 1, event: F_PERMISSION });
    }
  });

  test('TBI1 is its own bit, not TBI0', () => {
    // T1SZ=16 [21:16], TG1=4K [23:22]=2, EPD1 [30] off, TBI0 [38], TBI1 [39]; TTB1 as TTB0.
    const halves = [
      [0, 21, 16, 16],
      [0, 23, 22, 2],
      [0, 30, 30, 0],
      [2, 51, 4, 0x43e2_000n],
    ] as const;
    const upper = 0xffff_0000_0000_1234n;
    const tagged = 0x5aff_0000_0000_1234n;
    const only0 = new SmmuMachine().cd(...halves, [0, 39, 38, 1]).start();
    expect(only0.translate(0x5a00_0000_0000_1234n).outcome).toBe(0);
    expect(only0.translate(upper)).toMatchObject({ outcome: 0, outputAddress: 0x8000_1234 });
    expect(only0.translate(tagged)).toMatchObject({ outcome: 1, event: 0x10 });
    const only1 = new SmmuMachine().cd(...halves, [0, 39, 38, 2]).start();
    expect(only1.translate(tagged)).toMatchObject({ outcome: 0, outputAddress: 0x8000_1234 });
    expect(only1.translate(0x5a00_0000_0000_1234n)).toMatchObject({ outcome: 1, event: 0x10 });
  });

  test('the format of the stream table does not stick at 2-level', () => {
    const machine = new SmmuMachine().start();
    const twoLevel = 0x43f0_0000;
    // L1STD: Span=7 [4:0], that is 64 STEs, L2Ptr.
    machine.put(twoLevel, BigInt(STREAM_TABLE) | 7n);
    const configure = (base: number, config: number) => {
      machine.write(R.CR0, CMDQEN).write64(R.STRTAB_BASE, BigInt(base));
      machine.write(R.STRTAB_BASE_CFG, config).write(R.CR0, SMMUEN | CMDQEN);
      machine.command([0x04n, 31n], [0x46n, 0n]);
    };
    // FMT [17:16], SPLIT [10:6], LOG2SIZE [5:0].
    configure(twoLevel, 0x1_0188);
    expect(machine.translate().outcome).toBe(0);
    configure(STREAM_TABLE, 0x0_0008);
    expect(machine.translate().outcome).toBe(0);
    configure(STREAM_TABLE, 0x1_0188);
    expect(machine.translate().outcome).toBe(1);
  });

  test('SPLIT 7 behaves as 6', () => {
    const machine = new SmmuMachine();
    machine.put(0x43f0_0000, BigInt(STREAM_TABLE) | 7n).start(0);
    machine.write64(R.STRTAB_BASE, 0x43f0_0000n).write(R.STRTAB_BASE_CFG, 0x1_01c8);
    expect(machine.write(R.CR0, SMMUEN).translate().outcome).toBe(0);
    expect(machine.translate(0n, 0, 0x40)).toMatchObject({ event: 2 });
  });

  test('a full event queue sets OVFLG, not EVENTQ_ABT_ERR, and holds 2^LOG2SIZE records', () => {
    const machine = new SmmuMachine({ eventqLog2: 1 }).start();
    for (let i = 0; i < 3; i++) machine.translate(1n << 50n);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0x8000_0002);
    expect(machine.read(R.GERROR)).toBe(0);
  });

  test('RnW is bit 99 of the record, PnU 97, CLASS 105:104', () => {
    const machine = new SmmuMachine().start();
    machine.translate(1n << 40n, 4);
    machine.translate(1n << 40n, 4 | WRITE);
    const [read, write] = [machine.record(0)[1]!, machine.record(1)[1]!];
    expect([(read >> 35n) & 1n, (read >> 33n) & 1n, (read >> 40n) & 3n]).toEqual([1n, 1n, 2n]);
    expect([(write >> 35n) & 1n, (write >> 33n) & 1n]).toEqual([0n, 1n]);
  });

  test('SSV is bit 11 of the record', () => {
    const machine = new SmmuMachine().ste([0, 63, 59, 1]).start();
    machine.translate(0n, 0, STREAM, 1); // The CD of SubstreamID 1 is zeros: C_BAD_CD.
    expect(machine.record(0)).toEqual([0x10_0000_180an, 0n, 0n, 0n]);
  });

  test('aborted fetches are F_STE_FETCH, F_CD_FETCH and F_WALK_EABT, with their address', () => {
    const machine = new SmmuMachine();
    machine.ste([0, 55, 6, BigInt(NOWHERE) >> 6n]).start();
    machine.translate();
    expect(machine.record(0)).toEqual([0x10_0000_0000n | F_CD_FETCH, 0n, 0n, BigInt(NOWHERE)]);
    machine.put(STREAM_TABLE + 64 * STREAM, ...STE).put(0x43e2_0000, BigInt(NOWHERE) | 3n);
    machine.command([0x03n | (0x10n << 32n), 1n]);
    machine.translate();
    // RnW, CLASS=TT [41:40]=1, InputAddr, FetchAddr.
    expect(machine.record(1)).toEqual([
      0x10_0000_0000n | F_WALK_EABT,
      0x108_0000_0000n,
      0x1234n,
      BigInt(NOWHERE),
    ]);
    machine.write(R.CR0, CMDQEN).write64(R.STRTAB_BASE, BigInt(NOWHERE));
    machine.write(R.CR0, SMMUEN | CMDQEN | EVENTQEN).command([0x04n, 31n]);
    machine.translate();
    const address = BigInt(NOWHERE + 64 * STREAM);
    expect(machine.record(2)).toEqual([0x10_0000_0000n | F_STE_FETCH, 0n, 0n, address]);
  });

  test('TLBI_NH_VA reaches global pages whatever its ASID: a walk finds what is there now', () => {
    const machine = new SmmuMachine().start();
    // nG [11] clear: a global block.
    machine.put(0x43e3_0000, 0x8000_0745n);
    expect(machine.translate()).toMatchObject({ outputAddress: 0x8000_1234, nonGlobal: 0 });
    machine.put(0x43e3_0000, 0xc000_0745n);
    // ASID 0x77 [63:48] is not that of the CD.
    machine.command([0x12n | (0x77n << 48n), 0x1000n], [0x46n, 0n]);
    expect(machine.translate()).toMatchObject({ outputAddress: 0xc000_1234 });
  });

  test('CONS stays on the command that failed, and the acknowledgement alone goes on', () => {
    const machine = new SmmuMachine().start();
    machine.command([0x46n, 0n], [0x28n, 0n], [0x46n, 0n]);
    expect(machine.read(R.CMDQ_CONS)).toBe(0x0100_0001);
    machine.put(0x4100_0010, 0x46n, 0n).write(R.GERRORN, 1);
    expect(machine.read(R.CMDQ_CONS)).toBe(3);
  });

  test('GBPA.ABORT is bit 20: what Linux writes aborts', () => {
    const machine = new SmmuMachine();
    expect(machine.translate().outcome).toBe(0);
    machine.write(R.GBPA, 0x8010_1000);
    expect(machine.read(R.GBPA)).toBe(0x0010_1000);
    expect(machine.translate()).toMatchObject({ outcome: 1, event: 0 });
  });

  test('C_BAD_STREAMID is recorded only with CR2.RECINVSID; an STE that is zeros is C_BAD_STE', () => {
    const machine = new SmmuMachine().start();
    machine.translate(0n, 0, 0x11);
    expect(machine.record(0)).toEqual([0x11_0000_0004n, 0n, 0n, 0n]);
    machine
      .write(R.CR0, EVENTQEN)
      .write(R.CR2, 0)
      .write(R.CR0, SMMUEN | EVENTQEN);
    machine.translate(0n, 0, 0x1000);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
  });

  test('the interrupt of the event queue is an edge when it fills, not a level', () => {
    const machine = new SmmuMachine().start();
    for (let i = 0; i < 4; i++) machine.translate(1n << 50n);
    machine.write(R.EVENTQ_CONS, 2);
    expect(machine.wires).toEqual(['eventq']);
  });

  test('F_ADDR_SIZE comes before F_ACCESS and F_PERMISSION', () => {
    const machine = new SmmuMachine().start();
    // A read-only block without AF at 2^46, beyond IPS of 44 bits.
    machine.put(0x43e3_0000, (1n << 46n) | 0x8c1n);
    expect(machine.translate(0x1234n, WRITE)).toMatchObject({ event: 0x11 });
  });
});
