import { describe, expect, test } from 'vitest';
import { readCases, type OracleAnswer, type OracleCase, type OracleEntry } from './cases.js';
import { OracleMachine } from './oracle-machine.js';
import { LibrarySubject, ReferenceSubject } from './subjects.js';

const cases = readCases();

/** A mask over a record with the bits `[msb:lsb]` (counted from bit 0 of the record) of each pair. */
function maskOf(...fields: (readonly [msb: number, lsb: number])[]): bigint {
  return fields.reduce(
    (mask, [msb, lsb]) => mask | (((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb)),
    0n,
  );
}

// What fixtures/oracle/README.md says is comparable. PnU and InD are not: QEMU writes zeros.
const IN_ALL = maskOf([7, 0], [11, 11], [63, 32]);
const OF_ACCESS = maskOf([95, 95], [99, 99], [103, 103], [105, 104], [191, 128]);
const FETCH_ADDR = maskOf([255, 192]);

/** The comparable fields of a raw record, as one number. */
function comparable(rawEvent: string): string {
  const record = BigInt(`0x${Buffer.from(rawEvent, 'hex').reverse().toString('hex')}`);
  const event = Number(record & 0xffn);
  let mask = IN_ALL;
  if (event === 0x0b || (event >= 0x10 && event <= 0x13)) mask |= OF_ACCESS;
  if (event === 0x03 || event === 0x09 || event === 0x0b) mask |= FETCH_ADDR;
  return (record & mask).toString(16);
}

/** An answer less what is not to be compared. */
function normal({ ok, pa, fault, rawEvent, segments }: OracleAnswer, raw: boolean): unknown {
  return {
    ok,
    pa: ok ? pa : undefined,
    fault: ok ? undefined : (fault ?? null),
    rawEvent: raw && rawEvent !== undefined ? comparable(rawEvent) : undefined,
    segments,
  };
}

/** What was compared, by name. */
type Tally = Record<string, number>;

/**
 * Compares one case. The subjects have no caches: what they must answer is `arm`, which is given
 * wherever the architecture's cache-less answer is not QEMU's, stale caches included.
 */
function compareCase(
  Subject: typeof LibrarySubject | typeof ReferenceSubject,
  oracleCase: OracleCase,
  entries: readonly OracleEntry[],
  tally: Tally,
): void {
  const count = (name: string, by = 1) => (tally[name] = (tally[name] ?? 0) + by);
  const machine = new OracleMachine(Subject, oracleCase.drainEvents ?? true);
  const left = entries.values();
  let index = 0;
  for (const step of [oracleCase, ...(oracleCase.steps ?? [])]) {
    machine.prepare(step);
    for (const access of step.accesses ?? []) {
      const entry = left.next().value;
      if (entry === undefined) throw new RangeError('too few results');
      const expected = entry.arm ?? entry;
      const answer = machine.access(access, access.streamId ?? oracleCase.streamId);
      const raw = expected.rawEvent !== undefined;
      const where = `${oracleCase.id}, access ${index}`;
      expect(normal(answer, raw), where).toEqual(normal(expected, raw));
      index++;
      count('accesses');
      if (entry.arm !== undefined) count('architecture instead of QEMU');
      if (raw) count('event records');
      if (expected.segments !== undefined) count('more than one segment');
      if (entry.crash) {
        count('crashes');
        return;
      }
    }
    if (step.read !== undefined) {
      expect(left.next().value?.regs, `${oracleCase.id}: registers`).toBeDefined();
      count('reads skipped');
    }
  }
  expect(left.next().done, `${oracleCase.id}: all results were used`).toBe(true);
  count('no record because of the event queue', machine.unqueued);
}

test('the fixtures hold 298 cases, each under its own name', () => {
  expect(new Set(cases.map(({ oracleCase }) => oracleCase.id)).size).toBe(298);
});

describe.each([
  ['library', LibrarySubject],
  ['reference', ReferenceSubject],
] as const)('QEMU and the %s', (_, Subject) => {
  const tally: Tally = {};

  test.each(cases)('agree on $oracleCase.id', ({ oracleCase, entries }) => {
    compareCase(Subject, oracleCase, entries, tally);
    expect(tally.accesses).toBeGreaterThan(0);
  });

  // The fixtures are fixed, and so is what is compared: with the answer of QEMU, or of the
  // architecture where that is another one.
  test('were compared on everything that the fixtures hold', () => {
    expect(tally).toEqual({
      accesses: 2920,
      'architecture instead of QEMU': 164,
      crashes: 1,
      'event records': 1584,
      'more than one segment': 21,
      'no record because of the event queue': 22,
      'reads skipped': 101,
    });
  });
});
