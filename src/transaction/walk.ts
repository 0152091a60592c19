import { contiguousEntries } from '../arch/granule.js';
import { Event, EventClass } from '../arch/event.js';
import { Exchange, type GuestMemory } from '../memory/guest-memory.js';
import type { AddressHalf, Context } from './context.js';
import { permissionIndex, swapBytes } from './descriptor.js';
import { Access, NEEDED, Permission } from './permissions.js';
import { Reason } from './reason.js';
import type { Translation } from './translation.js';

/** Rounds in which a descriptor that the guest keeps changing is updated before the walk gives up. */
const MAX_UPDATES = 1024;

// Bits of the low word of a leaf descriptor.
const AF = 1 << 10;
const AP2 = 1 << 7;

/**
 * Walks stage-1 tables (DDI 0487, section D8.2, as IHI 0070, section 3.4 and 13 adapt it). Holds the
 * scratch words of one walk, so that none is allocated; walks do not nest.
 */
export class Walker {
  private readonly memory: GuestMemory;
  /** The descriptor, and for updates its replacement. */
  private readonly words = new Uint32Array(4);
  // Address of the leaf of the last walk that found one.
  private leafHigh = 0;
  private leafLow = 0;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  /**
   * Translates the input address `inputHigh:inputLow` through the tables of `context` into `result`.
   * The halves may be signed or unsigned; signed ones (`x | 0`) never cost an allocation to pass.
   * Of the result it sets what the walk decides: event, reason, class, fetch address and level, or the
   * output address and the properties of the leaf.
   * @param access {@link Access} bits.
   * @returns 0 when translated, else the number of the event.
   */
  walk(
    context: Context,
    inputHigh: number,
    inputLow: number,
    access: number,
    result: Translation,
  ): number {
    const half = (inputHigh & 0x0080_0000) === 0 ? context.lower : context.upper;
    const broken = checkInput(half, inputHigh, inputLow, access);
    if (broken !== Reason.none) {
      return fault(result, Event.F_TRANSLATION.id, broken, half.startLevel);
    }
    // In locals: a memory that is not inlined could change any field from one level to the next.
    const { words, memory } = this;
    const { bitsPerLevel, addressMask, spreadMask, spreadShift, flat } = half;
    const { bigEndian, beyondOutput } = context;
    const tableMask = -1 << half.granuleLog2;
    let level = half.startLevel;
    let shift = half.startShift;
    let mask = half.startMask;
    let tableHigh = half.tableHigh;
    let tableLow = half.tableLow;
    let tableBits = 0;
    let updates = 0;
    for (;;) {
      const index =
        shift >= 32
          ? (inputHigh >>> (shift - 32)) & mask
          : ((inputLow >>> shift) | (inputHigh << (32 - shift))) & mask;
      // A table is aligned to its size: the sum stays within the low word.
      const addressLow = tableLow | (index << 3);
      if (!memory.load64(tableHigh, addressLow, words)) {
        return fetchFault(result, tableHigh, addressLow, Reason.descriptorFetch, level);
      }
      let low = words[0]!;
      let high = words[1]!;
      if (bigEndian) {
        low = swapBytes(words[1]!);
        high = swapBytes(words[0]!);
      }
      if ((low & 1) === 0) {
        return fault(result, Event.F_TRANSLATION.id, Reason.descriptorInvalid, level);
      }
      const addressHigh = (high & addressMask) | ((low & spreadMask) << spreadShift);

      if (level < 3 && (low & 2) !== 0) {
        if ((addressHigh & beyondOutput) !== 0) {
          return fault(result, Event.F_ADDR_SIZE.id, Reason.tableAddress, level);
        }
        tableHigh = addressHigh;
        tableLow = low & tableMask;
        if (!flat) tableBits |= high;
        level++;
        shift -= bitsPerLevel;
        mask = (1 << bitsPerLevel) - 1;
        continue;
      }
      if (level === 3 ? (low & 2) === 0 : level < half.firstBlockLevel) {
        const reason = level === 3 ? Reason.descriptorReserved : Reason.blockLevel;
        return fault(result, Event.F_TRANSLATION.id, reason, level);
      }

      // A leaf: size, access flag and permission are checked in this order.
      const offsetLow = shift >= 32 ? -1 : (1 << shift) - 1;
      const offsetHigh = shift > 32 ? (1 << (shift - 32)) - 1 : 0;
      const base = (addressHigh & ~offsetHigh) * 0x1_0000_0000 + ((low & ~offsetLow) >>> 0);
      if ((addressHigh & ~offsetHigh & context.beyondOutput) !== 0) {
        return fault(result, Event.F_ADDR_SIZE.id, Reason.outputAddress, level);
      }
      const sets = (low & AF) === 0 && context.setsAccessFlag;
      if ((low & AF) === 0 && !sets && !context.ignoresAccessFlag) {
        return fault(result, Event.F_ACCESS.id, Reason.accessFlag, level);
      }
      let permissions = context.permissions[permissionIndex(high, low, tableBits)]!;
      const needed = NEEDED[access]!;
      if ((permissions & needed) === 0) {
        return fault(result, Event.F_PERMISSION.id, Reason.permission, level);
      }
      const dirties = (access & Access.write) !== 0 && (permissions & Permission.clean) !== 0;
      if (sets || dirties) {
        const exchange =
          updates++ < MAX_UPDATES
            ? this.update(tableHigh, addressLow, context.bigEndian, low, dirties)
            : Exchange.aborted;
        if (exchange === Exchange.changed) continue;
        if (exchange === Exchange.aborted) {
          return fetchFault(result, tableHigh, addressLow, Reason.descriptorUpdate, level);
        }
        low |= AF;
        if (dirties) {
          low &= ~AP2;
          permissions &= ~Permission.clean;
        }
      }
      this.leafHigh = tableHigh;
      this.leafLow = addressLow;
      result.event = 0;
      result.reason = Reason.none;
      result.outputAddress =
        base + ((inputHigh & offsetHigh) >>> 0) * 0x1_0000_0000 + ((inputLow & offsetLow) >>> 0);
      result.bypassed = false;
      result.level = level;
      result.leafLog2 = shift;
      result.granuleLog2 = half.granuleLog2;
      result.permissions = permissions;
      const attribute = context.attributes[(low >>> 2) & 7]!;
      result.attribute = attribute;
      result.shareability = shareabilityOf(
        attribute,
        half.lpa2 ? context.shareability[half.upper ? 1 : 0]! : (low >>> 8) & 3,
      );
      result.nonGlobal = (low >>> 11) & 1;
      result.contiguous =
        (high & (1 << 20)) !== 0 && contiguousEntries(half.granuleLog2, level) > 1 ? 1 : 0;
      result.descriptorHigh = high;
      result.descriptorLow = low >>> 0;
      return 0;
    }
  }

