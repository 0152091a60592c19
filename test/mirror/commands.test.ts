import { describe, expect, test } from 'vitest';
import { SYNC, type Entry } from '../smmu/smmu-machine.js';
import { AreaSink } from './area-sink.js';
import {
  ASID,
  cfgiCd,
  cfgiCdAll,
  CFGI_ALL,
  cfgiSte,
  cfgiSteRange,
  DEVICE,
  expectKnown,
  machineWithSpace,
  TLBI_NH_ALL,
  TLBI_NSNH_ALL,
  tlbiAsid,
  tlbiPages,
  tlbiVa,
  tlbiVaa,
  type MirrorMachine,
  type Space,
} from './machine.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';

const IOVA = 0x7f_1234_5000;
const PA = 0x8000_0000;

interface World {
  machine: MirrorMachine;
  space: Space;
  sink: AreaSink;
  stream: StreamMirror;
}

/** Four pages are mapped; then the guest has moved the second one, without a word. */
function moved(): World {
  const { machine, space } = machineWithSpace();
  machine.map(space, IOVA, PA, 4);
  const sink = new AreaSink();
  const stream = machine.attach('invalidate', sink);
  expect(sink.take()).toEqual(['map 7f12345000+4000>80000000 rw']);
  machine.map(space, IOVA + 0x1000, 0x9000_0000);
  return { machine, space, sink, stream };
}

const MOVED = ['unmap 7f12346000+1000', 'map 7f12346000+1000>90000000 rw'];

describe('a command that names the page that has changed', () => {
  test.each<[string, Entry]>([
    ['TLBI_NH_VA', tlbiVa(IOVA + 0x1000)],
    ['TLBI_NH_VA without Leaf', tlbiVa(IOVA + 0x1000, ASID, 0n)],
    ['TLBI_NH_VA of a range', tlbiPages(IOVA, 4)],
    ['TLBI_NH_VA of a range with SCALE', tlbiPages(IOVA, 64)],
    ['TLBI_NH_VAA', tlbiVaa(IOVA + 0x1000)],
    ['TLBI_NH_ASID', tlbiAsid()],
    ['TLBI_NH_ALL', TLBI_NH_ALL],
    ['TLBI_NSNH_ALL', TLBI_NSNH_ALL],
    ['CFGI_STE', cfgiSte()],
    ['CFGI_STE_RANGE around the stream', cfgiSteRange(DEVICE & ~7, 2)],
    ['CFGI_ALL', CFGI_ALL],
    ['CFGI_CD', cfgiCd()],
    ['CFGI_CD_ALL', cfgiCdAll()],
  ])('%s brings the change, and that alone, to the sink', (_, command) => {
    const { machine, sink, stream } = moved();
    machine.issue(command);
    expect(sink.take()).toEqual(MOVED);
    expect(stream.isInStep).toBe(true);
    expectKnown(stream, sink);
  });

  test.each<[string, Entry]>([
    ['TLBI_NH_VA of the page before', tlbiVa(IOVA)],
    ['TLBI_NH_VA of the page behind', tlbiVa(IOVA + 0x2000)],
    ['TLBI_NH_VA of another ASID', tlbiVa(IOVA + 0x1000, 8)],
    ['TLBI_NH_VAA of another page', tlbiVaa(IOVA)],
    ['TLBI_NH_ASID of another ASID', tlbiAsid(8)],
    ['CFGI_STE of another stream', cfgiSte(DEVICE + 1)],
    ['CFGI_STE_RANGE beside the stream', cfgiSteRange((DEVICE & ~7) + 8, 2)],
    ['CFGI_CD of another stream', cfgiCd(DEVICE + 1)],
    ['CMD_SYNC alone', [SYNC, 0n]],
  ])('%s does not name it, and the sink hears nothing', (_, command) => {
    const { machine, sink } = moved();
    machine.issue(command);
    expect(sink.take()).toEqual([]);
  });
});
