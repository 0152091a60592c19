import { describe, expect, test } from 'vitest';
import { RunColumns } from '../../src/ioas/runs.js';
import { SinkLimits } from '../../src/mirror/sink-limits.js';
import type { IoasSink, SinkCapabilities } from '../../src/mirror/sink.js';
import { AreaSink } from './area-sink.js';
import { columnsOf, limitsOf, rowsOf } from './compare-tables.js';

const PAGE = 4096;

/** Pages, as numbers of the first and how many. */
function ranges(
  ...pages: [first: number, count: number][]
): { base: number; byteLength: number }[] {
  return pages.map(([first, count]) => ({ base: PAGE * first, byteLength: PAGE * count }));
}

interface Case {
  name: string;
  capabilities: SinkCapabilities;
  wanted: string[];
  mapped: string[];
  /** Pages left out. */
  left: number;
}

// Numbers are pages, in hexadecimal: `10+4>100 rw` maps pages 0x10 to 0x13 to page 0x100.
const CASES: Case[] = [
  {
    name: 'a reserved range inside a run',
    capabilities: { reserved: ranges([0x12, 2]) },
    wanted: ['10+8>100 rw'],
    mapped: ['10+2>100 rw', '14+4>104 rw'],
    left: 2,
  },
  {
    name: 'reserved ranges over both ends, given in any order',
    capabilities: { reserved: ranges([0x16, 0x10], [0x8, 0xa]) },
    wanted: ['10+8>100 rw', '30+1>200 r'],
    mapped: ['12+4>102 rw', '30+1>200 r'],
    left: 4,
  },
  {
    name: 'a reserved range over a whole run, and one that only touches',
    capabilities: { reserved: ranges([0x0, 0x14], [0x28, 8]) },
    wanted: ['10+4>100 rw', '20+8>200 rw'],
    mapped: ['20+8>200 rw'],
    left: 4,
  },
  {
    name: 'memory that ends inside a run, and goes on elsewhere',
    capabilities: { memory: ranges([0x100, 2], [0x105, 1]) },
    wanted: ['10+8>100 r'],
    mapped: ['10+2>100 r', '15+1>105 r'],
    left: 5,
  },
  {
    name: 'two memory regions that touch: each has its area',
    capabilities: { memory: ranges([0x102, 6], [0x100, 2]) },
    wanted: ['10+8>100 rw'],
    mapped: ['10+2>100 rw', '12+6>102 rw'],
    left: 0,
  },
  {
    name: 'a run beside all memory',
    capabilities: { memory: ranges([0x100, 2], [0x200, 2]) },
    wanted: ['10+8>110 rw'],
    mapped: [],
    left: 8,
  },
  {
    name: 'pages of 64 KiB: both ends are rounded inwards',
    capabilities: { pageSize: 65_536 },
    wanted: ['18+30>118 rw'],
    mapped: ['20+20>120 rw'],
    left: 0x10,
  },
  {
    name: 'pages of 64 KiB that lie otherwise in memory',
    capabilities: { pageSize: 65_536 },
    wanted: ['10+30>108 rw', '50+10>200 r'],
    mapped: ['50+10>200 r'],
    left: 0x30,
  },
  {
    name: 'pages of 64 KiB with a reserved page, and memory that is not made of such pages',
    capabilities: {
      pageSize: 65_536,
      reserved: ranges([0x24, 1]),
      memory: ranges([0x108, 0x60]),
    },
    wanted: ['0+80>100 rw'],
    mapped: ['10+10>110 rw', '30+30>130 rw'],
    left: 0x40,
  },
  {
    name: 'all at once, in a run of two memory regions and a hole',
    capabilities: {
      reserved: ranges([0x11, 1], [0x15, 1]),
      memory: ranges([0x100, 3], [0x104, 4]),
    },
    wanted: ['10+8>100 rw'],
    mapped: ['10+1>100 rw', '12+1>102 rw', '14+1>104 rw', '16+2>106 rw'],
    left: 3,
  },
];

