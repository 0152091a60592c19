import { get } from '../arch/field.js';
import { ADDRESS_SIZE_BITS } from '../arch/granule.js';
import { Register, wordOf } from '../arch/registers.js';
import type { StreamTable } from '../transaction/stream.js';
import { abortsGlobally, activeErrors, isEnabled, registerValue } from './register-report.js';
import { hex } from '../memory/hex.js';
import { plural } from './output.js';

/** A register with what it says, for people. */
export interface RegisterMeaning {
  readonly name: string;
  readonly value: string;
  readonly phrases: readonly string[];
}

/** The stream table as the SMMU takes it: capped by IDR1.SIDSIZE, reserved values replaced. */
export type StreamTableGeometry = Pick<StreamTable, 'base' | 'log2Size' | 'split'>;

/** Reads fields of one register. */
type Read = (field: Parameters<typeof get>[2]) => number;

/** The registers that describe the SMMU and how its driver has set it up, in words. */
export function registerMeanings(
  frame: Uint32Array,
  streams: StreamTableGeometry,
): RegisterMeaning[] {
  const list: RegisterMeaning[] = [];
  const add = (name: keyof typeof Register, phrasesOf: (read: Read) => readonly string[]): void => {
    const register = Register[name];
    const phrases = phrasesOf((field) => get(frame, wordOf(register), field));
    list.push({ name, value: registerValue(frame, register), phrases });
  };
  add('IDR0', idr0);
  add('IDR1', idr1);
  add('IDR3', idr3);
  add('IDR5', idr5);
  const { IIDR, AIDR } = Register;
  if (frame[wordOf(IIDR)] !== 0) {
    add('IIDR', (read) => [
      `implementer ${hex(read(IIDR.fields.Implementer))}`,
      `product ${hex(read(IIDR.fields.ProductID))}`,
      `variant ${read(IIDR.fields.Variant)}`,
      `revision ${read(IIDR.fields.Revision)}`,
    ]);
  }
  add('AIDR', (read) => [`SMMUv${3 + read(AIDR.fields.ArchMajor)}.${read(AIDR.fields.ArchMinor)}`]);
  add('CR0', (read) => cr0(read, frame));
  const { CR2, IRQ_CTRL } = Register;
  add('CR2', (read) => {
    const phrases = [
      read(CR2.fields.RECINVSID) === 1
        ? 'records unknown StreamIDs'
        : 'does not record unknown StreamIDs',
    ];
    if (read(CR2.fields.PTM) === 1) phrases.push('ignores broadcast invalidations');
    if (read(CR2.fields.E2H) === 1) phrases.push('E2H');
    return phrases;
  });
  add('GBPA', () => {
    const action = abortsGlobally(frame) ? 'abort' : 'bypass';
    return [isEnabled(frame) ? `${action}, were SMMUEN 0` : `all accesses ${action}`];
  });
  add('IRQ_CTRL', (read) => {
    const on = (['GERROR_IRQEN', 'EVENTQ_IRQEN', 'PRIQ_IRQEN'] as const).filter(
      (name) => read(IRQ_CTRL.fields[name]) === 1,
    );
    return [on.length === 0 ? 'no interrupts' : on.join(' ')];
  });
  add('GERROR', () => {
    const errors = activeErrors(frame);
    return [errors.length === 0 ? 'no active errors' : `active: ${errors.join(' ')}`];
  });
  add('STRTAB_BASE', () => [`at ${hex(streams.base)}`]);
  add('STRTAB_BASE_CFG', () => streamTable(streams));
  return list;
}

function idr0(read: Read): string[] {
  const { fields } = Register.IDR0;
  const stage2 = read(fields.S2P) === 1;
  const phrases = [
    read(fields.S1P) === 1
      ? stage2
        ? 'stages 1 and 2'
        : 'stage 1'
      : stage2
        ? 'stage 2'
        : 'no stage',
    `${['no', 'VMSAv8-32', 'VMSAv8-64', 'VMSAv8-32 and VMSAv8-64'][read(fields.TTF)]!} tables`,
    read(fields.COHACC) === 1 ? 'coherent fetches' : 'fetches not coherent',
    ['no hardware AF', 'hardware AF', 'hardware AF and dirty', 'hardware AF and dirty, tables too'][
      read(fields.HTTU)
    ]!,
    `${read(fields.ASID16) === 1 ? 16 : 8}-bit ASIDs`,
  ];
  if (stage2) phrases.push(`${read(fields.VMID16) === 1 ? 16 : 8}-bit VMIDs`);
  phrases.push(
    `${read(fields.ST_LEVEL) === 0 ? 'linear' : 'linear or 2-level'} stream tables`,
    `${read(fields.CD2L) === 0 ? 'linear' : 'linear or 2-level'} CD tables`,
    ['either endianness', 'endianness reserved', 'little-endian', 'big-endian'][
      read(fields.TTENDIAN)
    ]!,
    ['faults may stall', 'no stalls', 'faults always stall', 'stall model reserved'][
      read(fields.STALL_MODEL)
    ]!,
    read(fields.TERM_MODEL) === 1 ? 'faults abort' : 'faults abort or read as zero',
  );
  for (const name of [
    'Hyp',
    'ATS',
    'PRI',
    'BTM',
    'MSI',
    'SEV',
    'ATOS',
    'VMW',
    'RME_IMPL',
  ] as const) {
    if (read(fields[name]) === 1) phrases.push(name);
  }
  return phrases;
}

