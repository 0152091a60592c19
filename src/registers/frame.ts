import { get, high, isAddress, low, set, type AddressField, type Field } from '../arch/field.js';
import { FRAME_BYTES, Register, wordOf, type RegisterName } from '../arch/registers.js';
import type { Features } from './features.js';
import { writeFeatures } from './feature-names.js';

/** What a write to a register sets in motion, once its bits are stored. */
export const Effect = {
  none: 0,
  CR0: 1,
  IRQ_CTRL: 2,
  GERRORN: 3,
  CMDQ_PROD: 4,
  STRTAB: 5,
  GBPA: 6,
  CMDQ_BASE: 7,
  EVENTQ: 8,
  CR2: 9,
  EVENTQ_BASE: 10,
} as const;

/** Which enables keep a register from being written (IHI 0070, section 6.3). */
const Guard = {
  none: 0,
  smmu: 1,
  cmdq: 2,
  eventq: 3,
  priq: 4,
  gerrorIrq: 5,
  eventqIrq: 6,
  priqIrq: 7,
  cr1: 8,
  gbpa: 9,
} as const;

const ENABLES = Register.CR0.fields;
const IRQ_ENABLES = Register.IRQ_CTRL.fields;

/** The register, the enable bit and so what {@link Guard} a write is subject to. */
const GUARDS: readonly (readonly [word: number, field: Field] | undefined)[] = [
  undefined,
  [wordOf(Register.CR0), ENABLES.SMMUEN],
  [wordOf(Register.CR0), ENABLES.CMDQEN],
  [wordOf(Register.CR0), ENABLES.EVENTQEN],
  [wordOf(Register.CR0), ENABLES.PRIQEN],
  [wordOf(Register.IRQ_CTRL), IRQ_ENABLES.GERROR_IRQEN],
  [wordOf(Register.IRQ_CTRL), IRQ_ENABLES.EVENTQ_IRQEN],
  [wordOf(Register.IRQ_CTRL), IRQ_ENABLES.PRIQ_IRQEN],
];

/** How software may write a register. */
interface WriteRule {
  readonly guard: number;
  readonly effect: number;
  /** Fields that exist; all of the register's when left out. */
  readonly fields?: (features: Features) => readonly (Field | AddressField)[];
  /** The register exists only with this. */
  readonly exists?: (features: Features) => boolean;
}

const hasMsi = (features: Features): boolean => features.MSI === 1;
const hasPri = (features: Features): boolean => features.PRI === 1;
const hasPriMsi = (features: Features): boolean => hasPri(features) && hasMsi(features);
const { CR0, CR2, GBPA, IRQ_CTRL, GERRORN, PRIQ_IRQ_CFG2 } = Register;

