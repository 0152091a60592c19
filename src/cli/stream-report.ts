import { Cd } from '../arch/cd.js';
import { get, type Layout } from '../arch/field.js';
import { TG0_GRANULE_LOG2 } from '../arch/granule.js';
import { Ste, SteConfig } from '../arch/ste.js';
import type { Capture, CaptureDevice } from '../fixtures/capture.js';
import { forEachLeaf } from '../ioas/enumerate.js';
import { effectiveAddressBits } from '../registers/features.js';
import type { AddressHalf } from '../transaction/context.js';
import { describeReason, Reason } from '../transaction/reason.js';
import { illegalSte } from '../transaction/ste-rules.js';
import type { Translator } from '../transaction/translator.js';
import { eventName } from './event-record.js';
import { hex } from '../memory/hex.js';
import { fieldRecord, hexDoublewords, type DeviceNames, type FieldRecord } from './output.js';
import { spacesOf, type Space } from '../transaction/survey.js';

/** What STE.Config says. */
export type ConfigName = 'abort' | 'bypass' | 'stage 1' | 'stage 2' | 'nested';

/** A stream, its STE and its CDs. */
export interface StreamReport {
  readonly streamId: number;
  readonly devices: readonly CaptureDevice[];
  readonly config: ConfigName;
  readonly ste: {
    readonly address: string;
    readonly words: readonly string[];
    readonly fields: FieldRecord;
  };
  /** Why the library answers every access with a fault; `null` when it does not. */
  readonly problem: string | null;
  /** `null` unless the STE configures stage 2. */
  readonly stage2: Stage2Report | null;
  readonly contexts: readonly ContextReport[];
  /** Valid CDs that are not in {@link contexts}. */
  readonly contextsOmitted: number;
}

/** Stage 2 of an STE, as the captured SMMU sees it. */
export interface Stage2Report {
  readonly fields: FieldRecord;
  /** Bytes; 0 for the reserved code. */
  readonly granule: number;
  readonly inputBits: number;
  readonly outputBits: number;
  /** The rule that the STE breaks on the captured SMMU; `null` when it is legal there. */
  readonly illegal: string | null;
}

/** One address space of a stream. */
export interface ContextReport {
  /** `null` for accesses without SubstreamID. */
  readonly ssid: number | null;
  readonly kind: 'stage 1' | 'bypass' | 'fault';
  /** Why every access faults; `null` when they do not. */
  readonly problem: string | null;
  /** `null` when there is no CD to show. */
  readonly cd: CdReport | null;
  readonly mapped: MappedReport | null;
}

/** A CD. */
export interface CdReport {
  readonly address: string;
  readonly words: readonly string[];
  readonly fields: FieldRecord;
  /** Effective bits of an intermediate address: CD.IPS as far as the SMMU has them. */
  readonly ipsBits: number;
  /** Both halves when the CD is legal, else none. */
  readonly halves: readonly HalfReport[];
}

/** TTB0 or TTB1. */
export interface HalfReport {
  readonly name: 'TTB0' | 'TTB1';
  readonly enabled: boolean;
  readonly table: string;
  /** Bytes. */
  readonly granule: number;
  readonly inputBits: number;
  readonly startLevel: number;
}

/** How much the tables of a CD map. */
export interface MappedReport {
  readonly bytes: number;
  /** Leaf descriptors by their bytes. */
  readonly leaves: Readonly<Record<string, number>>;
  readonly tables: number;
  /** Descriptors that are not in memory. */
  readonly missing: number;
  readonly firstMissing: string | null;
  /** Not all tables were counted. */
  readonly incomplete: boolean;
}

const TABLE_LIMIT = 1 << 20;
/** CDs of one stream that are reported. */
const MAX_CONTEXTS = 256;

const STE_FIELDS =
  'V Config S1Fmt S1ContextPtr S1CDMax S1DSS S1STALLD EATS STRW MEV MTCFG MemAttr ALLOCCFG SHCFG PRIVCFG INSTCFG'.split(
    ' ',
  );
const STAGE2_FIELDS =
  'S2VMID S2T0SZ S2SL0 S2IR0 S2OR0 S2SH0 S2TG S2PS S2AA64 S2ENDI S2AFFD S2PTW S2HD S2HA S2S S2R S2DS S2FWB S2TTB'.split(
    ' ',
  );
const CD_FIELDS =
  'V AA64 ASID ASET T0SZ TG0 EPD0 TTB0 T1SZ TG1 EPD1 TTB1 IPS DS ENDI TBI0 TBI1 HAD0 HAD1 E0PD0 E0PD1 AFFD HA HD WXN PAN EPAN A R S MAIR0 MAIR1'.split(
    ' ',
  );

/** The STE of a stream whose V is 1; {@link StreamReport} tells everything about it. */
export function configOf(ste: Uint32Array): ConfigName {
  const config = get(ste, 0, Ste.Config);
  if ((config & 0b100) === 0) return 'abort';
  if (config === SteConfig.bypass) return 'bypass';
  return config === SteConfig.s1 ? 'stage 1' : config === SteConfig.s2 ? 'stage 2' : 'nested';
}

