import type { GuestMemory, Smmu } from 'vsmmu';
import { CommandTap } from '../machine/command-tap.js';
import type { Wrappers } from '../machine/vsmmu.js';

/** No command has this opcode. */
const ILLEGAL = 0xff;
const SYNC = 0x46;

/** Memory that fails, and a command queue that is damaged, when asked: once each. */
export class FaultInjection {
  /** The next event record finds no memory. */
  abortEvent = false;
  /** The next command that is no CMD_SYNC has an opcode that does not exist. */
  spoilCommand = false;

  get wrappers(): Wrappers {
    return { memory: (memory, smmu) => new FaultyMemory(memory, smmu, this) };
  }
}

/** Words of an event record. */
const EVENT_WORDS = 8;

class FaultyMemory extends CommandTap {
  private readonly faults: FaultInjection;

  constructor(memory: GuestMemory, smmu: () => Smmu, faults: FaultInjection) {
    super(memory, smmu, (words, at) => {
      const opcode = words[at]! & 0xff;
      if (!faults.spoilCommand || opcode === SYNC) return;
      faults.spoilCommand = false;
      words[at] = (words[at]! & ~0xff) | ILLEGAL;
    });
    this.faults = faults;
  }

  override store(address: number, from: Uint32Array, at: number, count: number): boolean {
    if (this.faults.abortEvent && count === EVENT_WORDS) {
      this.faults.abortEvent = false;
      return false;
    }
    return super.store(address, from, at, count);
  }
}