const RULES: Partial<Record<RegisterName, WriteRule>> = {
  CR0: {
    guard: Guard.none,
    effect: Effect.CR0,
    fields: ({ PRI, ATS }) => [
      CR0.fields.SMMUEN,
      CR0.fields.EVENTQEN,
      CR0.fields.CMDQEN,
      ...(PRI === 1 ? [CR0.fields.PRIQEN] : []),
      ...(ATS === 1 ? [CR0.fields.ATSCHK] : []),
    ],
  },
  CR1: { guard: Guard.cr1, effect: Effect.none },
  CR2: {
    guard: Guard.smmu,
    effect: Effect.CR2,
    // E2H needs Hyp, PTM needs BTM, REC_CFG_ATS needs PASIDTT: none is advertised.
    fields: () => [CR2.fields.RECINVSID],
  },
  GBPA: {
    guard: Guard.gbpa,
    effect: Effect.GBPA,
    // Update reads as 0 at once: the change takes effect within the write.
    fields: () => Object.values(GBPA.fields).filter((field) => field !== GBPA.fields.Update),
  },
  IRQ_CTRL: {
    guard: Guard.none,
    effect: Effect.IRQ_CTRL,
    fields: ({ PRI }) => [
      IRQ_CTRL.fields.GERROR_IRQEN,
      IRQ_CTRL.fields.EVENTQ_IRQEN,
      ...(PRI === 1 ? [IRQ_CTRL.fields.PRIQ_IRQEN] : []),
    ],
  },
  GERRORN: {
    guard: Guard.none,
    effect: Effect.GERRORN,
    fields: ({ PRI, MSI }) => [
      GERRORN.fields.CMDQ_ERR,
      GERRORN.fields.EVENTQ_ABT_ERR,
      GERRORN.fields.SFM_ERR,
      ...(PRI === 1 ? [GERRORN.fields.PRIQ_ABT_ERR] : []),
      ...(MSI === 1
        ? [
            GERRORN.fields.MSI_CMDQ_ABT_ERR,
            GERRORN.fields.MSI_EVENTQ_ABT_ERR,
            GERRORN.fields.MSI_GERROR_ABT_ERR,
          ]
        : []),
      ...(PRI === 1 && MSI === 1 ? [GERRORN.fields.MSI_PRIQ_ABT_ERR] : []),
    ],
  },
  GERROR_IRQ_CFG0: { guard: Guard.gerrorIrq, effect: Effect.none, exists: hasMsi },
  GERROR_IRQ_CFG1: { guard: Guard.gerrorIrq, effect: Effect.none, exists: hasMsi },
  GERROR_IRQ_CFG2: { guard: Guard.gerrorIrq, effect: Effect.none, exists: hasMsi },
  STRTAB_BASE: { guard: Guard.smmu, effect: Effect.STRTAB },
  STRTAB_BASE_CFG: {
    guard: Guard.smmu,
    effect: Effect.STRTAB,
    fields: ({ ST_LEVEL }) => {
      const { LOG2SIZE, SPLIT, FMT } = Register.STRTAB_BASE_CFG.fields;
      return ST_LEVEL === 0 ? [LOG2SIZE] : [LOG2SIZE, SPLIT, FMT];
    },
  },
  CMDQ_BASE: { guard: Guard.cmdq, effect: Effect.CMDQ_BASE },
  CMDQ_PROD: { guard: Guard.none, effect: Effect.CMDQ_PROD },
  CMDQ_CONS: { guard: Guard.cmdq, effect: Effect.CMDQ_BASE },
  EVENTQ_BASE: { guard: Guard.eventq, effect: Effect.EVENTQ_BASE },
  EVENTQ_IRQ_CFG0: { guard: Guard.eventqIrq, effect: Effect.none, exists: hasMsi },
  EVENTQ_IRQ_CFG1: { guard: Guard.eventqIrq, effect: Effect.none, exists: hasMsi },
  EVENTQ_IRQ_CFG2: { guard: Guard.eventqIrq, effect: Effect.none, exists: hasMsi },
  EVENTQ_PROD: { guard: Guard.eventq, effect: Effect.EVENTQ_BASE },
  EVENTQ_CONS: { guard: Guard.none, effect: Effect.EVENTQ },
  PRIQ_BASE: { guard: Guard.priq, effect: Effect.none, exists: hasPri },
  PRIQ_IRQ_CFG0: { guard: Guard.priqIrq, effect: Effect.none, exists: hasPriMsi },
  PRIQ_IRQ_CFG1: { guard: Guard.priqIrq, effect: Effect.none, exists: hasPriMsi },
  PRIQ_IRQ_CFG2: {
    guard: Guard.priqIrq,
    effect: Effect.none,
    exists: hasPri,
    fields: ({ MSI }) =>
      MSI === 1 ? Object.values(PRIQ_IRQ_CFG2.fields) : [PRIQ_IRQ_CFG2.fields.LO],
  },
  PRIQ_PROD: { guard: Guard.priq, effect: Effect.none, exists: hasPri },
  PRIQ_CONS: { guard: Guard.none, effect: Effect.none, exists: hasPri },
};

/** CR1.TABLE_*: written while SMMUEN is 0. CR1.QUEUE_*: while no queue is enabled. */
const CR1_TABLE = 0xfc0;
const CR1_QUEUE = 0x03f;
/** GBPA after reset: incoming shareability, no abort. */
const GBPA_RESET = 0x0000_1000;

/**
 * The register frame: both pages of 64 KiB as 32-bit words, what software may write and when
 * (IHI 0070, section 6). It stores; what a write sets in motion is its caller's.
 */
