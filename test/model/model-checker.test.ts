import { describe, expect, test } from 'vitest';
import { ACTIONS, alphabet, EVERY_KIND, Kind } from './actions.js';
import { Search, type SearchOptions } from './checker.js';

// Actions of the longest sequences; each one more takes about ten times as long.
const DEPTH = Number(process.env.VSMMU_MODEL_DEPTH ?? 6);

const CONFIGURATION = alphabet(
  ...(['pteOther', 'cdTables', 'cdAsid', 'steCd', 'steAbort', 'steBypass', 'tlbiVa'] as const),
  ...(['tlbiVaOtherAsid', 'tlbiAsid', 'tlbiOtherAsid', 'cfgiSte', 'cfgiCd', 'sync'] as const),
  ...(['read', 'write'] as const),
);
const TABLES = alphabet(
  ...(['pteOther', 'pteReadOnly', 'pteInvalid', 'tableReadOnly', 'cdFlat', 'tlbiVa'] as const),
  ...(['tlbiVaNeighbour', 'tlbiAsid', 'cfgiCd', 'sync', 'read', 'write'] as const),
);
const GLOBAL = alphabet(
  ...(['pteOther', 'pteReadOnly', 'cdAsid', 'tlbiVa', 'tlbiVaOtherAsid', 'tlbiAsid'] as const),
  ...(['tlbiAll', 'cfgiCd', 'sync', 'read', 'write'] as const),
);
// The page behind it lies in the block, too; the page 2 MiB behind it does not.
const BLOCK = alphabet(
  ...(['pteOther', 'pteReadOnly', 'pteInvalid', 'tlbiVa', 'tlbiVaNeighbour'] as const),
  ...(['tlbiVaElsewhere', 'tlbiAsid', 'sync', 'read', 'write', 'readByOther'] as const),
);
const SHARED = alphabet(
  ...(['pteOther', 'pteReadOnly', 'cdTables', 'cdAsid', 'steCd', 'tlbiVa', 'tlbiAsid'] as const),
  ...(['cfgiSte', 'cfgiCd', 'sync', 'read', 'write', 'readByOther'] as const),
);
const ASIDS = alphabet(
  ...(['pteOther', 'cdAsid', 'tlbiAsid', 'tlbiOtherAsid', 'cfgiCd', 'sync', 'read'] as const),
);

const PAGE = { leaf: 'page', other: 'otherTables' } as const;
/** Both devices have read. */
const WARM = [0, 2];
const RUNS: readonly (SearchOptions & { what: string; more: number })[] = [
  {
    what: 'every kind of action, from an empty cache',
    more: 0,
    shape: PAGE,
    path: 'handle',
    warmUp: [],
    alphabet: EVERY_KIND,
  },
  {
    what: 'every kind of action, from a filled cache of 1 entry',
    more: -1,
    shape: PAGE,
    cache: { entries: 1 },
    path: 'mixed',
    warmUp: WARM,
    alphabet: EVERY_KIND,
  },
  {
    what: 'configuration, with a cache of 4 entries',
    more: 0,
    shape: PAGE,
    cache: { entries: 4 },
    path: 'mixed',
    warmUp: [],
    alphabet: CONFIGURATION,
  },
  {
    what: 'tables, by Smmu.translate',
    more: 0,
    shape: PAGE,
    path: 'translate',
    warmUp: [],
    alphabet: TABLES,
  },
  {
    what: 'a global page',
    more: 0,
    shape: { ...PAGE, leaf: 'global' },
    cache: { entries: 4 },
    path: 'handle',
    warmUp: [],
    alphabet: GLOBAL,
  },
  {
    what: 'a block, which becomes a table',
    more: 0,
    shape: { ...PAGE, leaf: 'block' },
    cache: { entries: 4 },
    path: 'handle',
    warmUp: [],
    alphabet: BLOCK,
  },
  {
    what: 'devices whose CDs are equal',
    more: 0,
    shape: { leaf: 'page', other: 'equalCd' },
    cache: { entries: 4 },
    path: 'handle',
    warmUp: [],
    alphabet: SHARED,
  },
  {
    what: 'devices that use the same CD, from a filled cache',
    more: -1,
    shape: { leaf: 'page', other: 'sameCd' },
    path: 'handle',
    warmUp: WARM,
    alphabet: [...SHARED, ACTIONS.cfgiCdOfDevice1],
  },
  {
    what: 'changes of ASID, further down',
    more: 2,
    shape: PAGE,
    cache: { entries: 4 },
    path: 'handle',
    warmUp: [],
    alphabet: ASIDS,
  },
];

describe('no access uses a dead translation, or more than its tables permit', () => {
  test.each(RUNS)(
    '$what',
    ({ more, what, ...options }) => {
      const start = performance.now();

      const depth = DEPTH + more;
      const search = new Search(options).check(depth);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const { sequences, exact, runCount, stateCount } = search;
      const actions = options.alphabet.length;
      console.info(
        `${what}: ${actions} actions, depth ${depth}: ${sequences} sequences (of ${unreduced(options, depth)}), ` +
          `${exact} with one allowed answer; ${runCount} runs, ${stateCount} states; ${seconds} s`,
      );
      expect(search.failure?.text).toBeUndefined();
      // Neither is the rule so wide that it allows anything, nor does it forbid to cache.
      expect(exact).toBeGreaterThan(sequences / 10);
      expect(exact).toBeLessThan(sequences);
    },
    3_600_000,
  );
});

/** Sequences that end in an access when nothing is left out. */
function unreduced({ alphabet: actions }: SearchOptions, depth: number): number {
  const accesses = actions.filter(({ kind }) => kind === Kind.access).length;
  let all = 0;
  for (let length = 0; length < depth; length++) all += actions.length ** length * accesses;
  return all;
}

describe('the reductions', () => {
  type Allowed = Map<string, Set<number>>;

  /** By memory state, access and answer: the sets of answers that were allowed there. */
  function observe(options: SearchOptions, depth: number): Allowed {
    const seen: Allowed = new Map();
    new Search({
      ...options,
      observe: (state, query, answer, allowed) => {
        const key = `state ${state}, query ${query}, answer ${answer}`;
        const sets = seen.get(key);
        if (sets === undefined) seen.set(key, new Set([allowed]));
        else sets.add(allowed);
      },
    }).check(depth);
    return seen;
  }

  test.each([
    { what: 'an empty cache', warmUp: [] },
    { what: 'a filled cache', warmUp: WARM },
  ])('leave out no observation to depth 4, from $what', ({ warmUp }) => {
    const options: SearchOptions = {
      shape: PAGE,
      cache: { entries: 4 },
      path: 'handle',
      warmUp,
      alphabet: alphabet(
        ...(['pteOther', 'pteReadOnly', 'tableReadOnly', 'cdAsid', 'steAbort'] as const),
        ...(['tlbiVa', 'cfgiSte', 'cfgiCd', 'sync', 'read', 'write'] as const),
      ),
    };
    const all = observe({ ...options, reduced: false }, 4);
    const some = observe(options, 4);
    expect(new Set(some.keys())).toEqual(new Set(all.keys()));
    for (const [key, sets] of all) {
      // The same answer in the same state was also checked where no more was allowed.
      for (const wide of sets) {
        const asStrict = [...some.get(key)!].some((narrow) => (narrow & ~wide) === 0);
        expect(asStrict, `${key}, allowed 0x${wide.toString(16)}`).toBe(true);
      }
      for (const set of some.get(key)!) expect(sets.has(set)).toBe(true);
    }
  });
});
