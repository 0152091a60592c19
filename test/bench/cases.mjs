import {
  enumerate,
  IntervalMap,
  RamMemory,
  Smmu,
  StreamTable,
  Translation,
  Translator,
  UNPRIVILEGED_DATA,
} from '../../dist/index.js';
import { GuestBuilder } from '../../dist/fixtures.js';
import { allocatedBytes, nanoseconds, shuffled } from './measure.mjs';

const RAM_BASE = 0x4000_0000;
// Low words above 2^31, as Linux hands them out.
const IOVA = 0x12_c000_0000;
const IOVA_HIGH = 0x12;
const IOVA_LOW = 0xc000_0000;
const STREAM = 8;

/** A young generation that is not collected: bytes allocated are a difference of two readings. */
const NO_COLLECTION = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];

/** A guest with `pages` 4K pages mapped contiguously in IOVA, scattered or contiguous in output. */
function guestOf(pages, { scattered, shared }) {
  const ramBytes = 64 * 2 ** 20;
  const buffer = shared ? new SharedArrayBuffer(ramBytes) : new ArrayBuffer(ramBytes);
  const memory = new RamMemory([{ base: RAM_BASE, buffer }]);
  const guest = new GuestBuilder({ memory, ramBase: RAM_BASE, ramBytes });
  const space = guest.addressSpace();
  const words = new Uint32Array(buffer);
  const order = shuffled(pages);
  for (let first = 0; first < pages; first += 512) {
    const table = (space.descriptorAddress(IOVA + first * 4096, 3) - RAM_BASE) / 4;
    for (let i = 0; i < Math.min(512, pages - first); i++) {
      const page = scattered ? order[first + i] : first + i;
      const address = 0x8000_0000 + page * 4096;
      words[table + 2 * i] = ((address >>> 0) | 0xf47) >>> 0;
      words[table + 2 * i + 1] = Math.floor(address / 2 ** 32);
    }
  }
  guest.attach(STREAM, space);
  const translator = new Translator(memory, guest.features);
  translator.configure(guest.frame);
  const result = new Translation();
  if (translator.resolve(STREAM, -1, result) !== 0) throw new Error('no context');
  return { memory, guest, translator, context: translator.context, result };
}

/** Walks of all pages in random order, a million at most in a batch. */
function walks(pages, options = {}) {
  const { translator, context, result } = guestOf(pages, { scattered: true, ...options });
  const { walker } = translator;
  const lows = Int32Array.from(shuffled(pages), (page) => IOVA_LOW + page * 4096 + 0x123);
  const rounds = Math.max(1, Math.floor(65_536 / pages));
  return () => {
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < pages; i++) {
        if (walker.walk(context, IOVA_HIGH, lows[i], 0, result) !== 0) throw new Error('fault');
      }
    }
    return rounds * pages;
  };
}

function enumeration(pages, scattered) {
  const { memory, context } = guestOf(pages, { scattered });
  const limits = { tables: 2 ** 20, runs: 2 ** 21 };
  return () => {
    const { runs, end } = enumerate(memory, context, UNPRIVILEGED_DATA, limits);
    // A random order leaves a few neighbours together.
    const asExpected = scattered ? runs.count > 0.999 * pages : runs.count === 1;
    if (end !== 'complete' || !asExpected) throw new Error(`${end}: ${runs.count} runs`);
    return pages;
  };
}

/** A million walks in one batch. */
function million(batch) {
  return () => {
    let operations = 0;
    while (operations < 1_000_000) operations += batch();
    return operations;
  };
}

function steDecode() {
  const { memory, guest, result } = guestOf(16, { scattered: true });
  const streams = new StreamTable(memory, guest.features);
  streams.configure(guest.frame);
  return () => {
    for (let i = 0; i < 10_000; i++) {
      if (streams.fetch(STREAM, result) !== 0) throw new Error('illegal');
    }
    return 10_000;
  };
}

function uncachedTranslations() {
  const { translator, result } = guestOf(4096, { scattered: true });
  const lows = Int32Array.from(shuffled(4096), (page) => IOVA_LOW + page * 4096 + 0x123);
  return () => {
    for (let i = 0; i < 4096; i++) {
      if (translator.translate(STREAM, -1, IOVA_HIGH, lows[i], 0, result) !== 0) {
        throw new Error('fault');
      }
    }
    return 4096;
  };
}

