/**
 * The rule: which answers an SMMU may give to an access.
 *
 * **What may be cached** (IHI 0070, section 3.21; sections 4.3 and 4.4 say what each command removes).
 * Three things are kept apart, and each goes stale on its own:
 *
 * - the STE of a stream, in any state, V=0 and illegal ones included, until CFGI_STE;
 * - the CD of a stream and SubstreamID, in any state, until CFGI_CD or CFGI_STE. It is found by those
 *   two numbers: through which STE it was fetched is forgotten;
 * - leaves: the output address, and the permissions after those of the tables above and CD.HAD0;
 *   tagged with the ASID of the CD, or global (nG=0). A walk that faults leaves nothing; a leaf that
 *   permits less than an access needs may be kept, and answers F_PERMISSION. They end with TLBI_NH_VA
 *   of their ASID (global ones: of any) and an address of the leaf, with TLBI_NH_ASID of their ASID
 *   (global ones do not), and with TLBI_NSNH_ALL. CFGI_* leaves them: after CD.ASID has changed, old
 *   ones lie under the old ASID, and are back when it is; after CD.TTB0, CD.HAD0 or STE.S1ContextPtr
 *   has changed they go on answering until a TLBI.
 *
 * While it is enabled, an SMMU may at any time fetch what it can reach, keep what it can walk to, and
 * drop it again (section 3.21.1). So each of the three has a set of versions for each device:
 *
 *     stes      STEs that were in memory
 *     contexts  CDs that were where an STE of `stes` points
 *     leaves    leaves that a walk from a CD of `contexts` came to
 *
 * They begin with the last invalidation that names them and is **complete**, by a CMD_SYNC behind it
 * (section 4.7). What an invalidation would leave if it were complete stands beside each set, as
 * pending: a command takes out of it what it names, and what can be reached now comes back in;
 * CMD_SYNC makes the pending sets the valid ones. So before a CMD_SYNC old and new are allowed, and
 * after it what was there when the invalidation was issued, or later.
 *
 * An access may get what any STE of `stes` says by itself (abort, bypass). If one of them lets stage 1
 * translate, then also, for each CD of `contexts`: what a leaf of `leaves` says that is global or has
 * the ASID of the CD, and what a walk from the CD says now. So an answer that was never allowed for
 * the version of each structure that it takes, its permissions included, is never allowed for both.
 *
 * **Where the rule asks for more than the manual**, since the library does better by its design:
 *
 * 1. Leaves are of one device, found through its own STEs and CDs, or of another one, found through a
 *    CD with the very same words. The manual lets two devices that use one ASID for two address
 *    spaces, as no guest should, hit each other's leaves.
 * 2. Table descriptors are not cached by themselves: all descriptors of a walk are of one time, and
 *    TLBI_NH_VA with Leaf=1 would be as good as with Leaf=0. (The manual: a walk cache may keep them.)
 * 3. Commands take effect in order: a TLBI behind a CFGI_CD ends what came from the old CD, with one
 *    CMD_SYNC for both. (The manual: until then the old CD may be used, and bring it back.) A TLBI in
 *    front of the CFGI_CD does not.
 * 4. The library runs when it is called: what was stored, and stored over before any command or
 *    access, was never there.
 *
 * What an implementation drops too early no answer shows, as each set holds what can be reached now.
 */
import type { Action } from './actions.js';
import { CONTEXTS, DEVICES, STES, type Answers } from './answers.js';

/** Numbers that the sets of all devices take: valid, pending, and what there ever was. */
export const SETS = 9 * DEVICES;
const OF_DEVICE = 9;
const PENDING = 3;
const EVER = 6;
// Each of the three is three sets, as bits.
const STES_AT = 0;
const CONTEXTS_AT = 1;
const LEAVES_AT = 2;

/** The rule over sets that the caller holds, {@link SETS} numbers from some index: all 0 at first. */
export class Rule {
  private readonly answers: Answers;