/** Everything about the stream whose STE `translator.streams` has just fetched. */
export function reportStream(
  capture: Capture,
  translator: Translator,
  names: DeviceNames,
  streamId: number,
): StreamReport {
  const { streams } = translator;
  const config = configOf(streams.ste);
  const rule = illegalSte(streams.ste, 0, capture.features);
  const stage2 = config === 'stage 2' || config === 'nested';
  const report = {
    streamId,
    devices: names.of(streamId),
    config,
    ste: {
      address: hex(streams.steAddress),
      words: hexDoublewords(streams.ste),
      fields: fieldRecord(streams.ste, 0, Ste, STE_FIELDS),
    },
    problem: rule === 0 ? null : `C_BAD_STE: ${describeReason(Reason.illegalSte + rule)}`,
    stage2: stage2 ? reportStage2(capture, streams.ste) : null,
  };
  const contexts: ContextReport[] = [];
  let contextsOmitted = 0;
  if (rule === 0 && config === 'stage 1') {
    for (const space of spacesOf(translator, streamId)) {
      if (contexts.length === MAX_CONTEXTS) contextsOmitted++;
      else contexts.push(reportContext(capture, translator, space));
    }
  }
  return { ...report, contexts, contextsOmitted };
}

function reportStage2(capture: Capture, ste: Uint32Array): Stage2Report {
  const { advertised } = capture;
  const rule = illegalSte(ste, 0, advertised);
  const granuleLog2 = TG0_GRANULE_LOG2[get(ste, 0, Ste.S2TG)]!;
  return {
    fields: fieldRecord(ste, 0, Ste, STAGE2_FIELDS),
    granule: granuleLog2 === 0 ? 0 : 2 ** granuleLog2,
    inputBits: 64 - get(ste, 0, Ste.S2T0SZ),
    outputBits: effectiveAddressBits(advertised, get(ste, 0, Ste.S2PS)),
    illegal: rule === 0 ? null : describeReason(Reason.illegalSte + rule),
  };
}

function reportContext(capture: Capture, translator: Translator, space: Space): ContextReport {
  const { substreams } = translator;
  const ssid = space.substreamId < 0 ? null : space.substreamId;
  if (space.kind === 'stage1') {
    const cd = reportCd(capture, translator, true);
    return { ssid, kind: 'stage 1', problem: null, cd, mapped: reportMapped(capture, translator) };
  }
  if (space.kind !== 'fault')
    return { ssid, kind: 'bypass', problem: null, cd: null, mapped: null };
  const problem = `${eventName(space.event)}: ${describeReason(space.reason)}`;
  const where = space.missing < 0 ? '' : `: ${hex(space.missing)} is not in memory`;
  const shown = space.reason > Reason.illegalCd && !Number.isNaN(substreams.cdAddress);
  const cd = shown ? reportCd(capture, translator, false) : null;
  return { ssid, kind: 'fault', problem: problem + where, cd, mapped: null };
}

function reportCd(capture: Capture, translator: Translator, legal: boolean): CdReport {
  const { substreams, context } = translator;
  const { cd } = substreams;
  const layout: Layout = Cd;
  return {
    address: hex(substreams.cdAddress),
    words: hexDoublewords(cd),
    fields: fieldRecord(cd, 0, layout, CD_FIELDS),
    ipsBits: effectiveAddressBits(capture.features, get(cd, 0, Cd.IPS)),
    halves: legal ? [reportHalf('TTB0', context.lower), reportHalf('TTB1', context.upper)] : [],
  };
}

function reportHalf(name: HalfReport['name'], half: AddressHalf): HalfReport {
  const { enabled } = half;
  return {
    name,
    enabled,
    table: enabled ? hex(half.table) : '0x0',
    granule: enabled ? 2 ** half.granuleLog2 : 0,
    inputBits: enabled ? half.inputBits : 0,
    startLevel: enabled ? half.startLevel : 0,
  };
}

function reportMapped(capture: Capture, translator: Translator): MappedReport {
  const counts = new Array<number>(53).fill(0);
  const { scan, end } = forEachLeaf(capture.memory, translator.context, TABLE_LIMIT, (leaf) => {
    counts[leaf.sizeLog2]!++;
    return true;
  });
  const leaves: Record<string, number> = {};
  let bytes = 0;
  counts.forEach((count, sizeLog2) => {
    if (count === 0) return;
    leaves[String(2 ** sizeLog2)] = count;
    bytes += count * 2 ** sizeLog2;
  });
  return {
    bytes,
    leaves,
    tables: scan.tables,
    missing: scan.aborted,
    firstMissing: scan.aborted === 0 ? null : hex(scan.firstAborted),
    incomplete: end !== 'complete',
  };
}
