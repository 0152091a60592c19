import { describe, expect, test } from 'vitest';
import { Cd } from '../src/arch/cd.js';
import { Ste } from '../src/arch/ste.js';
import { fieldsOf } from '../src/print.js';

describe('fieldsOf', () => {
  test('numbers are decimal, addresses hexadecimal with their bits in place', () => {
    // V 0, Config 3:1, S1Fmt 5:4, S1ContextPtr 55:6, S1CDMax 63:59; S1DSS 65:64
    const words = new Uint32Array([0x8000_101b, 0xa012_3456, 2]);
    const names = ['V', 'Config', 'S1Fmt', 'S1ContextPtr', 'S1CDMax', 'S1DSS'];
    expect(fieldsOf(words, 0, Ste, names)).toEqual([
      'V=1',
      'Config=5',
      'S1Fmt=1',
      'S1ContextPtr=0x12345680001000',
      'S1CDMax=20',
      'S1DSS=2',
    ]);
  });

  test('come from the structure that starts at the given word, in the order asked for', () => {
    const words = new Uint32Array([0xffff_ffff, 0xffff_ffff, 16, 0x1234_0000, 0, 0]);
    expect(fieldsOf(words, 2, Cd, ['ASID', 'T0SZ', 'TTB0'])).toEqual([
      'ASID=4660',
      'T0SZ=16',
      'TTB0=0x0',
    ]);
  });

  test('are all fields of the layout when no names are given', () => {
    const words = new Uint32Array(16);
    const fields = fieldsOf(words, 0, Ste);
    expect(fields).toHaveLength(Object.keys(Ste).length);
    expect(fields.slice(0, 4)).toEqual(['V=0', 'Config=0', 'S1Fmt=0', 'S1ContextPtr=0x0']);
  });
});
