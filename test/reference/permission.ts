// Permissions of a leaf: DDI 0487 D8 (D8.4, direct permissions), with CD.{WXN, PAN, EPAN, HA, HD}
// of IHI 0070, sections 3.13 and 5.4.

import { field, flag } from './bits.js';
import type { Cd } from './context.js';
import type { Transaction } from './event.js';
import type { Ids } from './ids.js';
import type { ReferenceRights } from './types.js';

/** Permission bits collected from Table descriptors. */
export interface TableBits {
  /** APTable[1:0]: bit 1 removes write, bit 0 removes unprivileged access. */
  ap: number;
  uxn: boolean;
  pxn: boolean;
}

export const NO_TABLE_BITS: TableBits = { ap: 0, uxn: false, pxn: false };

/** APTable [62:61], UXNTable [60], PXNTable [59] are ORed in, unless HAD. */
export function accumulate(above: TableBits, descriptor: bigint, had: boolean): TableBits {
  if (had) return above;
  return {
    ap: above.ap | field(descriptor, 62, 61),
    uxn: above.uxn || flag(descriptor, 60),
    pxn: above.pxn || flag(descriptor, 59),
  };
}

/** {HD,HA}=11. HD without HA is reserved and behaves as off. */
export function dirtyStateEnabled(cd: Cd): boolean {
  return cd.ha && cd.hd;
}

/** AP[2]=1 that a write would clear: DBM=1, dirty state enabled, write not removed by APTable. */
export function writableClean(cd: Cd, descriptor: bigint, table: TableBits): boolean {
  const ap2 = flag(descriptor, 7);
  const dbm = flag(descriptor, 51);
  return dirtyStateEnabled(cd) && dbm && ap2 && (table.ap & 0b10) === 0;
}

export interface LeafRights {
  unprivileged: ReferenceRights;
  privileged: ReferenceRights;
}

export function leafRights(cd: Cd, ids: Ids, descriptor: bigint, table: TableBits): LeafRights {
  const ap2 = flag(descriptor, 7) || (table.ap & 0b10) !== 0; // read-only
  const ap1 = flag(descriptor, 6) && (table.ap & 0b01) === 0; // unprivileged access
  const uxn = flag(descriptor, 54) || table.uxn;
  const pxn = flag(descriptor, 53) || table.pxn;

  // Data. A writable-clean page counts as writable, also for execution.
  const writable = !ap2 || writableClean(cd, descriptor, table);
  const unprivilegedRead = ap1;
  const unprivilegedWrite = ap1 && writable;
  const privilegedWrite = writable;

  // Instructions. No data read permission is needed.
  const unprivilegedExecute = !uxn && !(cd.wxn && unprivilegedWrite);
  const privilegedExecute = !pxn && !unprivilegedWrite && !(cd.wxn && privilegedWrite);

  // WXN looks at the page: write permission that PAN takes away below still counts above.
  // PAN takes privileged data access (not execution) from pages that unprivileged code may access.
  const epan = ids.epan && cd.epan;
  const denied = cd.pan && (ap1 || (epan && !uxn));

  return {
    unprivileged: {
      read: unprivilegedRead,
      write: unprivilegedWrite,
      execute: unprivilegedExecute,
    },
    privileged: {
      read: !denied, // privileged code can always read, but for PAN
      write: privilegedWrite && !denied,
      execute: privilegedExecute,
    },
  };
}

/** Whether the transaction has the right it needs. */
export function permitted(tx: Transaction, rights: LeafRights): boolean {
  const own = tx.privileged ? rights.privileged : rights.unprivileged;
  if (tx.access.write) return own.write;
  return tx.instruction ? own.execute : own.read;
}
