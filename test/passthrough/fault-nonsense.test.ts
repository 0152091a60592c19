import { describe, expect, test } from 'vitest';
import { InvalidationError } from '../../src/passthrough/backend.js';
import type { PassthroughReport } from '../../src/passthrough/passthrough-options.js';
import { raise, type Method } from './command-host.js';
import {
  ABT,
  cfgiCd,
  cfgiSte,
  CommandRig,
  DEVICE,
  EIO,
  ILL,
  nhVa,
  refusal,
  SID,
  SYNC,
} from './command-rig.js';

/** What no backend should throw. */
const THROWN: readonly (readonly [string, unknown])[] = [
  ['a TypeError', new TypeError('x is not a function')],
  ['undefined', undefined],
  ['null', null],
  ['a number', 5],
  ['a string', 'EIO'],
  ['what looks like a refusal', { errno: EIO, handled: 1, name: 'IommufdError' }],
];

describe.each([false, true])('a backend that throws (later: %s)', (isLater) => {
  test.each(THROWN)('%s out of invalidate: CERROR_ABT', async (_, thrown) => {
    const reports: PassthroughReport[] = [];
    const rig = await CommandRig.make({ report: (report) => reports.push(report) });
    rig.host.isLater = isLater;
    const fail = (): never => raise(thrown);
    if (isLater) rig.host.onDone = fail;
    else rig.host.onCall = fail;
    rig.command(nhVa(1), nhVa(2), SYNC);
    await rig.settle();
    expect(rig.state).toEqual([0, ABT]);
    expect(reports.map(({ operation, error }) => [operation, error])).toEqual([
      ['invalidate', thrown],
    ]);
    rig.host.onCall = rig.host.onDone = () => undefined;
    rig.quiet().acknowledge();
    await rig.settle();
    expect([rig.state, rig.host.sent]).toEqual([[3, 0], [[nhVa(1), nhVa(2)]]]);
  });

  test.each(THROWN)('%s out of attach: CERROR_ABT, and nothing has changed', async (_, thrown) => {
    const rig = await CommandRig.make();
    rig.host.isLater = isLater;
    rig.host.onDone = ({ method }) => {
      if (method === 'attach') raise(thrown);
    };
    rig.ste('s1').command(nhVa(1), cfgiSte(), SYNC);
    await rig.settle();
    expect([rig.state, rig.device.disposition]).toEqual([[1, ABT], 'nested']);
    rig.host.onDone = () => undefined;
    rig.acknowledge();
    await rig.settle();
    expect([rig.state, rig.device.disposition]).toEqual([[3, 0], 'nested']);
  });
});

describe('InvalidationError with EIO', () => {
  test.each([
    ['0', 0, [0, ILL]],
    ['as many as there are', 3, [0, ABT]],
    ['more than there are', 1000, [0, ABT]],
    ['Infinity', Infinity, [0, ABT]],
  ])('handled = %s', async (_, handled, state) => {
    const rig = await CommandRig.make();
    rig.host.onCall = () => {
      throw new InvalidationError(EIO, handled);
    };
    rig.command(nhVa(1), nhVa(2), nhVa(3), SYNC);
    expect(rig.state).toEqual(state);
  });

  test.each([0.5, 1.5])('handled = %s: the queue stops at the first', async (handled) => {
    const rig = await CommandRig.make();
    rig.host.onCall = () => {
      throw new InvalidationError(EIO, handled);
    };
    rig.command(nhVa(1), nhVa(2), nhVa(3), SYNC);
    expect([rig.isStopped, rig.cons]).toEqual([true, 0]);
  });

  test.each([NaN, -1, -0.5])('handled = %s: the queue stops', async (handled) => {
    const rig = await CommandRig.make();
    rig.host.onCall = () => {
      throw new InvalidationError(EIO, handled);
    };
    rig.command(nhVa(1), nhVa(2), nhVa(3), SYNC);
    expect([rig.isStopped, rig.cons]).toEqual([true, 0]);
  });

  test('of a batch without count is on its first command', async () => {
    const rig = await CommandRig.make();
    rig.host.onCall = () => {
      throw refusal(EIO);
    };
    rig.command(nhVa(1), nhVa(2), SYNC);
    expect(rig.state).toEqual([0, ILL]);
  });
});

describe('a backend that answers', () => {
  const IDS: readonly (readonly [string, unknown])[] = [
    ['0', 0],
    ['-1', -1],
    ['NaN', NaN],
    ['1.5', 1.5],
    ['a string', '7'],
    ['null', null],
    ['an object', {}],
    ['a bigint', 7n],
  ];

  test.each(IDS)('%s for a HWPT: the device stays as it is, CERROR_ABT', async (_, id) => {
    const rig = await CommandRig.make();
    rig.host.nonsense = ({ method }) => (method === 'allocate' ? id : undefined);
    // null is what `??` takes for no answer at all.
    if (id === null) rig.host.allocate = () => null as unknown as number;
    rig.ste('s1').command(cfgiSte(), SYNC);
    expect([rig.state, rig.device.disposition, rig.host.methods.includes('attach')]).toEqual([
      [0, ABT],
      'nested',
      false,
    ]);
  });

  test.each(IDS)('%s for a vDEVICE: the device is not attached', async (_, id) => {
    const rig = await CommandRig.make();
    rig.host.nonsense = ({ method }) => (method === 'bind' ? id : undefined);
    if (id === null) rig.host.bind = () => null as unknown as number;
    await expect(rig.attach(0, SID + 1, DEVICE + 1)).rejects.toThrow(TypeError);
    expect(rig.passthrough.deviceOf(SID + 1)).toBeUndefined();
  });

  test.each(['attach', 'destroy', 'invalidate'] satisfies Method[])(
    'anything for %s, which says nothing: it is done',
    async (method) => {
      const rig = await CommandRig.make();
      rig.host.nonsense = (call) => (call.method === method ? NaN : undefined);
      rig.ste('s1').command(nhVa(1), cfgiSte(), cfgiCd(1), SYNC);
      expect([rig.state, rig.device.disposition]).toEqual([[4, 0], 'nested']);
    },
  );
});

describe('a report that throws', () => {
  test('leaves CONS on what is not done', async () => {
    let isAngry = false;
    const rig = await CommandRig.make({
      report: () => {
        if (isAngry) throw new Error('no');
      },
    });
    // CONS of the failure before is further on in its run.
    rig.host.onCall = ({ words }) => {
      if (words.length > 8) throw refusal(EIO, 2);
    };
    rig.command(nhVa(1), nhVa(2), nhVa(3), nhVa(4), SYNC);
    expect(rig.state).toEqual([2, ILL]);
    rig.host.onCall = () => {
      throw refusal(EIO, 0);
    };
    isAngry = true;
    try {
      rig.acknowledge();
    } catch {
      // It may come out of the register write.
    }
    expect(rig.cons).toBe(2);
  });
});
