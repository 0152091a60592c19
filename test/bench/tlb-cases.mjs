import { devices, fleet, readers } from './devices.mjs';
import {
  guestOf,
  IOVA,
  IOVA_HIGH,
  IOVA_LOW,
  PAGES_IN_RAM,
  RAM_BASE,
  smmuFor,
  smmuOf,
  STREAM,
} from './guest.mjs';
import { allocatedBytes, nanoseconds, NO_COLLECTION, sections, shuffled } from './measure.mjs';

/** Physical addresses above 4 GiB: they are no small integers. */
const OUTPUT = 0x1_8000_0000;
const ASID = 0;

const iovasOf = (pages) => Float64Array.from(pages, (page) => IOVA + page * 4096 + 0x123);

/** Commands with the words of `command(i)`, as many as a queue of 2^10 takes. */
function commands(count, command) {
  const batches = [];
  for (let first = 0; first < count; first += 1023) {
    const words = new Uint32Array(4 * Math.min(1023, count - first));
    for (let i = 0; i < words.length / 4; i++) words.set(command(first + i), 4 * i);
    batches.push(words);
  }
  return batches;
}

/** Calls the four devices in turn. */
function inTurn(callers, expected) {
  let turn = 0;
  return (...arguments_) => {
    if (callers[turn++ & 3](...arguments_) < expected) throw new Error('a device got less');
  };
}

/** Translations of `pages` pages in random order, all of them cached. */
function hits(pages) {
  const { smmu } = smmuOf(pages, { output: OUTPUT });
  const handle = smmu.attach(STREAM);
  const iovas = iovasOf(shuffled(pages));
  const translate = inTurn(devices, pages * OUTPUT);
  translate(handle, iovas);
  const rounds = Math.max(1, 65_536 / pages);
  const batch = () => {
    for (let round = 0; round < rounds; round++) translate(handle, iovas);
    return rounds * pages;
  };
  const check = () => {
    if (smmu.stats().walks !== pages) throw new Error('not every access was a hit');
  };
  return { batch, check };
}

/** Runs `measure` on a batch, and its check after it. */
function checked({ batch, check }, measure) {
  const samples = measure(batch);
  check();
  return samples;
}

/** Pages that share rows of the micro-TLB in pairs, so that each displaces its neighbour's. */
function shadowHits() {
  const { smmu } = smmuOf(65_536 + 2048, { output: OUTPUT });
  const handle = smmu.attach(STREAM);
  const order = shuffled(2048);
  const pairs = [iovasOf(order), iovasOf(order.map((page) => page + 65_536))];
  const translate = inTurn(devices, 2048 * OUTPUT);
  for (const iovas of pairs) translate(handle, iovas);
  return () => {
    const before = smmu.stats().cache.shadowHits;
    for (const iovas of pairs) translate(handle, iovas);
    if (smmu.stats().cache.shadowHits - before < 4096) throw new Error('not all in the shadow');
    return 4096;
  };
}

/** Everything was invalidated by ASID: each translation walks, and its entry is filled again. */
function misses(pages) {
  const { smmu, enqueue } = smmuOf(pages, { output: OUTPUT });
  const handle = smmu.attach(STREAM);
  const iovas = iovasOf(shuffled(pages));
  const translate = inTurn(devices, pages * OUTPUT);
  const [invalidate] = commands(1, () => [0x11, ASID << 16, 0, 0]);
  const rounds = Math.max(1, 65_536 / pages);
  return () => {
    const before = smmu.stats().walks;
    for (let round = 0; round < rounds; round++) {
      enqueue(invalidate)();
      translate(handle, iovas);
    }
    if (smmu.stats().walks - before !== rounds * pages) throw new Error('not every access walked');
    return rounds * pages;
  };
}

/** A cache of a quarter of the pages that are used: each translation walks and evicts. */
function evictions(pages) {
  const { smmu } = smmuOf(pages, { output: OUTPUT, cache: { entries: pages / 4 } });
  const handle = smmu.attach(STREAM);
  const iovas = iovasOf(shuffled(pages));
  const translate = inTurn(devices, pages * OUTPUT);
  return () => {
    translate(handle, iovas);
    return pages;
  };
}

/** TLBI_NH_VA of every cached page, in the order in which they were cached. */
function invalidatePages(pages, scattered) {
  const { smmu, enqueue } = smmuOf(pages, {
    output: OUTPUT,
    cache: { entries: Math.max(65_536, 2 ** Math.ceil(Math.log2(pages))) },
  });
  const handle = smmu.attach(STREAM);
  const inOrder = Uint32Array.from({ length: pages }, (_, page) => page);
  const iovas = iovasOf(inOrder);
  const translate = inTurn(devices, pages * OUTPUT);
  const order = scattered ? shuffled(pages) : inOrder;
  const batches = commands(pages, (i) => {
    const low = IOVA_LOW + order[i] * 4096;
    return [0x12, ASID << 16, (low | 1) >>> 0, IOVA_HIGH + Math.floor(low / 2 ** 32)];
  });
  return () => {
    const before = smmu.stats().walks;
    translate(handle, iovas);
    if (smmu.stats().walks - before !== pages) throw new Error('an entry was not invalidated');
    return batches.map((batch) => () => enqueue(batch));
  };
}

