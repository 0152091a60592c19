import { expect, test } from 'vitest';
import { ACTIONS, type ActionName, Kind } from './actions.js';
import { Rule, SETS } from './allowed.js';
import { answersFor } from './checker.js';
import type { Shape } from './guest.js';

const SHAPES = {
  page: { leaf: 'page', other: 'otherTables' },
  global: { leaf: 'global', other: 'otherTables' },
  block: { leaf: 'block', other: 'otherTables' },
  sameCd: { leaf: 'page', other: 'sameCd' },
  equalCd: { leaf: 'page', other: 'equalCd' },
} as const satisfies Record<string, Shape>;

/** What the last action, an access, may get after the ones before. */
function allowedAfter(shape: Shape, names: readonly ActionName[]): string[] {
  const answers = answersFor({ shape, path: 'handle', warmUp: [] });
  const rule = new Rule(answers);
  const sets = new Int32Array(SETS);
  let state = 0;
  let allowed = 0;
  for (const name of names) {
    const action = ACTIONS[name];
    if (action.kind === Kind.store) {
      state = action.after(state);
      continue;
    }
    rule.observe(sets, 0, state);
    if (action.kind === Kind.command) rule.invalidate(sets, 0, state, action);
    else if (action.kind === Kind.sync) rule.synchronize(sets, 0);
    else allowed = rule.allowed(sets, 0, state, action.query);
  }
  return answers.print(allowed).split(', ').sort();
}

const FIRST = 'output 0x80000010';
const OTHER_TABLES = 'output 0x80200010';
const OTHER_CD = 'output 0x80400010';
const DEVICE_1 = 'output 0x80600010';
const OTHER = 'output 0x80800010';
const F_TRANSLATION = 'event 0x10';
const F_PERMISSION = 'event 0x13';

type Row = readonly [shape: keyof typeof SHAPES, actions: string, allowed: readonly string[]];

