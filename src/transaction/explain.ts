import { Cd, L1cd } from '../arch/cd.js';
import { Descriptor, LeafDescriptor, TableDescriptor } from '../arch/descriptor.js';
import { get, type Layout } from '../arch/field.js';
import { levelShift } from '../arch/granule.js';
import { Register, wordOf } from '../arch/registers.js';
import { L1std, Ste, SteConfig } from '../arch/ste.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { hex } from '../memory/hex.js';
import { RecordingMemory, type Fetch } from '../memory/recording-memory.js';
import { fieldsOf } from '../print.js';
import type { Features } from '../registers/features.js';
import { hexU64 } from '../memory/u64.js';
import { swapBytes } from './descriptor.js';
import { Access } from './permissions.js';
import { describeReason } from './reason.js';
import { Translator } from './translator.js';
import { Outcome, Translation } from './translation.js';

/** One step of an explained translation. */
export interface ExplainedStep {
  /** What was looked at: a register, `STE`, `CD`, `level 2 descriptor` ... */
  readonly what: string;
  /** Physical address of what was fetched, in bytes; -1 when nothing was. */
  readonly address: number;
  /** The words that were fetched, 64 bits each, as hexadecimal; empty when the fetch aborted. */
  readonly words: readonly string[];
  /** The fields that mattered, as `name=value`. */
  readonly fields: readonly string[];
  /** What followed from them. */
  readonly rule: string;
}

/** A translation with all its steps. */
export interface Explanation {
  readonly steps: readonly ExplainedStep[];
  readonly result: Translation;
}

/** An access to be explained. */
export interface ExplainedAccess {
  readonly streamId: number;
  /** -1 without SubstreamID. */
  readonly substreamId: number;
  /** Bits 63:32 of the input address. */
  readonly inputHigh: number;
  /** Bits 31:0 of the input address. */
  readonly inputLow: number;
  /** {@link Access} bits. */
  readonly access: number;
}

/**
 * Translates one access and tells every step: each structure fetched, from where, the fields that
 * mattered and what followed, up to the output address or the first thing that failed. Slow; for
 * people. Like any translation it may set access flags and dirty state in the guest's tables.
 */
export function explain(
  memory: GuestMemory,
  frame: Uint32Array,
  features: Features,
  access: ExplainedAccess,
): Explanation {
  const recorder = new RecordingMemory(memory);
  const translator = new Translator(recorder, features);
  translator.configure(frame);
  const result = new Translation();
  const { streamId, substreamId, inputHigh, inputLow } = access;
  translator.translate(streamId, substreamId, inputHigh, inputLow, access.access, result);
  const steps = new Narrator(translator, frame, access).tell(recorder.fetches);
  steps.push({ what: 'result', address: -1, words: [], fields: [], rule: conclusion(result) });
  return { steps, result };
}

/** Knows, from the fetches before, what the next one is. */
class Narrator {
  private readonly translator: Translator;
  private readonly frame: Uint32Array;
  private readonly access: ExplainedAccess;

  constructor(translator: Translator, frame: Uint32Array, access: ExplainedAccess) {
    this.translator = translator;
    this.frame = frame;
    this.access = access;
  }

  tell(fetches: readonly Fetch[]): ExplainedStep[] {
    const { streams, substreams } = this.translator;
    const steps = this.registers();
    let next = 0;
    const take = (): Fetch | undefined => fetches[next++];
    const enabled = fetches.length > 0;
    if (enabled && streams.split !== 0) steps.push(this.l1std(take()));
    const ste = take();
    if (ste !== undefined) steps.push(this.ste(ste));
    if (ste === undefined || ste.words.length === 0) return steps;
    const twoLevelCds = next < fetches.length && substreams.table.split !== 0;
    if (twoLevelCds) steps.push(this.l1cd(take()));
    const cd = take();
    if (cd !== undefined) steps.push(cdStep(cd));
    const half = this.half();
    let level = half.startLevel - 1;
    let updated = false;
    for (let fetch = take(); fetch !== undefined; fetch = take()) {
      // What follows an update is the same descriptor, read again because it had changed.
      if (!fetch.update && !updated) level++;
      updated = fetch.update;
      steps.push(this.descriptor(fetch, level));
    }
    return steps;
  }

  private half() {
    const { lower, upper } = this.translator.context;
    return (this.access.inputHigh & 0x0080_0000) === 0 ? lower : upper;
  }

  private registers(): ExplainedStep[] {
    const { CR0, GBPA, STRTAB_BASE, STRTAB_BASE_CFG } = Register;
    const enabled = get(this.frame, wordOf(CR0), CR0.fields.SMMUEN) === 1;
    if (!enabled) {
      const fields = fieldsOf(this.frame, wordOf(GBPA), GBPA.fields, ['ABORT']);
      const rule = 'the stream table is not used, GBPA decides (IHI 0070, section 6.3.15)';
      return [{ what: 'CR0, GBPA', address: -1, words: [], fields: ['SMMUEN=0', ...fields], rule }];
    }
    return [
      {
        what: 'STRTAB_BASE, STRTAB_BASE_CFG',
        address: -1,
        words: [],
        fields: [
          ...fieldsOf(this.frame, wordOf(STRTAB_BASE), STRTAB_BASE.fields, ['ADDR']),
          ...fieldsOf(this.frame, wordOf(STRTAB_BASE_CFG), STRTAB_BASE_CFG.fields, [
            'FMT',
            'SPLIT',
            'LOG2SIZE',
          ]),
        ],
        rule: `StreamID ${hex(this.access.streamId)} is looked up in a table of ${2 ** this.translator.streams.log2Size} (IHI 0070, section 3.3)`,
      },
    ];
  }

