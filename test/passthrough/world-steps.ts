/** What happens in a world, for fast-check. */
import fc from 'fast-check';
import { R, SMMUEN, type Entry } from '../smmu/smmu-machine.js';
import {
  atcInv,
  CFGI_ALL,
  cfgiCd,
  cfgiCdAll,
  cfgiRange,
  cfgiSte,
  GBPA_ABORT,
  GBPA_BYPASS,
  TLBI_ALL,
  TLBI_NSNH,
  tlbiAsid,
  tlbiVa,
  tlbiVaa,
} from './device-rig.js';
import {
  QUEUES,
  SIDS,
  SUBSTREAMS,
  WORLD_STES,
  type Slot,
  type World,
  type WorldOptions,
  type WorldSte,
} from './world-model.js';

const NAMES = Object.keys(WORLD_STES) as WorldSte[];
const ASIDS = 3;
const PAGES = 6;

export interface Step {
  readonly kind: keyof typeof STEPS;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly pages: readonly number[];
}

const sidOf = (a: number): number => SIDS[a % SIDS.length]!;
const addressOf = (page: number): bigint => BigInt(page) << 12n;

/** TLBI_NH_VA of pages by a range: TG=1, NUM, SCALE, TTL=3 (smmuv3-commands, section 5). */
function tlbiRange(asid: number, page: number, count: number): Entry {
  const [low, high] = tlbiVa(asid, addressOf(page));
  return [low | (BigInt(count - 1) << 12n), high | (1n << 10n) | (3n << 8n)];
}

function tlbi(a: number, b: number, c: number): Entry {
  const asid = 1 + (b % ASIDS);
  const page = c % PAGES;
  const all = [
    TLBI_ALL,
    TLBI_NSNH,
    tlbiAsid(asid),
    tlbiVa(asid, addressOf(page)),
    tlbiVa(asid, addressOf(page)),
    tlbiVaa(addressOf(page)),
    tlbiRange(asid, page, 1 + (b % 4)),
  ];
  return all[a % all.length]!;
}

/** Writes a CD, and says so at once or not. */
function writeCd(world: World, a: number, b: number, c: number): Entry {
  const substreamId = b % SUBSTREAMS;
  world.asids.set(`${sidOf(a)}:${substreamId}`, 1 + (c % ASIDS));
  return c % 5 === 0 ? cfgiCdAll(sidOf(a)) : cfgiCd(sidOf(a), substreamId);
}

/** One-shot refusals: of a system call, or of a batch. */
function refuse(world: World, a: number, b: number): void {
  let left = 1 + (b % 2);
  const { rig } = world;
  if (a % 2 === 0) {
    const name = ['HWPT_ALLOC', 'ATTACH', 'VDEVICE_ALLOC'][(a >> 1) % 3]!;
    const errno = b % 3 === 0 ? 5 : 12;
    rig.refuse = (_, called) => (called === name && left-- > 0 ? errno : undefined);
  } else {
    const errno = [5, 12, 110][(a >> 1) % 3]!;
    if (errno === 110) left = 1;
    rig.kernel.failInvalidation(({ count }) =>
      left-- > 0 ? { errno, index: b % count } : undefined,
    );
  }
}

const freeSid = (world: World, a: number): number =>
  SIDS.filter((sid) => world.slots.every((slot) => slot.sid !== sid))[a % SIDS.length] ?? -1;

/** Lets the VMM attach, retire, move or detach one of its devices. */
async function move(world: World, slot: Slot, b: number): Promise<void> {
  const { device } = slot;
  if (slot.sid >= 0 && b % 3 > 0) {
    world.calm();
    await (b % 3 === 1 ? device!.retire() : device!.detach());
    Object.assign(slot, { sid: -1, expected: 'abort', device: b % 3 === 1 ? device : undefined });
    return;
  }
  const sid = freeSid(world, b);
  if (slot.sid >= 0 || sid < 0) return;
  slot.sid = sid;
  const before = slot.expected;
  slot.expected = world.reference(sid);
  try {
    if (device === undefined) slot.device = await world.rig.attach(sid, slot.plugged);
    else await device.bind(sid);
    if (world.rig.reports.length > 0) world.acceptAbort(slot);
  } catch {
    if (world.rig.reports.length === 0) throw new Error('refused by nobody');
    slot.sid = -1;
    slot.expected = before;
    world.acceptAbort(slot);
  }
}

