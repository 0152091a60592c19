import type { ReferenceLeaf, ReferenceOutcome } from '../reference/index.js';
import { writeEvent } from '../../src/transaction/fault.js';
import { Permission } from '../../src/transaction/permissions.js';
import { Outcome, type Translation } from '../../src/transaction/translation.js';

/** Words of the last record that was compared. */
const record = new Uint32Array(8);
/** AF and AP[2], which an access may have updated. */
const UPDATED = (1n << 10n) | (1n << 7n);

const RESPONSES = {
  [Outcome.aborted]: 'abort',
  [Outcome.zeroed]: 'raz-wi',
  [Outcome.stalled]: 'stall',
} as const;

function joined(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** SH as it holds: Device and Normal Non-cacheable are outer shareable, 1 is reserved (as 0). */
function shareabilityOf(leaf: ReferenceLeaf): number {
  const device = leaf.mairByte >> 4 === 0;
  if (device || leaf.mairByte === 0x44) return 2;
  return leaf.shareability === 1 ? 0 : leaf.shareability;
}

function rightsOf(leaf: ReferenceLeaf): number {
  const { unprivileged, privileged } = leaf;
  return (
    (unprivileged.read ? Permission.unprivilegedRead : 0) |
    (unprivileged.write ? Permission.unprivilegedWrite : 0) |
    (unprivileged.execute ? Permission.unprivilegedExecute : 0) |
    (privileged.read ? Permission.privilegedRead : 0) |
    (privileged.write ? Permission.privilegedWrite : 0) |
    (privileged.execute ? Permission.privilegedExecute : 0)
  );
}

type Pair = readonly [name: string, library: unknown, reference: unknown];

function leafPairs(result: Translation, leaf: ReferenceLeaf): Pair[] {
  const pairs: Pair[] = [
    ['level', result.level, leaf.level],
    ['leafLog2', result.leafLog2, leaf.sizeLog2],
    ['granuleLog2', result.granuleLog2, leaf.granuleLog2],
    ['permissions', result.permissions & ~Permission.clean, rightsOf(leaf)],
    ['attribute', result.attribute, leaf.mairByte],
    ['shareability', result.shareability, shareabilityOf(leaf)],
    ['nonGlobal', result.nonGlobal, leaf.nG ? 1 : 0],
    ['contiguous', result.contiguous, leaf.contiguous ? 1 : 0],
    [
      'descriptor',
      joined(result.descriptorLow, result.descriptorHigh) & ~UPDATED,
      leaf.descriptor & ~UPDATED,
    ],
  ];
  // A read of a page that AP[2] says is read-only, and that yet is writable: it is clean.
  const readOnly = (leaf.descriptor & (1n << 7n)) !== 0n;
  const writable = leaf.unprivileged.write || leaf.privileged.write;
  if (writable) {
    const dirtied = (result.access & 1) !== 0;
    const clean = (result.permissions & Permission.clean) !== 0;
    pairs.push(['clean', clean, readOnly && !dirtied]);
  }
  return pairs;
}

function faultPairs(
  result: Translation,
  reference: Extract<ReferenceOutcome, { kind: 'fault' }>,
  oas: number,
): Pair[] {
  writeEvent(record, 0, result, oas);
  const pairs: Pair[] = [
    ['response', RESPONSES[result.outcome as keyof typeof RESPONSES], reference.response],
    ['event', result.event, reference.event],
    ['recorded', result.recorded, reference.recorded],
  ];
  for (const [i, word] of reference.record.entries()) {
    pairs.push([`record word ${i}`, joined(record[2 * i]!, record[2 * i + 1]!), word]);
  }
  if (reference.level !== null) pairs.push(['level', result.level, reference.level]);
  return pairs;
}

/** The name that the reference would give to how `result` ended. */
function kindOf(result: Translation): string {
  if (result.outcome === Outcome.translated) return 'ok';
  // C_BAD_STREAMID with CR2.RECINVSID=0 is an abort without event, as Config=0xx is.
  const silent = result.event === 0 || (result.event === 0x02 && !result.recorded);
  return result.outcome === Outcome.aborted && silent ? 'abort' : 'fault';
}

function pairsOf(result: Translation, reference: ReferenceOutcome, oas: number): Pair[] {
  const kind = kindOf(result);
  if (kind !== reference.kind) return [['kind', kind, reference.kind]];
  switch (reference.kind) {
    case 'ok': {
      const address = Number.isSafeInteger(result.outputAddress)
        ? BigInt(result.outputAddress)
        : result.outputAddress;
      const pairs: Pair[] = [
        ['event', result.event, 0],
        ['outputAddress', address, reference.pa],
        ['bypassed', result.bypassed, reference.leaf === null],
      ];
      return reference.leaf === null ? pairs : [...pairs, ...leafPairs(result, reference.leaf)];
    }
    case 'fault':
      return faultPairs(result, reference, oas);
    case 'abort':
      return [['recorded', result.recorded, false]];
  }
}

/** How the library's answer differs from the reference's, in a sentence; null when it does not. */
export function difference(
  result: Translation,
  reference: ReferenceOutcome,
  oas: number,
): string | null {
  const wrong = pairsOf(result, reference, oas).filter(([, own, other]) => own !== other);
  if (wrong.length === 0) return null;
  return wrong
    .map(([name, own, other]) => `${name}: library ${show(own)}, reference ${show(other)}`)
    .join('; ');
}

function show(value: unknown): string {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value);
}
