// The stage 1 walk: IHI 0070, sections 3.4, 3.12 and 3.13; DDI 0487 D8.

import { field, field64, flag, swap64 } from './bits.js';
import type { Cd, Half } from './context.js';
import type { Regime } from './descriptor.js';
import {
  contiguousBit,
  indexBits,
  kindOf,
  levelShift,
  nextTable,
  outputBase,
  regimeOf,
} from './descriptor.js';
import type { Transaction } from './event.js';
import { EVENT, translationFault, walkAbort } from './event.js';
import type { Ids } from './ids.js';
import type { TableBits } from './permission.js';
import { accumulate, leafRights, NO_TABLE_BITS, permitted, writableClean } from './permission.js';
import type { ReferenceLeaf, ReferenceMemory, ReferenceOutcome } from './types.js';

const AF = 1n << 10n;
const AP2 = 1n << 7n;

/** VA[k] = VA[55] for every k in n..63, or n..55 when the top byte is ignored. */
function isCanonical(va: bigint, half: Half): boolean {
  const top = half.tbi ? 55 : 63;
  for (let k = 64 - half.txsz; k <= top; k++) {
    if (flag(va, k) !== half.upper) return false;
  }
  return true;
}

/** A descriptor in the byte order of CD.ENDI, or null on an external abort. */
export function readDescriptor(memory: ReferenceMemory, cd: Cd, address: bigint): bigint | null {
  const value = memory.read64(address);
  if (value === null) return null;
  return cd.bigEndian ? swap64(value) : value;
}

function writeDescriptor(memory: ReferenceMemory, cd: Cd, address: bigint, value: bigint): boolean {
  return memory.write64(address, cd.bigEndian ? swap64(value) : value);
}

export function describeLeaf(
  cd: Cd,
  half: Half,
  ids: Ids,
  regime: Regime,
  level: number,
  descriptor: bigint,
  table: TableBits,
): ReferenceLeaf {
  const attrIndx = field(descriptor, 4, 2);
  const rights = leafRights(cd, ids, descriptor, table);
  return {
    level,
    sizeLog2: levelShift(regime, level),
    granuleLog2: regime.granuleLog2,
    descriptor,
    unprivileged: rights.unprivileged,
    privileged: rights.privileged,
    mairByte: field(cd.mair, 8 * attrIndx + 7, 8 * attrIndx),
    shareability: regime.ds ? half.sh : field(descriptor, 9, 8),
    nG: flag(descriptor, 11),
    contiguous: contiguousBit(regime, level, descriptor),
    asid: cd.asid,
  };
}

export function walk(tx: Transaction, cd: Cd): ReferenceOutcome {
  const va = tx.access.iova;
  const half = flag(va, 55) ? cd.upper : cd.lower;
  const fault = (event: number, level: number | null, reason: string): ReferenceOutcome =>
    translationFault(tx, cd.faults, event, level, reason);

  // Before any descriptor fetch
  if (half.epd) return fault(EVENT.F_TRANSLATION, null, 'EPD');
  if (!isCanonical(va, half)) return fault(EVENT.F_TRANSLATION, null, 'address out of range');
  if (tx.ids.e0pd && half.e0pd && !tx.privileged) return fault(EVENT.F_TRANSLATION, null, 'E0PD');

  // Levels
  const regime = regimeOf(cd, half, tx.ids);
  let base = regime.base;
  let table = NO_TABLE_BITS;
  for (let level = regime.startLevel; level <= 3; level++) {
    const shift = levelShift(regime, level);
    const index = field64(va, shift + indexBits(regime, level) - 1, shift);
    const address = base + 8n * index;

    const descriptor = readDescriptor(tx.machine.memory, cd, address);
    if (descriptor === null) return walkAbort(tx, address, level, 'external abort on descriptor');

    const kind = kindOf(regime, level, descriptor);
    if (kind === 'invalid') return fault(EVENT.F_TRANSLATION, level, 'invalid descriptor');

    if (kind === 'table') {
      const next = nextTable(regime, descriptor);
      if (next === null) return fault(EVENT.F_ADDR_SIZE, level, 'table address');
      table = accumulate(table, descriptor, regime.had);
      base = next;
      continue;
    }

    const output = outputBase(regime, level, descriptor);
    if (output === null) return fault(EVENT.F_ADDR_SIZE, level, 'output address');
    const leaf = describeLeaf(cd, half, tx.ids, regime, level, descriptor, table);
    const refused = checkLeaf(tx, cd, leaf, address, table);
    if (refused !== null) return refused;
    return { kind: 'ok', pa: output | field64(va, shift - 1, 0), leaf };
  }
  throw new Error('a level 3 descriptor is never a table');
}

/** Access flag, permission, hardware update. null: the access goes on. */
function checkLeaf(
  tx: Transaction,
  cd: Cd,
  leaf: ReferenceLeaf,
  address: bigint,
  table: TableBits,
): ReferenceOutcome | null {
  const { descriptor, level } = leaf;

  // Access flag. HA=1: hardware sets it; AFFD is then ignored.
  const afClear = (descriptor & AF) === 0n;
  if (afClear && !cd.ha && !cd.affd) {
    return translationFault(tx, cd.faults, EVENT.F_ACCESS, level, 'AF is 0');
  }

  // Permission
  if (!permitted(tx, leaf)) {
    return translationFault(tx, cd.faults, EVENT.F_PERMISSION, level, 'permission');
  }

  // Hardware update, only of an access that goes on: AF and dirty state in one write
  let updated = descriptor;
  if (afClear && cd.ha) updated |= AF;
  if (tx.access.write && writableClean(cd, descriptor, table)) updated &= ~AP2;
  if (updated === descriptor) return null;
  if (writeDescriptor(tx.machine.memory, cd, address, updated)) return null;
  return walkAbort(tx, address, level, 'external abort on descriptor update');
}