/** TLBI_NH_ASID with `pages` pages cached. */
function invalidateAsid(pages) {
  const { smmu, enqueue } = smmuOf(pages, {
    output: OUTPUT,
    cache: { entries: Math.max(65_536, 2 ** Math.ceil(Math.log2(pages))) },
  });
  const handle = smmu.attach(STREAM);
  const iovas = iovasOf(Uint32Array.from({ length: pages }, (_, page) => page));
  const translate = inTurn(devices, pages * OUTPUT);
  const batches = commands(20 * 1023, () => [0x11, ASID << 16, 0, 0]);
  return () => {
    translate(handle, iovas);
    return batches.map((batch) => () => enqueue(batch));
  };
}

/** Reads of `bytes` bytes from pages that are in the TLB. */
function reads(bytes) {
  const { smmu } = smmuOf(256, { output: PAGES_IN_RAM });
  const handle = smmu.attach(STREAM);
  const iovas = Float64Array.from(shuffled(256), (page) => IOVA + page * 4096);
  const read = inTurn(readers, 256 * bytes);
  const into = new Uint8Array(bytes);
  return () => {
    for (let round = 0; round < 16; round++) read(handle, iovas, into);
    return 16 * 256;
  };
}

/** The copy that such a read cannot do without. */
function copies(bytes) {
  const ram = new Uint8Array(64 * 2 ** 20);
  const offsets = Float64Array.from(shuffled(256), (page) => PAGES_IN_RAM - RAM_BASE + page * 4096);
  const into = new Uint8Array(bytes);
  return () => {
    for (let round = 0; round < 16; round++) {
      for (let i = 0; i < 256; i++) into.set(ram.subarray(offsets[i], offsets[i] + bytes));
    }
    return 16 * 256;
  };
}

/** Translations through 1,000 handles with tables of their own, 4 pages each, in random order. */
function streams() {
  const parts = guestOf(4, { scattered: true, output: OUTPUT, streamIdBits: 10 });
  const { guest } = parts;
  const handles = [];
  for (let stream = 0; stream < 1000; stream++) {
    const space = guest.addressSpace({ cd: { ASID: stream + 1 } });
    for (let page = 0; page < 4; page++) {
      space.map(IOVA + page * 4096, OUTPUT + (4 * stream + page) * 4096, 4096);
    }
    guest.attach(16 + stream, space);
  }
  const { smmu } = smmuFor(parts);
  for (let stream = 0; stream < 1000; stream++) handles.push(smmu.attach(16 + stream));
  const order = shuffled(4000);
  const chosen = Array.from(order, (i) => handles[i >> 2]);
  const iovas = iovasOf(order.map((i) => i & 3));
  const translate = inTurn(fleet, 4000 * OUTPUT);
  translate(chosen, iovas);
  return () => {
    for (let round = 0; round < 16; round++) translate(chosen, iovas);
    if (smmu.stats().walks !== 4000) throw new Error('not every access was a hit');
    return 16 * 4000;
  };
}

/** At least 10^7 operations in one batch. */
function tenMillion(batch) {
  return () => {
    let operations = 0;
    while (operations < 1e7) operations += batch();
    return operations;
  };
}

/** The benchmarks of the cache of translations and of stream handles. */
export const tlbCases = {
  'hit-256': { unit: 'ns/access', measure: () => checked(hits(256), nanoseconds) },
  'hit-4096': { unit: 'ns/access', measure: () => checked(hits(4096), nanoseconds) },
  'hit-65536': { unit: 'ns/access', measure: () => checked(hits(65_536), nanoseconds) },
  'hit-allocated': {
    unit: 'bytes/access',
    flags: NO_COLLECTION,
    measure: () => checked(hits(4096), (batch) => allocatedBytes(tenMillion(batch))),
  },
  'streams-1000': { unit: 'ns/access', measure: () => nanoseconds(streams()) },
  'shadow-hit': { unit: 'ns/access', measure: () => nanoseconds(shadowHits()) },
  'miss-4096': { unit: 'ns/access', measure: () => nanoseconds(misses(4096)) },
  'miss-65536': { unit: 'ns/access', measure: () => nanoseconds(misses(65_536)) },
  'miss-evict-4096': { unit: 'ns/access', measure: () => nanoseconds(evictions(4096)) },
  'tlbi-va-1k': { unit: 'ns/command', measure: () => sections(invalidatePages(1000)) },
  'tlbi-va-1m': { unit: 'ns/command', measure: () => sections(invalidatePages(1_000_000)) },
  'tlbi-va-scattered-1m': {
    unit: 'ns/command',
    measure: () => sections(invalidatePages(1_000_000, true)),
  },
  'tlbi-asid-1k': { unit: 'ns/command', measure: () => sections(invalidateAsid(1000)) },
  'tlbi-asid-1m': { unit: 'ns/command', measure: () => sections(invalidateAsid(1_000_000)) },
  'dma-8': { unit: 'ns/read', measure: () => nanoseconds(reads(8)) },
  'dma-4096': { unit: 'ns/read', measure: () => nanoseconds(reads(4096)) },
  'copy-4096': { unit: 'ns/copy', measure: () => nanoseconds(copies(4096)) },
};
