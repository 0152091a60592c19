import { InvalidArgumentError } from 'commander';
import { MIRROR_SINKS, type MirrorSinkName } from '../fixtures/mirror-sinks.js';
import { parseU64, type Halves } from '../memory/u64.js';
import type { SyncPolicy } from '../mirror/mirror-options.js';
import { MAX_ENTRIES } from '../tlb/cache-options.js';

/** Options that are each right, but not together. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Parses a StreamID: decimal or 0x, below 2^32. */
export function parseStreamId(text: string): number {
  return parseNumber(text, 'A StreamID', 0, 0xffff_ffff);
}

/** Parses StreamIDs with commas between them, each as {@link parseStreamId}, each once. */
export function parseStreamIds(text: string): number[] {
  const streamIds = text.split(',').map((one) => parseStreamId(one.trim()));
  streamIds.forEach((streamId, i) => {
    if (!streamIds.includes(streamId, i + 1)) return;
    throw new InvalidArgumentError(`StreamID 0x${streamId.toString(16)} is there twice.`);
  });
  return streamIds;
}

/** Parses how many physical SMMUs there are: decimal or 0x, 1 to 16. */
export function parsePhysical(text: string): number {
  return parseNumber(text, 'A number of physical SMMUs', 1, 16);
}

/** Parses a SubstreamID: decimal or 0x, below 2^20. */
export function parseSubstreamId(text: string): number {
  return parseNumber(text, 'A SubstreamID', 0, 0xf_ffff);
}

/** Parses a length in bytes: decimal or 0x, 1 to 2^53-1. */
export function parseLength(text: string): number {
  return parseNumber(text, 'A length', 1, Number.MAX_SAFE_INTEGER);
}

/** Parses how many translations a cache keeps (CacheOptions.entries): decimal or 0x, 0 to 2^22. */
export function parseCacheEntries(text: string): number {
  return parseNumber(text, 'A cache size', 0, MAX_ENTRIES);
}

/** Parses the address that a device presents: decimal or 0x, all 64 bits. */
export function parseInputAddress(text: string): Halves {
  const halves: Halves = { high: 0, low: 0 };
  if (!parseU64(text, halves)) {
    throw new InvalidArgumentError('An address is a decimal or 0x number below 2^64.');
  }
  return halves;
}

const POLICIES: readonly SyncPolicy[] = ['demand', 'invalidate', 'tracked'];

/** Parses when a mirror learns of new mappings. */
export function parsePolicy(text: string): SyncPolicy {
  return parseChoice(text, 'A policy', POLICIES);
}

/** Parses what a mirror writes to. */
export function parseSink(text: string): MirrorSinkName {
  return parseChoice(text, 'A sink', MIRROR_SINKS);
}

function parseChoice<T extends string>(text: string, what: string, choices: readonly T[]): T {
  const choice = choices.find((known) => known === text);
  if (choice !== undefined) return choice;
  const others = choices.slice(0, -1).join(', ');
  throw new InvalidArgumentError(`${what} is ${others} or ${choices[choices.length - 1]!}.`);
}

function parseNumber(text: string, what: string, least: number, most: number): number {
  const halves: Halves = { high: 0, low: 0 };
  const parsed = parseU64(text, halves);
  const value = halves.high * 0x1_0000_0000 + halves.low;
  if (!parsed || value < least || value > most) {
    const range = `from ${least} to 0x${most.toString(16)}`;
    throw new InvalidArgumentError(`${what} is a decimal or 0x number ${range}.`);
  }
  return value;
}
