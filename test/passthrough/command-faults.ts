/** One command of a batch fails on one physical SMMU; what the guest must see, and hardware get. */
import { describe, expect, test } from 'vitest';
import { EIO, ENOMEM, ETIMEDOUT, ILL, ABT, SID, turn } from './command-rig.js';
import { HOST_SID, KernelRig } from './command-kernel.js';

/** Longest batch: two blocks of the kernel and some. */
const LONGEST = 130;
/** Up to this length each SMMU fails in turn. */
const SHORT = 32;
/** The VMID that the kernel gives to the first nest parent of an SMMU. */
const VMID = 1;
const SYNC_WORDS = Uint32Array.of(0x46, 0, 0, 0);
/** TLBI_NH_ASID of an ASID that no other command has. */
const ANOTHER = Uint32Array.of(0x11, 0x7fff_0000, 0, 0);

const ERRNOS = { EIO, ETIMEDOUT, ENOMEM } as const;

/** What the guest does: as Linux (a CMD_SYNC over an illegal command), or it puts a legal one in its place. */
type Mode = 'skips it' | 'replaces it' | 'tries again';
type Case = readonly [errno: keyof typeof ERRNOS, mode: Mode];

export const ILLEGAL_CASES: readonly Case[] = [
  ['EIO', 'skips it'],
  ['EIO', 'replaces it'],
];
export const ABORT_CASES: readonly Case[] = [
  ['ETIMEDOUT', 'tries again'],
  ['ENOMEM', 'tries again'],
];

/** A batch of the guest, and who gets what of it. */
interface Plan {
  /** Of the guest, CMD_SYNC included. */
  readonly words: Uint32Array;
  /** For each SMMU, which commands of the guest reach it. */
  readonly ordinals: readonly (readonly number[])[];
}

/** `length` commands that reach SMMU `faulty`, and between them some that only another one gets. */
function planOf(length: number, faulty: number, smmus: number): Plan {
  const words: number[] = [];
  const ordinals = Array.from({ length: smmus }, (): number[] => []);
  const add = (smmu: number, ...command: readonly number[]): void => {
    const ordinal = words.length / 4;
    for (const [i, list] of ordinals.entries()) if (smmu < 0 || smmu === i) list.push(ordinal);
    words.push(...command);
  };
  for (let i = 0; i < length; i++) {
    const other = (faulty + 1 + (i % (smmus - 1 || 1))) % smmus;
    // The first is one of them, and so is the last of five.
    if (smmus > 1 && i % 5 === 0) add(other, 0x05 | (i << 12), SID + other, 1, 0);
    if (i % 7 === 3) add(faulty, 0x05 | (i << 12), SID + faulty, 1, 0);
    else if (i % 7 === 5) add(-1, 0x11, i << 16, 0, 0);
    else if (i % 7 === 6) add(-1, 0x13, 0, (i << 12) | 1, 0);
    else add(-1, 0x12, 9 << 16, (i << 12) | 1, 0x12);
  }
  return { words: Uint32Array.from([...words, ...SYNC_WORDS]), ordinals };
}

/** Whether word `i` of a command of the guest has become `word` in hardware. */
function isConverted(opcode: number, i: number, from: number, word: number): boolean {
  if (i !== 1) return from === word;
  return (opcode & 0xff) === 0x05
    ? word === from + HOST_SID
    : word === ((from & 0xffff_0000) | VMID) >>> 0;
}

class FaultRuns {
  /** Runs made. */
  runs = 0;
  private readonly rig: KernelRig;
  private readonly smmus: number;
  /** What the kernel refuses from now on, on one SMMU. */
  private viommu = 0;
  private errno = 0;
  private index = 0;
  private bad = SYNC_WORDS;

  private constructor(rig: KernelRig, smmus: number) {
    this.rig = rig;
    this.smmus = smmus;
    rig.kernel.failInvalidation(({ viommu, commands, count }) => {
      if (viommu !== this.viommu) return undefined;
      const { errno } = this;
      if (errno !== EIO) {
        // Once.
        this.viommu = 0;
        return { index: this.index, errno };
      }
      const { bad } = this;
      for (let i = 0; i < count; i++) {
        if (bad.every((word, j) => word === commands[4 * i + j])) return { index: i, errno };
      }
      return undefined;
    });
  }

  static async make(smmus: number, counts: 'checked' | 'issued'): Promise<FaultRuns> {
    return new FaultRuns(await KernelRig.make(smmus, counts), smmus);
  }

  /** Every failing index of every length. */
  all(errno: number, mode: Mode): void {
    for (let length = 1; length <= LONGEST; length++) {
      const first = length <= SHORT ? 0 : length % this.smmus;
      const last = length <= SHORT ? this.smmus - 1 : first;
      for (let faulty = first; faulty <= last; faulty++) {
        const plan = planOf(length, faulty, this.smmus);
        for (let index = 0; index < length; index++) this.run(plan, faulty, index, errno, mode);
      }
    }
  }

