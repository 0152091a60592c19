import { Register, wordOf, type RegisterName } from './arch/registers.js';
import { get } from './arch/field.js';
import { Ste } from './arch/ste.js';
import type { SmmuCore } from './core.js';
import { hex } from './memory/hex.js';
import { hexU64, parseU64, type Halves } from './memory/u64.js';
import { FEATURE_NAMES } from './registers/feature-names.js';
import type { Features } from './registers/features.js';
import { illegalCd } from './transaction/cd-rules.js';
import { StalledAccess } from './transaction/stall.js';
import { illegalSte } from './transaction/ste-rules.js';
import { Translation } from './transaction/translation.js';

/** 32-bit words as hexadecimal strings. */
export type Words = readonly string[];

/** The state of a vSMMU: what {@link Smmu.save} gives. Plain values; versioned. */
export interface SmmuState {
  readonly format: 'vsmmu-state';
  readonly version: 1;
  readonly features: Features;
  /** Registers that are not 0, by name. */
  readonly registers: Readonly<Record<string, string>>;
  /** What the configuration cache holds, oldest first. */
  readonly configurations: readonly {
    readonly streamId: number;
    readonly ste: Words;
    readonly cds: readonly { readonly index: number; readonly cd: Words }[];
  }[];
  /** Accesses that wait for the guest, oldest first. */
  readonly stalled: readonly {
    readonly stag: number;
    readonly streamId: number;
    readonly substreamId: number;
    readonly iova: string;
    readonly access: number;
    readonly record: Words;
    readonly recorded: boolean;
  }[];
  readonly lastStag: number;
  /** The last event record, with which an equal one may be merged. */
  readonly lastEvent: { readonly record: Words; readonly index: number };
  /** Something was invalidated since the last CMD_SYNC. */
  readonly invalidated: boolean;
  /** The guest has enabled something: the features stay as they are. */
  readonly frozen: boolean;
}

const VERSION = 1;

/** The state of `core`. */
export function saveState(core: SmmuCore): SmmuState {
  const registers: Record<string, string> = {};
  for (const name of Object.keys(Register) as RegisterName[]) {
    const word = wordOf(Register[name]);
    const high = Register[name].size === 8 ? core.frame.words[word + 1]! : 0;
    const low = core.frame.words[word]!;
    if ((high | low) !== 0) registers[name] = hexU64(high, low);
  }
  // Passthrough devices that CR0ACK waits for are brought in step by a restore.
  if (registers.CR0 === undefined) delete registers.CR0ACK;
  else registers.CR0ACK = registers.CR0;
  return {
    format: 'vsmmu-state',
    version: VERSION,
    features: { ...core.frame.features },
    registers,
    configurations: [...core.configurations.streams.values()].map((stream) => ({
      streamId: stream.streamId,
      ste: wordsOf(stream.words),
      cds: [...stream.contexts].map(([index, { words }]) => ({ index, cd: wordsOf(words) })),
    })),
    stalled: [...core.stalls.accesses.values()].map((access) => ({
      stag: access.stag,
      streamId: access.streamId,
      substreamId: access.substreamId,
      iova: hexU64(access.inputHigh, access.inputLow),
      access: access.access,
      record: wordsOf(access.record),
      recorded: access.recorded,
    })),
    lastStag: core.stalls.lastStag,
    lastEvent: { record: wordsOf(core.events.last), index: core.events.lastIndex },
    invalidated: core.invalidations.isNew,
    frozen: core.frozen,
  };
}

/**
 * Puts `state` into a fresh `core`, which is of no use when this throws.
 * @throws RangeError when the state is damaged, of another version or of other features.
 */
export function restoreState(core: SmmuCore, state: SmmuState): void {
  check(isObject(state) && (state.format as string) === 'vsmmu-state', 'format', 'vsmmu-state');
  check((state.version as number) === VERSION, 'version', String(VERSION));
  check(isObject(state.features), 'features', 'an object');
  for (const name of FEATURE_NAMES) {
    const own = core.frame.features[name];
    check(state.features[name] === own, `features.${name}`, `${own}, as this vSMMU has it`);
  }
  restoreRegisters(core, state);
  restoreConfigurations(core, state);
  restoreStalls(core, state);
  check(isObject(state.lastEvent), 'lastEvent', 'an object');
  core.events.configure();
  core.events.last.set(parseWords('lastEvent.record', state.lastEvent.record, 8));
  core.events.lastIndex = integer('lastEvent.index', state.lastEvent.index, -1, 0xf_ffff);
  check(typeof state.invalidated === 'boolean', 'invalidated', 'true or false');
  core.invalidations.isNew = state.invalidated;
  core.transactions.configure(core.frame.words);
  core.commands.configure();
  const enabled = core.frame.words[wordOf(Register.CR0)] !== 0;
  check(typeof state.frozen === 'boolean', 'frozen', 'true or false');
  check(state.frozen || !enabled, 'frozen', 'true, since something is enabled');
  core.frozen = state.frozen;
}