function intervalLookups() {
  const map = new IntervalMap();
  const order = shuffled(65_536);
  for (const page of order) map.insert(IOVA + page * 8192, 4096, page * 4096, 3);
  const found = { iova: 0, length: 0, address: 0, permissions: 0 };
  return () => {
    for (const page of order) if (!map.find(IOVA + page * 8192, found)) throw new Error('lost');
    return order.length;
  };
}

/** A vSMMU that the guest of {@link guestOf} has set up, with a command queue of 2^8 entries. */
function smmuOf(pages) {
  const { memory, guest } = guestOf(pages, { scattered: true });
  const smmu = new Smmu({ memory });
  const queue = guest.allocate(16 * 256, 16 * 256);
  smmu.writeRegister(0x80, 8, BigInt(guest.frame[0x80 / 4]));
  smmu.writeRegister(0x88, 4, guest.frame[0x88 / 4]);
  smmu.writeRegister(0x90, 8, BigInt(queue) | 8n);
  smmu.writeRegister(0x20, 4, 0x9);
  return { memory, smmu, queue };
}

function registerWrites() {
  const { smmu } = smmuOf(16);
  return () => {
    // CR1 while enabled, IRQ_CTRL, GERRORN, EVENTQ_CONS: ignored, stored, with and without effect.
    for (let i = 0; i < 2500; i++) {
      smmu.writeRegister(0x28, 4, 0xd75);
      smmu.writeRegister(0x50, 4, 5);
      smmu.writeRegister(0x64, 4, 0);
      smmu.writeRegister(0x100ac, 4, 0);
    }
    return 10_000;
  };
}

/** TLBI_NH_VA commands, 255 for each write of CMDQ_PROD. */
function commandDecode() {
  const { memory, smmu, queue } = smmuOf(16);
  const words = Uint32Array.from([0x12, 0x0001_0000, 0x1234_5001, 0x0]);
  for (let i = 0; i < 256; i++) memory.store(queue + 16 * i, words, 0, 4);
  let prod = 0;
  return () => {
    for (let round = 0; round < 64; round++) {
      prod = (prod + 255) & 0x1ff;
      smmu.writeRegister(0x98, 4, prod);
    }
    if (smmu.readRegister(0x9c, 4) !== prod) throw new Error('commands are left');
    return 64 * 255;
  };
}

function cachedTranslations() {
  const { smmu } = smmuOf(4096);
  const result = new Translation();
  const lows = Int32Array.from(shuffled(4096), (page) => IOVA_LOW + page * 4096 + 0x123);
  return () => {
    for (let i = 0; i < 4096; i++) {
      if (smmu.translate(STREAM, -1, IOVA_HIGH, lows[i], 0, result) !== 0) throw new Error('fault');
    }
    return 4096;
  };
}

/** Every benchmark by name. */
export const cases = {
  'walk-4k-256': { unit: 'ns/walk', measure: () => nanoseconds(walks(256)) },
  'walk-4k-65536': { unit: 'ns/walk', measure: () => nanoseconds(walks(65_536)) },
  'walk-shared-4k-256': {
    unit: 'ns/walk',
    measure: () => nanoseconds(walks(256, { shared: true })),
  },
  'walk-allocated': {
    unit: 'bytes/walk',
    flags: NO_COLLECTION,
    measure: () => allocatedBytes(million(walks(65_536))),
  },
  'enumerate-scattered-1m': {
    unit: 'ns/page',
    measure: () => nanoseconds(enumeration(1_048_576, true)),
  },
  'enumerate-contiguous-1m': {
    unit: 'ns/page',
    measure: () => nanoseconds(enumeration(1_048_576, false)),
  },
  'ste-decode': { unit: 'ns/STE', measure: () => nanoseconds(steDecode()) },
  'translate-uncached': { unit: 'ns/access', measure: () => nanoseconds(uncachedTranslations()) },
  'register-write': { unit: 'ns/write', measure: () => nanoseconds(registerWrites()) },
  'command-decode': { unit: 'ns/command', measure: () => nanoseconds(commandDecode()) },
  'translate-config-cached': {
    unit: 'ns/access',
    measure: () => nanoseconds(cachedTranslations()),
  },
  'interval-find-65536': { unit: 'ns/look-up', measure: () => nanoseconds(intervalLookups()) },
};
