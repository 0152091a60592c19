import { shiftOf, type RandomHalf } from './random-contexts.js';
import type { Image } from './random-memory.js';
import { at, type Random } from './random.js';

/** Where accesses are worth sending: the range that one descriptor describes. */
export interface Spot {
  /** First input address, canonical. */
  start: bigint;
  sizeLog2: number;
}

function swapBytes(value: bigint): bigint {
  let swapped = 0n;
  for (let i = 0; i < 64; i += 8) swapped |= ((value >> BigInt(i)) & 0xffn) << BigInt(56 - i);
  return swapped;
}

function readDescriptor(image: Image, half: RandomHalf, address: bigint): bigint {
  const value = image.read(address);
  return half.bigEndian ? swapBytes(value) : value;
}

function writeDescriptor(image: Image, half: RandomHalf, address: bigint, value: bigint): void {
  image.write(address, half.bigEndian ? swapBytes(value) : value);
}

/** Address bits as a descriptor holds them (DDI 0487, section D8.3). */
function placeAddress(half: RandomHalf, address: bigint): bigint {
  const inPlace = address & ((1n << 48n) - 1n);
  if (half.granuleLog2 === 16) return inPlace | at(12, (address >> 48n) & 0xfn);
  const bits49to48 = address & (3n << 48n);
  return inPlace | bits49to48 | (half.lpa2 ? at(8, (address >> 50n) & 3n) : 0n);
}

/** The next-level table that a table descriptor points to. */
function tableOf(half: RandomHalf, descriptor: bigint): bigint {
  const ones = (1n << 48n) - 1n;
  const inPlace = ((descriptor & ones) >> BigInt(half.granuleLog2)) << BigInt(half.granuleLog2);
  if (half.granuleLog2 === 16) return inPlace | at(48, (descriptor >> 12n) & 0xfn);
  if (!half.lpa2) return inPlace;
  return inPlace | (descriptor & (3n << 48n)) | at(50, (descriptor >> 8n) & 3n);
}

/** An address below the limit of the half, or (seldom) beyond it but within what a descriptor holds. */
function targetAddress(random: Random, half: RandomHalf, align: number): bigint {
  const address = random.address(half.addressBits, align);
  const holds = half.granuleLog2 === 16 || half.lpa2 ? 52 : 48;
  if (holds > half.addressBits && random.chance(0.06)) {
    const bit = random.between(Math.max(half.addressBits, align), holds - 1);
    return address | at(bit, 1);
  }
  return address;
}

function tableDescriptor(random: Random, half: RandomHalf, table: bigint): bigint {
  const hierarchy = random.chance(0.3) ? at(59, random.bits(4) & random.bits(4)) : 0n;
  const ignored = random.chance(0.5)
    ? at(2, random.bits(6)) | at(10, random.bits(2)) | at(51, random.bits(8)) | at(63, random.bit())
    : 0n;
  const shareability = half.lpa2 ? 0n : at(8, random.bits(2));
  return 0b11n | placeAddress(half, table) | hierarchy | ignored | shareability;
}

function leafDescriptor(random: Random, half: RandomHalf, level: number, output: bigint): bigint {
  const shift = shiftOf(half.granuleLog2, level);
  let descriptor =
    placeAddress(half, output) |
    (level === 3 ? 0b11n : 0b01n) |
    at(2, random.bits(4)) | // AttrIndx, NS
    at(6, random.bits(2)) | // AP
    at(10, random.bit(0.8)) | // AF
    at(11, random.bit()) | // nG
    at(50, random.bit(0.1)) | // GP
    at(51, random.bit(0.5)) | // DBM
    at(52, random.bit(0.2)) | // Contiguous
    at(53, random.bit(0.3)) | // PXN
    at(54, random.bit(0.3)) | // UXN
    at(55, random.chance(0.3) ? random.bits(9) : 0n); // software, PBHA
  if (!half.lpa2) descriptor |= at(8, random.bits(2)); // SH
  // Below a block's size there are RES0 bits and nT; OA[51:48] of the 64K granule is not among them.
  if (level < 3 && random.chance(0.2)) {
    const lowest = half.granuleLog2 === 16 ? 16 : 12;
    descriptor |= at(lowest, random.bits(Math.min(shift, 48) - lowest));
  }
  return descriptor;
}

