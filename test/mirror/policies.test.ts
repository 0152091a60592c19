import { describe, expect, test } from 'vitest';
import type { SyncPolicy } from '../../src/mirror/mirror-options.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  expectKnown,
  machineWithSpace,
  MirrorMachine,
  tlbiVa,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;

/** Four pages; nothing that happened later than the attachment was told. */
function mapped(policy: SyncPolicy): {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
} {
  const listener = { added: () => undefined, removed: () => undefined };
  const { machine, space } = machineWithSpace({ mirror: { tablePages: listener } });
  machine.map(space, IOVA, PA, 4);
  const sink = new AreaSink();
  const stream = machine.attach(policy, sink);
  return { machine, space, sink, stream };
}

/** What is seen of changes of the guest, in the order in which it does and tells them. */
function story(
  { machine, space, sink, stream }: ReturnType<typeof mapped>,
  isTracked: boolean,
): string[] {
  const seen: string[] = [];
  const note = (what: string): void => {
    seen.push(...sink.take().map((operation) => `${what}: ${operation}`));
  };
  sink.take();
  machine.map(space, IOVA + 0x4000, PA + 0x4000);
  note('new page');
  machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x4000), 8);
  note('written');
  expect(stream.miss(IOVA + 0x4000, 1)).toBe(true);
  note('miss');
  machine.unmap(space, IOVA + 0x4000);
  if (isTracked) machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x4000), 8);
  note('gone');
  machine.issue(tlbiVa(IOVA + 0x4000));
  note('tlbi');
  expectKnown(stream, sink);
  return seen;
}

/** What each policy lets a sink see, and when. */
const STORIES: Record<SyncPolicy, string[]> = {
  demand: ['miss: map 104000+1000>80004000 rw', 'tlbi: unmap 104000+1000'],
  invalidate: ['miss: map 104000+1000>80004000 rw', 'tlbi: unmap 104000+1000'],
  tracked: ['written: map 104000+1000>80004000 rw', 'gone: unmap 104000+1000'],
};

const POLICIES = ['demand', 'invalidate', 'tracked'] as const;

describe.each(POLICIES)('the policy %s', (policy) => {
  test('decides what is mapped when the stream is attached', () => {
    const { sink } = mapped(policy);
    expect(sink.content).toEqual(policy === 'demand' ? [] : ['100000+4000>80000000 rw']);
  });

  test('decides when a new page is mapped', () => {
    expect(story(mapped(policy), policy === 'tracked')).toEqual(STORIES[policy]);
  });

  test.each(POLICIES.filter((other) => other !== policy))('can become %s', (other) => {
    const world = mapped(policy);
    const { machine, space, sink, stream } = world;
    if (policy === 'demand') stream.miss(IOVA + 0x1000, 1);
    expect(stream.policy).toBe(policy);
    machine.unmap(space, IOVA, 2);
    machine.mirror.tableWritten(machine.descriptor(space, IOVA), 16);
    stream.policy = other;
    expect([stream.policy, stream.servedBy]).toEqual([other, other]);
    // What is mapped is looked up again, and what is new is there unless it waits for a miss.
    const isDemand = policy === 'demand' && other === 'demand';
    expect(sink.content).toEqual(isDemand ? [] : ['102000+2000>80002000 rw']);
    expectKnown(stream, sink);
    expect([...machine.mirror.tablePages()].length > 0).toBe(other === 'tracked');
    expect(machine.mirror.stats().tables > 0).toBe(other !== 'demand');
    expect(story(world, other === 'tracked')).toEqual(STORIES[other]);
  });

  test('set again to the same: what has changed is brought to the sink as it says', () => {
    const { machine, space, sink, stream } = mapped(policy);
    if (policy === 'demand') stream.miss(IOVA, 1);
    machine.unmap(space, IOVA);
    machine.mirror.tableWritten(machine.descriptor(space, IOVA), 8);
    stream.policy = policy;
    const gone = policy === 'demand' ? [] : ['101000+3000>80001000 rw'];
    // The tables of `invalidate` are not read again for that: `sync()` does it.
    if (policy !== 'invalidate') expect(sink.content).toEqual(gone);
    stream.sync();
    expect(sink.content).toEqual(gone);
  });
});