  /**
   * How far the answer of the last walk, which found a leaf of `half`, holds beyond that leaf: its
   * Contiguous bit promises neighbours that continue it (DDI 0487, section D8.6). They are read, not
   * believed.
   * @returns log2 of the bytes of the contiguous run, or of the leaf when it stands alone.
   */
  spanLog2(context: Context, half: AddressHalf, result: Translation): number {
    const { leafLog2, descriptorLow, descriptorHigh } = result;
    // With HA each access marks its own descriptor.
    if (result.contiguous === 0 || context.setsAccessFlag) return leafLog2;
    const entries = contiguousEntries(half.granuleLog2, result.level);
    const spanLog2 = leafLog2 + Math.log2(entries);
    // A run of the largest blocks may go beyond the output addresses: there its leaves fault.
    if (2 ** spanLog2 > context.outputLimit) return leafLog2;
    const { words, memory, leafHigh, leafLow } = this;
    const own = (leafLow >> 3) & (entries - 1);
    // The run is aligned: the number of a leaf within it stands in its output address.
    const number = (descriptorLow >>> leafLog2) | (descriptorHigh << (32 - leafLog2));
    if (spanLog2 > half.inputBits || (number & (entries - 1)) !== own) return leafLog2;
    for (let i = 0; i < entries; i++) {
      if (!memory.load64(leafHigh, leafLow + 8 * (i - own), words)) return leafLog2;
      const low = context.bigEndian ? swapBytes(words[1]!) : words[0]!;
      const high = context.bigEndian ? swapBytes(words[0]!) : words[1]!;
      const other = i ^ own;
      if ((low ^ descriptorLow) !== other << leafLog2) return leafLog2;
      if ((high ^ descriptorHigh) !== other >>> (32 - leafLog2)) return leafLog2;
    }
    return spanLog2;
  }

  /** Sets AF, and dirty state if asked, in the descriptor last loaded from `addressHigh:addressLow`. */
  private update(
    addressHigh: number,
    addressLow: number,
    bigEndian: boolean,
    low: number,
    dirties: boolean,
  ): number {
    const words = this.words;
    let updated = low | AF;
    if (dirties) updated &= ~AP2;
    words[2] = bigEndian ? words[0]! : updated;
    words[3] = bigEndian ? swapBytes(updated) : words[1]!;
    return this.memory.compareExchange(physicalAddress(addressHigh, addressLow), words, 0);
  }
}

/** Range, EPD and E0PD: what is checked before any descriptor is read. Returns a {@link Reason}. */
function checkInput(
  half: AddressHalf,
  inputHigh: number,
  inputLow: number,
  access: number,
): number {
  if (!half.enabled) return Reason.walksDisabled;
  const flip = half.upper ? -1 : 0;
  const outside =
    ((inputHigh ^ flip) & half.canonicalHigh) | ((inputLow ^ flip) & half.canonicalLow);
  if (outside !== 0) return Reason.inputRange;
  if (half.privilegedOnly && (access & Access.privileged) === 0) return Reason.unprivilegedHalf;
  return Reason.none;
}

/** Device and Normal Non-cacheable memory is outer shareable, whatever the descriptor says. */
function shareabilityOf(attribute: number, field: number): number {
  if (attribute >> 4 === 0 || attribute === 0x44) return 2;
  return field === 1 ? 0 : field;
}

function fault(result: Translation, event: number, reason: number, level: number): number {
  result.event = event;
  result.reason = reason;
  result.level = level;
  result.class = EventClass.IN;
  return event;
}

function physicalAddress(high: number, low: number): number {
  return high * 0x1_0000_0000 + (low >>> 0);
}

function fetchFault(
  result: Translation,
  addressHigh: number,
  addressLow: number,
  reason: number,
  level: number,
): number {
  result.event = Event.F_WALK_EABT.id;
  result.reason = reason;
  result.level = level;
  result.class = EventClass.TT;
  result.fetchAddress = physicalAddress(addressHigh, addressLow);
  return result.event;
}
