// Public types of the reference model.

export interface ReferenceMemory {
  /** 8 bytes at an 8-aligned address as little-endian u64, or null when outside memory (external abort). */
  read64(address: bigint): bigint | null;
  /** Used for hardware AF/dirty updates; the value is little-endian u64. false = external abort. */
  write64(address: bigint, value: bigint): boolean;
}

export interface ReferenceMachine {
  memory: ReferenceMemory;
  idr0: number;
  idr1: number;
  idr3: number;
  idr5: number;
  aidr: number;
  cr0: number;
  cr2: number;
  gbpa: number;
  strtabBase: bigint;
  strtabBaseCfg: number;
}

export interface ReferenceAccess {
  streamId: number;
  /** Present = SSV 1. */
  substreamId?: number;
  /** 0..2^64-1. */
  iova: bigint;
  write: boolean;
  instruction: boolean;
  privileged: boolean;
}

export interface ReferenceRights {
  read: boolean;
  write: boolean;
  execute: boolean;
}

export interface ReferenceLeaf {
  level: number;
  sizeLog2: number;
  granuleLog2: number;
  /** As in memory when the walk read it, converted to little-endian, before any HTTU update. */
  descriptor: bigint;
  // What holds for the leaf after hierarchical bits, WXN, PAN/EPAN;
  // W includes pages that HD+DBM would make writable on a write.
  unprivileged: ReferenceRights;
  privileged: ReferenceRights;
  mairByte: number;
  /** The SH field as programmed: desc[9:8], or CD.SHx for 4K/16K with DS=1. */
  shareability: number;
  nG: boolean;
  /** Bit 52, false at the levels where it is RES0. */
  contiguous: boolean;
  asid: number;
}

export type ReferenceOutcome =
  | { kind: 'ok'; pa: bigint; leaf: ReferenceLeaf | null } // leaf null: bypass
  | {
      kind: 'fault';
      event: number;
      recorded: boolean;
      response: 'abort' | 'raz-wi' | 'stall';
      /** The 4 x 64-bit event record, STAG 0. */
      record: [bigint, bigint, bigint, bigint];
      /** Level of the walk where it happened, null outside a walk. */
      level: number | null;
      reason: string;
    }
  | { kind: 'abort'; reason: string }; // terminated with no event

export interface ReferenceLeafEntry {
  iova: bigint;
  pa: bigint;
  leaf: ReferenceLeaf;
  /** The AF bit of the descriptor as it is in memory. */
  af: boolean;
  /** Permission bits accumulated from the table descriptors above (all clear with HAD). */
  table: { ap: number; uxn: boolean; pxn: boolean };
}
