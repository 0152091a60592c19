import type { CachedContext } from '../transaction/configuration-cache.js';
import { AddressSpace, spaceKey } from './address-space.js';
import type { MirrorWork } from './mirror-work.js';

const NONE: readonly AddressSpace[] = [];

/** The address spaces that mirrored streams use. */
export class AddressSpaces {
  /** Those with mappings that TLBI commands with any ASID name. */
  withGlobals: readonly AddressSpace[] = [];
  /** Bytes of tables that spaces which are gone have read. */
  bytesReadBefore = 0;

  private readonly work: MirrorWork;
  private readonly byKey = new Map<string, AddressSpace>();
  private readonly byAsid = new Map<number, readonly AddressSpace[]>();

  constructor(work: MirrorWork) {
    this.work = work;
  }

  /** All of them. */
  get all(): Iterable<AddressSpace> {
    return this.byKey.values();
  }

  get size(): number {
    return this.byKey.size;
  }

  /** Those with an ASID. */
  withAsid(asid: number): readonly AddressSpace[] {
    return this.byAsid.get(asid) ?? NONE;
  }

  /** The address space of a CD; made if there is none. */
  of(cached: CachedContext): AddressSpace {
    const key = spaceKey(cached);
    let space = this.byKey.get(key);
    if (space === undefined) {
      space = new AddressSpace(cached, this.work);
      this.byKey.set(key, space);
      const { asid } = cached.context;
      this.byAsid.set(asid, [...this.withAsid(asid), space]);
    }
    return space;
  }

  /** A mapping of `space` is global. */
  addGlobal(space: AddressSpace): void {
    this.withGlobals = [...this.withGlobals, space];
  }

  /** The users of `space` have changed, or what they need; without any it is forgotten. */
  fit(space: AddressSpace): void {
    space.fit();
    if (space.users.size > 0) return;
    const { asid } = space.context;
    this.byKey.delete(space.key);
    const others = this.withAsid(asid).filter((other) => other !== space);
    if (others.length > 0) this.byAsid.set(asid, others);
    else this.byAsid.delete(asid);
    this.withGlobals = this.withGlobals.filter((other) => other !== space);
    this.bytesReadBefore += space.bytesRead;
  }
}
