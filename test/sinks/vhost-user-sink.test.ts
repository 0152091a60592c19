import { describe, expect, test } from 'vitest';
import { VhostUserSink, type VhostUserSinkOptions } from '../../src/sinks/vhost-user-sink.js';
import { bytes, hexOf, hexText } from './hex.js';

const RAM = { base: 0x4000_0000, byteLength: 0x1000_0000, userAddress: 0xffff_7fff_0000_0000n };

/** Replies of a back-end to VHOST_USER_IOTLB_MSG: request 22, version 1 and reply, 8 bytes. */
const SUCCESS = bytes('16000000 05000000 08000000 0000000000000000');
const FAILURE = bytes('16000000 05000000 08000000 0100000000000000');

function made(options: Partial<VhostUserSinkOptions> = {}) {
  const sent: string[] = [];
  const sink = new VhostUserSink({
    regions: [RAM],
    send: (message) => {
      sent.push(hexOf(message));
      return SUCCESS;
    },
    miss: () => false,
    ...options,
  });
  return { sink, sent };
}

/** VHOST_USER_IOTLB_MSG with need_reply, 32 bytes of payload: 26 of fields, 6 of padding. */
function iotlb(iova: string, size: string, uaddr: string, permAndType: string): string {
  return hexText(`16000000 09000000 20000000 ${iova} ${size} ${uaddr} ${permAndType} 000000000000`);
}

describe('VhostUserSink', () => {
  test('maps with UPDATE: iova, size, user address, permissions and type 2', () => {
    const { sink, sent } = made();
    expect(sink.map(0x0001_ffff_8000_1000, 0x4000_3000, 0x2000, 3)).toBe(true);
    expect(sent).toEqual([
      iotlb('00100080 ffff0100', '00200000 00000000', '00300000 ff7fffff', '03 02'),
    ]);
  });

  test.each([1, 2, 3])('gives permissions %d as they are', (permissions) => {
    const { sink, sent } = made();
    void sink.map(0x1000, 0x4000_0000, 0x1000, permissions);
    expect(sent[0]!.slice(2 * (12 + 24), 2 * (12 + 26))).toBe(`0${permissions}02`);
  });

  test('unmaps with INVALIDATE: iova, size and type 3', () => {
    const { sink, sent } = made();
    expect(sink.unmap(2 ** 64 - 0x2000, 0x2000)).toBe(true);
    expect(sent).toEqual([
      iotlb('00e0ffff ffffffff', '00200000 00000000', '00000000 00000000', '00 03'),
    ]);
  });

  test('unmaps all 2^64 bytes in two halves, and both must be acknowledged', async () => {
    const { sink, sent } = made();
    expect(sink.unmap(0, 2 ** 64)).toBe(true);
    expect(sent).toEqual([
      iotlb('00000000 00000000', '00000000 00000080', '00000000 00000000', '00 03'),
      iotlb('00000000 00000080', '00000000 00000080', '00000000 00000000', '00 03'),
    ]);
    for (const replies of [
      [SUCCESS, FAILURE],
      [FAILURE, SUCCESS],
    ]) {
      const next = () => replies[sent.length++ % 2]!;
      sent.length = 0;
      expect(made({ send: next }).sink.unmap(0, 2 ** 64)).toBe(false);
      sent.length = 0;
      const later = made({ send: () => Promise.resolve(next()) });
      expect(await later.sink.unmap(0, 2 ** 64)).toBe(false);
    }
  });

  test('is done when the back-end has acknowledged, and not before', async () => {
    let acknowledge: ((reply: Uint8Array) => void) | undefined;
    const { sink } = made({
      send: () =>
        new Promise<Uint8Array>((resolve) => {
          acknowledge = resolve;
        }),
    });
    let isDone = false;
    const unmapped = Promise.resolve(sink.unmap(0x1000, 0x1000)).then((done) => {
      isDone = done;
    });
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(isDone).toBe(false);
    acknowledge?.(SUCCESS);
    await unmapped;
    expect(isDone).toBe(true);
  });

  test.each([
    ['says failure', '16000000 05000000 08000000 0100000000000000'],
    ['says failure in its highest byte', '16000000 05000000 08000000 0000000000000080'],
    ['answers another request', '05000000 05000000 08000000 0000000000000000'],
    ['is not marked as a reply', '16000000 01000000 08000000 0000000000000000'],
    ['has another version', '16000000 06000000 08000000 0000000000000000'],
    ['claims another size', '16000000 05000000 04000000 0000000000000000'],
    ['is cut short', '16000000 05000000 08000000 00000000'],
    ['is empty', ''],
  ])('takes a reply that %s for a refusal', async (_, reply) => {
    const now = made({ send: () => bytes(reply) }).sink;
    expect(now.map(0x1000, 0x4000_0000, 0x1000, 3)).toBe(false);
    expect(now.unmap(0x1000, 0x1000)).toBe(false);
    const later = made({ send: () => Promise.resolve(bytes(reply)) }).sink;
    expect(await later.map(0x1000, 0x4000_0000, 0x1000, 3)).toBe(false);
    expect(await later.unmap(0x1000, 0x1000)).toBe(false);
  });

  test('rejects when the connection does', async () => {
    const { sink } = made({ send: () => Promise.reject(new Error('EPIPE')) });
    await expect(sink.map(0x1000, 0x4000_0000, 0x1000, 3)).rejects.toThrow('EPIPE');
    await expect(sink.unmap(0x1000, 0x1000)).rejects.toThrow('EPIPE');
    await expect(sink.unmap(0, 2 ** 64)).rejects.toThrow('EPIPE');
  });

  test('says what it can do: any unmap, areas in the regions', () => {
    expect(made().sink.capabilities).toEqual({ memory: [RAM] });
  });

  test('refuses an area outside the regions, before it sends anything', () => {
    const { sink, sent } = made();
    expect(() => sink.map(0x1000, 0x4fff_f000, 0x2000, 3)).toThrow(RangeError);
    expect(sent).toEqual([]);
  });

  test('takes user addresses that are no multiples of a page', () => {
    const regions = [{ ...RAM, userAddress: 0x7f00_0000_0123n }];
    const sent: string[] = [];
    const { sink } = made({
      regions,
      send: (message) => {
        sent.push(hexOf(message));
        return SUCCESS;
      },
    });
    void sink.map(0x1000, 0x4000_1000, 0x1000, 3);
    expect(sent).toEqual([
      iotlb('00100000 00000000', '00100000 00000000', '23110000 007f0000', '03 02'),
    ]);
  });

  test('names the region that is wrong', () => {
    expect(() => made({ regions: [{ ...RAM, userAddress: -1n }] })).toThrow(
      new RangeError('regions[0].userAddress is -1: it must be below 2^64, and not negative'),
    );
  });
});
