import { describe, expect, test } from 'vitest';
import { AreaSink } from './area-sink.js';
import { DEVICE, expectKnown, MirrorMachine, tlbiVa, type Space } from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { WatchedMemory } from './watched-memory.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
  /** Of {@link DEVICE} + 1, tracked, with a page at {@link IOVA}. */
  other: { space: Space; stream: StreamMirror; sink: AreaSink };
  memory: WatchedMemory;
  /** Called once, by the next page that is published. */
  once: (call: () => void) => void;
}

function world(): World {
  let next: (() => void) | undefined;
  const added = (): void => {
    const call = next;
    next = undefined;
    call?.();
  };
  const memory = new WatchedMemory();
  const machine = new MirrorMachine({
    watched: memory,
    mirror: { tablePages: { added, removed: () => undefined } },
  });
  const space = machine.space();
  const second = machine.space(9);
  machine.map(space, IOVA, PA, 2).map(second, IOVA, PA);
  machine.setSte(DEVICE, space.cd).setSte(DEVICE + 1, second.cd);
  const sink = new AreaSink();
  const stream = machine.attach('tracked', sink, { streamId: DEVICE + 1 });
  const once = (call: () => void): void => void (next = call);
  return { machine, space, other: { space: second, stream, sink }, memory, once };
}

/** The guest maps a page in the other address space, and the VMM tells of it. */
function write({ machine, other }: World): void {
  machine.map(other.space, IOVA + 0x1000, PA + 0x1000);
  machine.mirror.tableWritten(machine.descriptor(other.space, IOVA + 0x1000), 8);
}

const CONTENT = ['100000+2000>80000000 rw'];

describe('a listener that calls back when a page is published', () => {
  // The space that was queued last is taken off the stack in the place of the one that was read.
  test('with a write to another address space: both are in step', () => {
    const all = world();
    const { machine, other, once } = all;
    const sink = new AreaSink();
    once(() => {
      write(all);
    });
    const stream = machine.attach('tracked', sink);
    machine.runScheduled();
    expect([sink.content, other.sink.content]).toEqual([CONTENT, CONTENT]);
    expect([stream.isInStep, other.stream.isInStep]).toEqual([true, true]);
    machine.unmap(other.space, IOVA).issue(tlbiVa(IOVA, 9));
    expect(other.sink.content).toEqual(['101000+1000>80001000 rw']);
  });

  test('with a write to the address space that is being read', () => {
    const { machine, space, once } = world();
    const sink = new AreaSink();
    once(() => {
      machine.map(space, IOVA + 0x2000, PA + 0x2000);
      machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x2000), 8);
    });
    const stream = machine.attach('tracked', sink);
    machine.runScheduled();
    expect([sink.content, stream.isInStep]).toEqual([['100000+3000>80000000 rw'], true]);
    expectKnown(stream, sink);
  });

  test.each<[string, (stream: StreamMirror) => void, string[]]>([
    ['the policy invalidate', (stream) => void (stream.policy = 'invalidate'), CONTENT],
    ['the policy demand', (stream) => void (stream.policy = 'demand'), []],
    ['sync()', (stream) => void stream.sync(), CONTENT],
    [
      'detach()',
      (stream) => {
        stream.detach();
      },
      [],
    ],
  ])('with %s', (_, call, content) => {
    const { machine, once } = world();
    const sink = new AreaSink();
    const stream = machine.attach('demand', sink);
    once(() => {
      call(stream);
    });
    stream.policy = 'tracked';
    machine.runScheduled();
    machine.issue();
    expect([sink.content, machine.isDrained]).toEqual([content, true]);
    expect(sink.wrongs).toEqual([]);
  });
});

describe('memory that lets the guest go on while it is read', () => {
  // As above: `machine.issue` invalidates another address space in the middle of a read.
  test('with a TLBI of another address space', () => {
    const { machine, other, memory } = world();
    let reads = 0;
    memory.onRead = () => {
      if (++reads !== 3) return;
      machine.unmap(other.space, IOVA).issue(tlbiVa(IOVA, 9));
    };
    machine.attach('invalidate');
    machine.runScheduled();
    machine.issue();
    expect([other.sink.content, other.stream.isInStep]).toEqual([[], true]);
  });
});
