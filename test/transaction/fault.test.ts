import { describe, expect, test } from 'vitest';
import { eventOf, writeEvent } from '../../src/transaction/fault.js';
import { Translation } from '../../src/transaction/translation.js';
import { CD_TABLE, Machine, STREAM_TABLE } from './machine.js';

type Fault = Partial<Translation>;

/** A fault with something in every field: a record must take only what its event has. */
const FULL: Fault = {
  streamId: 0x1234_5678,
  substreamId: 0xa_5c3b,
  inputHigh: 0xfedc_ba98,
  inputLow: 0x7654_3210,
  access: 0b110,
  class: 2,
  level: 3,
  fetchAddress: 0x0009_8765_4321_0ff8,
  outputAddress: 0x1234_5000,
};

/** The record as 64-bit words in hexadecimal, from index 2 of an array of ones. */
function record(fault: Fault, oas = 52): string[] {
  const words = new Uint32Array(12).fill(0xffff_ffff);
  writeEvent(words, 2, Object.assign(new Translation(), fault), oas);
  expect([words[0], words[1], words[10], words[11]]).toEqual(new Array(4).fill(0xffff_ffff));
  return Array.from({ length: 4 }, (_, i) => {
    const value = (BigInt(words[2 * i + 3]!) << 32n) | BigInt(words[2 * i + 2]!);
    return `0x${value.toString(16).padStart(16, '0')}`;
  });
}

const ZERO = '0x0000000000000000';
const INPUT = '0xfedcba9876543210';
const FETCH = '0x0009876543210ff8';
// PnU, InD and RnW are bits 33, 34 and 35 of word 1, CLASS is bits 41:40.
const ACCESS = '0x0000020e00000000';

describe('event records (IHI 0070, section 7.3)', () => {
  test.each<[name: string, event: number, words: string[]]>([
    ['C_BAD_STREAMID', 0x02, ['0x12345678a5c3b802', ZERO, ZERO, ZERO]],
    ['F_STE_FETCH', 0x03, ['0x12345678a5c3b803', ZERO, ZERO, FETCH]],
    ['C_BAD_STE', 0x04, ['0x12345678a5c3b804', ZERO, ZERO, ZERO]],
    ['F_STREAM_DISABLED, with no SubstreamID', 0x06, ['0x1234567800000006', ZERO, ZERO, ZERO]],
    ['C_BAD_SUBSTREAMID, with no SSV', 0x08, ['0x12345678a5c3b008', ZERO, ZERO, ZERO]],
    ['F_CD_FETCH', 0x09, ['0x12345678a5c3b809', ZERO, ZERO, FETCH]],
    ['C_BAD_CD', 0x0a, ['0x12345678a5c3b80a', ZERO, ZERO, ZERO]],
    ['F_WALK_EABT', 0x0b, ['0x12345678a5c3b80b', ACCESS, INPUT, FETCH]],
    ['F_TRANSLATION', 0x10, ['0x12345678a5c3b810', ACCESS, INPUT, ZERO]],
    ['F_ADDR_SIZE', 0x11, ['0x12345678a5c3b811', ACCESS, INPUT, ZERO]],
    ['F_ACCESS', 0x12, ['0x12345678a5c3b812', ACCESS, INPUT, ZERO]],
    ['F_PERMISSION', 0x13, ['0x12345678a5c3b813', ACCESS, INPUT, ZERO]],
  ])('%s', (_, event, words) => {
    expect(record({ ...FULL, event })).toEqual(words);
  });

  test.each([0x02, 0x03, 0x04, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13])(
    'event %i without SubstreamID: SSV and SubstreamID are 0',
    (event) => {
      const first = `0x12345678000000${event.toString(16).padStart(2, '0')}`;
      expect(record({ ...FULL, event, substreamId: -1 })[0]).toBe(first);
    },
  );

  test('SubstreamID 0 is one: SSV is 1', () => {
    expect(record({ ...FULL, event: 0x10, substreamId: 0 })[0]).toBe('0x1234567800000810');
  });

  test('StreamID has 32 bits, SubstreamID 20', () => {
    const ids = { streamId: 0xffff_ffff, substreamId: 0xf_ffff };
    expect(record({ ...FULL, event: 0x0a, ...ids })[0]).toBe('0xfffffffffffff80a');
  });

  test.each([
    // Word 1 with CLASS=IN.
    ['unprivileged read', 0, '0x0000020800000000'],
    ['unprivileged write', 1, '0x0000020000000000'],
    ['unprivileged instruction fetch', 2, '0x0000020c00000000'],
    ['unprivileged write marked as instruction: InD is 0', 3, '0x0000020000000000'],
    ['privileged read', 4, '0x0000020a00000000'],
    ['privileged write', 5, '0x0000020200000000'],
    ['privileged instruction fetch', 6, '0x0000020e00000000'],
    ['privileged write marked as instruction: InD is 0', 7, '0x0000020200000000'],
  ])('%s', (_, access, word) => {
    for (const event of [0x0b, 0x10, 0x11, 0x12, 0x13]) {
      expect(record({ ...FULL, event, access })[1]).toBe(word);
    }
  });

  test.each([
    ['CD', 0, '0x0000000800000000'],
    ['TT', 1, '0x0000010800000000'],
    ['IN', 2, '0x0000020800000000'],
  ])('CLASS=%s', (_, value, word) => {
    expect(record({ ...FULL, event: 0x0b, access: 0, class: value })[1]).toBe(word);
  });

  test('InputAddr is the whole address as the device presented it', () => {
    const all = { inputHigh: 0xffff_ffff, inputLow: 0xffff_ffff };
    expect(record({ ...FULL, event: 0x10, ...all })[2]).toBe('0xffffffffffffffff');
    const one = { inputHigh: 0, inputLow: 1 };
    expect(record({ ...FULL, event: 0x13, ...one })[2]).toBe('0x0000000000000001');
  });

  test.each([
    [52, 0x000f_ffff_ffff_fff8, '0x000ffffffffffff8'],
    [44, 0x000f_ffff_ffff_fff8, '0x00000ffffffffff8'],
    [32, 0x1_0000_0040, '0x0000000000000040'],
    [48, 0x0000_8000_0000_1000, '0x0000800000001000'],
    [44, 2 ** 44, '0x0000000000000000'],
  ])('with %i-bit output addresses FetchAddr has no other bits', (oas, fetchAddress, word) => {
    for (const event of [0x03, 0x09, 0x0b]) {
      expect(record({ ...FULL, event, fetchAddress }, oas)[3]).toBe(word);
    }
  });

  test('eventOf is bits 7:0', () => {
    const words = new Uint32Array([0, 0, 0xa5c3_b813, 0x1234_5678, 0, 0, 0, 0, 0, 0]);
    expect(eventOf(words, 2)).toBe(0x13);
  });
});

