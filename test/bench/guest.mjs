import { RamMemory, Smmu, Translation, Translator } from '../../dist/index.js';
import { GuestBuilder } from '../../dist/fixtures.js';
import { shuffled } from './measure.mjs';

export const RAM_BASE = 0x4000_0000;
// Low words above 2^31, as Linux hands them out.
export const IOVA = 0x12_c000_0000;
export const IOVA_HIGH = 0x12;
export const IOVA_LOW = 0xc000_0000;
export const STREAM = 8;

/** Where the pages of {@link guestOf} lie for DMA: in RAM, behind the tables. */
export const PAGES_IN_RAM = RAM_BASE + 32 * 2 ** 20;

/** A guest with `pages` 4K pages mapped contiguously in IOVA, scattered or contiguous in output. */
export function guestOf(pages, { scattered, shared, output = 0x8000_0000, streamIdBits }) {
  const ramBytes = 64 * 2 ** 20;
  const buffer = shared ? new SharedArrayBuffer(ramBytes) : new ArrayBuffer(ramBytes);
  const memory = new RamMemory([{ base: RAM_BASE, buffer }]);
  const guest = new GuestBuilder({ memory, ramBase: RAM_BASE, ramBytes, streamIdBits });
  const space = guest.addressSpace();
  const words = new Uint32Array(buffer);
  const order = shuffled(pages);
  /** Addresses of the tables of level 3. */
  const tables = [];
  for (let first = 0; first < pages; first += 512) {
    const address = space.descriptorAddress(IOVA + first * 4096, 3);
    const table = (address - RAM_BASE) / 4;
    tables.push(address);
    for (let i = 0; i < Math.min(512, pages - first); i++) {
      const page = scattered ? order[first + i] : first + i;
      const target = output + page * 4096;
      words[table + 2 * i] = ((target >>> 0) | 0xf47) >>> 0;
      words[table + 2 * i + 1] = Math.floor(target / 2 ** 32);
    }
  }
  guest.attach(STREAM, space);
  const translator = new Translator(memory, guest.features);
  translator.configure(guest.frame);
  const result = new Translation();
  if (translator.resolve(STREAM, -1, result) !== 0) throw new Error('no context');
  return { memory, guest, tables, translator, context: translator.context, result };
}

/** A vSMMU that `guest` has set up, with a command queue of 2^10 entries. */
export function smmuFor({ memory, guest }, cache) {
  const smmu = new Smmu({ memory, cache });
  const queue = guest.allocate(16 * 1024, 16 * 1024);
  smmu.writeRegister(0x80, 8, BigInt(guest.frame[0x80 / 4]));
  smmu.writeRegister(0x88, 4, guest.frame[0x88 / 4]);
  smmu.writeRegister(0x90, 8, BigInt(queue) | 10n);
  smmu.writeRegister(0x20, 4, 0x9);
  let prod = 0;
  /** Puts up to 1023 commands, whose words lie one behind the other, into the queue; returns what runs them. */
  const enqueue = (words) => {
    const count = words.length / 4;
    const first = prod & 0x3ff;
    const part = Math.min(count, 1024 - first);
    memory.store(queue + 16 * first, words, 0, 4 * part);
    memory.store(queue, words, 4 * part, 4 * (count - part));
    prod = (prod + count) & 0x7ff;
    return () => {
      smmu.writeRegister(0x98, 4, prod);
      if (smmu.readRegister(0x9c, 4) !== prod) throw new Error('commands are left');
      return count;
    };
  };
  return { memory, smmu, enqueue };
}

/** As {@link smmuFor} for the guest of {@link guestOf}. */
export function smmuOf(pages, { cache, output } = {}) {
  return smmuFor(guestOf(pages, { scattered: true, output }), cache);
}
