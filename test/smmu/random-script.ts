/** Random guests: what they do to a vSMMU and to memory, as plain steps that can be done twice. */
import fc from 'fast-check';
import { CD, CD_TABLE, edited, STE, STREAM, STREAM_TABLE } from '../transaction/machine.js';
import type { Translation } from '../../src/transaction/translation.js';
import { CMDQ, EVENTQ, NOWHERE, R, RAM, SmmuMachine, type Entry } from './smmu-machine.js';

export type Step =
  | { readonly kind: 'write'; readonly offset: number; readonly value: number }
  | { readonly kind: 'wide'; readonly offset: number; readonly value: bigint }
  | { readonly kind: 'command'; readonly entry: Entry }
  | { readonly kind: 'store'; readonly address: number; readonly words: readonly bigint[] }
  | {
      readonly kind: 'access';
      readonly streamId: number;
      readonly substreamId: number;
      readonly iova: bigint;
      readonly access: number;
    }
  | { readonly kind: 'events' }
  | { readonly kind: 'acknowledge' }
  | { readonly kind: 'drain'; readonly budget: number };

const streamId = fc.constantFrom(STREAM, STREAM, 0x11, 0x12, 0x100);
const substreamId = fc.constantFrom(-1, -1, 0, 1, 2, 9);

const entry: fc.Arbitrary<Entry> = fc.oneof(
  { weight: 3, arbitrary: streamId.map((id): Entry => [0x03n | (BigInt(id) << 32n), 1n]) },
  fc
    .tuple(streamId, fc.nat(3))
    .map(([id, at]): Entry => [0x05n | (BigInt(at) << 12n) | (BigInt(id) << 32n), 1n]),
  fc.nat(31).map((log2): Entry => [0x04n, BigInt(log2)]),
  { weight: 2, arbitrary: fc.constantFrom<Entry>([0x30n, 0n], [0x12n, 0x1000n]) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Entry>(
      [0x46n, 0n],
      [0x1046n | (0xbeefn << 32n), BigInt(RAM + 0x40)],
      [0x1046n, BigInt(NOWHERE)],
      [0x2046n, 0n],
    ),
  },
  // RESUME: Ac [12], Ab [13]; STAGs start at 1.
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(3), streamId, fc.nat(6))
      .map(([how, id, stag]): Entry => [
        0x44n | (BigInt(how) << 12n) | (BigInt(id) << 32n),
        BigInt(stag),
      ]),
  },
  streamId.map((id): Entry => [0x45n | (BigInt(id) << 32n), 0n]),
  fc.constantFrom<Entry>([0x00n, 0n], [0x12n, 0x400n], [0x3046n, 0n]),
);

/** STEs: V, Config, MEV, with two bits of S1CDMax and S1DSS=2; CDs: V, A, R, S and EPD0. */
const ste = fc
  .record({
    id: fc.constantFrom(STREAM, 0x11, 0x12),
    v: fc.constantFrom(1, 1, 1, 0),
    config: fc.constantFrom(5, 5, 5, 4, 0, 6),
    mev: fc.nat(1),
    cdMax: fc.nat(2),
    dss: fc.nat(2),
  })
  .map(({ id, v, config, mev, cdMax, dss }) => ({
    kind: 'store' as const,
    address: STREAM_TABLE + 64 * id,
    words: edited(
      STE,
      [0, 0, 0, v],
      [0, 3, 1, config],
      [0, 63, 59, cdMax],
      [1, 19, 19, mev],
      [1, 1, 0, dss],
    ),
  }));
const cd = fc
  .record({ at: fc.nat(3), v: fc.constantFrom(1, 1, 1, 0), ars: fc.nat(7), epd0: fc.nat(5) })
  .map(({ at, v, ars, epd0 }) => ({
    kind: 'store' as const,
    address: CD_TABLE + 64 * at,
    // V [31], S R A [46:44], EPD0 [14].
    words: edited(CD, [0, 31, 31, v], [0, 46, 44, ars], [0, 14, 14, epd0 === 0 ? 1 : 0]),
  }));
const leaf = fc.constantFrom(0n, 0x8000_0f45n, 0x9000_0f45n).map((word) => ({
  kind: 'store' as const,
  address: 0x43e3_0000,
  words: [word],
}));

const registers = fc.constantFrom(...Object.values(R));

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('access' as const),
      streamId,
      substreamId,
      iova: fc.constantFrom(0x1234n, 0x2000n, 0x4000_0000n, 1n << 60n),
      access: fc.nat(7),
    }),
  },
  { weight: 8, arbitrary: entry.map((one) => ({ kind: 'command' as const, entry: one })) },
  { weight: 2, arbitrary: ste },
  { weight: 3, arbitrary: cd },
  { weight: 2, arbitrary: leaf },
  { weight: 2, arbitrary: fc.constant({ kind: 'events' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'acknowledge' as const }) },
  { weight: 1, arbitrary: fc.nat(4).map((budget) => ({ kind: 'drain' as const, budget })) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(0xd, 0xd, 0xd, 0x5, 0x9, 0xc, 0).map((value) => ({
      kind: 'write' as const,
      offset: R.CR0,
      value,
    })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(registers, fc.nat({ max: 0xffff_ffff }))
      .map(([offset, value]) => ({ kind: 'write' as const, offset, value })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom(R.EVENTQ_IRQ_CFG0, R.GERROR_IRQ_CFG0, R.EVENTQ_BASE, R.CMDQ_BASE),
        fc.constantFrom(
          0n,
          BigInt(RAM + 0x80),
          BigInt(NOWHERE),
          BigInt(EVENTQ + 2),
          BigInt(CMDQ + 4),
        ),
      )
      .map(([offset, value]) => ({ kind: 'wide' as const, offset, value })),
  },
);

/** What the answers to stalled accesses were, and what else came back. */
export type Journal = string[];

/** Does one step and writes down all that can be seen of it. */
export function perform(machine: SmmuMachine, one: Step, journal: Journal): void {
  switch (one.kind) {
    case 'write':
      machine.write(one.offset, one.value);
      break;
    case 'wide':
      machine.write64(one.offset, one.value);
      break;
    case 'command':
      machine.command(one.entry);
      break;
    case 'store':
      machine.put(one.address, ...one.words);
      break;
    case 'access': {
      const answered = (late: Translation) => journal.push(`late ${describeAnswer(late)}`);
      const { iova, access, streamId: id, substreamId: sub } = one;
      journal.push(describeAnswer(machine.translate(iova, access, id, sub, answered)));
      break;
    }
    case 'events':
      machine.write(R.EVENTQ_CONS, machine.read(R.EVENTQ_PROD));
      break;
    case 'acknowledge':
      machine.write(R.GERRORN, machine.read(R.GERROR));
      break;
    case 'drain':
      journal.push(`drain ${machine.smmu.drain(one.budget)}`);
      break;
  }
}

function describeAnswer(answer: Translation): string {
  const { outcome, event, outputAddress, streamId: id } = answer;
  const where = outcome === 0 ? `0x${outputAddress.toString(16)}` : `event ${event}`;
  return `${id} ${outcome} ${where}`;
}