/** Descriptors that do not translate: invalid at any level, reserved at level 3. */
function brokenDescriptor(random: Random, level: number): bigint {
  const junk = random.bits(62) << 2n;
  return junk | (level === 3 && random.chance(0.5) ? 0b01n : random.pick([0b00n, 0b10n]));
}

/** Levels whose blocks or pages the half has; now and then one where there are no blocks. */
function leafLevel(random: Random, half: RandomHalf): number {
  const first = half.granuleLog2 === 12 ? (half.lpa2 ? 0 : 1) : half.lpa2 || half.wide64K ? 1 : 2;
  const legal = [];
  for (let level = Math.max(first, half.startLevel); level <= 3; level++) legal.push(level);
  if (half.startLevel < first && random.chance(0.05))
    return random.between(half.startLevel, first - 1);
  return random.pick(legal);
}

/** How many neighbours a contiguous run has (DDI 0487, section D8.6); 16 of them are enough here. */
function writeLeaves(
  random: Random,
  image: Image,
  half: RandomHalf,
  level: number,
  address: bigint,
  index: bigint,
  entries: bigint,
): void {
  const shift = BigInt(shiftOf(half.granuleLog2, level));
  if (entries < 16n || !random.chance(0.12)) {
    const output = targetAddress(random, half, Number(shift));
    writeDescriptor(image, half, address, leafDescriptor(random, half, level, output));
    return;
  }
  const output = random.address(half.addressBits, Math.min(Number(shift) + 4, half.addressBits));
  const first = leafDescriptor(random, half, level, 0n) | at(52, 1);
  const start = address - 8n * (index % 16n);
  for (let i = 0n; i < 16n; i++) {
    const own = random.chance(0.05) ? leafDescriptor(random, half, level, 0n) : first;
    writeDescriptor(image, half, start + 8n * i, own | placeAddress(half, output + (i << shift)));
  }
}

/** Follows the tables to one random input address, and makes those that are missing. */
function addSpot(random: Random, image: Image, half: RandomHalf, tables: bigint[]): Spot {
  const { granuleLog2, inputBits, startLevel } = half;
  const input = random.edged(inputBits);
  const target = leafLevel(random, half);
  let table = half.table;
  let level = startLevel;
  for (; level <= 3; level++) {
    const shift = shiftOf(granuleLog2, level);
    const indexBits = level === startLevel ? inputBits - shift : granuleLog2 - 3;
    const entries = 1n << BigInt(indexBits);
    const index = (input >> BigInt(shift)) & (entries - 1n);
    const address = table + 8n * index;
    const found = readDescriptor(image, half, address);
    if (found === 0n && level < target) {
      const next = nextTable(random, half, table, tables);
      writeDescriptor(image, half, address, tableDescriptor(random, half, next));
      if (next >= 1n << BigInt(half.addressBits) || random.chance(0.03)) break;
      table = next;
    } else if (found === 0n) {
      if (random.chance(0.07)) {
        writeDescriptor(image, half, address, brokenDescriptor(random, level));
      } else {
        writeLeaves(random, image, half, level, address, index, entries);
      }
      break;
    } else if ((found & 3n) === 3n && level < 3) {
      table = tableOf(half, found);
    } else {
      break;
    }
  }
  const sizeLog2 = shiftOf(granuleLog2, Math.min(level, 3));
  const start = (input >> BigInt(sizeLog2)) << BigInt(sizeLog2);
  const high = half.upper ? (1n << 64n) - (1n << BigInt(inputBits)) : 0n;
  return { start: start | high, sizeLog2: Math.min(sizeLog2, inputBits) };
}

/** A new table, or now and then one that is there already: shared, or the very one it is in. */
function nextTable(random: Random, half: RandomHalf, current: bigint, tables: bigint[]): bigint {
  if (random.chance(0.03)) return (current >> BigInt(half.granuleLog2)) << BigInt(half.granuleLog2);
  if (tables.length > 0 && random.chance(0.05)) return random.pick(tables);
  const table = targetAddress(random, half, half.granuleLog2);
  tables.push(table);
  return table;
}

/** Makes tables for a half; returns the places that they describe. */
export function randomTables(
  random: Random,
  image: Image,
  half: RandomHalf,
  count: number,
): Spot[] {
  if (!half.walkable) return [];
  const tables: bigint[] = [];
  const spots: Spot[] = [];
  for (let i = 0; i < count; i++) spots.push(addSpot(random, image, half, tables));
  return spots;
}
