import { Command, type CommandFormat } from '../arch/command.js';
import type { PhysicalStats } from './physical-smmu.js';

/**
 * Why a command of the guest did not go to hardware. `otherStream`: it names a StreamID that no
 * passthrough device has. `nobodyTranslates`: it names translations, and no physical SMMU translates for
 * a passthrough device. `notNested`: it names a device that stage 1 does not translate for. `noAts`:
 * ATC_INV for a device whose STE does not let it use ATS. `noEffect`: it names what cannot be, a
 * SubstreamID or a size that is out of range.
 */
export type InsideReason = 'otherStream' | 'nobodyTranslates' | 'notNested' | 'noAts' | 'noEffect';

/** Numbers of the reasons of {@link InsideReason}. */
export const Inside = {
  otherStream: 0,
  nobodyTranslates: 1,
  notNested: 2,
  noAts: 3,
  noEffect: 4,
} as const satisfies Readonly<Record<InsideReason, number>>;

/** What was forwarded, and what was not. */
export interface PassthroughStats {
  /** Commands of the guest that at least one physical SMMU got, by name. */
  readonly forwarded: Readonly<Record<string, number>>;
  /** Commands of the guest that could go to hardware and did not, by reason and name. */
  readonly inside: Readonly<Partial<Record<InsideReason, Readonly<Record<string, number>>>>>;
  /** Commands sent for each one forwarded: above 1 with several physical SMMUs; 0 before the first. */
  readonly amplification: number;
  /** In the order in which they were added. */
  readonly physical: readonly PhysicalStats[];
}

const REASONS = Object.keys(Inside).length;

/** Counts commands by what became of them. */
export class RouteCounts {
  private readonly forwarded = new Float64Array(256);
  private readonly inside = new Float64Array(256 * REASONS);

  /** A command goes to hardware. */
  countForwarded(opcode: number): void {
    this.forwarded[opcode] = this.forwarded[opcode]! + 1;
  }

  /** @param reason an {@link Inside}. */
  countInside(opcode: number, reason: number): void {
    const at = REASONS * opcode + reason;
    this.inside[at] = this.inside[at]! + 1;
  }

  /** The counters, by name. */
  stats(physical: readonly PhysicalStats[]): PassthroughStats {
    const inside: Partial<Record<InsideReason, Record<string, number>>> = {};
    for (const [reason, index] of Object.entries(Inside) as [InsideReason, number][]) {
      const counts = byName((opcode) => this.inside[REASONS * opcode + index]!);
      if (Object.keys(counts).length > 0) inside[reason] = counts;
    }
    const sent = physical.reduce((sum, { commands }) => sum + commands, 0);
    const total = this.forwarded.reduce((sum, count) => sum + count, 0);
    return {
      forwarded: byName((opcode) => this.forwarded[opcode]!),
      inside,
      amplification: total === 0 ? 0 : sent / total,
      physical,
    };
  }
}

function byName(countOf: (opcode: number) => number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [name, { opcode }] of Object.entries(Command) as [string, CommandFormat][]) {
    const count = countOf(opcode);
    if (count > 0) counts[name] = count;
  }
  return counts;
}
