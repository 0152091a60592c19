import {
  Command,
  CommandOpcode,
  COMMAND_BYTES,
  Event,
  EVENT_BYTES,
  FRAME_BYTES,
  get,
  getAddress,
  Register,
  type GuestMemory,
  type Smmu,
  type SmmuOptions,
  type U64,
} from 'vsmmu';
import { hex, Journal, type Line, type LineSink } from './journal.js';
import { reachedPages } from './reached-pages.js';
import { RecordedGuestMemory } from './recorded-memory.js';
import { RecordedSmmu } from './recorded-smmu.js';

/** An event record that the vSMMU writes to an address. */
export type EventName = (
  address: number,
  words: Uint32Array,
) => { readonly type: string; readonly streamId: number } | undefined;

/** What a recording holds besides its lines. */
export interface RecordingEnd {
  /** Register frame: 32-bit words by byte offset. */
  readonly registers: Readonly<Record<string, string>>;
  /** Pages that the vSMMU has read, or can reach, as they are now; addresses ascend. */
  readonly pages: readonly { readonly address: number; readonly words: Uint32Array }[];
  /** Things that happened out of any call. */
  readonly lost: number;
  /** Ended by a limit. */
  readonly isCut: boolean;
}

export interface RecorderOptions extends LineSink {
  /** Gets the end of the recording, once. */
  readonly finish: (end: RecordingEnd) => void;
  /** Reads of registers are those of the guest. Default true; else see {@link Recorder.registerRead}. */
  readonly readsAreTheGuests?: boolean;
  /** Ends when the guest turns the SMMU off. */
  readonly untilOff?: boolean;
  /** Lines and pages at most. */
  readonly limits?: { readonly lines: number; readonly pages: number };
}

const { CR0, CMDQ_BASE, EVENTQ_BASE } = Register;
const LIMITS = { lines: 2_000_000, pages: 16_384 } as const;
const PAGE_WORDS = 1024;
const COMMANDS = new Map<number, string>(
  Object.entries(Command).map(([name, { opcode }]) => [opcode, name]),
);
const EVENTS = new Map<number, string>(Object.entries(Event).map(([name, { id }]) => [id, name]));

/** Records what a vSMMU is asked, what it reads of guest memory, and what it does. */
export class Recorder {
  readonly journal: Journal;
  readonly readsAreTheGuests: boolean;
  private readonly options: RecorderOptions;
  private memory: GuestMemory | undefined;
  private smmu: Smmu | undefined;
  private count = 0;
  private readonly base = new Uint32Array(2);

  constructor(options: RecorderOptions) {
    this.options = options;
    this.readsAreTheGuests = options.readsAreTheGuests ?? true;
    this.journal = new Journal({
      line: (text) => {
        this.count++;
        options.line(text);
      },
    });
  }

  /** A vSMMU that is recorded; another one after a restore. */
  attach(options: SmmuOptions): Smmu {
    const { journal } = this;
    const { interrupts, memory } = options;
    this.memory = memory;
    if (this.smmu !== undefined) this.note({ kind: 'renew' });
    const queues = {
      command: (address: number, words: Uint32Array, at: number) => {
        if (!this.isIn(CMDQ_BASE, COMMAND_BYTES, address)) return undefined;
        return COMMANDS.get(get(words, at, CommandOpcode)) ?? 'unknown';
      },
      event: (address: number, words: Uint32Array) => {
        const isRecord = words.length === EVENT_BYTES / 4;
        if (!isRecord || !this.isIn(EVENTQ_BASE, EVENT_BYTES, address)) return undefined;
        return { type: EVENTS.get(words[0]! & 0xff) ?? 'unknown', streamId: words[1]! };
      },
    };
    this.smmu = new RecordedSmmu(
      {
        ...options,
        memory: new RecordedGuestMemory(memory, journal, queues),
        interrupts: {
          wired: (line) => {
            journal.outcome({ kind: 'wire', line }, () => interrupts?.wired?.(line));
          },
          message: (address, data) =>
            journal.outcome(
              { kind: 'message', at: hex(address), data: hex(data) },
              () => interrupts?.message?.(address, data) ?? false,
              (line, isTaken) => {
                if (!isTaken) line.aborted = 1;
              },
            ),
          event: () => {
            journal.outcome({ kind: 'sev' }, () => interrupts?.event?.());
          },
        },
        commandsPending: () => {
          journal.outcome({ kind: 'pending' }, () => options.commandsPending?.());
        },
        deviceCommand: (words) => {
          const raw = Buffer.from(words.slice(0, 4).buffer).toString('hex');
          journal.outcome({ kind: 'device', bytes: raw }, () => options.deviceCommand?.(words));
        },
      },
      this,
    );
    return this.smmu;
  }

  /** The guest has read a register in another way than through the vSMMU. */
  registerRead(offset: number, value: number): void {
    this.note({ kind: 'read', offset: hex(offset), size: 4, value: hex(value) });
  }

  /** @internal */
  beforeWrite(offset: number, value: U64): void {
    const { lines, pages } = this.options.limits ?? LIMITS;
    if (this.journal.ended || !this.journal.isIdle) return;
    const isFull = this.count >= lines || this.journal.words.size >= pages;
    const isOff =
      this.options.untilOff === true &&
      offset === CR0.offset &&
      (Number(value) & 1) === 0 &&
      (this.word(CR0.offset) & 1) === 1;
    if (isFull || isOff) this.end(isFull);
  }

  /** Ends the recording, if that has not been done: the vSMMU goes on without it. */
  end(isCut = false): void {
    const { journal, smmu, memory } = this;
    if (journal.ended || smmu === undefined || memory === undefined) return;
    journal.end();
    const registers: Record<string, string> = {};
    for (const { offset, size } of Object.values(Register)) {
      for (let at = offset; at < offset + size; at += 4) registers[hex(at)] = hex(this.word(at));
    }
    const frame = new Uint32Array(FRAME_BYTES / 4);
    for (const [at, value] of Object.entries(registers)) frame[Number(at) / 4] = Number(value);
    const pages = new Map(journal.words.known().map(({ address, words }) => [address, words]));
    for (const address of reachedPages(memory, smmu.features, frame)) {
      if (!pages.has(address)) pages.set(address, new Uint32Array(PAGE_WORDS));
    }
    const sorted = [...pages].sort(([a], [b]) => a - b);
    this.options.finish({
      registers,
      pages: sorted.map(([address, words]) => {
        const now = new Uint32Array(PAGE_WORDS);
        return { address, words: memory.load(address, now, 0, PAGE_WORDS) ? now : words };
      }),
      lost: journal.lost,
      isCut,
    });
  }

  private note(line: Line): void {
    const nothing = (): void => undefined;
    this.journal.call(line, nothing, nothing);
  }

  /** Whether an address lies in a queue. */
  private isIn(
    register: typeof CMDQ_BASE | typeof EVENTQ_BASE,
    entryBytes: number,
    address: number,
  ): boolean {
    this.base[0] = this.word(register.offset);
    this.base[1] = this.word(register.offset + 4);
    const from = getAddress(this.base, 0, register.fields.ADDR);
    const bytes = entryBytes * 2 ** get(this.base, 0, register.fields.LOG2SIZE);
    return address >= from && address < from + bytes;
  }

  /** A word of the register frame; of no interest to the recording. */
  private word(offset: number): number {
    const { smmu } = this;
    if (smmu === undefined) return 0;
    return this.journal.quietly(() => Number(smmu.readRegister(offset, 4)));
  }
}
