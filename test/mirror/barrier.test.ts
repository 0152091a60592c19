import { describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, R, SMMUEN, SYNC } from '../smmu/smmu-machine.js';
import { AreaSink } from './area-sink.js';
import {
  DEVICE,
  expectKnown,
  machineWithSpace,
  tlbiVa,
  type MirrorMachine,
  type MirrorMachineOptions,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;
const ON = SMMUEN | EVENTQEN | CMDQEN;

interface World {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
}

/** Eight pages are mapped; from now on the sink answers when it is told to. */
function slow(options: MirrorMachineOptions = {}): World {
  const { machine, space } = machineWithSpace(options);
  machine.map(space, IOVA, PA, 8);
  const sink = new AreaSink();
  const stream = machine.attach('invalidate', sink);
  sink.take();
  sink.isSlow = true;
  return { machine, space, sink, stream };
}

/** How many commands have been consumed. */
function consumed(machine: MirrorMachine): number {
  return machine.read(R.CMDQ_CONS);
}

describe('CMD_SYNC, while a sink has not answered', () => {
  test('stays in the queue until the last answer, with the commands behind it', async () => {
    const { machine, space, sink, stream } = slow();
    machine.map(space, IOVA, 0x9000_0000).unmap(space, IOVA + 0x3000);
    machine.issue(tlbiVa(IOVA), tlbiVa(IOVA + 0x3000));
    machine.command(tlbiVa(IOVA + 0x5000));
    expect([consumed(machine), stream.isInStep]).toEqual([2, false]);
    for (let answers = 0; answers < 3; answers++) {
      expect([consumed(machine), sink.pending > 0]).toEqual([2, true]);
      await sink.release(1);
      expectKnown(stream, sink);
    }
    expect([consumed(machine), stream.isInStep, machine.isDrained]).toEqual([4, true, true]);
    expect(sink.take().sort()).toEqual([
      'map 100000+1000>90000000 rw',
      'unmap 100000+1000',
      'unmap 103000+1000',
    ]);
  });

  test.each(['reject', 'reject false'] as const)('goes on when it answers by %s', async (how) => {
    const { machine, space, sink, stream } = slow();
    sink.refuses = () => how;
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    for (let i = 0; i < 5 && !machine.isDrained; i++) await sink.release();
    expect([machine.isDrained, sink.take()]).toEqual([true, ['unmap 100000+1000']]);
    expectKnown(stream, sink);
    expect(machine.takeReports()).toEqual(['refused unmap 100000']);
    expect([stream.isInStep, machine.mirror.stats().refusals]).toEqual([false, 1]);
  });

  // Every drain executes CMD_SYNC anew, which tries again what was refused, which is to be waited for.
  test('goes on when it rejects, too, where the embedder drains the queue', async () => {
    const { machine, space, sink } = slow({ commandBudget: 0 });
    sink.refuses = () => 'reject';
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    for (let i = 0; i < 20 && !machine.isDrained; i++) {
      machine.smmu.drain(10);
      await sink.release();
    }
    expect(machine.isDrained).toBe(true);
  });

  test('does not wait for what is asked after it', async () => {
    const { machine, space, sink } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    machine.unmap(space, IOVA + 0x1000).command(tlbiVa(IOVA + 0x1000));
    await sink.release();
    expect(sink.texts).toEqual(['101000+7000>80001000 rw']);
    expect([machine.isDrained, sink.pending]).toEqual([true, 1]);
    await sink.release();
    expect(sink.texts).toEqual(['102000+6000>80002000 rw']);
  });

  test('of another moment is not held back by what is done', async () => {
    const { machine, space, sink } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    await sink.release();
    machine.issue(tlbiVa(IOVA));
    expect([machine.isDrained, sink.pending]).toEqual([true, 0]);
  });

  test('without anything to tell completes at once', () => {
    const { machine, sink } = slow();
    machine.issue();
    expect([machine.isDrained, sink.log]).toEqual([true, []]);
  });

  test('sends its completion signal when it completes, not before', async () => {
    const { machine, space, sink } = slow();
    // CS=1, MSIData, MSIAddress in RAM.
    const at = 0x4500_0000;
    machine
      .unmap(space, IOVA)
      .command(tlbiVa(IOVA), [SYNC | (1n << 12n) | (7n << 32n), BigInt(at)]);
    expect(machine.peek(at)).toBe(0n);
    await sink.release();
    expect(machine.peek(at)).toBe(7n);
  });
});

describe('meanwhile', () => {
  test('translations are answered, from the new tables, and faults are recorded', async () => {
    const { machine, space, sink } = slow();
    const handle = machine.smmu.attach(DEVICE);
    machine.map(space, IOVA, 0x9000_0000).unmap(space, IOVA + 0x1000);
    machine.issue(tlbiVa(IOVA), tlbiVa(IOVA + 0x1000));
    expect(handle.translate(IOVA, 0)).toBe(0x9000_0000);
    expect(handle.translate(IOVA + 0x1000, 0)).toBe(-1);
    expect(machine.read(R.EVENTQ_PROD)).toBe(1);
    expect([machine.isDrained, machine.read(R.CR0ACK)]).toEqual([false, ON]);
    while (sink.pending > 0) await sink.release();
    expect(machine.isDrained).toBe(true);
  });

  test('registers can be written: what they decide comes to the sink afterwards', async () => {
    const { machine, space, sink, stream } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    machine.write(R.CR0, EVENTQEN | CMDQEN);
    expect(sink.take()).toEqual(['unmap 100000+1000']);
    while (sink.pending > 0) await sink.release();
    expect(sink.texts).toEqual(['40000000+10000000>40000000 rw']);
    expectKnown(stream, sink);
    expect(machine.isDrained).toBe(true);
  });

  test('the sinks of other streams are served, and CMD_SYNC waits for all', async () => {
    const { machine, space, sink } = slow();
    machine.setSte(DEVICE + 1, space.cd);
    const other = new AreaSink();
    machine.attach('invalidate', other, { streamId: DEVICE + 1 });
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect(other.texts).toEqual(['101000+7000>80001000 rw']);
    expect(machine.isDrained).toBe(false);
    machine.unmap(space, IOVA + 0x1000);
    machine.mirror.stats();
    expect(sink.pending).toBe(1);
    while (sink.pending > 0) await sink.release();
    expect(machine.isDrained).toBe(true);
  });

  test('changes gather: the sink hears of the last state, once', async () => {
    const { machine, space, sink, stream } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    for (let i = 1; i < 5; i++) {
      machine.map(space, IOVA + 0x1000, 0x9000_0000 + 4096 * i);
      stream.sync();
    }
    sink.take();
    while (sink.pending > 0) await sink.release();
    expect(sink.take()).toEqual(['unmap 101000+1000', 'map 101000+1000>90004000 rw']);
    expectKnown(stream, sink);
  });

  test('settled() is fulfilled when the sink has answered everything', async () => {
    const { machine, space, sink, stream } = slow();
    machine.map(space, IOVA, 0x9000_0000).command(tlbiVa(IOVA));
    const order: string[] = [];
    void machine.mirror.settled().then(() => order.push('mirror'));
    void stream.settled().then(() => order.push('stream'));
    await sink.release();
    expect(order).toEqual([]);
    await sink.release();
    expect(order).toEqual(['mirror', 'stream']);
    await machine.mirror.settled();
  });

  test.each([
    ['and enabled again: CMD_SYNC waits again', ON],
    ['and stays off: nothing is consumed', SMMUEN | EVENTQEN],
  ])('the queue is switched off %s', async (_, cr0) => {
    const { machine, space, sink } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    machine.write(R.CR0, SMMUEN | EVENTQEN);
    machine.write(R.CR0, cr0);
    expect(consumed(machine)).toBe(1);
    await sink.release();
    expect(consumed(machine)).toBe(cr0 === ON ? 2 : 1);
    machine.write(R.CR0, ON);
    expect(machine.isDrained).toBe(true);
    // And the next one does not wait for what is over.
    machine.issue();
    expect(machine.isDrained).toBe(true);
  });

  test('a detached stream: CMD_SYNC waits until its sink is empty', async () => {
    const { machine, space, sink, stream } = slow();
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    stream.detach();
    await sink.release();
    expect([machine.isDrained, sink.take().at(-1)]).toEqual([false, 'unmap 101000+7000']);
    await sink.release();
    expect([machine.isDrained, sink.texts]).toEqual([true, []]);
  });
});

describe('several mirrors', () => {
  test('CMD_SYNC waits for the slowest', async () => {
    const { machine, space, sink } = slow();
    const others = [1, 2].map(() => {
      const mirror = machine.smmu.mirror(machine.options());
      const other = new AreaSink();
      mirror.attach(DEVICE, { sinks: [other], policy: 'invalidate' });
      return other;
    });
    others[1]!.isSlow = true;
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect([sink, ...others].map(({ pending }) => pending)).toEqual([1, 0, 1]);
    await sink.release();
    expect(machine.isDrained).toBe(false);
    await others[1]!.release();
    expect(machine.isDrained).toBe(true);
    for (const other of [sink, ...others]) {
      expect(other.texts).toEqual(['101000+7000>80001000 rw']);
      expect(other.wrongs).toEqual([]);
    }
  });

  test('what one has been refused is not tried again since another one is slow', async () => {
    const { machine, space, sink } = slow();
    const refusing = new AreaSink();
    const mirror = machine.smmu.mirror(machine.options());
    mirror.attach(DEVICE, { sinks: [refusing], policy: 'invalidate' });
    refusing.refuses = () => 'false';
    const before = refusing.operations;
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    while (sink.pending > 0) await sink.release();
    expect(machine.isDrained).toBe(true);
    expect(refusing.operations - before).toBeLessThanOrEqual(2);
  });
});
