import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { U64 } from '../../src/memory/u64.js';
import { VhostUserSink, type VhostUserSinkOptions } from '../../src/sinks/vhost-user-sink.js';
import { bytes, hexOf, hexText } from './hex.js';

const REGIONS = [
  { base: 0x4000_0000, byteLength: 0x10_0000, userAddress: 0x7f00_0000_0000n },
  { base: 0x4010_0000, byteLength: 0x10_0000, userAddress: 0x7e00_0000_0000n },
];
const SUCCESS = bytes('16000000 05000000 08000000 0000000000000000');
const FAILURE = bytes('16000000 05000000 08000000 0100000000000000');

/** VHOST_USER_BACKEND_IOTLB_MSG: request 1, version 1, and need_reply unless `flags` say otherwise. */
function fromBackend(iova: string, permAndType: string, flags = '09'): Uint8Array {
  const zeros = '00000000 00000000';
  return bytes(
    `01000000 ${flags}000000 20000000 ${iova} ${zeros} ${zeros} ${permAndType} 000000000000`,
  );
}

const MISS_5123 = fromBackend('23510000 00000000', '01 01');
const REPLY_DONE = hexText('01000000 05000000 08000000 0000000000000000');
const REPLY_FAILED = hexText('01000000 05000000 08000000 0100000000000000');

/** A sink, what it sent, and the misses that it asked about. */
function made(options: Partial<VhostUserSinkOptions> = {}) {
  const sent: string[] = [];
  const misses: [U64, number][] = [];
  const sink = new VhostUserSink({
    regions: REGIONS,
    send: (message) => {
      const view = new DataView(message.buffer);
      const values = [12, 20, 28].map((at) => view.getBigUint64(at, true).toString(16));
      sent.push([...values, message[36], message[37]].join(' '));
      return SUCCESS;
    },
    miss: (iova, permissions) => {
      misses.push([iova, permissions]);
      return false;
    },
    ...options,
  });
  return { sink, sent, misses };
}

function replyOf(sink: VhostUserSink, message: Uint8Array): string | undefined {
  const { reply } = sink.receive(message);
  return reply && hexOf(reply);
}

describe('a miss of the back-end', () => {
  test('is asked about with its exact IOVA and the permissions that are needed', () => {
    const { sink, misses } = made();
    sink.receive(MISS_5123);
    sink.receive(fromBackend('ffffffff ffff1f00', '02 01'));
    sink.receive(fromBackend('01000000 00002000', '03 01'));
    sink.receive(fromBackend('ffffffff ffffffff', '03 01'));
    expect(misses).toEqual([
      [0x5123, 1],
      [2 ** 53 - 1, 2],
      [2n ** 53n + 1n, 3],
      [2n ** 64n - 1n, 3],
    ]);
  });

  test('that is mapped is answered by an UPDATE, then by a reply of 0', () => {
    const { sink, sent } = made({
      miss: () => sink.map(0x5000, 0x4000_1000, 0x1000, 3) === true,
    });
    expect(sink.receive(MISS_5123)).toEqual({
      outcome: 'mapped',
      iova: 0x5123,
      permissions: 1,
      reply: bytes(REPLY_DONE),
    });
    expect(sent).toEqual(['5000 1000 7f0000001000 3 2']);
  });

  test('that is not to be had sends nothing; the reply is not 0', () => {
    const { sink, sent } = made();
    expect(sink.receive(MISS_5123)).toEqual({
      outcome: 'refused',
      iova: 0x5123,
      permissions: 1,
      reply: bytes(REPLY_FAILED),
    });
    expect(sent).toEqual([]);
  });

  test('without need_reply gets no reply', () => {
    const { sink } = made();
    const answer = sink.receive(fromBackend('00500000 00000000', '01 01', '01'));
    expect(answer).toMatchObject({ outcome: 'refused', reply: undefined });
  });

  test('of what it was sent before is answered again, without a question', () => {
    const { sink, sent, misses } = made();
    void sink.map(0x4000, 0x4000_0000, 0x3000, 1);
    expect(sink.receive(MISS_5123).outcome).toBe('mapped');
    expect(sent).toEqual(['4000 3000 7f0000000000 1 2', '4000 3000 7f0000000000 1 2']);
    expect(misses).toEqual([]);
  });

  test('that needs more permissions than were sent is asked about', () => {
    const { sink, misses } = made();
    void sink.map(0x5000, 0x4000_0000, 0x1000, 1);
    expect(sink.receive(fromBackend('00500000 00000000', '03 01')).outcome).toBe('refused');
    expect(misses).toEqual([[0x5000, 3]]);
  });

  test('is asked about once it was invalidated', () => {
    const { sink, misses } = made();
    void sink.map(0x4000, 0x4000_0000, 0x3000, 1);
    void sink.unmap(0x5000, 0x1000);
    sink.receive(MISS_5123);
    expect(misses).toEqual([[0x5123, 1]]);
  });

  test('is not answered from before an invalidation that is under way', () => {
    let messages = 0;
    const { sink } = made({
      send: () => {
        messages++;
        return new Promise(() => undefined);
      },
    });
    void sink.map(0x5000, 0x4000_0000, 0x1000, 1);
    void sink.unmap(0x5000, 0x1000);
    expect(sink.receive(MISS_5123).outcome).toBe('refused');
    expect(messages).toBe(2);
  });

  test('is asked about when the UPDATE was refused', async () => {
    const now = made({ send: () => FAILURE });
    expect(now.sink.map(0x5000, 0x4000_0000, 0x1000, 1)).toBe(false);
    now.sink.receive(MISS_5123);
    const later = made({ send: () => Promise.resolve(FAILURE) });
    expect(await later.sink.map(0x5000, 0x4000_0000, 0x1000, 1)).toBe(false);
    later.sink.receive(MISS_5123);
    const lost = made({ send: () => Promise.reject(new Error('EPIPE')) });
    await expect(lost.sink.map(0x5000, 0x4000_0000, 0x1000, 1)).rejects.toThrow('EPIPE');
    lost.sink.receive(MISS_5123);
    for (const { misses } of [now, later, lost]) expect(misses).toEqual([[0x5123, 1]]);
  });

  test('across neighbouring regions is answered in its own', () => {
    const { sink, sent } = made();
    void sink.map(0x4000, 0x400f_f000, 0x1000, 3);
    void sink.map(0x5000, 0x4010_0000, 0x2000, 3);
    sent.length = 0;
    sink.receive(MISS_5123);
    sink.receive(fromBackend('00400000 00000000', '02 01'));
    expect(sent).toEqual(['5000 2000 7e0000000000 3 2', '4000 1000 7f00000ff000 3 2']);
  });

  test('survives a connection that is lost meanwhile', async () => {
    let lost: 'no' | 'throws' | 'rejects' = 'no';
    const { sink } = made({
      send: () => {
        if (lost === 'throws') throw new Error('EPIPE');
        return lost === 'rejects' ? Promise.reject(new Error('EPIPE')) : SUCCESS;
      },
    });
    void sink.map(0x5000, 0x4000_0000, 0x1000, 3);
    lost = 'throws';
    expect(sink.receive(MISS_5123).outcome).toBe('refused');
    lost = 'rejects';
    expect(sink.receive(MISS_5123).outcome).toBe('mapped');
    await new Promise((resolve) => setTimeout(resolve, 1));
  });
});

