import type { GuestMemory, IoasSink, SinkAnswer } from 'vsmmu';
import { CommandTap } from '../machine/command-tap.js';
import type { Mutant } from './mutant.js';

/** AP[2] of a page descriptor: read-only. */
const READ_ONLY = 1 << 7;
/** Valid, and a page or a table. */
const VALID = 0b11;
/** Access flag: tables do not have it. */
const ACCESSED = 1 << 10;

/** Shows the walks of the vSMMU pages that are read-only as writable. */
class PermissiveMemory extends CommandTap {
  strikes = 0;

  override load64(high: number, low: number, into: Uint32Array): boolean {
    const isRead = super.load64(high, low, into);
    const word = into[0]!;
    if (isRead && (word & VALID) === VALID && (word & ACCESSED) !== 0 && (word & READ_ONLY) !== 0) {
      into[0] = word & ~READ_ONLY;
      this.strikes++;
    }
    return isRead;
  }
}

/** Takes every hundredth unmap for done. */
class ForgetfulSink implements IoasSink {
  strikes = 0;
  private readonly sink: IoasSink;
  private unmaps = 0;

  constructor(sink: IoasSink) {
    this.sink = sink;
  }

  get capabilities(): IoasSink['capabilities'] {
    return this.sink.capabilities;
  }

  map(iova: number, address: number, length: number, permissions: number): SinkAnswer {
    return this.sink.map(iova, address, length, permissions);
  }

  unmap(iova: number, length: number): SinkAnswer {
    if (++this.unmaps % 100 !== 0) return this.sink.unmap(iova, length);
    this.strikes++;
    return true;
  }
}

/** Faults in what the vSMMU makes of tables. */
export const TABLE_MUTANTS: readonly Mutant[] = [
  {
    name: 'permission',
    title: 'read-only pages are writable',
    scenario: 'events',
    make: () => {
      const made: PermissiveMemory[] = [];
      const memory = (inner: GuestMemory, smmu: ConstructorParameters<typeof CommandTap>[1]) => {
        const wrapped = new PermissiveMemory(inner, smmu, () => undefined);
        made.push(wrapped);
        return wrapped;
      };
      return {
        wrappers: { memory },
        strikes: () => made.reduce((sum, { strikes }) => sum + strikes, 0),
      };
    },
  },
  {
    name: 'unmap',
    title: "one unmap in 100 of a mirror's sink is dropped",
    scenario: 'blk',
    make: () => {
      const made: ForgetfulSink[] = [];
      const sink = (inner: IoasSink) => {
        const wrapped = new ForgetfulSink(inner);
        made.push(wrapped);
        return wrapped;
      };
      return {
        wrappers: { sink },
        strikes: () => made.reduce((sum, { strikes }) => sum + strikes, 0),
      };
    },
  },
];
