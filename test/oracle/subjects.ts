import { referenceTranslate, type ReferenceMachine } from '../reference/index.js';
import { featuresOf, implementedFeatures } from '../../src/registers/features.js';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { writeEvent } from '../../src/transaction/fault.js';
import { Access } from '../../src/transaction/permissions.js';
import { Translator } from '../../src/transaction/translator.js';
import { Outcome, Translation } from '../../src/transaction/translation.js';

/** What is under test: answers one privileged data access without SubstreamID. */
export interface Subject {
  /** Takes over the registers in `frame`. */
  configure(frame: Uint32Array): void;
  translate(streamId: number, iova: bigint, write: boolean): Answer;
}

/** An output address, or an abort with the event that is to be recorded, if one is. */
export type Answer = { pa: bigint } | { event: Uint32Array | null };

/** Answers with the library. */
export class LibrarySubject implements Subject {
  private readonly translator: Translator;
  private readonly result = new Translation();
  private readonly oas: number;

  constructor(memory: SparseMemory, frame: Uint32Array) {
    const features = implementedFeatures(featuresOf(frame));
    this.oas = features.OAS;
    this.translator = new Translator(memory, features);
  }

  configure(frame: Uint32Array): void {
    this.translator.configure(frame);
  }

  translate(streamId: number, iova: bigint, write: boolean): Answer {
    const { translator, result } = this;
    const access = Access.privileged | (write ? Access.write : Access.read);
    const high = Number(iova >> 32n);
    const low = Number(iova & 0xffff_ffffn);
    const outcome = translator.translate(streamId, -1, high, low, access, result);
    if (outcome === Outcome.translated) return { pa: BigInt(result.outputAddress) };
    if (!result.recorded) return { event: null };
    const event = new Uint32Array(8);
    writeEvent(event, 0, result, this.oas);
    return { event };
  }
}

/** Answers with the reference model: that two independent sources agree keeps it honest. */
export class ReferenceSubject implements Subject {
  private readonly machine: ReferenceMachine;

  constructor(memory: SparseMemory, frame: Uint32Array) {
    const words = new Uint32Array(2);
    const read64 = (address: bigint) =>
      memory.load(Number(address), words, 0, 2)
        ? (BigInt(words[1]!) << 32n) | BigInt(words[0]!)
        : null;
    this.machine = { memory: { read64, write64: () => false }, ...registersOf(frame) };
  }

  configure(frame: Uint32Array): void {
    Object.assign(this.machine, registersOf(frame));
  }

  translate(streamId: number, iova: bigint, write: boolean): Answer {
    const access = { streamId, iova, write, instruction: false, privileged: true };
    const outcome = referenceTranslate(this.machine, access);
    if (outcome.kind === 'ok') return { pa: outcome.pa };
    if (outcome.kind === 'abort' || !outcome.recorded) return { event: null };
    const words = outcome.record.flatMap((word) => [word & 0xffff_ffffn, word >> 32n]);
    return { event: Uint32Array.from(words, Number) };
  }
}

/** At the offsets of IHI 0070, section 6. */
function registersOf(frame: Uint32Array): Omit<ReferenceMachine, 'memory'> {
  const word = (offset: number) => frame[offset / 4]!;
  return {
    idr0: word(0x00),
    idr1: word(0x04),
    idr3: word(0x0c),
    idr5: word(0x14),
    aidr: word(0x1c),
    cr0: word(0x20),
    cr2: word(0x2c),
    gbpa: word(0x44),
    strtabBase: (BigInt(word(0x84)) << 32n) | BigInt(word(0x80)),
    strtabBaseCfg: word(0x88),
  };
}