  constructor(answers: Answers) {
    this.answers = answers;
  }

  /** The SMMU is called, whatever for: it may look at memory as it is now. */
  observe(sets: Int32Array, at: number, state: number): void {
    for (let device = 0; device < DEVICES; device++) {
      const first = at + OF_DEVICE * device;
      this.reach(sets, first, device, state);
      this.reach(sets, first + PENDING, device, state);
      this.reach(sets, first + EVER, device, state);
    }
  }

  /** It is called with a command other than CMD_SYNC. */
  invalidate(sets: Int32Array, at: number, state: number, command: Action): void {
    const { streams, contexts, tlb } = command;
    const ended = tlb === undefined ? 0 : this.answers.named(tlb);
    for (let device = 0; device < DEVICES; device++) {
      const first = at + OF_DEVICE * device + PENDING;
      const bit = 1 << device;
      if ((streams & bit) !== 0) sets[first + STES_AT] = 0;
      if (((streams | contexts) & bit) !== 0) sets[first + CONTEXTS_AT] = 0;
      sets[first + LEAVES_AT] = sets[first + LEAVES_AT]! & ~ended;
      this.reach(sets, first, device, state);
    }
  }

  /** It is called with CMD_SYNC. */
  synchronize(sets: Int32Array, at: number): void {
    for (let device = 0; device < DEVICES; device++) {
      const first = at + OF_DEVICE * device;
      for (let i = first; i < first + PENDING; i++) sets[i] = sets[i + PENDING]!;
    }
  }

  /** The answers that an access may get, as bits. */
  allowed(sets: Int32Array, at: number, state: number, query: number): number {
    return this.answersFrom(sets, at + OF_DEVICE * (query >> 1), state, query);
  }

  /** Those that it might get if nothing had ever been invalidated. */
  everAllowed(sets: Int32Array, at: number, state: number, query: number): number {
    return this.answersFrom(sets, at + OF_DEVICE * (query >> 1) + EVER, state, query);
  }

  private answersFrom(sets: Int32Array, first: number, state: number, query: number): number {
    const { answers } = this;
    const device = query >> 1;
    const write = query & 1;
    let allowed = 0;
    let translates = false;
    for (let ste = 0; ste < STES; ste++) {
      if (((sets[first + STES_AT]! >> ste) & 1) === 0) continue;
      const plain = answers.withoutStage1(device, ste);
      if (plain === 0) translates = true;
      allowed |= plain;
    }
    if (!translates) return allowed;
    const leaves = sets[first + LEAVES_AT]!;
    const others = sets[first + (device === 0 ? OF_DEVICE : -OF_DEVICE) + LEAVES_AT]!;
    for (let context = 0; context < CONTEXTS; context++) {
      if (((sets[first + CONTEXTS_AT]! >> context) & 1) === 0) continue;
      allowed |= answers.walk(device, context, state, write);
      allowed |= answers.hits(leaves, context, write);
      allowed |= answers.hitsOfEqual(others, context, write);
    }
    return allowed;
  }

  /** Adds to the three sets at `sets[first]` what can be reached in a memory state. */
  private reach(sets: Int32Array, first: number, device: number, state: number): void {
    const { answers } = this;
    const stes = sets[first + STES_AT]! | (1 << answers.steIn(device, state));
    let contexts = sets[first + CONTEXTS_AT]!;
    for (let ste = 0; ste < STES; ste++) {
      if (((stes >> ste) & 1) === 0) continue;
      const context = answers.contextIn(device, ste, state);
      if (context >= 0) contexts |= 1 << context;
    }
    let leaves = sets[first + LEAVES_AT]!;
    for (let context = 0; context < CONTEXTS; context++) {
      if (((contexts >> context) & 1) !== 0) leaves |= answers.leafOf(device, context, state);
    }
    sets[first + STES_AT] = stes;
    sets[first + CONTEXTS_AT] = contexts;
    sets[first + LEAVES_AT] = leaves;
  }
}
