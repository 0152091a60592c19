import { get, getAddress, type Layout } from '../arch/field.js';
import { Cerror } from '../arch/command.js';
import { Register, wordOf, type RegisterFormat, type RegisterName } from '../arch/registers.js';
import { hex } from '../memory/hex.js';
import { fieldRecord, hexDoubleword, hexWord, type FieldRecord } from './output.js';

/** A register and its fields. */
export interface RegisterReport {
  readonly value: string;
  readonly fields: FieldRecord;
}

/** A queue: where it is, and how full. */
export interface QueueReport {
  readonly name: 'CMDQ' | 'EVENTQ' | 'PRIQ';
  readonly enabled: boolean;
  readonly base: string;
  readonly entries: number;
  readonly entryBytes: number;
  readonly prod: QueueIndex;
  readonly cons: QueueIndex;
  /** Entries that the consumer has not taken; `null` when the indexes contradict each other. */
  readonly waiting: number | null;
  /** What is wrong with it: an error of commands, records that were lost. */
  readonly problems: readonly string[];
}

/** PROD or CONS of a queue. */
export interface QueueIndex {
  readonly index: number;
  readonly wrap: number;
}

/** Value of a register as hexadecimal digits of its full width. */
export function registerValue(frame: Uint32Array, register: RegisterFormat): string {
  const at = wordOf(register);
  return register.size === 8 ? hexDoubleword(frame[at]!, frame[at + 1]!) : hexWord(frame[at]!);
}

/** Every register of the frame. */
export function registerReports(frame: Uint32Array): Record<string, RegisterReport> {
  const reports: Record<string, RegisterReport> = {};
  for (const name of Object.keys(Register) as RegisterName[]) {
    const register: RegisterFormat = Register[name];
    const fields = fieldRecord(frame, wordOf(register), register.fields);
    reports[name] = { value: registerValue(frame, register), fields };
  }
  return reports;
}

/** The queues that the SMMU has. */
export function queueReports(frame: Uint32Array): QueueReport[] {
  const { IDR0, IDR1, CR0, CMDQ_BASE, CMDQ_PROD, CMDQ_CONS } = Register;
  const { EVENTQ_BASE, EVENTQ_PROD, EVENTQ_CONS, PRIQ_BASE, PRIQ_PROD, PRIQ_CONS } = Register;
  const enables = CR0.fields;
  const limit = (field: (typeof IDR1.fields)['CMDQS']): number => get(frame, wordOf(IDR1), field);
  const enabled = (field: (typeof enables)['CMDQEN']): boolean =>
    get(frame, wordOf(CR0), field) === 1;
  const lost = (prod: RegisterFormat, cons: RegisterFormat): string[] =>
    frame[wordOf(prod)]! >>> 31 === frame[wordOf(cons)]! >>> 31
      ? []
      : ['overflow: records are lost'];
  const queues = [
    queue(
      frame,
      'CMDQ',
      16,
      [CMDQ_BASE, CMDQ_PROD, CMDQ_CONS],
      limit(IDR1.fields.CMDQS),
      enabled(enables.CMDQEN),
      commandError(frame),
    ),
    queue(
      frame,
      'EVENTQ',
      32,
      [EVENTQ_BASE, EVENTQ_PROD, EVENTQ_CONS],
      limit(IDR1.fields.EVENTQS),
      enabled(enables.EVENTQEN),
      lost(EVENTQ_PROD, EVENTQ_CONS),
    ),
  ];
  if (get(frame, wordOf(IDR0), IDR0.fields.PRI) === 1) {
    queues.push(
      queue(
        frame,
        'PRIQ',
        16,
        [PRIQ_BASE, PRIQ_PROD, PRIQ_CONS],
        limit(IDR1.fields.PRIQS),
        enabled(enables.PRIQEN),
        lost(PRIQ_PROD, PRIQ_CONS),
      ),
    );
  }
  return queues;
}

/** Errors that GERROR shows and GERRORN has not acknowledged. */
export function activeErrors(frame: Uint32Array): string[] {
  const { GERROR, GERRORN } = Register;
  const fields: Layout = GERROR.fields;
  const active = new Uint32Array([frame[wordOf(GERROR)]! ^ frame[wordOf(GERRORN)]!]);
  return Object.entries(fieldRecord(active, 0, fields))
    .filter(([, value]) => value === 1)
    .map(([name]) => name);
}

/** Whether CR0.SMMUEN is set. */
export function isEnabled(frame: Uint32Array): boolean {
  return get(frame, wordOf(Register.CR0), Register.CR0.fields.SMMUEN) === 1;
}

/** Whether GBPA aborts what comes in while the SMMU is off. */
export function abortsGlobally(frame: Uint32Array): boolean {
  return get(frame, wordOf(Register.GBPA), Register.GBPA.fields.ABORT) === 1;
}

function queue(
  frame: Uint32Array,
  name: QueueReport['name'],
  entryBytes: number,
  [base, prod, cons]: readonly [
    typeof Register.CMDQ_BASE | typeof Register.EVENTQ_BASE | typeof Register.PRIQ_BASE,
    RegisterFormat,
    RegisterFormat,
  ],
  log2Limit: number,
  enabled: boolean,
  problems: readonly string[],
): QueueReport {
  const at = wordOf(base);
  const log2Size = Math.min(get(frame, at, base.fields.LOG2SIZE), log2Limit);
  const entries = 2 ** log2Size;
  const produced = indexOf(frame[wordOf(prod)]!, log2Size);
  const consumed = indexOf(frame[wordOf(cons)]!, log2Size);
  const distance =
    produced.index - consumed.index + (produced.wrap === consumed.wrap ? 0 : entries);
  const sound = distance >= 0 && distance <= entries;
  const address = getAddress(frame, at, base.fields.ADDR);
  return {
    name,
    enabled,
    base: hex(address - (address % Math.max(entryBytes * entries, 32))),
    entries,
    entryBytes,
    prod: produced,
    cons: consumed,
    waiting: sound ? distance : null,
    problems: sound ? problems : [...problems, 'PROD and CONS contradict each other'],
  };
}

/** An index has `log2Size` bits; the wrap flag is the bit above. */
function indexOf(word: number, log2Size: number): QueueIndex {
  return { index: word & (2 ** log2Size - 1), wrap: (word >>> log2Size) & 1 };
}

/** CMDQ_CONS.ERR, which means something only while GERROR.CMDQ_ERR is active. */
function commandError(frame: Uint32Array): string[] {
  if (!activeErrors(frame).includes('CMDQ_ERR')) return [];
  const { CMDQ_CONS } = Register;
  const code = get(frame, wordOf(CMDQ_CONS), CMDQ_CONS.fields.ERR);
  const name = Object.entries(Cerror).find(([, value]) => value === code)?.[0];
  return [`stopped by CERROR_${name ?? String(code)}`];
}
