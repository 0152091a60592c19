import {
  enumerate,
  IntervalMap,
  StreamTable,
  Translation,
  UNPRIVILEGED_DATA,
} from '../../dist/index.js';
import { guestOf, IOVA, IOVA_HIGH, IOVA_LOW, smmuOf, STREAM } from './guest.mjs';
import { allocatedBytes, nanoseconds, NO_COLLECTION, sections, shuffled } from './measure.mjs';
import { mirrorCases } from './mirror-cases.mjs';
import { passthroughCases } from './passthrough-cases.mjs';
import { tlbCases } from './tlb-cases.mjs';

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

/** TLBI_NH_VA commands that find nothing, 1023 for each write of CMDQ_PROD. */
function commandDecode() {
  const { enqueue } = smmuOf(16);
  const words = new Uint32Array(4 * 1023);
  for (let i = 0; i < 1023; i++) words.set([0x12, 0x0001_0000, 0x1234_5001, 0x0], 4 * i);
  return () => [() => enqueue(words)];
}

/** STE and CD are cached, translations are not. */
function configuredTranslations() {
  const { smmu } = smmuOf(4096, { cache: { entries: 0 } });
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
  'command-decode': { unit: 'ns/command', measure: () => sections(commandDecode()) },
  'translate-config-cached': {
    unit: 'ns/access',
    measure: () => nanoseconds(configuredTranslations()),
  },
  'interval-find-65536': { unit: 'ns/look-up', measure: () => nanoseconds(intervalLookups()) },
  ...tlbCases,
  ...mirrorCases,
  ...passthroughCases,
};