  private l1std(fetch: Fetch | undefined): ExplainedStep {
    const { split } = this.translator.streams;
    return stepOf(
      'L1STD',
      fetch,
      L1std,
      ['Span', 'L2Ptr'],
      `entry ${Math.floor(this.access.streamId / 2 ** split)}: StreamID >> ${split}`,
    );
  }

  private ste(fetch: Fetch): ExplainedStep {
    const config = fetch.words.length === 0 ? 0 : get(fetch.words, 0, Ste.Config);
    const valid = fetch.words.length > 0 && get(fetch.words, 0, Ste.V) === 1;
    const rule = !valid
      ? 'V=0: the STE is not valid'
      : (config & 0b100) === 0
        ? 'Config aborts, silently'
        : config === SteConfig.bypass
          ? 'Config bypasses both stages'
          : config === SteConfig.s1
            ? 'Config translates by stage 1'
            : 'Config translates by stage 2';
    const names = ['V', 'Config', 'S1Fmt', 'S1ContextPtr', 'S1CDMax', 'S1DSS', 'S1STALLD'];
    return stepOf('STE', fetch, Ste, names, rule);
  }

  private l1cd(fetch: Fetch | undefined): ExplainedStep {
    const { split } = this.translator.substreams.table;
    const rule = `entry ${this.translator.substreams.index >>> split}: SubstreamID >> ${split}`;
    return stepOf('L1CD', fetch, L1cd, ['V', 'L2Ptr'], rule);
  }

  private descriptor(fetch: Fetch, level: number): ExplainedStep {
    const half = this.half();
    const name = `level ${level} descriptor`;
    if (fetch.words.length === 0) return stepOf(name, fetch, Descriptor, [], '');
    const { bigEndian } = this.translator.context;
    const words = bigEndian
      ? new Uint32Array([swapBytes(fetch.words[1]!), swapBytes(fetch.words[0]!)])
      : fetch.words;
    const decoded: Fetch = { ...fetch, words };
    if (fetch.update) {
      const rule = 'the SMMU updates the access flag or dirty state (IHI 0070, section 3.13)';
      return stepOf(`${name}, update`, decoded, LeafDescriptor, ['AF', 'DBM', 'AP'], rule);
    }
    const type =
      get(words, 0, Descriptor.Valid) === 0
        ? 'invalid'
        : get(words, 0, Descriptor.Table) === 1
          ? level === 3
            ? 'page'
            : 'table'
          : level === 3
            ? 'reserved'
            : 'block';
    const where = `input bits from ${levelShift(half.granuleLog2, level)} on: ${type}`;
    if (type === 'table') {
      return stepOf(
        name,
        decoded,
        TableDescriptor,
        ['NLTA', 'APTable', 'XNTable', 'PXNTable'],
        where,
      );
    }
    if (type === 'page' || type === 'block') {
      const names = ['OA', 'AP', 'AF', 'nG', 'SH', 'AttrIndx', 'DBM', 'Contiguous', 'PXN', 'UXN'];
      return stepOf(name, decoded, LeafDescriptor, names, where);
    }
    return stepOf(name, decoded, Descriptor, ['Valid'], where);
  }
}

function cdStep(fetch: Fetch): ExplainedStep {
  const names =
    'V AA64 T0SZ TG0 EPD0 TTB0 T1SZ TG1 EPD1 TTB1 IPS TBI0 TBI1 ENDI AFFD HA HD WXN PAN A R S ASID';
  return stepOf('CD', fetch, Cd, names.split(' '), 'gives the tables of both halves');
}

function stepOf(
  what: string,
  fetch: Fetch | undefined,
  layout: Layout,
  names: readonly string[],
  rule: string,
): ExplainedStep {
  if (fetch === undefined || fetch.words.length === 0) {
    const address = fetch?.address ?? -1;
    return { what, address, words: [], fields: [], rule: 'not backed by memory: external abort' };
  }
  const words: string[] = [];
  for (let i = 0; i < fetch.words.length; i += 2) {
    words.push(hexU64(fetch.words[i + 1]!, fetch.words[i]!));
  }
  const fields = fieldsOf(fetch.words, 0, layout, names);
  return { what, address: fetch.address, words, fields, rule };
}

function conclusion(result: Translation): string {
  const { outcome } = result;
  if (outcome === Outcome.translated) {
    const address = hex(result.outputAddress);
    return result.bypassed ? `not translated: ${address}` : `output address ${address}`;
  }
  const end =
    outcome === Outcome.stalled
      ? 'the access stalls'
      : outcome === Outcome.zeroed
        ? 'the access reads as zeros and writes nothing'
        : 'the access aborts';
  const kind = (result.access & Access.write) !== 0 ? 'write' : 'read';
  return `${describeReason(result.reason)}: ${end} (${kind})`;
}