describe('sync', () => {
  test('of a range reads that range again, and nothing else', () => {
    const { machine, space, sink, stream } = mapped('invalidate');
    sink.take();
    machine.unmap(space, IOVA, 4);
    expect(stream.sync(IOVA + 0x1000, 0x1000)).toBe(true);
    expect(sink.take()).toEqual(['unmap 101000+1000']);
    // Any byte of a page names it.
    stream.sync(IOVA + 0x2fff, 2);
    expect(sink.take()).toEqual(['unmap 102000+2000']);
    stream.sync(BigInt(IOVA), 0);
    expect(sink.take()).toEqual([]);
    stream.sync();
    expect(sink.take()).toEqual(['unmap 100000+1000']);
  });

  test('brings what the guest has mapped without a word', () => {
    const { machine, space, sink, stream } = mapped('invalidate');
    machine.map(space, IOVA + 0x4000, PA + 0x4000, 4);
    stream.sync(IOVA + 0x5000);
    expect(sink.content).toEqual(['100000+4000>80000000 rw', '105000+3000>80005000 rw']);
  });

  test('on demand looks up what is mapped, and maps nothing', () => {
    const { machine, space, sink, stream } = mapped('demand');
    stream.miss(IOVA, 1);
    sink.take();
    machine.map(space, IOVA, 0x9000_0000, 4);
    expect(stream.sync()).toBe(true);
    expect(sink.take()).toEqual(['unmap 100000+1000', 'map 100000+1000>90000000 rw']);
  });

  test('finds an STE that was not valid before: no command has to name it', () => {
    const machine = new MirrorMachine();
    const space = machine.space();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    expect(stream.sync()).toBe(true);
    machine.setSte(DEVICE, space.cd);
    expect(stream.sync()).toBe(true);
    expect(sink.content).toEqual(['100000+4000>80000000 rw']);
  });

  test.each(POLICIES)('%s: so does a miss', (policy) => {
    const machine = new MirrorMachine();
    const space = machine.space();
    machine.map(space, IOVA, PA);
    const sink = new AreaSink();
    const stream = machine.attach(policy, sink);
    machine.setSte(DEVICE, space.cd);
    expect(stream.miss(IOVA, 3)).toBe(true);
    expect(sink.content).toEqual(['100000+1000>80000000 rw']);
  });
});

describe('streams that share their tables with others', () => {
  /** A stream that is mirrored, then a page that nobody was told of; the other one has the same CD. */
  function shared(): { machine: MirrorMachine; space: Space; sink: AreaSink } {
    const { machine, space } = mapped('invalidate');
    machine.setSte(DEVICE + 1, space.cd);
    return { machine, space, sink: new AreaSink() };
  }
  const ALL = ['100000+5000>80000000 rw'];

  // A tree that is there already is taken as it is: it is as old as the last invalidation.
  test('see all when they are attached', () => {
    const { machine, space, sink } = shared();
    machine.map(space, IOVA + 0x4000, PA + 0x4000);
    machine.attach('invalidate', sink, { streamId: DEVICE + 1 });
    expect(sink.content).toEqual(ALL);
  });

  // As above.
  test('see all when their STE is invalidated', () => {
    const { machine, space, sink } = shared();
    machine.setSte(DEVICE + 1, space.cd, [0, 3, 1, 0]);
    machine.attach('invalidate', sink, { streamId: DEVICE + 1 });
    machine.setSte(DEVICE + 1, space.cd).map(space, IOVA + 0x4000, PA + 0x4000);
    machine.issue(cfgiSte(DEVICE + 1));
    expect(sink.content).toEqual(ALL);
  });

  // As above.
  test('see all when their policy was demand, and is set to invalidate', () => {
    const { machine, space, sink } = shared();
    const stream = machine.attach('demand', sink, { streamId: DEVICE + 1 });
    machine.map(space, IOVA + 0x4000, PA + 0x4000);
    stream.policy = 'invalidate';
    expect(sink.content).toEqual(ALL);
  });

  test('of which one is tracked: what the VMM tells reaches those that follow the tables', () => {
    const { machine, space, sink } = shared();
    const follower = new AreaSink();
    const demanding = new AreaSink();
    machine.attach('tracked', sink, { streamId: DEVICE + 1 });
    machine.setSte(DEVICE + 2, space.cd).setSte(DEVICE + 3, space.cd);
    machine.attach('invalidate', follower, { streamId: DEVICE + 2 });
    machine.attach('demand', demanding, { streamId: DEVICE + 3 }).miss(IOVA, 1);
    machine.map(space, IOVA + 0x4000, PA + 0x4000);
    machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x4000), 8);
    expect(sink.content).toEqual(ALL);
    expect(follower.content).toEqual(ALL);
    expect(demanding.content).toEqual(['100000+1000>80000000 rw']);
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expect([sink.content.length, demanding.content]).toEqual([1, []]);
  });
});
