/** The checker is checked: it finds each broken vSMMU out, by one of the shortest sequences. */
import { expect, test } from 'vitest';
import { type Action, alphabet, shortName } from './actions.js';
import { Search } from './checker.js';
import * as faults from './faults.js';
import type { Shape } from './guest.js';
import type { Path } from './world.js';

interface Mutant {
  readonly what: string;
  readonly fault: faults.Fault;
  /** The sequence that shows it, the first one of its length in the order of the alphabet. */
  readonly shown: string;
  /** What the last access gets: something dead, or something that never was. */
  readonly kind: 'dead' | 'never';
  /** Default: a page. */
  readonly leaf?: Shape['leaf'];
  /** Default: most kinds. */
  readonly actions?: readonly Action[];
  /** Default: through a handle. */
  readonly path?: Path;
  /** It does not start over cleanly: each run needs a new vSMMU. */
  readonly fresh?: boolean;
}

const MOST_KINDS = alphabet(
  ...(['pteOther', 'pteReadOnly', 'tableReadOnly', 'cdTables', 'steAbort', 'tlbiVa'] as const),
  ...(['tlbiVaOtherAsid', 'tlbiAsid', 'tlbiAll', 'cfgiSte', 'cfgiCd', 'sync'] as const),
  ...(['read', 'write', 'readByOther'] as const),
);
const FEW = alphabet(
  ...(['pteOther', 'pteReadOnly', 'cdTables', 'steAbort', 'tlbiAsid', 'cfgiSte'] as const),
  ...(['cfgiCd', 'sync', 'read'] as const),
);

const MUTANTS: readonly Mutant[] = [
  {
    what: 'TLBI_NH_VA is ignored',
    fault: faults.ignores('invalidateRange'),
    shown: 'read pteOther tlbiVa sync read',
    kind: 'dead',
  },
  {
    what: 'TLBI_NH_VA ends the page behind the one it names',
    fault: faults.instead('invalidateRange', (own) => (range) => {
      range.firstLow += 0x1000;
      range.lastLow += 0x1000;
      own(range);
    }),
    shown: 'read pteOther tlbiVa sync read',
    kind: 'dead',
  },
  {
    what: 'TLBI_NH_VA ends the page of another ASID',
    fault: faults.instead('invalidateRange', (own) => (range) => {
      range.asid = 3 - range.asid;
      own(range);
    }),
    shown: 'read pteOther tlbiVa sync read',
    kind: 'dead',
  },
  {
    what: 'TLBI_NH_VA ends a page, but no block that covers it',
    fault: faults.instead('invalidateRange', (own) => (range) => {
      range.granuleLog2 = 12;
      range.level = 3;
      own(range);
    }),
    shown: 'read pteOther tlbiVa sync read',
    kind: 'dead',
    leaf: 'block',
  },
  {
    what: 'TLBI_NH_VA of another ASID misses a global page',
    fault: faults.missesGlobals,
    shown: 'read pteOther tlbiVaOtherAsid sync read',
    kind: 'dead',
    leaf: 'global',
  },
  {
    what: 'TLBI_NH_ASID ends another ASID',
    fault: faults.instead('invalidateAsid', (own) => (asid) => {
      own(3 - asid);
    }),
    shown: 'read pteOther tlbiAsid sync read',
    kind: 'dead',
  },
  {
    what: 'TLBI_NSNH_ALL is ignored',
    fault: faults.ignores('invalidateAll'),
    shown: 'read pteOther tlbiAll sync read',
    kind: 'dead',
  },
  {
    what: 'CMD_SYNC is complete before TLBI_NH_ASID is',
    fault: faults.invalidatesLate,
    shown: 'read pteOther tlbiAsid sync read',
    kind: 'dead',
  },
  {
    what: 'CFGI_STE is ignored',
    fault: faults.ignores('invalidateStreams'),
    shown: 'read steAbort cfgiSte sync read',
    kind: 'dead',
  },
  {
    what: 'CFGI_CD is ignored',
    fault: faults.ignores('invalidateContext'),
    shown: 'read cdTables cfgiCd tlbiAsid sync read',
    kind: 'dead',
    actions: FEW,
  },
  {
    what: 'CFGI_STE leaves the CDs of the stream',
    fault: faults.keepsContextsOfStream,
    shown: 'read cdTables cfgiSte tlbiAsid sync read',
    kind: 'dead',
    actions: FEW,
    path: 'translate',
    fresh: true,
  },
  {
    what: 'a device goes on with a CD that was dropped',
    fault: faults.keepsDroppedContexts,
    shown: 'read steAbort cfgiSte sync read',
    kind: 'dead',
    actions: FEW,
    fresh: true,
  },
  {
    what: 'devices of one ASID share translations, whatever their CDs',
    fault: faults.sharesByAsid,
    shown: 'read readByOther',
    kind: 'never',
  },
  {
    what: 'any cached page may be written to',
    fault: faults.widensEntries,
    shown: 'pteReadOnly read write',
    kind: 'never',
  },
  {
    what: 'a cached page has lost the permissions of its tables',
    fault: faults.forgetsTablePermissions,
    shown: 'tableReadOnly read write',
    kind: 'never',
  },
  {
    what: 'an entry that is filled again keeps its permissions',
    fault: faults.keepsPermissions,
    shown: 'pteOther read pteReadOnly tlbiAsid read',
    kind: 'never',
    actions: FEW,
    fresh: true,
  },
  {
    what: 'an entry that is filled again keeps its ASID',
    fault: faults.keepsAsid,
    shown: 'read cdAsid cfgiCd read pteOther tlbiOtherAsid sync read',
    kind: 'dead',
    actions: alphabet('pteOther', 'cdAsid', 'tlbiOtherAsid', 'cfgiCd', 'sync', 'read'),
  },
  {
    what: 'the micro-TLB does not ask whether an entry is alive',
    fault: faults.probesWithout('life'),
    shown: 'read pteOther tlbiAsid sync read',
    kind: 'dead',
    actions: FEW,
    fresh: true,
  },
  {
    what: 'the micro-TLB does not ask for permission',
    fault: faults.probesWithout('permission'),
    shown: 'pteReadOnly read write',
    kind: 'never',
  },
  {
    what: 'a read-only page is reported as writable',
    fault: faults.reportsWritable,
    shown: 'pteReadOnly read',
    kind: 'never',
  },
  {
    what: 'a fault is remembered',
    fault: faults.remembersFaults,
    shown: 'pteInvalid read pteInvalid read',
    kind: 'never',
    actions: alphabet('pteInvalid', 'tlbiVa', 'sync', 'read'),
    fresh: true,
  },
];

test.each(MUTANTS)('the checker finds: $what', (mutant) => {
  const { what, fault, shown, kind, leaf = 'page', actions = MOST_KINDS } = mutant;
  const length = shown.split(' ').length;
  const { failure } = new Search({
    shape: { leaf, other: 'otherTables' },
    cache: { entries: 4 },
    path: mutant.path ?? 'handle',
    warmUp: [],
    alphabet: actions,
    mutate: fault,
    fresh: mutant.fresh ?? false,
  }).checkUpTo(length);
  console.info(`${what}:\n${failure?.text ?? 'not found'}`);
  expect(failure?.sequence.map(shortName).join(' ')).toBe(shown);
  expect(failure).toMatchObject({ kind, isRepeatable: true });
});