function idr1(read: Read): string[] {
  const { fields } = Register.IDR1;
  const substreams = read(fields.SSIDSIZE);
  const phrases = [
    `${read(fields.SIDSIZE)}-bit StreamIDs`,
    substreams === 0 ? 'no SubstreamIDs' : `${substreams}-bit SubstreamIDs`,
    `up to 2^${read(fields.CMDQS)} commands`,
    `up to 2^${read(fields.EVENTQS)} events`,
  ];
  if (read(fields.ATTR_PERMS_OVR) === 1) phrases.push('STEs override privilege and instruction');
  for (const name of ['TABLES_PRESET', 'QUEUES_PRESET', 'ECMDQ'] as const) {
    if (read(fields[name]) === 1) phrases.push(name);
  }
  return phrases;
}

function idr3(read: Read): string[] {
  const { fields } = Register.IDR3;
  const known: readonly (readonly [keyof typeof fields, string])[] = [
    ['HAD', 'table permissions can be off (HAD)'],
    ['RIL', 'range invalidation (RIL)'],
    ['STT', 'small tables (STT)'],
    ['E0PD', 'unprivileged halves can be off (E0PD)'],
    ['EPAN', 'EPAN'],
    ['XNX', 'XNX'],
    ['PBHA', 'PBHA'],
    ['MPAM', 'MPAM'],
    ['FWB', 'FWB'],
    ['DPT', 'DPT'],
    ['S1PI', 'S1PI'],
    ['S2PI', 'S2PI'],
    ['S2PO', 'S2PO'],
  ];
  const phrases = known.filter(([name]) => read(fields[name]) === 1).map(([, text]) => text);
  phrases.push(`break-before-make level ${read(fields.BBML)}`);
  return phrases;
}

function idr5(read: Read): string[] {
  const { fields } = Register.IDR5;
  const granules = (
    [
      ['GRAN4K', '4'],
      ['GRAN16K', '16'],
      ['GRAN64K', '64'],
    ] as const
  )
    .filter(([name]) => read(fields[name]) === 1)
    .map(([, size]) => size);
  const phrases = [
    `${ADDRESS_SIZE_BITS[read(fields.OAS)]!}-bit output addresses`,
    granules.length === 0 ? 'no granules' : `granules of ${granules.join(', ')} KiB`,
    read(fields.VAX) === 0 ? '48-bit input addresses' : '52-bit input addresses',
  ];
  if (read(fields.DS) === 1) phrases.push('52-bit addresses with every granule (DS)');
  if (read(fields.STALL_MAX) > 0) phrases.push(`${read(fields.STALL_MAX)} stalls at most`);
  return phrases;
}

function cr0(read: Read, frame: Uint32Array): string[] {
  const { CR0, CR0ACK } = Register;
  const { fields } = CR0;
  const names = ['SMMUEN', 'CMDQEN', 'EVENTQEN', 'PRIQEN', 'ATSCHK'] as const;
  const on = names.filter((name) => read(fields[name]) === 1);
  const phrases = [on.length === 0 ? 'everything off' : on.join(' ')];
  if (!isEnabled(frame)) phrases.push('the SMMU is off');
  if (frame[wordOf(CR0)] !== frame[wordOf(CR0ACK)]) {
    phrases.push(`not acknowledged: CR0ACK is ${registerValue(frame, CR0ACK)}`);
  }
  return phrases;
}

function streamTable({ log2Size, split }: StreamTableGeometry): string[] {
  const ids = plural(2 ** log2Size, 'StreamID');
  return split === 0 ? ['linear', ids] : ['2-level', ids, `${2 ** split} to a level-2 table`];
}
