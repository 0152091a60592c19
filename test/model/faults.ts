/**
 * Faults that are put into a vSMMU at run time, each of a kind that implementations have had or might
 * have. They reach into what the public interface hides: the type check, or {@link part}, tells when
 * something of that has another name.
 */
import { Invalidations } from '../../src/invalidations.js';
import { Entry } from '../../src/tlb/entry.js';
import type { CachedContext, CachedStream } from '../../src/transaction/configuration-cache.js';
import { Permission } from '../../src/transaction/permissions.js';
import type { Translation } from '../../src/transaction/translation.js';
import type { World } from './world.js';

/** Breaks the vSMMU of a world. */
export type Fault = (world: World) => void;

const WRITES = Permission.unprivilegedWrite | Permission.privilegedWrite;
/** AP[2] of a leaf. */
const READ_ONLY = 1 << 7;

/** A part that is private to its class. */
function part(of: object, name: string): unknown {
  const found: unknown = Reflect.get(of, name);
  if (found === undefined) throw new Error(`${name} is gone: the fault must be made another way`);
  return found;
}

type Invalidation =
  | 'invalidateAll'
  | 'invalidateAsid'
  | 'invalidateRange'
  | 'invalidateStreams'
  | 'invalidateContext';

/** An invalidation does something else, except when the world starts over. */
export function instead<Name extends Invalidation>(
  name: Name,
  change: (own: Invalidations[Name]) => Invalidations[Name],
): Fault {
  return (world) => {
    const { invalidations } = world.core;
    const own = invalidations[name].bind(invalidations) as (...given: unknown[]) => void;
    const changed = change(own) as typeof own;
    Reflect.set(invalidations, name, (...given: unknown[]) => {
      (world.isStartingOver ? own : changed)(...given);
    });
  };
}

/** An invalidation does nothing. */
export function ignores(name: Invalidation): Fault {
  return instead(name, () => () => undefined);
}

/** Entries that were just filled are changed. */
function onInsert(change: (words: Int32Array, at: number, result: Translation) => void): Fault {
  return ({ core: { tlb } }) => {
    const own = tlb.insert.bind(tlb);
    tlb.insert = (...given) => {
      const at = own(...given);
      if (at >= 0) change(tlb.store.words, at, given[7]);
      return at;
    };
  };
}

export const widensEntries: Fault = onInsert((words, at) => {
  words[at + Entry.permissions]! |= WRITES;
});

export const forgetsTablePermissions: Fault = onInsert((words, at, { descriptorLow }) => {
  if ((descriptorLow & READ_ONLY) === 0) words[at + Entry.permissions]! |= WRITES;
});

export const keepsPermissions: Fault = ({ core: { tlb } }) => {
  const own = tlb.insert.bind(tlb);
  tlb.insert = (...given) => {
    const stale = part(tlb, 'stale') as number;
    const before = tlb.store.words[stale + Entry.permissions];
    const at = own(...given);
    if (at === stale) tlb.store.words[at + Entry.permissions] = before!;
    return at;
  };
};

/** Dead entries would keep theirs for the next sequence, so they are cleared away. */
export const keepsAsid: Fault = (world) => {
  const { core } = world;
  const { tlb } = core;
  tlb.generations.isOfContext = () => true;
  const owner = part(tlb, 'owner') as { clear(): void };
  const own = core.invalidations.invalidateAll.bind(core.invalidations);
  core.invalidations.invalidateAll = () => {
    own();
    if (world.isStartingOver) owner.clear();
  };
};

/** The micro-TLB looks less closely. */
export function probesWithout(what: 'life' | 'permission'): Fault {
  return ({ core: { tlb } }) => {
    const own = tlb.probe.bind(tlb);
    tlb.probe = (slot, high, low, needed) => {
      const at = own(slot, high, low, needed);
      if (at >= 0) return at;
      if (what === 'permission') return own(slot, high, low, Permission.unprivilegedRead);
      const guess = tlb.guess(slot, high, low);
      const { words } = tlb.store;
      const permits = (words[guess + Entry.permissions]! & needed) !== 0;
      return permits && tlb.store.covers(guess, slot, high, low) ? guess : -1;
    };
  };
}

export const sharesByAsid: Fault = ({ core: { tlb } }) => {
  const { slots } = tlb;
  const words = part(slots, 'words') as (Uint32Array | undefined)[];
  const own = slots.take.bind(slots);
  slots.take = (given, asid) => own(words[slots.withAsid(asid)[0] ?? 0] ?? given, asid);
};

export const missesGlobals: Fault = ({ core: { tlb } }) => {
  part(tlb.store, 'slotsWithGlobals');
  const empty: number[] = [];
  Reflect.set(tlb.store, 'slotsWithGlobals', Object.assign(empty, { push: () => 0 }));
};

/** Dropped CDs can still be used. */
export const keepsDroppedContexts: Fault = ({ core: { configurations, tlb } }) => {
  part(configurations, 'end');
  Reflect.set(configurations, 'end', ({ slot }: CachedContext) => {
    tlb.detach(slot);
  });
};

/** CFGI_STE drops the STE; its CDs are there again with the next one. */
export const keepsContextsOfStream: Fault = ({ core: { configurations } }) => {
  const before = new Map<number, CachedStream>();
  part(configurations, 'dropContexts');
  Reflect.set(configurations, 'dropContexts', () => undefined);
  const own = configurations.keepStream.bind(configurations);
  configurations.keepStream = (streamId, words) => {
    const stream = own(streamId, words);
    const kept = before.get(streamId)?.contexts ?? [];
    for (const [index, cached] of kept) stream.contexts.set(index, cached);
    before.set(streamId, stream);
    return stream;
  };
};

/** TLBI_NH_ASID takes effect with the second CMD_SYNC behind it. */
export const invalidatesLate: Fault = (world) => {
  const { core } = world;
  let issued: number[] = [];
  let late: number[] = [];
  instead('invalidateAsid', () => (asid) => {
    issued.push(asid);
  })(world);
  const { targets } = core;
  const own = targets.synchronize.bind(targets);
  targets.synchronize = () => {
    if (world.isStartingOver) issued = late = [];
    for (const asid of late) Invalidations.prototype.invalidateAsid.call(core.invalidations, asid);
    late = issued;
    issued = [];
    return own();
  };
};

export const remembersFaults: Fault = ({ core }) => {
  const own = core.translate.bind(core);
  const events = new Map<number, number>();
  core.translate = (streamId, substreamId, high, low, access, result, answered) => {
    const known = events.get(streamId);
    if (known === undefined) {
      const outcome = own(streamId, substreamId, high, low, access, result, answered);
      if (outcome !== 0) events.set(streamId, result.event);
      return outcome;
    }
    result.event = known;
    return (result.outcome = 1);
  };
};

export const reportsWritable: Fault = ({ core }) => {
  const own = core.translate.bind(core);
  core.translate = (...given) => {
    const outcome = own(...given);
    given[5].permissions |= WRITES;
    return outcome;
  };
};
