import { describe, expect, test } from 'vitest';
import { comparisonOf, found } from './compare-tables.js';

interface Case {
  name: string;
  held: string[];
  wanted: string[];
  /** Pages; default everything. */
  from?: number;
  to?: number;
  any: string[];
  areas: string[];
  area: string[];
}

// Numbers are pages, in hexadecimal: `10+4>100 rw` holds pages 0x10 to 0x13 at page 0x100.
const CASES: Case[] = [
  { name: 'nothing', held: [], wanted: [], any: [], areas: [], area: [] },
  {
    name: 'the same',
    held: ['10+4>100 rw', '20+1>200 r'],
    wanted: ['10+4>100 rw', '20+1>200 r'],
    any: [],
    areas: [],
    area: [],
  },
  {
    name: 'all new',
    held: [],
    wanted: ['10+4>100 rw', '20+1>200 r'],
    any: ['+10+4>100 rw', '+20+1>200 r'],
    areas: ['+10+4>100 rw', '+20+1>200 r'],
    area: ['+10+4>100 rw', '+20+1>200 r'],
  },
  {
    name: 'all gone, with holes between: one unmap where it may name more than an area',
    held: ['10+1>100 rw', '11+1>300 rw', '20+4>200 r'],
    wanted: [],
    any: ['-10+14'],
    areas: ['-10+14'],
    area: ['-10+1', '-11+1', '-20+4'],
  },
  {
    name: 'two that go, with one between that stays',
    held: ['10+1>100 rw', '12+1>102 rw', '14+1>104 rw'],
    wanted: ['12+1>102 rw'],
    any: ['-10+1', '-14+1'],
    areas: ['-10+1', '-14+1'],
    area: ['-10+1', '-14+1'],
  },
  {
    name: 'another address',
    held: ['10+1>100 rw'],
    wanted: ['10+1>180 rw'],
    any: ['-10+1', '+10+1>180 rw'],
    areas: ['-10+1', '+10+1>180 rw'],
    area: ['-10+1', '+10+1>180 rw'],
  },
  {
    name: 'another permission',
    held: ['10+2>100 rw'],
    wanted: ['10+2>100 r'],
    any: ['-10+2', '+10+2>100 r'],
    areas: ['-10+2', '+10+2>100 r'],
    area: ['-10+2', '+10+2>100 r'],
  },
  {
    name: 'one page of four changes: alone where parts can go, else the rest is made anew',
    held: ['10+4>100 rw'],
    wanted: ['10+1>100 rw', '11+1>900 rw', '12+2>102 rw'],
    any: ['-11+1', '+11+1>900 rw'],
    areas: ['-10+4', '+10+1>100 rw before', '+11+1>900 rw', '+12+2>102 rw before'],
    area: ['-10+4', '+10+1>100 rw before', '+11+1>900 rw', '+12+2>102 rw before'],
  },
  {
    name: 'one page of four goes',
    held: ['10+4>100 rw'],
    wanted: ['10+1>100 rw', '12+2>102 rw'],
    any: ['-11+1'],
    areas: ['-10+4', '+10+1>100 rw before', '+12+2>102 rw before'],
    area: ['-10+4', '+10+1>100 rw before', '+12+2>102 rw before'],
  },
  {
    name: 'one page of four goes, and only that page was named',
    held: ['10+4>100 rw'],
    wanted: [],
    from: 0x11,
    to: 0x12,
    any: ['-11+1'],
    areas: ['-10+4', '+10+1>100 rw before', '+12+2>102 rw after'],
    area: ['-10+4', '+10+1>100 rw before', '+12+2>102 rw after'],
  },
  {
    name: 'one page of four changes, and only that page was named',
    held: ['10+4>100 rw'],
    wanted: ['11+1>900 r'],
    from: 0x11,
    to: 0x12,
    any: ['-11+1', '+11+1>900 r'],
    areas: ['-10+4', '+10+1>100 rw before', '+11+1>900 r', '+12+2>102 rw after'],
    area: ['-10+4', '+10+1>100 rw before', '+11+1>900 r', '+12+2>102 rw after'],
  },
  {
    name: 'the first page goes, named alone',
    held: ['10+4>100 rw'],
    wanted: [],
    from: 0x10,
    to: 0x11,
    any: ['-10+1'],
    areas: ['-10+4', '+11+3>101 rw after'],
    area: ['-10+4', '+11+3>101 rw after'],
  },
  {
    name: 'the last page goes, named alone',
    held: ['10+4>100 rw'],
    wanted: [],
    from: 0x13,
    to: 0x14,
    any: ['-13+1'],
    areas: ['-10+4', '+10+3>100 rw before'],
    area: ['-10+4', '+10+3>100 rw before'],
  },
  {
    name: 'what is named lies over the ends of two areas that stay beside it',
    held: ['10+4>100 rw', '14+4>200 rw'],
    wanted: [],
    from: 0x12,
    to: 0x16,
    any: ['-12+4'],
    areas: ['-10+8', '+10+2>100 rw before', '+16+2>202 rw after'],
    area: ['-10+4', '-14+4', '+10+2>100 rw before', '+16+2>202 rw after'],
  },
  {
    name: 'a run that is as two areas that continue each other',
    held: ['10+2>100 rw', '12+2>102 rw'],
    wanted: ['10+4>100 rw'],
    any: [],
    areas: [],
    area: [],
  },
  {
    name: 'an area that is as two runs that continue each other',
    held: ['10+4>100 rw'],
    wanted: ['10+2>100 rw', '12+2>102 rw'],
    any: [],
    areas: [],
    area: [],
  },
  {
    name: 'an area grows in front and behind: what is there stays',
    held: ['10+2>100 rw'],
    wanted: ['e+6>fe rw'],
    any: ['+e+2>fe rw', '+12+2>102 rw'],
    areas: ['+e+2>fe rw', '+12+2>102 rw'],
    area: ['+e+2>fe rw', '+12+2>102 rw'],
  },
  {
    name: 'a run over areas and holes: the holes are filled',
    held: ['10+1>100 rw', '12+1>102 rw'],
    wanted: ['10+4>100 rw'],
    any: ['+11+1>101 rw', '+13+1>103 rw'],
    areas: ['+11+1>101 rw', '+13+1>103 rw'],
    area: ['+11+1>101 rw', '+13+1>103 rw'],
  },
  {
    name: 'a table becomes a block elsewhere: one unmap, one map',
    held: ['0+1>100 rw', '1+1>300 rw', '2+2>500 r'],
    wanted: ['0+200>800 rw'],
    any: ['-0+4', '+0+200>800 rw'],
    areas: ['-0+4', '+0+200>800 rw'],
    area: ['-0+1', '-1+1', '-2+2', '+0+200>800 rw'],
  },
  {
    name: 'a block becomes a table of other pages',
    held: ['0+200>800 rw'],
    wanted: ['0+1>100 rw', '5+1>105 rw'],
    any: ['-0+200', '+0+1>100 rw', '+5+1>105 rw'],
    areas: ['-0+200', '+0+1>100 rw', '+5+1>105 rw'],
    area: ['-0+200', '+0+1>100 rw', '+5+1>105 rw'],
  },
  {
    name: 'a part of an area goes to another address, a part to nowhere, a part stays',
    held: ['10+6>100 rw'],
    wanted: ['10+2>100 rw', '12+2>900 rw'],
    any: ['-12+4', '+12+2>900 rw'],
    areas: ['-10+6', '+10+2>100 rw before', '+12+2>900 rw'],
    area: ['-10+6', '+10+2>100 rw before', '+12+2>900 rw'],
  },
  {
    name: 'runs beyond the bounds are cut, in front and behind',
    held: [],
    wanted: ['8+10>100 rw', '20+10>200 r'],
    from: 0x10,
    to: 0x28,
    any: ['+10+8>108 rw', '+20+8>200 r'],
    areas: ['+10+8>108 rw', '+20+8>200 r'],
    area: ['+10+8>108 rw', '+20+8>200 r'],
  },
  {
    name: 'runs in front of the bounds do not count',
    held: ['12+1>500 rw'],
    wanted: ['0+1>100 rw', '1+1>900 rw', '12+1>500 rw'],
    from: 0x10,
    to: 0x20,
    any: [],
    areas: [],
    area: [],
  },
  {
    name: 'areas that end where the bounds begin, or begin where they end, stay',
    held: ['8+8>100 rw', '20+8>200 rw'],
    wanted: [],
    from: 0x10,
    to: 0x20,
    any: [],
    areas: [],
    area: [],
  },
  {
    name: 'pages change places',
    held: ['10+1>100 rw', '11+1>200 rw'],
    wanted: ['10+1>200 rw', '11+1>100 rw'],
    any: ['-10+2', '+10+1>200 rw', '+11+1>100 rw'],
    areas: ['-10+2', '+10+1>200 rw', '+11+1>100 rw'],
    area: ['-10+1', '-11+1', '+10+1>200 rw', '+11+1>100 rw'],
  },
  {
    name: 'the last page below 2^64',
    held: ['ffffffffff000+fff>0 rw'],
    wanted: ['ffffffffff000+1000>0 rw'],
    any: ['+fffffffffffff+1>fff rw'],
    areas: ['+fffffffffffff+1>fff rw'],
    area: ['+fffffffffffff+1>fff rw'],
  },
];