describe('what a sink can map of what is wanted', () => {
  test.each(CASES)('$name', ({ capabilities, wanted, mapped, left }) => {
    const limits = limitsOf(capabilities);
    const into = new RunColumns(0, 1);
    expect(limits.isOpen).toBe(false);
    expect(limits.restrict(columnsOf(wanted), 0, 2 ** 64, into)).toBe(PAGE * left);
    expect(rowsOf(into)).toEqual(mapped);
  });

  test('is cut to the bounds that are asked about, which are not left out', () => {
    const limits = limitsOf({ reserved: ranges([0x12, 1]) });
    const into = new RunColumns(0, 1);
    const wanted = columnsOf(['8+10>100 rw', '20+10>200 r', '30+1>500 r']);
    expect(limits.restrict(wanted, PAGE * 0x11, PAGE * 0x24, into)).toBe(PAGE);
    expect(rowsOf(into)).toEqual(['11+1>109 rw', '13+5>10b rw', '20+4>200 r']);
  });

  test('replaces what the columns held before', () => {
    const limits = limitsOf({ reserved: ranges([0x12, 1]) });
    const into = columnsOf(['1+1>1 rw', '2+1>5 rw']);
    limits.restrict(columnsOf([]), 0, 2 ** 64, into);
    expect(into.count).toBe(0);
  });

  test('is everything, without capabilities', () => {
    const { unmaps, pageSize, areas, isOpen } = limitsOf({});
    expect([unmaps, pageSize, areas, isOpen]).toEqual(['any', 4096, 1000, true]);
  });

  test('has no more areas than any sink may have', () => {
    expect([limitsOf({ areas: 7 }).areas, limitsOf({ areas: 5000 }).areas]).toEqual([7, 1000]);
  });
});

describe('a sink that is refused', () => {
  const PAGES = 'is no range of whole pages of 4096 bytes below';
  test.each<[string, SinkCapabilities, string]>([
    [
      'unmaps',
      { unmaps: 'all' as 'any' },
      'sink.capabilities.unmaps is all: it must be any, areas or area',
    ],
    [
      'a small page',
      { pageSize: 2048 },
      'sink.capabilities.pageSize is 2048: it must be a power of two',
    ],
    [
      'an odd page',
      { pageSize: 12_288 },
      'pageSize is 12288: it must be a power of two, 4096 or more',
    ],
    ['a page that is none', { pageSize: NaN }, 'pageSize is NaN'],
    [
      'no areas',
      { areas: 0 },
      'sink.capabilities.areas is 0: it must be a whole number, 1 or more',
    ],
    ['half an area', { areas: 1.5 }, 'sink.capabilities.areas is 1.5'],
    [
      'an odd reserved base',
      { reserved: [{ base: 5, byteLength: PAGE }] },
      `reserved: 0x5 with 0x1000 bytes ${PAGES}`,
    ],
    [
      'an empty reserved range',
      { reserved: [{ base: 0, byteLength: 0 }] },
      'reserved: 0x0 with 0x0 bytes',
    ],
    [
      'a negative base',
      { reserved: [{ base: -PAGE, byteLength: PAGE }] },
      'reserved: -0x1000 with',
    ],
    ['reserved beyond 2^64', { reserved: [{ base: 2 ** 64 - PAGE, byteLength: 2 * PAGE }] }, PAGES],
    [
      'memory beyond 2^52',
      { memory: [{ base: 2 ** 52, byteLength: PAGE }] },
      'memory: 0x10000000000000 with',
    ],
    [
      'reserved that overlaps',
      { reserved: ranges([1, 4], [0, 2]) },
      'reserved overlap at 0x1000: leave one of them out',
    ],
    ['memory that overlaps', { memory: ranges([4, 4], [0, 5]) }, 'memory overlap at 0x4000'],
  ])('for %s', (_, capabilities, message) => {
    expect(() => limitsOf(capabilities)).toThrow(RangeError);
    expect(() => limitsOf(capabilities)).toThrow(message);
  });

  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'options.sinks[2] has no method map: pass an IoasSink'],
    ['no map', { unmap: () => true, capabilities: {} }, 'options.sinks[2] has no method map'],
    ['no unmap', { map: () => true, capabilities: {} }, 'options.sinks[2] has no method unmap'],
  ])('for %s', (_, sink, message) => {
    const make = () => new SinkLimits('options.sinks[2]', sink as IoasSink, 5);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });

  // The message is that of a destructuring: it names neither the argument nor a remedy.
  test('for no capabilities', () => {
    const sink = { map: () => true, unmap: () => true } as unknown as IoasSink;
    expect(() => new SinkLimits('options.sinks[2]', sink, 5)).toThrow('options.sinks[2]');
  });
});

describe('reserved IOVAs up to 2^64', () => {
  test('may be all but a page', () => {
    const reserved = [{ base: PAGE, byteLength: 2 ** 64 - PAGE }];
    const limits = new SinkLimits('sink', new AreaSink({ reserved }), 5);
    const into = new RunColumns(0, 1);
    expect(limits.restrict(columnsOf(['0+4>100 rw']), 0, 2 ** 64, into)).toBe(3 * PAGE);
    expect(rowsOf(into)).toEqual(['0+1>100 rw']);
  });
});
