import { Access, Outcome, Permission, Translation, type Smmu, type U64 } from 'vsmmu';
import type { ReferenceOutcome } from '../../reference/index.js';
import type { Dma } from '../devices/dma.js';
import type { Differences } from './differences.js';
import type { ReferenceWalk } from './reference-walk.js';
import type { LocatingDma } from './stream-dma.js';

const PAGE = 4096n;

/**
 * Walks the guest's tables with the slow reference before each access, and compares. A translation that
 * is cached may be older than the tables, but what a driver has given to a device stays mapped until the
 * device has given it back: for such an address the tables, as they are now, decide.
 */
export class CheckedDma implements Dma {
  private readonly dma: LocatingDma;
  private readonly reference: ReferenceWalk;
  private readonly differences: Differences;
  private readonly smmu: () => Smmu;
  private readonly result = new Translation();

  constructor(
    dma: LocatingDma,
    reference: ReferenceWalk,
    differences: Differences,
    smmu: () => Smmu,
  ) {
    this.dma = dma;
    this.reference = reference;
    this.differences = differences;
    this.smmu = smmu;
  }

  read(iova: U64, into: Uint8Array): number {
    const expected = this.check(BigInt(iova), into.length, false);
    return this.settle(iova, expected, this.dma.read(iova, into));
  }

  write(iova: U64, from: Uint8Array): number {
    const expected = this.check(BigInt(iova), from.length, true);
    return this.settle(iova, expected, this.dma.write(iova, from));
  }

  load16(iova: U64): number {
    const expected = this.check(BigInt(iova), 2, false);
    const value = this.dma.load16(iova);
    this.settle(iova, expected, value < 0 ? 0 : 2);
    return value;
  }

  store16(iova: U64, value: number): number {
    const expected = this.check(BigInt(iova), 2, true);
    const outcome = this.dma.store16(iova, value);
    this.settle(iova, expected, outcome < 0 ? 0 : 2);
    return outcome;
  }

  /** Compares page by page. @returns how far the access gets, and the fault that ends it. */
  private check(iova: bigint, length: number, isWrite: boolean): Expected {
    const end = iova + BigInt(length);
    for (let at = iova; at < end; at = (at / PAGE + 1n) * PAGE) {
      this.differences.compared++;
      const outcome = this.reference.translate(this.dma.streamId, at, isWrite);
      if (outcome.kind !== 'ok') return { bytes: Number(at - iova), fault: outcome };
      this.compare(at, isWrite, outcome);
    }
    return { bytes: length, fault: undefined };
  }

  private compare(iova: bigint, isWrite: boolean, expected: Translated): void {
    const address = this.dma.locate(iova, isWrite);
    if (address !== Number(expected.pa)) {
      this.differ(iova, isWrite, `goes to ${hex(address)}, the tables say ${hex(expected.pa)}`);
      return;
    }
    const { result } = this;
    const { leaf } = expected;
    const access = isWrite ? Access.write : Access.read;
    const high = Number(iova >> 32n);
    const low = Number(iova & 0xffff_ffffn);
    const outcome = this.smmu().translate(this.dma.streamId, -1, high, low, access, result);
    if (outcome !== Outcome.translated || result.outputAddress !== Number(expected.pa)) {
      this.differ(iova, isWrite, `translate: outcome ${outcome}, event ${hex(result.event)}`);
    } else if (leaf !== null && !sameRights(result.permissions, leaf)) {
      const rights = JSON.stringify([leaf.unprivileged, leaf.privileged]);
      this.differ(iova, isWrite, `permissions ${hex(result.permissions)}, the tables: ${rights}`);
    }
  }

  /** Compares how far an access got with how far it should have got. */
  private settle(iova: U64, expected: Expected, bytes: number): number {
    const at = BigInt(iova) + BigInt(Math.min(bytes, expected.bytes));
    if (bytes !== expected.bytes) {
      const event = hex(this.dma.lastEvent());
      const wanted = expected.fault === undefined ? 'none' : describe(expected.fault);
      this.differ(at, undefined, `ended after ${bytes}, event ${event}; the tables say ${wanted}`);
    } else if (expected.fault?.kind === 'fault' && this.dma.lastEvent() !== expected.fault.event) {
      const event = hex(this.dma.lastEvent());
      this.differ(at, undefined, `event ${event}, the tables say ${describe(expected.fault)}`);
    }
    return bytes;
  }

  private differ(iova: bigint, isWrite: boolean | undefined, text: string): void {
    const kind = isWrite === undefined ? 'access' : isWrite ? 'write' : 'read';
    this.differences.add(`stream ${hex(this.dma.streamId)}, ${kind} of ${hex(iova)}: ${text}`);
  }
}

type Translated = Extract<ReferenceOutcome, { kind: 'ok' }>;
type Fault = Exclude<ReferenceOutcome, { kind: 'ok' }>;

interface Expected {
  readonly bytes: number;
  readonly fault: Fault | undefined;
}

function sameRights(permissions: number, leaf: NonNullable<Translated['leaf']>): boolean {
  const { unprivileged: user, privileged } = leaf;
  const expected =
    (user.read ? Permission.unprivilegedRead : 0) |
    (user.write ? Permission.unprivilegedWrite : 0) |
    (privileged.read ? Permission.privilegedRead : 0) |
    (privileged.write ? Permission.privilegedWrite : 0);
  const data = 0b01_1011;
  return (permissions & data) === expected;
}

function describe(fault: Fault): string {
  return fault.kind === 'fault' ? `event ${hex(fault.event)}: ${fault.reason}` : fault.reason;
}

function hex(value: number | bigint): string {
  return value < 0 ? String(value) : `0x${value.toString(16)}`;
}
