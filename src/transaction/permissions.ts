/**
 * What a translation permits, as bits of one number (DDI 0487, section D8.4). The three bits of
 * unprivileged accesses come first, those of privileged ones follow.
 */
export const Permission = {
  unprivilegedRead: 1,
  unprivilegedWrite: 2,
  unprivilegedExecute: 4,
  privilegedRead: 8,
  privilegedWrite: 16,
  privilegedExecute: 32,
  /**
   * The page is clean: the writes permitted above first make the SMMU set its dirty state in the
   * guest's table (CD.HD with DBM). What caches the translation must send its first write to a walk.
   */
  clean: 64,
} as const;

/** Kinds of access, to be combined with `|`. A plain read of unprivileged data is 0. */
export const Access = {
  read: 0,
  write: 1,
  /** An instruction fetch; a write is always data, whatever this bit says. */
  instruction: 2,
  privileged: 4,
} as const;

/** The {@link Permission} bit that an access needs, by the access. */
export const NEEDED: Uint8Array = new Uint8Array([1, 2, 4, 2, 8, 16, 32, 16]);

/** How the STE of a stream changes accesses: tables by {@link Access} bits. */
export interface AccessOverrides {
  /** The access that is made. */
  readonly effective: Uint8Array;
  /** The {@link Permission} bit that it needs. */
  readonly needed: Uint8Array;
}

/** The tables for an STE that clears some {@link Access} bits and then sets some; made once. */
export function accessOverrides(clears: number, sets: number): AccessOverrides {
  return OVERRIDES[clears | (sets << 3)]!;
}

const OVERRIDES: readonly AccessOverrides[] = Array.from({ length: 64 }, (_, setting) => {
  const effective = Uint8Array.from(NEEDED, (__, access) => (access & ~setting) | (setting >> 3));
  return { effective, needed: effective.map((access) => NEEDED[access]!) };
});

/** Bits of an index into a {@link permissionTable}: a leaf's AP, PXN, UXN and DBM after its tables' say. */
export const PermissionIndex = {
  /** AP[1]: unprivileged accesses are allowed. */
  unprivileged: 1,
  /** AP[2]: read-only. */
  readOnly: 2,
  PXN: 4,
  UXN: 8,
  DBM: 16,
} as const;

/** The control bits of a CD that decide permissions, each 0 or 1. */
export interface PermissionControls {
  /** What is writable is not executable. */
  readonly WXN: number;
  /** Privileged data accesses to unprivileged pages fault. */
  readonly PAN: number;
  /** PAN counts pages that unprivileged code may execute. */
  readonly EPAN: number;
  /** Hardware updates of dirty state are on. */
  readonly HD: number;
}

/** The tables of all settings of the controls, made once: decoding a CD must not take a microsecond. */
const TABLES: readonly Uint8Array[] = Array.from({ length: 16 }, (_, setting) => {
  const controls: PermissionControls = {
    WXN: setting & 1,
    PAN: (setting >> 1) & 1,
    EPAN: (setting >> 2) & 1,
    HD: setting >> 3,
  };
  return Uint8Array.from({ length: 32 }, (_, index) => permissionsOf(index, controls));
});

/** The {@link Permission} bits of each of the 32 {@link PermissionIndex} values. Not to be changed. */
export function permissionTable(controls: PermissionControls): Uint8Array {
  return TABLES[controls.WXN | (controls.PAN << 1) | (controls.EPAN << 2) | (controls.HD << 3)]!;
}

function permissionsOf(index: number, controls: PermissionControls): number {
  const unprivileged = (index & PermissionIndex.unprivileged) !== 0;
  const readOnly = (index & PermissionIndex.readOnly) !== 0;
  const clean = readOnly && (index & PermissionIndex.DBM) !== 0 && controls.HD === 1;
  const writable = !readOnly || clean;
  const wxn = controls.WXN === 1 && writable;
  const userMayExecute = (index & PermissionIndex.UXN) === 0;
  const hidden = controls.PAN === 1 && (unprivileged || (controls.EPAN === 1 && userMayExecute));
  let permissions = 0;
  if (unprivileged) permissions |= Permission.unprivilegedRead;
  if (unprivileged && writable) permissions |= Permission.unprivilegedWrite;
  if (userMayExecute && !(wxn && unprivileged)) permissions |= Permission.unprivilegedExecute;
  if (!hidden) permissions |= Permission.privilegedRead;
  if (!hidden && writable) permissions |= Permission.privilegedWrite;
  const privilegedMayExecute = (index & PermissionIndex.PXN) === 0;
  if (privilegedMayExecute && !wxn && !(unprivileged && writable)) {
    permissions |= Permission.privilegedExecute;
  }
  return clean ? permissions | Permission.clean : permissions;
}
