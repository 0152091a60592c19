import { guestOf, IOVA_HIGH, IOVA_LOW, RAM_BASE, smmuFor, STREAM } from './guest.mjs';
import { sections, shuffled } from './measure.mjs';

/** Physical addresses above 4 GiB: they are no small integers. */
const OUTPUT = 0x1_8000_0000;
const RAM = [{ base: RAM_BASE, byteLength: 64 * 2 ** 20 }];
const ASID = 0;

/** A sink that counts and does nothing. */
function countingSink() {
  const sink = {
    capabilities: {},
    maps: 0,
    unmaps: 0,
    map() {
      sink.maps++;
      return true;
    },
    unmap() {
      sink.unmaps++;
      return true;
    },
  };
  return sink;
}

/** A guest of `pages` pages with a mirror, and what attaches its stream. */
function mirrored(pages, scattered) {
  const parts = guestOf(pages, { scattered, output: OUTPUT });
  const { smmu, enqueue } = smmuFor(parts);
  const mirror = smmu.mirror({ ram: RAM });
  const sink = countingSink();
  const attach = () => mirror.attach(STREAM, { sinks: [sink], policy: 'invalidate' });
  return { ...parts, smmu, enqueue, mirror, sink, attach };
}

/** The first sync of a stream. */
function first(pages, scattered) {
  const { sink, attach } = mirrored(pages, scattered);
  const step = () => {
    sink.maps = 0;
    return () => {
      stream = attach();
      // A random order leaves a few neighbours together.
      if (scattered ? sink.maps < 0.999 * pages : sink.maps !== 1) throw new Error('wrong maps');
      return pages;
    };
  };
  let stream;
  return () => {
    stream?.detach();
    return [step];
  };
}

/** All tables are read again, and nothing has changed; in milliseconds. */
function unchanged(pages) {
  const { sink, attach } = mirrored(pages, true);
  const stream = attach();
  const operations = sink.maps;
  return () => [
    () => () => {
      if (!stream.sync() || sink.maps !== operations) throw new Error('operations');
      return 1e6;
    },
  ];
}

/** Gives a page another output page: bit 46 of its address changes. */
function retarget({ memory, tables }, page) {
  const address = tables[page >>> 9] + 8 * (page & 511);
  memory.load(address, DESCRIPTOR, 0, 2);
  DESCRIPTOR[1] ^= 1 << (46 - 32);
  memory.store(address, DESCRIPTOR, 0, 2);
}
const DESCRIPTOR = new Uint32Array(2);

/** Pages are retargeted, and each is named by a TLBI_NH_VA with its CMD_SYNC. */
function onePage(pages, scattered) {
  const machine = mirrored(pages, true);
  const { sink, attach, enqueue, mirror } = machine;
  attach();
  const order = scattered ? shuffled(pages) : Uint32Array.from({ length: pages }, (_, i) => i);
  const count = Math.min(pages, 500);
  const words = new Uint32Array(8 * count);
  let next = 0;
  const step = () => {
    for (let i = 0; i < count; i++) {
      const page = order[next++ % pages];
      retarget(machine, page);
      const low = IOVA_LOW + page * 4096;
      const high = IOVA_HIGH + Math.floor(low / 2 ** 32);
      words.set([0x12, ASID << 16, (low | 1) >>> 0, high, 0x46, 0, 0, 0], 8 * i);
    }
    const run = enqueue(words);
    const { maps, unmaps } = sink;
    const { bytesRead } = mirror.stats();
    return () => {
      run();
      const descriptors = (mirror.stats().bytesRead - bytesRead) / 8;
      const isRight = sink.maps - maps === count && sink.unmaps - unmaps === count;
      if (!isRight || descriptors > 4 * count) throw new Error('too much');
      return count;
    };
  };
  return () => [step];
}

/** A TLBI_NH_ASID and CMD_SYNC find the one page that was retargeted; in milliseconds. */
function oneChanged(pages) {
  const machine = mirrored(pages, true);
  const { sink, attach, enqueue } = machine;
  attach();
  const order = shuffled(pages);
  const words = new Uint32Array([0x11, ASID << 16, 0, 0, 0x46, 0, 0, 0]);
  let next = 0;
  const step = () => {
    retarget(machine, order[next++ % pages]);
    const run = enqueue(words);
    const { maps, unmaps } = sink;
    return () => {
      run();
      if (sink.maps - maps !== 1 || sink.unmaps - unmaps !== 1) throw new Error('operations');
      return 1e6;
    };
  };
  return () => [step];
}

/** Memory that a mirrored page takes, of a million scattered ones. */
function bytesPerPage(pages) {
  const { attach, mirror } = mirrored(pages, true);
  const used = () => {
    globalThis.gc();
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  return Array.from({ length: 5 }, () => {
    const before = used();
    const stream = attach();
    const after = used();
    stream.detach();
    if (mirror.stats().areas !== 0) throw new Error('areas are left');
    return (after - before) / pages;
  });
}

const M = 2 ** 20;

/** The benchmarks of the IOAS mirror by name. */
export const mirrorCases = {
  'mirror-first-scattered-64k': { unit: 'ns/page', measure: () => sections(first(65_536, true)) },
  'mirror-first-scattered-1m': { unit: 'ns/page', measure: () => sections(first(M, true)) },
  'mirror-first-contiguous-1m': { unit: 'ns/page', measure: () => sections(first(M, false)) },
  'mirror-unchanged-64k': { unit: 'ms', measure: () => sections(unchanged(65_536)) },
  'mirror-unchanged-1m': { unit: 'ms', measure: () => sections(unchanged(M)) },
  'mirror-one-page-1k': { unit: 'ns/page', measure: () => sections(onePage(1024, false)) },
  'mirror-one-page-1m': { unit: 'ns/page', measure: () => sections(onePage(M, false)) },
  'mirror-one-page-scattered-1m': {
    unit: 'ns/page',
    measure: () => sections(onePage(M, true)),
  },
  'mirror-one-changed-full-1m': { unit: 'ms', measure: () => sections(oneChanged(M)) },
  'mirror-bytes-per-page': {
    unit: 'bytes/page',
    flags: ['--expose-gc'],
    measure: () => bytesPerPage(M),
  },
};