describe('records of whole transactions (IHI 0070, section 7.3)', () => {
  function of(machine: Machine, substreamId = -1, address = 0x1234n, access = 0): string[] {
    return record(machine.translate(0x10, substreamId, address, access), 44);
  }

  test('what Linux 6.12 was told of a write to an unmapped address', () => {
    // Recorded, linux-6.12-16k-lazy, with another StreamID.
    const machine = new Machine().put(0x43e2_0000 + 8 * 0x1ff, 0n);
    expect(of(machine, -1, 0xffff_fe04_0080n, 1)).toEqual([
      '0x0000001000000010',
      '0x0000020000000000',
      '0x0000fffffe040080',
      ZERO,
    ]);
  });

  test('C_BAD_SUBSTREAMID', () => {
    expect(of(new Machine(), 5)).toEqual(['0x0000001000005008', ZERO, ZERO, ZERO]);
  });

  test('F_STE_FETCH', () => {
    const machine = new Machine();
    machine.memory.removePage(STREAM_TABLE);
    expect(of(machine)).toEqual(['0x0000001000000003', ZERO, ZERO, '0x0000000043c00400']);
  });

  test('F_CD_FETCH', () => {
    const machine = new Machine();
    machine.memory.removePage(CD_TABLE);
    expect(of(machine)).toEqual(['0x0000001000000009', ZERO, ZERO, '0x0000000043e00000']);
  });

  test('F_WALK_EABT: CLASS=TT, FetchAddr is the descriptor', () => {
    const machine = new Machine();
    machine.memory.removePage(0x43e3_0000);
    expect(of(machine, -1, 0x4000_1234n)).toEqual([
      '0x000000100000000b',
      '0x0000010800000000',
      '0x0000000040001234',
      '0x0000000043e30008',
    ]);
  });

  test('F_PERMISSION of a privileged instruction fetch from a page that is writable', () => {
    expect(of(new Machine(), -1, 0x1234n, 0b110)).toEqual([
      '0x0000001000000013',
      '0x0000020e00000000',
      '0x0000000000001234',
      ZERO,
    ]);
  });
});
