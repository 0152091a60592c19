import { describe, expect, test } from 'vitest';
import { Smmu } from '../../src/smmu.js';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  expectKnown,
  machineWithSpace,
  MirrorMachine,
  tlbiVa,
} from './machine.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;
const MAPPED = ['100000+4000>80000000 rw'];
const IDENTITY = ['40000000+10000000>40000000 rw'];
/** GBPA: Update, with ABORT in bit 20 or without. */
const GBPA_ABORT = 0x8010_0000;
const GBPA_BYPASS = 0x8000_0000;
const OFF = EVENTQEN | CMDQEN;

describe('registers that decide over all streams', () => {
  test('SMMUEN=0: GBPA decides between the identity of RAM and nothing, and back', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    const seen = [sink.content];
    for (const [offset, value] of [
      [R.CR0, OFF],
      [R.GBPA, GBPA_ABORT],
      [R.CR0, OFF | SMMUEN],
      [R.CR0, OFF],
      [R.GBPA, GBPA_BYPASS],
      [R.CR0, OFF | SMMUEN],
    ] as const) {
      machine.write(offset, value);
      expectKnown(stream, sink);
      expect(stream.isInStep).toBe(true);
      seen.push(sink.content);
    }
    expect(seen).toEqual([MAPPED, IDENTITY, [], MAPPED, [], IDENTITY, MAPPED]);
  });

  test('SMMUEN=0 and 1 again: what the guest has mapped meanwhile is there', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 2);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.write(R.CR0, OFF);
    machine.map(space, IOVA, PA, 4).write(R.CR0, OFF | SMMUEN);
    expect(sink.content).toEqual(MAPPED);
  });

  test('a register write that changes nothing asks the sinks for nothing', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    sink.take();
    machine
      .write(R.CR0, OFF | SMMUEN)
      .write(R.GBPA, GBPA_ABORT)
      .write(R.IRQ_CTRL, 0);
    expect(sink.take()).toEqual([]);
  });

  test('a stream that is attached before the guest enables anything follows it from the start', () => {
    const machine = new MirrorMachine({ isOff: true });
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect(sink.content).toEqual(IDENTITY);
    machine.start(CMDQEN);
    const space = machine.space();
    machine.map(space, IOVA, PA, 4).setSte(DEVICE, space.cd);
    expect(sink.content).toEqual(IDENTITY);
    machine.write(R.CR0, OFF | SMMUEN);
    expect(sink.content).toEqual(MAPPED);
    expectKnown(stream, sink);
  });

  test('a guest that aborts first, enables, and then writes its STE', () => {
    const machine = new MirrorMachine({ isOff: true });
    const sink = new AreaSink();
    machine.attach('invalidate', sink);
    machine.write(R.GBPA, GBPA_ABORT);
    expect(sink.content).toEqual([]);
    machine.start();
    const space = machine.space();
    machine.map(space, IOVA, PA, 4).setSte(DEVICE, space.cd).issue(cfgiSte());
    expect(sink.content).toEqual(MAPPED);
  });

  test('a StreamID beyond the stream table maps nothing, and records no event', () => {
    const { machine } = machineWithSpace();
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink, { streamId: 0x100 });
    expect([sink.log, stream.isInStep]).toEqual([[], true]);
    expect(machine.read(R.EVENTQ_PROD)).toBe(0);
  });
});

describe('the life of a vSMMU', () => {
  test('reset unmaps what tables said: after it GBPA decides', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    machine.smmu.reset();
    expect(sink.content).toEqual(IDENTITY);
    expectKnown(stream, sink);
    expect(machine.mirror.stats()).toMatchObject({ spaces: 0, tables: 0 });
    machine.prod = 0;
    machine.start();
    expect(sink.content).toEqual(MAPPED);
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect(sink.content).toEqual(['101000+3000>80001000 rw']);
    expectKnown(stream, sink);
  });

  test('reset while a sink is busy: it comes to what GBPA says', async () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.isSlow = true;
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    machine.smmu.reset();
    while (sink.pending > 0) await sink.release();
    expect(sink.content).toEqual(IDENTITY);
    expectKnown(stream, sink);
    await machine.mirror.settled();
  });

  /** Another vSMMU over the same memory, with a mirror. */
  function twin(machine: MirrorMachine) {
    const smmu = new Smmu({ memory: machine.ram });
    const mirror = smmu.mirror(machine.options());
    const sink = new AreaSink();
    const stream = mirror.attach(DEVICE, { sinks: [sink], policy: 'invalidate' });
    return { smmu, mirror, sink, stream };
  }

  test('restore into a vSMMU with a mirror: its sinks say what the saved one said', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    machine.attach();
    const { smmu, sink, stream } = twin(machine);
    expect(sink.content).toEqual(IDENTITY);
    smmu.restore(machine.smmu.save());
    expect(sink.content).toEqual(MAPPED);
    expectKnown(stream, sink);
  });

  // Smmu.restore tells the keepers to forget everything after the mirror has read it, and nobody flushes.
  test('after a restore the mirror is in step, and settled', async () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const { smmu, mirror, stream } = twin(machine);
    smmu.restore(machine.smmu.save());
    let isSettled = false;
    void mirror.settled().then(() => (isSettled = true));
    await Promise.resolve();
    expect([stream.isInStep, isSettled]).toEqual([true, true]);
  });

  test('restore uses the STE that the saved one had cached, as it did', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    machine.attach();
    machine.setSte(DEVICE, space.cd, [0, 3, 1, 0b100]);
    const { smmu, sink } = twin(machine);
    smmu.restore(machine.smmu.save());
    expect(sink.content).toEqual(MAPPED);
    // CMDQ_PROD of the restored one goes on.
    machine.enqueue(cfgiSte(), [0x46n, 0n]);
    smmu.writeRegister(R.CMDQ_PROD, 4, machine.prod);
    expect(sink.content).toEqual(IDENTITY);
  });

  test('restore that is refused changes nothing in the sinks', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const { smmu, sink } = twin(machine);
    sink.take();
    expect(() => {
      smmu.restore({ ...machine.smmu.save(), version: 99 } as never);
    }).toThrow(RangeError);
    expect(sink.take()).toEqual([]);
  });

  test('a mirror that is made after the guest has started sees what there is', () => {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const mirror = machine.smmu.mirror(machine.options());
    mirror.attach(DEVICE, { sinks: [sink], policy: 'invalidate' });
    expect(sink.content).toEqual(MAPPED);
    machine.put(STREAM_TABLE + 64 * DEVICE, 0n).issue(cfgiSte());
    expect(sink.content).toEqual([]);
  });
});
