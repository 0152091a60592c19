import { Cd } from '../arch/cd.js';
import { get, high, low, type AddressField } from '../arch/field.js';
import {
  bitsPerLevel,
  firstBlockLevel,
  levelShift,
  startLevel,
  TG0_GRANULE_LOG2,
  TG1_GRANULE_LOG2,
} from '../arch/granule.js';
import { effectiveAddressBits, type Features } from '../registers/features.js';
import { permissionTable } from './permissions.js';

/** What a context that was not decoded yet permits. */
const NO_PERMISSIONS = new Uint8Array(32);

/** One half of an address space: the tables below TTB0 or TTB1, made ready for walks. */
export class AddressHalf {
  /** `true` for the half of TTB1. */
  readonly upper: boolean;
  /** EPD is clear: walks are allowed. The rest means nothing when they are not. */
  enabled = false;
  /** E0PD: unprivileged accesses fault. */
  privilegedOnly = false;
  /** HAD: the permission bits of table descriptors are ignored. */
  flat = false;
  /** TBI: bits 63:56 of an input address are ignored. */
  topByteIgnored = false;
  /** Significant bits of an input address: 64 - TxSZ. */
  inputBits = 0;
  /** Bits 63:32 of an input address that must all be equal to bit 55. */
  canonicalHigh = 0;
  /** Bits 31:0 of an input address that must all be equal to bit 55. */
  canonicalLow = 0;
  /** log2 of the granule's bytes. */
  granuleLog2 = 12;
  /** Address bits resolved by a level below the first. */
  bitsPerLevel = 9;
  startLevel = 0;
  /** log2 of the bytes that a descriptor of the first level describes. */
  startShift = 39;
  /** Descriptors in the first table, less one. */
  startMask = 0;
  /** Levels below this have no blocks. */
  firstBlockLevel = 1;
  // Where a descriptor keeps bits 51:32 of an address (DDI 0487, section D8.3).
  /** Those in place: bits of the high word. */
  addressMask = 0xffff;
  /** Those elsewhere: bits of the low word. */
  spreadMask = 0;
  /** How far {@link spreadMask} moves up to be bits 51:48, or 51:50, of the address. */
  spreadShift = 0;
  /** The bits of {@link spreadMask} replace the shareability field: DS with 4K and 16K granules. */
  lpa2 = false;
  /** Bits 51:32 of the physical address of the first table. */
  tableHigh = 0;
  /** Bits 31:0 of the physical address of the first table, signed. */
  tableLow = 0;

  constructor(upper: boolean) {
    this.upper = upper;
  }

  /** Physical address of the first table, in bytes. */
  get table(): number {
    return this.tableHigh * 0x1_0000_0000 + (this.tableLow >>> 0);
  }

  /** Lowest input address of the half, in bytes: 0, or 2^64 - 2^inputBits, both exact as a number. */
  get base(): number {
    return this.upper ? 2 ** 64 - 2 ** this.inputBits : 0;
  }
}

/**
 * A legal CD, decoded for walks (IHI 0070, section 5.4). The fields that a TLB entry may hold are
 * folded into the two halves and the permission table; A, R and S, which it may not, stay apart.
 */
export class Context {
  /** Input addresses with bit 55 clear: TTB0. */
  readonly lower = new AddressHalf(false);
  /** Input addresses with bit 55 set: TTB1. */
  readonly upper = new AddressHalf(true);
  /** Table and output addresses at or above it fault, in bytes: 2^(effective IPS). */
  outputLimit = NaN;
  /** Bits 63:32 of an address that only addresses at or above {@link outputLimit} have. */
  beyondOutput = 0;
  /** ENDI: descriptors are big-endian. */
  bigEndian = false;
  /** HA: the SMMU sets access flags. */
  setsAccessFlag = false;
  /** AFFD: a clear access flag does not fault. */
  ignoresAccessFlag = false;
  /** HD with HA: the SMMU sets dirty state. */
  setsDirty = false;
  /** DS is on: 52-bit addresses with 4K and 16K granules. */
  ds = false;
  /** Shareability of output with DS, for the lower and the upper half: CD.SH0 and CD.SH1. */
  readonly shareability = new Uint8Array(2);
  /** Permission bits by PermissionIndex. */
  permissions: Uint8Array = NO_PERMISSIONS;
  /** The eight memory attributes of MAIR. */
  readonly attributes = new Uint8Array(8);
  asid = 0;
  aset = 0;
  /** A: faults abort; else they complete as read-as-zero, writes-ignored. */
  aborts = true;
  /** R: faults are recorded. */
  records = true;
  /** S: faults stall. */
  stalls = false;