describe('other messages of the back-end', () => {
  test('report accesses that the IOTLB did not permit', () => {
    const { sink, misses } = made();
    expect(sink.receive(fromBackend('00500000 00000000', '02 04'))).toEqual({
      outcome: 'accessFailed',
      iova: 0x5000,
      permissions: 2,
      reply: bytes(REPLY_DONE),
    });
    expect(misses).toEqual([]);
  });

  test.each([
    ['an UPDATE', '01 02'],
    ['an INVALIDATE', '01 03'],
    ['a type that there is not', '01 05'],
    ['a miss without permissions', '00 01'],
    ['a miss with permissions that there are not', '04 01'],
  ])('are malformed: %s', (_, permAndType) => {
    const { sink, misses } = made();
    const message = fromBackend('00500000 00000000', permAndType);
    expect(sink.receive(message)).toMatchObject({ outcome: 'malformed', iova: 0, permissions: 0 });
    expect(replyOf(sink, message)).toBe(REPLY_FAILED);
    expect(misses).toEqual([]);
  });

  test.each([
    ['of another request', 0, 2],
    ['of another version', 4, 0x0a],
    ['that is a reply', 4, 0x0d],
    ['of another size than it says', 8, 31],
  ])('are malformed, and get no reply: one %s', (_, at, value) => {
    const message = MISS_5123.slice();
    message[at] = value;
    expect(made().sink.receive(message)).toMatchObject({ outcome: 'malformed', reply: undefined });
  });

  test.each([
    [25, 'malformed'],
    [26, 'refused'],
    [28, 'refused'],
    [32, 'refused'],
    [33, 'malformed'],
  ])('may have %d bytes of payload: %s', (size, outcome) => {
    const message = new Uint8Array(12 + size);
    message.set(MISS_5123.subarray(0, message.length));
    message[8] = size;
    expect(made().sink.receive(message).outcome).toBe(outcome);
  });

  test('throw nothing, whatever they are', () => {
    const { sink } = made();
    const mostlySound = fc
      .tuple(fc.nat(45), fc.uint8Array({ maxLength: 3 }))
      .map(([at, change]) => {
        const message = new Uint8Array(48);
        message.set(MISS_5123);
        message.set(change, at);
        return message.subarray(0, 44);
      });
    fc.assert(
      fc.property(fc.oneof(mostlySound, fc.uint8Array({ maxLength: 60 })), (message) => {
        const { outcome, reply } = sink.receive(message);
        expect(['refused', 'accessFailed', 'malformed']).toContain(outcome);
        if (reply !== undefined) expect(reply).toHaveLength(20);
      }),
    );
  });
});