  /** As {@link all}, of some lengths, with a kernel that answers later. */
  async later(lengths: readonly number[], errno: number, mode: Mode): Promise<void> {
    this.rig.kernel.async(true);
    for (const length of lengths) {
      const faulty = length % this.smmus;
      const plan = planOf(length, faulty, this.smmus);
      for (let index = 0; index < length; index++) {
        const steps = this.steps(plan, faulty, index, errno, mode);
        while (steps.next().done !== true) await turn();
      }
    }
  }

  private run(plan: Plan, faulty: number, index: number, errno: number, mode: Mode): void {
    const steps = this.steps(plan, faulty, index, errno, mode);
    while (steps.next().done !== true);
  }

  /** Yields where the vSMMU may have to wait for the kernel. */
  private *steps(
    plan: Plan,
    faulty: number,
    index: number,
    errno: number,
    mode: Mode,
  ): Generator<undefined> {
    const { rig } = this;
    const { words, ordinals } = plan;
    const what = `${ordinals[faulty]!.length} commands, ${index} of SMMU ${faulty}, ${errno} ${mode}`;
    const failing = ordinals[faulty]![index]!;
    this.runs++;
    this.viommu = rig.viommus[faulty]!;
    this.errno = errno;
    this.index = index;
    this.bad = words.slice(4 * failing, 4 * failing + 4);
    rig.kernel.clearHardware();

    const start = rig.cons;
    rig.command(words);
    yield;
    const isIllegal = errno === EIO;
    const stop = isIllegal ? failing : ordinals[faulty]![0]!;
    check(rig.cons === rig.after(start, stop), `${what}: CONS ${rig.cons} from ${start}`);
    check(rig.error === (isIllegal ? ILL : ABT), `${what}: CERROR ${rig.error}`);
    if (isIllegal) rig.overwrite(mode === 'skips it' ? SYNC_WORDS : ANOTHER);
    rig.acknowledge();
    yield;
    check(rig.cons === rig.prod, `${what}: CONS ${rig.cons} at last, PROD ${rig.prod}`);
    check(rig.error === 0, `${what}: CERROR ${rig.error} at last`);
    for (let smmu = 0; smmu < this.smmus; smmu++) {
      const expected = isIllegal ? this.without(plan, smmu, failing, mode) : undefined;
      const got = this.taken(smmu, words, expected ?? ordinals[smmu]!);
      check(got, `${what}: SMMU ${smmu} lacks a command, or has them out of order`);
    }
  }

  /** What SMMU `smmu` must get when `failing` is given up, or -1 comes in its place. */
  private without(plan: Plan, smmu: number, failing: number, mode: Mode): number[] {
    const before = plan.ordinals[smmu]!.filter((ordinal) => ordinal < failing);
    const after = plan.ordinals[smmu]!.filter((ordinal) => ordinal > failing);
    return mode === 'skips it' ? [...before, ...after] : [...before, -1, ...after];
  }

  /** Whether the completed commands of an SMMU contain those of the guest, in order. */
  private taken(smmu: number, words: Uint32Array, expected: readonly number[]): boolean {
    let next = 0;
    for (const { words: got, completed } of this.rig.kernel.hardware(smmu)) {
      if (!completed || next === expected.length) continue;
      const ordinal = expected[next]!;
      const from = ordinal < 0 ? ANOTHER : words;
      const at = ordinal < 0 ? 0 : 4 * ordinal;
      const opcode = from[at]!;
      let isSame = got[0] === opcode;
      for (let i = 1; i < 4; i++) isSame &&= isConverted(opcode, i, from[at + i]!, got[i]!);
      if (isSame) next++;
    }
    return next === expected.length;
  }
}

function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(what);
}

/** Runs that {@link FaultRuns.all} makes: each index of each length, and SMMU for the short ones. */
function runsOf(smmus: number): number {
  const sum = (n: number): number => (n * (n + 1)) / 2;
  return smmus * sum(SHORT) + sum(LONGEST) - sum(SHORT);
}

/** What kernels with these ways to count do with every fault. */
export function faultTests(
  smmus: number,
  cases: readonly Case[],
  counts: readonly ('checked' | 'issued')[] = ['checked', 'issued'],
): void {
  describe.each(counts)(`${smmus} SMMUs; the kernel counts what it has %s`, (way) => {
    test.each(cases)(
      '%s at each index of 1 to 130 commands, and the guest %s: CONS, CERROR, and nothing is lost',
      async (errno, mode) => {
        const runs = await FaultRuns.make(smmus, way);
        runs.all(ERRNOS[errno], mode);
        expect(runs.runs).toBe(runsOf(smmus));
      },
    );
  });
}

/** The same, with some lengths and a kernel that answers later. */
export function laterFaultTests(smmus: number, cases: readonly Case[]): void {
  const lengths = [1, 2, 3, 62, 63, 64, 65, 126, 127, 128];
  describe.each(['checked', 'issued'] as const)(`${smmus} SMMUs, which count what is %s`, (way) => {
    test.each(cases)(
      `%s at each index of ${lengths.join(', ')} commands, and the guest %s`,
      async (errno, mode) => {
        const runs = await FaultRuns.make(smmus, way);
        await runs.later(lengths, ERRNOS[errno], mode);
        expect(runs.runs).toBe(lengths.reduce((sum, length) => sum + length, 0));
      },
    );
  });
}
