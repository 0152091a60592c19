/** Random worlds and what happens in them, for fast-check. */
import fc from 'fast-check';
import { finish, checkTablePages } from './mirror-world-device.js';
import { take, type Step, type StepKind } from './mirror-world-steps.js';
import type { SinkOptions, StreamOptions, WorldOptions } from './mirror-world-options.js';
import { World } from './mirror-world.js';

/** What worlds differ in. */
export interface Profile {
  readonly streams: fc.Arbitrary<readonly StreamOptions[]>;
  /** How often each kind of step comes. */
  readonly steps: Readonly<Partial<Record<StepKind, number>>>;
  readonly granules?: readonly WorldOptions['granuleLog2'][];
  readonly more?: fc.Arbitrary<Partial<WorldOptions>>;
  readonly length?: number;
}

/** What guests do mostly. */
export const GUEST = {
  map: 10,
  unmap: 6,
  tweak: 4,
  block: 2,
  link: 2,
  first: 1,
  cd: 2,
  ste: 2,
  enable: 1,
  abort: 1,
  hole: 1,
  tlbi: 2,
  cfgi: 1,
  sync: 1,
  miss: 2,
  resync: 2,
} as const;

function worlds({ streams, granules = [12], more }: Profile): fc.Arbitrary<WorldOptions> {
  return fc
    .record({
      granuleLog2: fc.constantFrom(...granules),
      upper: fc.constantFrom('top' as const, 'bottom' as const, 'none' as const),
      bigEndian: fc.constantFrom(false, false, false, true),
      httu: fc.constantFrom(0, 0, 1, 2),
      compares: fc.boolean(),
      oas: fc.constantFrom(40 as const, 32 as const),
      tellsAtOnce: fc.constantFrom(true, true, false),
      streams,
      more: more ?? fc.constant({}),
    })
    .map(({ more: rest, ...options }) => ({ ...options, ...rest }));
}

function steps({ steps: weights, length = 12 }: Profile): fc.Arbitrary<Step[]> {
  const kinds = Object.entries(weights).flatMap(([kind, weight]) =>
    new Array<StepKind>(weight ?? 0).fill(kind),
  );
  const number = fc.nat(255);
  const step = fc
    .tuple(fc.constantFrom(...kinds), number, number, number, number)
    .map(([kind, a, b, c, d]) => ({ kind, a, b, c, d }));
  return fc.array(step, { minLength: 1, maxLength: length, size: 'max' });
}

export function sinks(...some: readonly SinkOptions[]): fc.Arbitrary<readonly SinkOptions[]> {
  return fc.constantFrom(...some).map((one) => [one]);
}

/** Streams with one policy each. */
export function stream(
  policies: readonly StreamOptions['policy'][],
  of: fc.Arbitrary<readonly SinkOptions[]>,
  streamId = 1,
): fc.Arbitrary<StreamOptions> {
  return fc.record({
    streamId: fc.constant(streamId),
    policy: fc.constantFrom(...policies),
    privileged: fc.constantFrom(false, false, true),
    sinks: of,
  });
}

/** `count` sequences in which all answers come at once. */
export function holds(profile: Profile, count: number): void {
  const property = fc.property(worlds(profile), steps(profile), (options, sequence) => {
    const world = new World(options);
    for (const step of sequence) {
      take(world, step);
      checkTablePages(world);
      world.check();
    }
    const end = finish(world);
    while (end.next().done !== true);
  });
  fc.assert(property, { numRuns: count });
}

/** `count` sequences in which sinks may answer later. */
export async function holdsLater(profile: Profile, count: number): Promise<void> {
  const property = fc.asyncProperty(worlds(profile), steps(profile), async (options, sequence) => {
    const world = new World(options);
    for (const step of sequence) {
      take(world, step);
      await answers(world);
    }
    const end = finish(world);
    while (end.next().done !== true) await answers(world);
  });
  await fc.assert(property, { numRuns: count });
}

/** Promises that are settled have their effect. */
async function answers(world: World): Promise<void> {
  let isToldSettled = false;
  const { executed } = world;
  void world.mirror.settled().then(() => (isToldSettled = true));
  await new Promise((resolve) => setImmediate(resolve));
  world.progress();
  checkTablePages(world);
  // A CMD_SYNC that was waited for may have been followed by more.
  const isExpected = world.executed > executed ? [true, world.isSettled] : [world.isSettled];
  if (!isExpected.includes(isToldSettled)) world.complain(`settled() says ${isToldSettled}`);
  world.check();
}
