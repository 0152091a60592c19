/** Commands of the guest as words (IHI 0070, section 4), and what the model has to know of them. */
import type { Entry } from '../smmu/smmu-machine.js';

/** What a command names. */
export type Named =
  | {
      readonly kind: 'range';
      /** -1: any. */
      readonly asid: number;
      readonly from: number;
      readonly to: number;
      readonly leaf: boolean;
      /** 0: any. */
      readonly granuleLog2: number;
      /** Of the leaves; 0: any. */
      readonly level: number;
    }
  | { readonly kind: 'asid'; readonly asid: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'streams'; readonly first: number; readonly last: number }
  | { readonly kind: 'cd'; readonly streamId: number; readonly index: number }
  | { readonly kind: 'sync' };

export interface WorldCommand {
  readonly name: string;
  readonly words: Entry;
  readonly named: Named;
}

const SPACE = 2 ** 64;

export interface RangeOptions {
  /** -1: TLBI_NH_VAA. */
  readonly asid: number;
  readonly iova: number;
  readonly leaf: boolean;
  /** 0: no range. */
  readonly granuleLog2: number;
  readonly num: number;
  readonly scale: number;
  readonly ttl: number;
}

/** TLBI_NH_VA and TLBI_NH_VAA. A granule with neither range nor level is illegal: it is left out. */
export function tlbiRange(options: RangeOptions): WorldCommand {
  const { asid, iova, leaf, num, scale, ttl } = options;
  const isIllegal = num === 0 && scale === 0 && ttl === 0;
  const granuleLog2 = isIllegal ? 0 : options.granuleLog2;
  const bytes = granuleLog2 === 0 ? 4096 : (num + 1) * 2 ** (scale + granuleLog2);
  let low = asid < 0 ? 0x13n : 0x12n | (BigInt(asid) << 48n);
  let high = BigInt(iova) | BigInt(leaf);
  if (granuleLog2 !== 0) {
    low |= (BigInt(num) << 12n) | (BigInt(scale) << 20n);
    high |= (BigInt(ttl) << 8n) | (BigInt((granuleLog2 - 10) / 2) << 10n);
  }
  const to = Math.min(SPACE, iova + bytes);
  const level = granuleLog2 === 0 ? 0 : ttl;
  const named = { kind: 'range', asid, from: iova, to, leaf, granuleLog2, level } as const;
  const of = `0x${iova.toString(16)} to 0x${to.toString(16)}${leaf ? ' leaf' : ''} TTL ${level}`;
  const name = asid < 0 ? `TLBI_NH_VAA ${of}` : `TLBI_NH_VA ASID ${asid} ${of}`;
  return { name, words: [low, high], named };
}

export function tlbiAsid(asid: number): WorldCommand {
  const words = [0x11n | (BigInt(asid) << 48n), 0n] as const;
  return { name: `TLBI_NH_ASID ${asid}`, words, named: { kind: 'asid', asid } };
}

export const TLBI_NH_ALL: WorldCommand = {
  name: 'TLBI_NH_ALL',
  words: [0x10n, 0n],
  named: { kind: 'all' },
};

export const TLBI_NSNH_ALL: WorldCommand = {
  name: 'TLBI_NSNH_ALL',
  words: [0x30n, 0n],
  named: { kind: 'all' },
};

export function cfgiSte(streamId: number, leaf: boolean): WorldCommand {
  return {
    name: `CFGI_STE ${streamId}`,
    words: [0x3n | (BigInt(streamId) << 32n), BigInt(leaf)],
    named: { kind: 'streams', first: streamId, last: streamId },
  };
}

/** The aligned block of 2^(range+1) streams around one; 31 are all. */
export function cfgiRange(streamId: number, range: number): WorldCommand {
  const count = 2 ** (range + 1);
  const first = streamId - (streamId % count);
  return {
    name: range === 31 ? 'CFGI_ALL' : `CFGI_STE_RANGE ${streamId} ${range}`,
    words: [0x4n | (BigInt(streamId) << 32n), BigInt(range)],
    named: { kind: 'streams', first, last: first + count - 1 },
  };
}

export function cfgiCd(streamId: number, index: number, leaf: boolean): WorldCommand {
  return {
    name: `CFGI_CD ${streamId} ${index}`,
    words: [0x5n | (BigInt(index) << 12n) | (BigInt(streamId) << 32n), BigInt(leaf)],
    named: { kind: 'cd', streamId, index },
  };
}

export function cfgiCdAll(streamId: number): WorldCommand {
  return {
    name: `CFGI_CD_ALL ${streamId}`,
    words: [0x6n | (BigInt(streamId) << 32n), 0n],
    named: { kind: 'cd', streamId, index: -1 },
  };
}

export const SYNC: WorldCommand = { name: 'SYNC', words: [0x46n, 0n], named: { kind: 'sync' } };