// Sections are those of IHI 0070; "points" those of the rule.
const ROWS: readonly Row[] = [
  ['page', 'read', [FIRST]],
  // Never seen by the SMMU before it was stored over (point 4).
  ['page', 'pteOther read', [OTHER]],
  // 3.21.1: stale until invalidated; a CMD_SYNC alone does nothing.
  ['page', 'read pteOther read', [FIRST, OTHER]],
  ['page', 'read pteOther sync read', [FIRST, OTHER]],
  // 4.7: an invalidation is complete with the CMD_SYNC behind it.
  ['page', 'read pteOther tlbiVa read', [FIRST, OTHER]],
  ['page', 'read pteOther tlbiVa sync read', [OTHER]],
  ['page', 'read pteOther tlbiAsid sync read', [OTHER]],
  ['page', 'read pteOther tlbiAll sync read', [OTHER]],
  // What was there when it was issued is not covered by it.
  ['page', 'read tlbiVa pteOther sync read', [FIRST, OTHER]],
  ['page', 'read tlbiVa sync pteOther read', [FIRST, OTHER]],
  // 4.4: another page, another ASID; configuration invalidations leave translations (4.3).
  ['page', 'read pteOther tlbiVaNeighbour sync read', [FIRST, OTHER]],
  ['page', 'read pteOther tlbiVaOtherAsid sync read', [FIRST, OTHER]],
  ['page', 'read pteOther tlbiOtherAsid sync read', [FIRST, OTHER]],
  ['page', 'read pteOther cfgiSte cfgiCd sync read', [FIRST, OTHER]],
  // 4.4: global pages go with TLBI_NH_VA of any ASID, and stay with TLBI_NH_ASID.
  ['global', 'read pteOther tlbiVaOtherAsid sync read', [OTHER]],
  ['global', 'read pteOther tlbiAsid sync read', [FIRST, OTHER]],
  ['global', 'read pteOther tlbiAll sync read', [OTHER]],
  // Any address of a block names it.
  ['block', 'read pteOther tlbiVaNeighbour sync read', ['output 0x80803010']],
  ['block', 'read pteOther tlbiVaElsewhere sync read', ['output 0x80003010', 'output 0x80803010']],
  // Faults of walks are not cached; leaves that permit too little are.
  ['page', 'read pteInvalid read', [FIRST, F_TRANSLATION]],
  ['page', 'pteInvalid read pteInvalid read', [FIRST]],
  ['page', 'read pteReadOnly write', [FIRST, F_PERMISSION]],
  ['page', 'pteReadOnly read pteReadOnly write', [FIRST, F_PERMISSION]],
  ['page', 'pteReadOnly read pteReadOnly tlbiVa sync write', [FIRST]],
  ['page', 'read pteReadOnly tlbiVa sync write', [F_PERMISSION]],
  ['page', 'read tableReadOnly tlbiVa sync write', [F_PERMISSION]],
  ['page', 'tableReadOnly cdFlat write', [FIRST]],
  // CD: its own invalidation, then that of what came from it (point 3); not the other way round.
  ['page', 'read cdTables tlbiAsid sync read', [FIRST, OTHER_TABLES]],
  ['page', 'read cdTables cfgiCd sync read', [FIRST, OTHER_TABLES]],
  ['page', 'read cdTables cfgiCd tlbiAsid sync read', [OTHER_TABLES]],
  ['page', 'read cdTables tlbiAsid cfgiCd sync read', [FIRST, OTHER_TABLES]],
  ['page', 'read cdTables cfgiSte tlbiVa sync read', [OTHER_TABLES]],
  ['page', 'read tableReadOnly cdFlat cfgiCd tlbiVa sync write', [FIRST]],
  // What lies under the old ASID is out of reach, and back when that is.
  ['page', 'read pteOther cdAsid cfgiCd sync read', [OTHER]],
  ['page', 'read pteOther cdAsid cfgiCd sync cdAsid read', [FIRST, OTHER]],
  ['page', 'read pteOther cdAsid cfgiCd tlbiAsid sync cdAsid read', [OTHER]],
  ['global', 'read pteOther cdAsid cfgiCd sync read', [FIRST, OTHER]],
  // STE.
  ['page', 'read steAbort read', ['abort', FIRST]],
  ['page', 'read steAbort cfgiSte read', ['abort', FIRST]],
  ['page', 'read steAbort cfgiSte sync read', ['abort']],
  ['page', 'read steAbort cfgiCd tlbiAll sync read', ['abort', FIRST]],
  ['page', 'read steBypass cfgiSte sync write', ['bypass']],
  ['page', 'read steCd cfgiCd sync read', [FIRST, OTHER_CD]],
  ['page', 'read steCd cfgiSte sync read', [OTHER_CD]],
  // Point 1: other devices have nothing to do with it, unless through an equal CD.
  ['page', 'read readByOther', [DEVICE_1]],
  ['page', 'read steAbort cdTables pteOther readByOther', [DEVICE_1]],
  ['sameCd', 'steCd pteOther readByOther steCd pteOther read', [FIRST, OTHER_CD, OTHER]],
  ['equalCd', 'steCd pteOther readByOther steCd pteOther read', [FIRST, OTHER_CD, OTHER]],
  ['equalCd', 'readByOther cdTables pteOther cfgiCd tlbiAsid sync read', [OTHER_TABLES]],
  ['sameCd', 'read cdTables cfgiCd tlbiAsid sync readByOther', [FIRST, OTHER_TABLES]],
  ['sameCd', 'read cdTables cfgiCdOfDevice1 tlbiAsid sync readByOther', [OTHER_TABLES]],
];

test.each(ROWS)('%s: %s may get %s', (shape, actions, allowed) => {
  const names = actions.split(' ') as ActionName[];
  expect(allowedAfter(SHAPES[shape], names)).toEqual([...allowed].sort());
});