export class RegisterFrame {
  /** The registers; word `i` is the register at byte offset `4*i`. */
  readonly words: Uint32Array = new Uint32Array(FRAME_BYTES / 4);
  private readonly writable = new Uint32Array(FRAME_BYTES / 4);
  private readonly guards = new Uint8Array(FRAME_BYTES / 4);
  private readonly effects = new Uint8Array(FRAME_BYTES / 4);
  /** 1 for both words of a 64-bit register. */
  private readonly wide = new Uint8Array(FRAME_BYTES / 4);
  /** What the ID registers advertise. */
  readonly features: Features;

  constructor(features: Features) {
    this.features = features;
    for (const register of Object.values(Register)) {
      if (register.size === 8) this.wide.fill(1, wordOf(register), wordOf(register) + 2);
    }
    writeFeatures(this.words, features);
    this.applyRules();
    this.reset();
  }

  /** Works out which bits exist. */
  private applyRules(): void {
    const { features } = this;
    for (const [name, rule] of Object.entries(RULES) as [RegisterName, WriteRule][]) {
      if (rule.exists?.(features) === false) continue;
      const register = Register[name];
      const word = wordOf(register);
      const mask = new Uint32Array(2);
      for (const field of rule.fields?.(features) ?? Object.values(register.fields)) {
        addMask(mask, field);
      }
      for (let i = 0; i < register.size / 4; i++) {
        this.writable[word + i] = mask[i]!;
        this.guards[word + i] = rule.guard;
        this.effects[word + i] = rule.effect;
      }
    }
  }

  /** Every register as after power-on; the ID registers stay. */
  reset(): void {
    for (const name of Object.keys(RULES) as RegisterName[]) {
      const register = Register[name];
      this.words.fill(0, wordOf(register), wordOf(register) + register.size / 4);
    }
    for (const register of [Register.CR0ACK, Register.IRQ_CTRLACK, Register.GERROR]) {
      this.words[wordOf(register)] = 0;
    }
    this.words[wordOf(GBPA)] = GBPA_RESET;
    const identification = [0x0d, 0xf0, 0x05, 0xb1];
    identification.forEach((value, i) => (this.words[wordOf(Register.CIDR0) + i] = value));
  }

  /** Whether an access of `size` bytes at byte `offset` is one that the registers answer. */
  accepts(offset: number, size: number): boolean {
    if (offset < 0 || offset + size > FRAME_BYTES) return false;
    if (size === 4) return offset % 4 === 0;
    return size === 8 && offset % 8 === 0 && this.wide[offset >>> 2] === 1;
  }

  /** Stores `value` into the word, as far as software may, and returns the {@link Effect}. */
  write(word: number, value: number): number {
    const mask = this.writable[word]! & this.unguarded(word, value);
    if (mask === 0) return Effect.none;
    this.words[word] = (this.words[word]! & ~mask) | (value & mask);
    return this.effects[word]!;
  }

  /** Whether the word of a register that changes can have come to hold `value`. */
  canHold(word: number, value: number): boolean {
    const like = word === wordOf(Register.GERROR) ? wordOf(GERRORN) : word;
    return (value & ~this.writable[like]!) === 0;
  }

  /** Value of a field of a 32-bit register. */
  get(name: RegisterName, field: Field): number {
    return get(this.words, wordOf(Register[name]), field);
  }

  /** Changes a field of a 32-bit register, whatever software may do. */
  set(name: RegisterName, field: Field, value: number): void {
    set(this.words, wordOf(Register[name]), field, value);
  }

  /** The bits that no enable keeps from being written. */
  private unguarded(word: number, value: number): number {
    const guard = this.guards[word]!;
    if (guard === Guard.none) return -1;
    if (guard === Guard.cr1) {
      const enables = this.words[wordOf(CR0)]!;
      return ((enables & 1) === 0 ? CR1_TABLE : 0) | ((enables & 0b1110) === 0 ? CR1_QUEUE : 0);
    }
    if (guard === Guard.gbpa) return value >>> 31 === 1 ? -1 : 0; // Update, bit 31.
    const [register, field] = GUARDS[guard]!;
    return get(this.words, register, field) === 0 ? -1 : 0;
  }
}

function addMask(mask: Uint32Array, field: Field | AddressField): void {
  const ones = new Uint32Array(2).fill(0xffff_ffff);
  if (isAddress(field)) {
    mask[0] = mask[0]! | low(ones, 0, field);
    mask[1] = mask[1]! | high(ones, 0, field);
  } else {
    set(mask, 0, field, 0xffff_ffff);
  }
}
