import { Register, type GuestMemory, type Smmu } from 'vsmmu';
import { referenceTranslate, type ReferenceOutcome } from '../../reference/index.js';

const LINE_WORDS = 16;
const LINE_BYTES = 4 * LINE_WORDS;

/** The slow reference over the guest's memory as it is now. */
export class ReferenceWalk {
  private readonly memory: GuestMemory;
  private readonly smmu: () => Smmu;
  /** STEs and CDs are read as a whole, so that eight words are one access to the file. */
  private readonly line = new Uint32Array(LINE_WORDS);
  private lineAt = -1;

  constructor(memory: GuestMemory, smmu: () => Smmu) {
    this.memory = memory;
    this.smmu = smmu;
  }

  /** What the tables say about an access now. */
  translate(streamId: number, iova: bigint, write: boolean): ReferenceOutcome {
    const smmu = this.smmu();
    const register = (name: keyof typeof Register): number =>
      Number(smmu.readRegister(Register[name].offset, 4));
    this.lineAt = -1;
    return referenceTranslate(
      {
        memory: { read64: (address) => this.read64(Number(address)), write64: () => false },
        idr0: register('IDR0'),
        idr1: register('IDR1'),
        idr3: register('IDR3'),
        idr5: register('IDR5'),
        aidr: register('AIDR'),
        cr0: register('CR0'),
        cr2: register('CR2'),
        gbpa: register('GBPA'),
        strtabBase: BigInt(smmu.readRegister(Register.STRTAB_BASE.offset, 8)),
        strtabBaseCfg: register('STRTAB_BASE_CFG'),
      },
      { streamId, iova, write, instruction: false, privileged: false },
    );
  }

  private read64(address: number): bigint | null {
    const at = address - (address % LINE_BYTES);
    if (at !== this.lineAt) {
      this.lineAt = -1;
      if (!this.memory.load(at, this.line, 0, LINE_WORDS)) return null;
      this.lineAt = at;
    }
    const word = (address - at) / 4;
    return (BigInt(this.line[word + 1]!) << 32n) | BigInt(this.line[word]!);
  }
}
