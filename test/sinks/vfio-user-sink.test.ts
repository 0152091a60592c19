import { describe, expect, test } from 'vitest';
import { VfioUserSink, type VfioUserSinkOptions } from '../../src/sinks/vfio-user-sink.js';
import { bytes, hexOf, hexText } from './hex.js';

const FILE = { base: 0x4000_0000, byteLength: 0x1_0000_0000, fd: 7, fileOffset: 0x1_0000_0000 };
const PLAIN = { base: 0x10_0000_0000, byteLength: 0x1_0000 };

/** The header of a reply: the type is 1, bit 5 is the error. */
function reply(id: string, command: string, more: { flags?: string; error?: string } = {}) {
  const { flags = '01', error = '00' } = more;
  return bytes(`${id} ${command} 10000000 ${flags}000000 ${error}000000`);
}

/** A reply to whatever was sent, without payload. */
function done(message: Uint8Array): Uint8Array {
  const header = message.slice(0, 16);
  header.set([16, 0, 0, 0, 1], 4);
  return header;
}

function made(options: Partial<VfioUserSinkOptions> = {}) {
  const sent: [string, number | undefined][] = [];
  const sink = new VfioUserSink({
    regions: [FILE, PLAIN],
    send: (message, fd) => {
      sent.push([hexOf(message), fd]);
      return done(message);
    },
    ...options,
  });
  return { sink, sent };
}

/** A map and an unmap on a server that replies like this. */
function mapped(answer: Uint8Array) {
  return made({ send: () => answer }).sink.map(0x1000, 0x4000_0000, 0x1000, 3);
}
function unmapped(answer: Uint8Array) {
  return made({ send: () => answer }).sink.unmap(0x1000, 0x1000);
}

describe('VfioUserSink', () => {
  test('maps with VFIO_USER_DMA_MAP: 16 + 32 bytes, and the file goes with it', () => {
    const { sink, sent } = made();
    expect(sink.map(0x0001_ffff_8000_1000, 0x4000_3000, 0x2000, 3)).toBe(true);
    const header = '0000 0200 30000000 00000000 00000000';
    const payload = `
      20000000 03000000 00300000 01000000
      00100080 ffff0100 00200000 00000000`;
    expect(sent).toEqual([[hexText(header + payload), 7]]);
  });

  test.each([
    [1, '01000000'],
    [2, '02000000'],
    [3, '03000000'],
  ])('gives permissions %d as flags', (permissions, flags) => {
    const { sink, sent } = made();
    void sink.map(0x1000, 0x4000_0000, 0x1000, permissions);
    expect(sent[0]![0].slice(2 * 20, 2 * 24)).toBe(flags);
  });

  test('maps memory that the server cannot map with offset 0 and no file', () => {
    const { sink, sent } = made();
    expect(sink.map(0x1000, 0x10_0000_2000, 0x1000, 1)).toBe(true);
    const header = '0000 0200 30000000 00000000 00000000';
    const payload = `
      20000000 01000000 00000000 00000000
      00100000 00000000 00100000 00000000`;
    expect(sent).toEqual([[hexText(header + payload), undefined]]);
  });

  test('unmaps with VFIO_USER_DMA_UNMAP: 16 + 24 bytes', () => {
    const { sink, sent } = made();
    expect(sink.unmap(2 ** 64 - 0x1000, 0x1000)).toBe(true);
    const header = '0000 0300 28000000 00000000 00000000';
    const payload = '18000000 00000000 00f0ffff ffffffff 00100000 00000000';
    expect(sent).toEqual([[hexText(header + payload), undefined]]);
  });

  test('numbers its messages, with 16 bits', () => {
    const ids: number[] = [];
    const { sink } = made({
      send: (message) => {
        ids.push(message[0]! + 256 * message[1]!);
        return done(message);
      },
    });
    for (let i = 0; i < 65_538; i++) void sink.unmap(0x1000, 0x1000);
    expect([...ids.slice(0, 3), ...ids.slice(-3)]).toEqual([0, 1, 2, 65_535, 0, 1]);
  });

  test('takes the reply to an unmap, which repeats the request', () => {
    const payload = '18000000 00000000 00100000 00000000 00100000 00000000';
    const answer = bytes(`0000 0300 28000000 01000000 00000000 ${payload}`);
    expect(unmapped(answer)).toBe(true);
  });

  test('throws what the server refuses', () => {
    expect(() => mapped(reply('0000', '0200', { flags: '21', error: '11' }))).toThrow(
      expect.objectContaining({
        name: 'VfioUserError',
        command: 'VFIO_USER_DMA_MAP',
        errno: 17,
        message: 'VFIO_USER_DMA_MAP failed: EEXIST',
      }),
    );
    expect(() => unmapped(reply('0000', '0300', { flags: '21', error: '10' }))).toThrow(
      'VFIO_USER_DMA_UNMAP failed: EBUSY',
    );
  });

  test('takes an error without a number for one', () => {
    expect(() => mapped(reply('0000', '0200', { flags: '21' }))).toThrow(
      expect.objectContaining({ errno: 0 }),
    );
  });

  test('does not look at the error number of a reply without the error bit', () => {
    expect(mapped(reply('0000', '0200', { error: '11' }))).toBe(true);
  });

  test('takes ENOENT of an unmap for done: it is gone', () => {
    expect(unmapped(reply('0000', '0300', { flags: '21', error: '02' }))).toBe(true);
    expect(() => mapped(reply('0000', '0200', { flags: '21', error: '02' }))).toThrow('ENOENT');
  });

  test.each([
    ['to another message', reply('0100', '0200')],
    ['to another command', reply('0000', '0300')],
    ['that is a command', reply('0000', '0200', { flags: '00' })],
    ['with another size than it says', bytes('0000 0200 18000000 01000000 00000000')],
    ['that is cut short', bytes('0000 0200 0c000000 01000000')],
  ])('refuses a reply %s', (_, answer) => {
    expect(() => mapped(answer)).toThrow(
      expect.objectContaining({
        errno: 0,
        message: 'VFIO_USER_DMA_MAP failed: what the server sent is not the reply to it',
      }),
    );
  });

  test('waits for replies, and rejects with what they refuse', async () => {
    const { sink } = made({ send: (message) => Promise.resolve(done(message)) });
    expect(await sink.map(0x1000, 0x4000_0000, 0x1000, 3)).toBe(true);
    expect(await sink.unmap(0x1000, 0x1000)).toBe(true);
    const refusal = reply('0000', '0200', { flags: '21', error: '1c' });
    const full = made({ send: () => Promise.resolve(refusal) }).sink;
    await expect(full.map(0x1000, 0x4000_0000, 0x1000, 3)).rejects.toThrow('ENOSPC');
  });

  test('says what it can do', () => {
    const memory = [FILE, PLAIN];
    expect(made().sink.capabilities).toEqual({
      unmaps: 'area',
      pageSize: 4096,
      memory,
      areas: 65_535,
    });
    expect(made({ pageSize: 65_536, areas: 100 }).sink.capabilities).toMatchObject({
      pageSize: 65_536,
      areas: 100,
    });
  });

  test('refuses an area outside the regions, before it sends anything', () => {
    const { sink, sent } = made();
    expect(() => sink.map(0x1000, 0x1_4000_0000, 0x1000, 3)).toThrow(RangeError);
    expect(sent).toEqual([]);
  });

  test('names the region that is wrong', () => {
    expect(() => made({ regions: [{ ...FILE, fileOffset: 0x800 }] })).toThrow(
      new RangeError('regions[0].fileOffset is 0x800: it must be a multiple of 0x1000'),
    );
  });
});
