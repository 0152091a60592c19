import { get, getAddress } from '../arch/field.js';
import { wordOf, type Register } from '../arch/registers.js';

/** Where the entries of a queue lie: what its BASE register says (IHI 0070, section 3.5.1). */
export class QueueGeometry {
  /** The bits of an index with its wrap flag: twice the number of entries, less one. */
  wrap = 1;
  private base = 0;

  private readonly frame: Uint32Array;
  private readonly register: typeof Register.CMDQ_BASE | typeof Register.EVENTQ_BASE;
  private readonly entryBytes: number;
  private readonly maxLog2: number;
  private readonly oas: number;

  /**
   * @param maxLog2 log2 of the entries that the SMMU takes at most, whatever LOG2SIZE says.
   * @param oas bits of a physical address: a base has no others.
   */
  constructor(
    frame: Uint32Array,
    register: typeof Register.CMDQ_BASE | typeof Register.EVENTQ_BASE,
    entryBytes: number,
    maxLog2: number,
    oas: number,
  ) {
    this.frame = frame;
    this.register = register;
    this.entryBytes = entryBytes;
    this.maxLog2 = maxLog2;
    this.oas = oas;
    this.configure();
  }

  /** Takes over the BASE register. */
  configure(): void {
    const { fields } = this.register;
    const at = wordOf(this.register);
    const entries = 2 ** Math.min(get(this.frame, at, fields.LOG2SIZE), this.maxLog2);
    const address = getAddress(this.frame, at, fields.ADDR) % 2 ** this.oas;
    this.base = address - (address % Math.max(32, this.entryBytes * entries));
    this.wrap = 2 * entries - 1;
  }

  /** Physical address of the entry at `index`, whose wrap flag does not matter. */
  entry(index: number): number {
    return this.base + this.entryBytes * (index & (this.wrap >>> 1));
  }
}
