import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { CommandBatch } from '../../src/passthrough/command-batch.js';
import { CommandForwarder } from '../../src/passthrough/command-forwarder.js';
import { Delivery } from '../../src/passthrough/delivery.js';
import type { Steps } from '../../src/passthrough/host-steps.js';
import { PassthroughDevice, type Occasion } from '../../src/passthrough/passthrough-device.js';
import { PhysicalSmmu } from '../../src/passthrough/physical-smmu.js';
import { World } from './world-model.js';
import { begin, randomOptions, randomSteps, take } from './world-steps.js';

type Add = (this: CommandBatch, ...args: Parameters<CommandBatch['add']>) => boolean;
type Follow = (this: PassthroughDevice, occasion: Occasion) => Steps<number>;

afterEach(() => {
  vi.restoreAllMocks();
});

/** A method as it is, to be called by what takes its place. */
function method(prototype: object, name: string): unknown {
  return Object.getOwnPropertyDescriptor(prototype, name)!.value;
}

function* nothing(): Generator<never, number> {
  yield* [];
  return 0;
}

/** What each of them leaves out; opcodes are those of the manual. */
const MUTANTS: Record<string, () => void> = {
  'what is missed while nothing is nested': () =>
    vi.spyOn(PhysicalSmmu.prototype, 'skip').mockImplementation(() => undefined),
  'CDs of a device that stays nested': () =>
    vi.spyOn(PhysicalSmmu.prototype, 'invalidateCds').mockImplementation(nothing),
  'whatever else a reset brings': () =>
    vi.spyOn(PhysicalSmmu.prototype, 'leave').mockImplementation(() => undefined),
  CFGI_CD: () => {
    skipping(0x05);
  },
  TLBI_NH_ASID: () => {
    skipping(0x11);
  },
  TLBI_NH_VA: () => {
    skipping(0x12);
  },
  ATC_INV: () => {
    skipping(0x40);
  },
  'commands behind TLBI_NH_ALL': () => {
    const add = method(CommandBatch.prototype, 'add') as Add;
    vi.spyOn(CommandBatch.prototype, 'add').mockImplementation(function (
      this: CommandBatch,
      ...args
    ) {
      return this.count > 0 && this.opcode(0) === 0x10 ? false : add.apply(this, args);
    });
  },
  'what was refused': () =>
    vi.spyOn(Delivery.prototype, 'finish').mockImplementation(function (this: Delivery) {
      this.cerror = 0;
      return nothing() as never;
    }),
  'ATC_INVs that are late': () =>
    vi.spyOn(Delivery.prototype, 'sendLate').mockImplementation(() => nothing() as never),
  'to follow an STE at a command': () => {
    const follow = method(PassthroughDevice.prototype, 'follow') as Follow;
    vi.spyOn(PassthroughDevice.prototype, 'follow').mockImplementation(function (
      this: PassthroughDevice,
      occasion,
    ) {
      return occasion === 'command' ? nothing() : follow.call(this, occasion);
    });
  },
  'to send anything': () => vi.spyOn(CommandForwarder.prototype, 'flush').mockReturnValue(0),
};

function skipping(opcode: number): void {
  const add = method(CommandBatch.prototype, 'add') as Add;
  vi.spyOn(CommandBatch.prototype, 'add').mockImplementation(function (
    this: CommandBatch,
    ...args
  ) {
    return args[1] === opcode ? false : add.apply(this, args);
  });
}

describe('a passthrough that forgets is found out in a random world:', () => {
  test.each(Object.keys(MUTANTS))('%s', async (name) => {
    MUTANTS[name]!();
    const worlds = fc.asyncProperty(
      randomOptions,
      fc.nat(255),
      randomSteps,
      async (o, first, steps) => {
        const world = await World.make(o);
        await begin(world, first);
        for (const step of steps) await take(world, step);
        await world.end();
      },
    );
    const { failed } = await fc.check(worlds, { numRuns: 2000, endOnFailure: true });
    expect(failed).toBe(true);
  });
});