const STEPS = {
  ste: ({ c, a }: Step, world: World) => {
    world.ste(sidOf(a), NAMES[c % NAMES.length]!);
    world.issue(cfgiSte(sidOf(a)));
  },
  nested: ({ c, a }: Step, world: World) => {
    world.ste(sidOf(a), (['s1', 'ats', 'many', 'manyAts'] as const)[c % 4]!);
    world.issue(c % 3 === 0 ? CFGI_ALL : cfgiRange(sidOf(a), 1));
  },
  tlbi: ({ a, b, c }: Step, world: World) => {
    world.issue(tlbi(a, b, c));
  },
  several: ({ a, b, c }: Step, world: World) => {
    const cd = writeCd(world, a, b, c);
    const [first, second] = [tlbi(a, b, c), tlbi(c, a, b)];
    world.issue(
      first,
      second,
      cd,
      atcInv(sidOf(b)),
      tlbi(b, c, a),
      first,
      cfgiSte(sidOf(c)),
      second,
    );
  },
  cd: ({ a, b, c }: Step, world: World) => {
    world.issue(writeCd(world, a, b, c), ...(c % 2 === 0 ? [tlbiAsid(1 + (b % ASIDS))] : []));
  },
  atc: ({ a, b }: Step, world: World) => {
    // An endpoint that does not answer in time, now and then.
    if (b % 3 === 0) refuse(world, 5, 0);
    world.issue(atcInv(sidOf(a)));
  },
  enable: ({ a }: Step, world: World) => {
    const before = world.isEnabled;
    world.isEnabled = a % 4 > 0;
    world.registers(world.isEnabled !== before, () => {
      world.rig.machine.write(R.CR0, world.isEnabled ? QUEUES | SMMUEN : QUEUES);
    });
  },
  gbpa: ({ a }: Step, world: World) => {
    // It cannot say no: a VMM whose host refuses even to abort has no way to tell the guest.
    if (!world.isEnabled) world.calm();
    world.aborts = a % 2 === 0;
    world.registers(!world.isEnabled, () => {
      world.rig.machine.write(R.GBPA, world.aborts ? GBPA_ABORT : GBPA_BYPASS);
    });
  },
  move: ({ a, b }: Step, world: World) => move(world, world.slots[a % world.slots.length]!, b),
  refuse: ({ a, b }: Step, world: World) => {
    refuse(world, a, b);
  },
  reset: ({ a }: Step, world: World) => {
    if (a % 4 > 0) return;
    world.calm();
    world.restart();
  },
} as const;

const WEIGHTS: Record<keyof typeof STEPS, number> = {
  ste: 3,
  nested: 4,
  tlbi: 4,
  several: 3,
  cd: 3,
  atc: 2,
  enable: 2,
  gbpa: 1,
  move: 4,
  refuse: 3,
  reset: 1,
};

const kinds = (Object.keys(STEPS) as (keyof typeof STEPS)[]).flatMap((kind) =>
  Array<keyof typeof STEPS>(WEIGHTS[kind]).fill(kind),
);
const number = fc.nat(255);

export const randomSteps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(...kinds),
    a: number,
    b: number,
    c: number,
    pages: fc.array(fc.nat(PAGES - 1), { minLength: 1, maxLength: 4 }),
  }),
  { minLength: 1, maxLength: 16, size: 'max' },
);

export const randomOptions: fc.Arbitrary<WorldOptions> = fc.record({
  smmus: fc.constantFrom(1, 2, 2, 3),
  block: fc.constantFrom(1, 2, 3, 63),
  counts: fc.constantFrom('checked' as const, 'issued' as const),
  retries: fc.constantFrom(0, 0, 1, 2),
  issueTwice: fc.constantFrom(false, false, false, true),
});

/** Begins with devices attached and enabled, most often. */
export async function begin(world: World, first: number): Promise<void> {
  for (const slot of world.slots) await move(world, slot, 0);
  world.check([]);
  if (first % 4 > 0) STEPS.enable({ kind: 'enable', a: 1, b: 0, c: 0, pages: [] }, world);
  world.check([0, 1, 2, 3]);
}

export async function take(world: World, step: Step): Promise<void> {
  const perform = STEPS[step.kind];
  await perform(step, world);
  world.check(step.pages);
}
