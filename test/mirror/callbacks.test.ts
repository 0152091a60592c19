import { describe, expect, test } from 'vitest';
import type { SyncPolicy } from '../../src/mirror/mirror-options.js';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { AreaSink } from './area-sink.js';
import {
  cfgiSte,
  DEVICE,
  expectKnown,
  machineWithSpace,
  TLBI_NH_ALL,
  tlbiVa,
  type MirrorMachine,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';

const IOVA = 0x10_0000;
const PA = 0x8000_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
}

type Callback = (world: World) => void;

/** What a sink may do in the middle of an operation, and what is mapped in the end. */
const CALLBACKS: readonly (readonly [name: string, call: Callback, content: string[] | null])[] = [
  ['sync()', ({ stream }) => void stream.sync(), null],
  ['a CMD_SYNC', ({ machine }) => void machine.issue(), null],
  ['TLBI_NH_ALL and CMD_SYNC', ({ machine }) => void machine.issue(TLBI_NH_ALL), null],
  ['drain()', ({ machine }) => void machine.smmu.drain(10), null],
  [
    'tableWritten()',
    ({ machine }) => {
      machine.mirror.tableWritten(0x4800_0000, 0x10_0000);
    },
    null,
  ],
  ['a miss', ({ stream }) => void stream.miss(IOVA + 0x2000, 1), null],
  ['settled()', ({ stream }) => void stream.settled(), null],
  [
    'stats() and areas()',
    ({ machine, stream, sink }) => {
      machine.mirror.stats();
      expect([...stream.areas(sink)].length).toBeGreaterThan(0);
    },
    null,
  ],
  ['its policy, set again', ({ stream }) => void (stream.policy = 'invalidate'), null],
  [
    'another stream that is attached',
    ({ machine, space }) => {
      machine.setSte(DEVICE + 1, space.cd);
      machine.attach('invalidate', new AreaSink(), { streamId: DEVICE + 1 });
    },
    null,
  ],
  [
    'CFGI_STE of an STE that aborts',
    ({ machine }) => {
      machine.setSte(DEVICE, 0, [0, 3, 1, 0]).issue(cfgiSte());
    },
    [],
  ],
  [
    'SMMUEN=0',
    ({ machine }) => void machine.write(R.CR0, EVENTQEN | CMDQEN),
    ['40000000+10000000>40000000 rw'],
  ],
  [
    'CMDQEN=0 and 1',
    ({ machine }) => {
      machine.write(R.CR0, EVENTQEN | SMMUEN).write(R.CR0, EVENTQEN | SMMUEN | CMDQEN);
    },
    null,
  ],
  [
    'reset()',
    ({ machine }) => {
      machine.smmu.reset();
      machine.prod = 0;
    },
    ['40000000+10000000>40000000 rw'],
  ],
  [
    'detach()',
    ({ stream }) => {
      stream.detach();
    },
    [],
  ],
];

/** Does what the guest does, while the sink calls back once, in its operation number `nth`. */
function callingBack(call: Callback, nth: number, guest: Callback, policy: SyncPolicy): World {
  const { machine, space } = machineWithSpace();
  machine.map(space, IOVA, PA, 4);
  const sink = new AreaSink();
  const stream = machine.attach(policy, sink);
  if (policy === 'demand') for (let i = 0; i < 4; i++) stream.miss(IOVA + 4096 * i, 1);
  const world = { machine, space, sink, stream };
  const first = sink.operations + nth;
  let calls = 0;
  sink.called = ({ index }) => {
    if (index !== first) return;
    calls++;
    call(world);
  };
  guest(world);
  expect(calls).toBe(1);
  machine.runScheduled();
  return world;
}

const AFTER = ['100000+1000>90000000 rw', '102000+2000>80002000 rw'];

/** A page changes, and one goes. */
function changes({ machine, space }: World): void {
  machine.map(space, IOVA, 0x9000_0000).unmap(space, IOVA + 0x1000);
  machine.issue(tlbiVa(IOVA), tlbiVa(IOVA + 0x1000));
}

describe.each(['invalidate', 'demand'] as const)('a stream that is served by %s', (policy) => {
  describe.each(CALLBACKS)('a sink that calls back: %s', (name, call, content) => {
    test.each([1, 2])('in operation %d of a CMD_SYNC', (nth) => {
      const { machine, sink, stream } = callingBack(call, nth, changes, policy);
      expect(sink.content).toEqual(content ?? AFTER);
      expectKnown(stream, sink);
      expect(machine.isDrained).toBe(true);
      if (name !== 'detach()') expect(stream.isInStep).toBe(true);
    });

    test('in the operation of a sync', () => {
      const quiet: Callback = ({ machine, space, stream }) => {
        machine.unmap(space, IOVA + 0x1000);
        stream.sync();
      };
      const { machine, sink, stream } = callingBack(call, 1, quiet, policy);
      if (content !== null) expect(sink.content).toEqual(content);
      else expect(sink.content).toHaveLength(2);
      expectKnown(stream, sink);
      // The queue is off after a reset.
      if (name !== 'reset()') machine.issue();
      expect(machine.isDrained).toBe(true);
    });
  });
});