  /**
   * Takes over the CD at `words[at]`, which must be legal on an SMMU with `features`
   * (see `illegalCd`).
   */
  decode(words: Uint32Array, at: number, features: Features): void {
    const addressBits = effectiveAddressBits(features, get(words, at, Cd.IPS));
    this.outputLimit = 2 ** addressBits;
    this.beyondOutput = -1 << (addressBits - 32);
    this.bigEndian = get(words, at, Cd.ENDI) === 1;
    this.setsAccessFlag = get(words, at, Cd.HA) === 1;
    this.ignoresAccessFlag = get(words, at, Cd.AFFD) === 1;
    // HD without HA is reserved and behaves as off.
    this.setsDirty = this.setsAccessFlag && get(words, at, Cd.HD) === 1;
    this.ds = features.DS === 1 && get(words, at, Cd.DS) === 1;
    this.shareability[0] = get(words, at, Cd.SH0);
    this.shareability[1] = get(words, at, Cd.SH1);
    const mair0 = get(words, at, Cd.MAIR0);
    const mair1 = get(words, at, Cd.MAIR1);
    for (let i = 0; i < 4; i++) {
      this.attributes[i] = mair0 >>> (8 * i);
      this.attributes[4 + i] = mair1 >>> (8 * i);
    }
    this.asid = get(words, at, Cd.ASID);
    this.aset = get(words, at, Cd.ASET);
    this.aborts = get(words, at, Cd.A) === 1;
    this.records = get(words, at, Cd.R) === 1;
    this.stalls = get(words, at, Cd.S) === 1;
    this.permissions = permissionTable({
      WXN: get(words, at, Cd.WXN),
      PAN: get(words, at, Cd.PAN),
      EPAN: features.EPAN & get(words, at, Cd.EPAN),
      HD: this.setsDirty ? 1 : 0,
    });

    const { lower, upper } = this;
    lower.enabled = get(words, at, Cd.EPD0) === 0;
    lower.privilegedOnly = features.E0PD === 1 && get(words, at, Cd.E0PD0) === 1;
    lower.flat = features.HAD === 1 && get(words, at, Cd.HAD0) === 1;
    if (lower.enabled) {
      const granuleLog2 = TG0_GRANULE_LOG2[get(words, at, Cd.TG0)]!;
      const topByteIgnored = get(words, at, Cd.TBI0) === 1;
      this.shape(lower, granuleLog2, get(words, at, Cd.T0SZ), topByteIgnored, features);
      setTable(lower, words, at, Cd.TTB0, addressBits);
    }
    upper.enabled = get(words, at, Cd.EPD1) === 0;
    upper.privilegedOnly = features.E0PD === 1 && get(words, at, Cd.E0PD1) === 1;
    upper.flat = features.HAD === 1 && get(words, at, Cd.HAD1) === 1;
    if (upper.enabled) {
      const granuleLog2 = TG1_GRANULE_LOG2[get(words, at, Cd.TG1)]!;
      const topByteIgnored = get(words, at, Cd.TBI1) === 1;
      this.shape(upper, granuleLog2, get(words, at, Cd.T1SZ), topByteIgnored, features);
      setTable(upper, words, at, Cd.TTB1, addressBits);
    }
  }

  private shape(
    half: AddressHalf,
    granuleLog2: number,
    txsz: number,
    topByteIgnored: boolean,
    features: Features,
  ): void {
    const inputBits = 64 - txsz;
    const level = startLevel(granuleLog2, inputBits);
    half.topByteIgnored = topByteIgnored;
    half.inputBits = inputBits;
    half.granuleLog2 = granuleLog2;
    half.bitsPerLevel = bitsPerLevel(granuleLog2);
    half.startLevel = level;
    half.startShift = levelShift(granuleLog2, level);
    half.startMask = (1 << (inputBits - half.startShift)) - 1;
    half.firstBlockLevel = firstBlockLevel(granuleLog2, this.ds, features.OAS >= 52);
    const wide = granuleLog2 === 16;
    half.lpa2 = this.ds && !wide;
    half.addressMask = half.lpa2 ? 0x3_ffff : 0xffff;
    half.spreadMask = wide ? 0xf000 : half.lpa2 ? 0x300 : 0;
    half.spreadShift = wide ? 4 : 10;
    const top = topByteIgnored ? 0x00ff_ffff : 0xffff_ffff;
    half.canonicalHigh = inputBits < 32 ? top : top & ~((1 << (inputBits - 32)) - 1);
    half.canonicalLow = inputBits < 32 ? ~((1 << inputBits) - 1) : 0;
  }
}

/** Takes over TTBx, aligned down to the first table's size: 64 bytes at least with 52-bit addresses. */
function setTable(
  half: AddressHalf,
  words: Uint32Array,
  at: number,
  ttb: AddressField,
  addressBits: number,
): void {
  const bytes = Math.max(8 * (half.startMask + 1), addressBits >= 52 ? 64 : 8);
  half.tableHigh = high(words, at, ttb);
  half.tableLow = low(words, at, ttb) & -bytes;
}
