import { FRAME_BYTES } from '../../src/arch/registers.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import type { OracleAccess, OracleAnswer, OracleStep } from './cases.js';
import type { Answer, Subject } from './subjects.js';

/** RAM of the machine: 16 GiB. */
const RAM = { base: 0x4000_0000, byteLength: 0x4_0000_0000 };
const PAGE = 4096n;

/** ID registers by offset; fixtures/oracle/README.md says what they mean. */
const ID_REGISTERS: readonly (readonly [offset: number, value: number])[] = [
  [0x00, 0x0d44_101a],
  [0x04, 0x0273_0010],
  [0x0c, 0x0000_1404],
  [0x14, 0x0000_0074],
  [0x1c, 0x0000_0001],
];

/** Offsets of the registers that cases write; those of 8 bytes are marked. */
const OFFSETS: Readonly<Record<string, readonly [offset: number, size: 4 | 8]>> = {
  CR0: [0x20, 4],
  CR1: [0x28, 4],
  CR2: [0x2c, 4],
  GBPA: [0x44, 4],
  GERRORN: [0x64, 4],
  STRTAB_BASE: [0x80, 8],
  STRTAB_BASE_CFG: [0x88, 4],
  CMDQ_BASE: [0x90, 8],
  CMDQ_PROD: [0x98, 4],
  CMDQ_CONS: [0x9c, 4],
  EVENTQ_BASE: [0xa0, 8],
  EVENTQ_PROD: [0x1_00a8, 4],
  EVENTQ_CONS: [0x1_00ac, 4],
};

const GBPA_UPDATE = 0x8000_0000;

/** One case on one subject: memory, registers, and as much of an event queue as answers need. */
export class OracleMachine {
  /** Faults of which no event came to be, because the event queue was off, full or not in RAM. */
  unqueued = 0;
  private readonly memory = new SparseMemory([RAM]);
  private readonly frame = new Uint32Array(FRAME_BYTES / 4);
  private readonly subject: Subject;
  private readonly drainEvents: boolean;

  constructor(
    makeSubject: new (memory: SparseMemory, frame: Uint32Array) => Subject,
    drainEvents: boolean,
  ) {
    for (const [offset, value] of ID_REGISTERS) this.frame[offset / 4] = value;
    this.subject = new makeSubject(this.memory, this.frame);
    this.subject.configure(this.frame);
    this.drainEvents = drainEvents;
  }

  /** What comes before the accesses of a step. */
  prepare({ memory = [], registers = {} }: OracleStep): void {
    for (const [address, bytes] of memory) {
      const words = new Uint32Array(new Uint8Array(Buffer.from(bytes, 'hex')).buffer);
      if (!this.memory.store(Number(address), words, 0, words.length)) {
        throw new RangeError(`${address} is not in RAM`);
      }
    }
    for (const [name, value] of Object.entries(registers)) this.write(name, BigInt(value));
    this.subject.configure(this.frame);
  }

  /** The answer to an access, page by page of 4 KiB, as the results write it down. */
  access({ iova, write, size }: OracleAccess, streamId: number): OracleAnswer {
    const segments: [bigint, bigint, bigint][] = [];
    const end = BigInt(iova) + BigInt(size);
    let answer: OracleAnswer | null = null;
    for (let next = BigInt(iova); next < end && answer === null;) {
      const length = BigInt(Math.min(Number(end - next), Number(PAGE - (next % PAGE))));
      const page = this.subject.translate(streamId, next, write);
      if ('pa' in page) append(segments, next, page.pa, length);
      else answer = this.fault(page);
      next += length;
    }
    answer ??= { ok: true, pa: hex(segments[0]![1]) };
    if (segments.length > (answer.ok ? 1 : 0)) {
      answer.segments = segments.map(([from, to, length]) => [hex(from), hex(to), Number(length)]);
    }
    if (this.drainEvents) this.set('EVENTQ_CONS', this.get('EVENTQ_PROD'));
    return answer;
  }

  private fault({ event }: Extract<Answer, { event: unknown }>): OracleAnswer {
    if (event === null) return { ok: false, fault: null };
    if (!this.queue()) {
      this.unqueued++;
      return { ok: false, fault: null };
    }
    const rawEvent = Buffer.from(event.buffer).toString('hex');
    return { ok: false, fault: event[0]! & 0xff, rawEvent };
  }

  /** Advances EVENTQ_PROD, if the event queue can take a record (IHI 0070, section 7.2). */
  private queue(): boolean {
    const enabled = (this.get('CR0') & 4n) !== 0n;
    const base = this.get('EVENTQ_BASE');
    const log2Size = base & 31n;
    const wrap = 1n << log2Size;
    const producer = this.get('EVENTQ_PROD') & (2n * wrap - 1n);
    const consumer = this.get('EVENTQ_CONS') & (2n * wrap - 1n);
    const full = (producer ^ consumer) === wrap;
    const records = ((base & ((1n << 52n) - 1n)) >> (5n + log2Size)) << (5n + log2Size);
    const address = Number(records + 32n * (producer % wrap));
    const inRam = address >= RAM.base && address < RAM.base + RAM.byteLength;
    if (!enabled || full || !inRam) return false;
    this.set('EVENTQ_PROD', (producer + 1n) & (2n * wrap - 1n));
    return true;
  }

  private write(name: string, value: bigint): void {
    if (name === 'GBPA') {
      // Without Update a write has no effect, with it at once.
      if ((Number(value) & GBPA_UPDATE) === 0) return;
      value &= 0x7fff_ffffn;
    }
    this.set(name, value);
  }

  private get(name: string): bigint {
    const [offset, size] = offsetOf(name);
    const low = BigInt(this.frame[offset / 4]!);
    return size === 4 ? low : (BigInt(this.frame[offset / 4 + 1]!) << 32n) | low;
  }

  private set(name: string, value: bigint): void {
    const [offset, size] = offsetOf(name);
    this.frame[offset / 4] = Number(value & 0xffff_ffffn);
    if (size === 8) this.frame[offset / 4 + 1] = Number(value >> 32n);
  }
}

function offsetOf(name: string): readonly [offset: number, size: 4 | 8] {
  const found = OFFSETS[name];
  if (found === undefined) throw new RangeError(`no register ${name}`);
  return found;
}

/** Adds a piece, joined to the one before it when it goes on where that one ends. */
function append(
  segments: [bigint, bigint, bigint][],
  iova: bigint,
  pa: bigint,
  length: bigint,
): void {
  const last = segments.at(-1);
  if (last !== undefined && last[1] + last[2] === pa) last[2] += length;
  else segments.push([iova, pa, length]);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