/** A descriptor is written, and told. */
function written({ machine, space }: World): void {
  machine.map(space, IOVA, 0x9000_0000);
  machine.mirror.tableWritten(machine.descriptor(space, IOVA), 8);
}

describe('a stream that is tracked: a sink that calls back in a write that is told', () => {
  const LOST = ['CFGI_STE of an STE that aborts', 'SMMUEN=0', 'reset()', 'detach()'];

  function check([name, call, content]: (typeof CALLBACKS)[number]): void {
    for (const nth of [1, 2]) {
      const { machine, sink, stream } = callingBack(call, nth, written, 'tracked');
      const all = ['100000+1000>90000000 rw', '101000+3000>80001000 rw'];
      expect(sink.content).toEqual(content ?? all);
      expectKnown(stream, sink);
      if (name !== 'reset()') machine.issue();
      expect(machine.isDrained).toBe(true);
    }
  }

  test.each(CALLBACKS.filter(([name]) => !LOST.includes(name)))('%s', (...row) => {
    check(row);
  });

  // Outside of a step a stream whose sink is busy is taken from the queue, and nobody puts it back.
  test.each(CALLBACKS.filter(([name]) => LOST.includes(name)))('%s', (...row) => {
    check(row);
  });

  // As above.
  test('another write: both are there', () => {
    const again: Callback = ({ machine, space }) => {
      machine.unmap(space, IOVA + 0x2000).map(space, IOVA + 0x8000, PA);
      machine.mirror.tableWritten(machine.descriptor(space, IOVA + 0x2000), 0x40);
    };
    for (const nth of [1, 2]) {
      const { machine, sink, stream } = callingBack(again, nth, written, 'tracked');
      expect(sink.content).toEqual([
        '100000+1000>90000000 rw',
        '101000+1000>80001000 rw',
        '103000+1000>80003000 rw',
        '108000+1000>80000000 rw',
      ]);
      expect([stream.isInStep, machine.isDrained]).toEqual([true, true]);
      expectKnown(stream, sink);
    }
  });
});

describe('a sink that calls back in a miss', () => {
  function missing(call: Callback): World {
    const { machine, space } = machineWithSpace();
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('demand', sink);
    stream.miss(IOVA, 1);
    const world = { machine, space, sink, stream };
    sink.called = () => {
      sink.called = () => undefined;
      call(world);
    };
    expect(stream.miss(IOVA + 0x1000, 1)).toBe(true);
    machine.runScheduled();
    return world;
  }

  test('with another miss: that page is mapped, too', () => {
    const { sink, stream } = missing((world) => {
      expect(world.stream.miss(IOVA + 0x2000, 1)).toBe(true);
    });
    expect(sink.content).toEqual(['100000+3000>80000000 rw']);
    expectKnown(stream, sink);
  });

  test('with a TLBI and CMD_SYNC: what was named is gone when CMD_SYNC completes', () => {
    const seen: string[] = [];
    const { machine, sink, stream } = missing((world) => {
      world.machine.unmap(world.space, IOVA).issue(tlbiVa(IOVA));
      if (world.machine.isDrained) seen.push(...world.sink.content);
    });
    expect(seen).toEqual([]);
    expect([machine.isDrained, sink.content]).toEqual([true, ['101000+1000>80001000 rw']]);
    expectKnown(stream, sink);
  });

  test('with detach(): nothing is left', () => {
    const { sink, machine } = missing(({ stream }) => {
      stream.detach();
    });
    machine.issue();
    expect([sink.content, machine.isDrained]).toEqual([[], true]);
    expect(sink.wrongs).toEqual([]);
  });

  test('with a miss of another stream', () => {
    const other = new AreaSink();
    const { sink, stream } = missing(({ machine, space }) => {
      machine.setSte(DEVICE + 1, space.cd);
      const second = machine.attach('demand', other, { streamId: DEVICE + 1 });
      expect(second.miss(IOVA + 0x3000, 1)).toBe(true);
    });
    expect([sink.content, other.content]).toEqual([
      ['100000+2000>80000000 rw'],
      ['103000+1000>80003000 rw'],
    ]);
    expectKnown(stream, sink);
  });
});

describe('a report that calls back', () => {
  test.each<[string, (stream: StreamMirror) => void]>([
    ['sync()', (stream) => void stream.sync()],
    ['the policy', (stream) => void (stream.policy = 'demand')],
    [
      'detach()',
      (stream) => {
        stream.detach();
      },
    ],
  ])('with %s: nothing hangs', (_, call) => {
    const { machine, space } = machineWithSpace({
      mirror: {
        report: ({ stream }) => {
          call(stream);
        },
      },
    });
    machine.map(space, IOVA, PA, 4);
    const sink = new AreaSink();
    const stream = machine.attach('invalidate', sink);
    sink.refuses = () => 'false';
    machine.unmap(space, IOVA).issue(tlbiVa(IOVA));
    expectKnown(stream, sink);
    sink.refuses = () => undefined;
    machine.issue();
    expect(machine.isDrained).toBe(true);
    expectKnown(stream, sink);
    expect(sink.content.includes('100000+4000>80000000 rw')).toBe(false);
  });
});