function restoreRegisters(core: SmmuCore, state: SmmuState): void {
  check(isObject(state.registers), 'registers', 'an object');
  const { words } = core.frame;
  const halves: Halves = { high: 0, low: 0 };
  const before = words.slice();
  for (const name of Object.keys(Register) as RegisterName[]) {
    const register = Register[name];
    const text: unknown = state.registers[name] ?? '0x0';
    const what = `registers.${name}`;
    check(typeof text === 'string' && parseU64(text, halves), what, 'a hexadecimal string');
    check(register.size === 8 || halves.high === 0, what, 'of 32 bits');
    const word = wordOf(register);
    const identification = register.access === 'RO' && !MUTABLE.has(name);
    check(!identification || before[word] === halves.low, what, 'what the features say');
    const possible =
      register.access === 'RO'
        ? name !== 'GERROR' || core.frame.canHold(word, halves.low)
        : core.frame.canHold(word, halves.low) &&
          (register.size === 4 || core.frame.canHold(word + 1, halves.high));
    check(possible, what, 'of bits that the register has');
    words[word] = halves.low;
    if (register.size === 8) words[word + 1] = halves.high;
  }
  for (const name of Object.keys(state.registers)) {
    check(Object.hasOwn(Register, name), `registers.${name}`, 'the name of a register');
  }
  for (const name of ['CR0', 'IRQ_CTRL'] as const) {
    const acknowledged = words[wordOf(Register[name])] === words[wordOf(Register[`${name}ACK`])];
    check(acknowledged, `registers.${name}ACK`, `equal to ${name}`);
  }
}

/** Registers that software only reads, but that change. */
const MUTABLE: ReadonlySet<RegisterName> = new Set(['CR0ACK', 'IRQ_CTRLACK', 'GERROR']);

function restoreConfigurations(core: SmmuCore, state: SmmuState): void {
  check(isList(state.configurations), 'configurations', 'a list');
  const { features } = core.frame;
  for (const [i, saved] of state.configurations.entries()) {
    const what = `configurations[${i}]`;
    check(isObject(saved) && isList(saved.cds), what, 'a stream with a list of CDs');
    const streamId = integer(`${what}.streamId`, saved.streamId, 0, 2 ** 32 - 1);
    check(!core.configurations.streams.has(streamId), `${what}.streamId`, 'there only once');
    const ste = parseWords(`${what}.ste`, saved.ste, 16);
    const legal = get(ste, 0, Ste.V) === 1 && illegalSte(ste, 0, features) === 0;
    check(legal, `${what}.ste`, 'a legal STE');
    const stream = core.configurations.keepStream(streamId, ste);
    for (const [j, context] of saved.cds.entries()) {
      const which = `${what}.cds[${j}]`;
      check(isObject(context), which, 'an object');
      const words = parseWords(`${which}.cd`, context.cd, 16);
      check(illegalCd(words, 0, ste, 0, features) === 0, `${which}.cd`, 'a legal CD');
      const at = integer(`${which}.index`, context.index, 0, 2 ** 20 - 1);
      check(!stream.contexts.has(at), `${which}.index`, 'there only once');
      core.configurations.keepContext(stream, at, words);
    }
  }
}

function restoreStalls(core: SmmuCore, state: SmmuState): void {
  check(isList(state.stalled), 'stalled', 'a list');
  const most = core.frame.features.STALL_MAX;
  check(state.stalled.length <= most, 'stalled', `of ${most} accesses at most`);
  const halves: Halves = { high: 0, low: 0 };
  for (const [i, saved] of state.stalled.entries()) {
    const what = `stalled[${i}]`;
    check(isObject(saved), what, 'an object');
    const fault = new Translation();
    fault.streamId = integer(`${what}.streamId`, saved.streamId, 0, 2 ** 32 - 1);
    fault.substreamId = integer(`${what}.substreamId`, saved.substreamId, -1, 2 ** 20 - 1);
    const parsed = typeof saved.iova === 'string' && parseU64(saved.iova, halves);
    check(parsed, `${what}.iova`, 'a hexadecimal string');
    fault.inputHigh = halves.high;
    fault.inputLow = halves.low;
    const stag = integer(`${what}.stag`, saved.stag, 0, 0xffff);
    check(!core.stalls.accesses.has(stag), `${what}.stag`, 'there only once');
    const kind = integer(`${what}.access`, saved.access, 0, 7);
    const record = parseWords(`${what}.record`, saved.record, 8);
    check(typeof saved.recorded === 'boolean', `${what}.recorded`, 'true or false');
    const access = new StalledAccess(stag, fault, kind, record, undefined);
    access.recorded = saved.recorded;
    core.stalls.accesses.set(stag, access);
  }
  core.stalls.lastStag = integer('lastStag', state.lastStag, 0, 0xffff);
}

function wordsOf(words: Uint32Array): string[] {
  return Array.from(words, hex);
}

function parseWords(what: string, words: unknown, count: number): Uint32Array {
  check(isList(words) && words.length === count, what, `a list of ${count} words`);
  const halves: Halves = { high: 0, low: 0 };
  return Uint32Array.from(words, (text) => {
    const parsed = typeof text === 'string' && parseU64(text, halves) && halves.high === 0;
    check(parsed, what, 'words of 32 bits, "0x..."');
    return halves.low;
  });
}

function integer(what: string, value: unknown, least: number, most: number): number {
  const right =
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
  check(right, what, `a whole number from ${least} to ${most}`);
  return value;
}

/** Array.isArray, which would turn what is known of the elements into any. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function check(right: boolean, what: string, expected: string): asserts right {
  if (!right)
    throw new RangeError(`the saved state is damaged or foreign: ${what} must be ${expected}`);
}