describe.each(['any', 'areas', 'area'] as const)('a sink that unmaps %s', (unmaps) => {
  test.each(CASES)('$name', (row) => {
    const comparison = comparisonOf(unmaps);
    expect(found(comparison, row.held, row.wanted, row.from, row.to)).toEqual(row[unmaps]);
    expect(comparison.isEmpty).toBe(row[unmaps].length === 0);
  });

  test('a comparison does not remember the one before', () => {
    const comparison = comparisonOf(unmaps);
    for (const { held, wanted, from, to } of CASES) found(comparison, held, wanted, from, to);
    expect(found(comparison, ['1+1>1 rw'], ['1+1>2 rw'])).toEqual(['-1+1', '+1+1>2 rw']);
  });
});

// A comparison goes on for ever behind the last area, if a run reaches beyond what is named.
describe('a run that goes on behind what is named', () => {
  const KINDS = ['any', 'areas', 'area'] as const;
  const wanted = ['0+1000>f0 rw'];

  test.each(KINDS)('%s: an area that ends there stays', (unmaps) => {
    expect(found(comparisonOf(unmaps), ['10+4>100 rw'], wanted, 0x10, 0x14)).toEqual([]);
  });

  test('any: an area that goes on as well stays', () => {
    expect(found(comparisonOf('any'), ['10+4>100 rw'], wanted, 0x11, 0x13)).toEqual([]);
  });

  test.each(['areas', 'area'] as const)('%s: an area that goes on as well stays', (unmaps) => {
    expect(found(comparisonOf(unmaps), ['10+4>100 rw'], wanted, 0x11, 0x13)).toEqual([]);
  });

  test.each(KINDS)('%s: a hole up to there is filled', (unmaps) => {
    const all = found(comparisonOf(unmaps), ['10+4>100 rw'], wanted, 0x10, 0x16);
    expect(all).toEqual(['+14+2>104 rw']);
  });
});

describe('an area that makes room', () => {
  test('is unmapped after what the comparison found', () => {
    const comparison = comparisonOf('areas');
    found(comparison, [], ['10+1>100 rw']);
    comparison.evict(0x5000, 0x2000);
    const { iovas, lengths, count } = comparison.unmaps;
    expect([iovas[0], lengths[0], count]).toEqual([0x5000, 0x2000, 1]);
    expect(comparison.maps.count).toBe(1);
  });
});

describe('more operations than there is room for at first', () => {
  test('are all found', () => {
    const held = Array.from(
      { length: 300 },
      (_, i) => `${(2 * i).toString(16)}+1>${i.toString(16)} rw`,
    );
    const wanted = held.map((text) => text.replace('rw', 'r'));
    const all = found(comparisonOf('area'), held, wanted);
    expect(all.slice(0, 3)).toEqual(['-0+1', '-2+1', '-4+1']);
    expect(all.slice(300)).toEqual(wanted.map((text) => `+${text}`));
  });
});
