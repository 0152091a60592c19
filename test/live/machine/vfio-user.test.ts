import { describe, expect, test } from 'vitest';
import type { RegisterBlock } from './transport.js';
import { RegisterBar } from './vfio-user-bar.js';
import { VfioUserDevice, type BarAccess } from './vfio-user-device.js';
import { BAR_ADDRESS, setUpCommands } from './vfio-user-pci.js';
import {
  refusalOf,
  replyTo,
  VfioUserFraming,
  VfioUserProtocolError,
  type VfioUserRequest,
} from './vfio-user-protocol.js';
import { isNewEnough } from './vfio-user-support.js';

/** Bytes as they are on the socket, from the tables of the vfio-user specification. */
function bytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}

/** REGION_READ, id 0x0102, of 4 bytes at 0xa0 of BAR0. */
const READ = bytes(`
  0201 0900 20000000 00000000 00000000
  a000000000000000 00000000 04000000`);
/** REGION_WRITE, id 3, of 8 bytes at 0x90 of BAR0. */
const WRITE = bytes(`
  0300 0a00 28000000 00000000 00000000
  9000000000000000 00000000 08000000
  8877665544332211`);

describe('messages', () => {
  test('a message in pieces, and two in one piece', () => {
    const framing = new VfioUserFraming();
    expect(framing.push(READ.subarray(0, 3))).toEqual([]);
    expect(framing.push(READ.subarray(3, 17))).toEqual([]);
    const requests = framing.push(Buffer.concat([READ.subarray(17), WRITE, WRITE.subarray(0, 16)]));
    expect(requests.map(({ id, command }) => [id, command])).toEqual([
      [0x102, 9],
      [3, 10],
    ]);
    expect(hex(requests[1]!.body)).toBe(hex(WRITE.subarray(16)));
    expect(framing.push(WRITE.subarray(16))).toHaveLength(1);
  });

  test('bit 4 of the flags: no reply', () => {
    const posted = Buffer.from(WRITE);
    posted[8] = 0x10;
    expect(new VfioUserFraming().push(posted)[0]!.wantsReply).toBe(false);
    expect(new VfioUserFraming().push(WRITE)[0]!.wantsReply).toBe(true);
  });

  test.each([
    ['shorter than its header', '0000 0100 0f000000 00000000 00000000'],
    ['too long', '0000 0100 01001000 00000000 00000000'],
    ['a reply', '0000 0100 10000000 01000000 00000000'],
  ])('%s is no request', (_, text) => {
    expect(() => new VfioUserFraming().push(bytes(text))).toThrow(VfioUserProtocolError);
  });

  test('a reply has bit 0 of the flags, a refusal bit 5 and the error number too', () => {
    const [request] = new VfioUserFraming().push(READ);
    expect(hex(replyTo(request!, bytes('abcd')))).toBe('02010900120000000100000000000000abcd');
    expect(hex(refusalOf(request!, 22))).toBe('02010900100000002100000016000000');
  });
});

describe('the PCI device', () => {
  const answer = (command: number, body: string, bar: BarAccess = NO_BAR): string =>
    hex(new VfioUserDevice(bar).serve(request(command, body)).reply.subarray(16));

  test('version 0.0, with capabilities as JSON that ends with 0', () => {
    const { reply } = new VfioUserDevice(NO_BAR).serve(request(1, '00000000 7b7d00'));
    expect(hex(reply.subarray(16, 20))).toBe('00000000');
    expect(reply.at(-1)).toBe(0);
    expect(JSON.parse(reply.toString('latin1', 20, reply.length - 1))).toHaveProperty(
      'capabilities',
    );
  });

  test('it is a PCI device that can be reset, with 9 regions', () => {
    expect(answer(4, '10000000 00000000 00000000 00000000')).toBe(
      '10000000030000000900000005000000',
    );
  });

  test.each([
    ['BAR0, read and write', '00000000', '20000000 03000000 00000000 00000000 0000100000000000'],
    ['BAR1, none', '01000000', '20000000 00000000 01000000 00000000 0000000000000000'],
    ['configuration', '07000000', '20000000 03000000 07000000 00000000 0001000000000000'],
  ])('region: %s', (_, index, reply) => {
    const expected = hex(bytes(`${reply} 0000000000000000`));
    expect(answer(5, `20000000 00000000 ${index} 00000000 ${'00'.repeat(16)}`)).toBe(expected);
  });

  test('it has no interrupts of any kind', () => {
    expect(answer(7, '10000000 00000000 02000000 00000000')).toBe(
      '10000000000000000200000000000000',
    );
  });

  test('DMA_MAP, SET_IRQS and RESET are answered, DMA_UNMAP with its own text', () => {
    for (const command of [2, 8, 13]) expect(answer(command, '00'.repeat(32))).toBe('');
    const unmap = '18000000 00000000 0000004000000000 0000002000000000';
    expect(answer(3, unmap)).toBe(hex(bytes(unmap)));
  });

  test('another command is refused with EOPNOTSUPP', () => {
    const { reply } = new VfioUserDevice(NO_BAR).serve(request(14, ''));
    expect(reply.readUInt32LE(8)).toBe(0x21);
    expect(reply.readUInt32LE(12)).toBe(95);
  });

  test('configuration space keeps what is written', () => {
    const device = new VfioUserDevice(NO_BAR);
    device.serve(request(10, '1000000000000000 07000000 04000000 00000010'));
    const { reply } = device.serve(request(9, '1000000000000000 07000000 04000000'));
    expect(hex(reply.subarray(16))).toBe('10000000000000000700000004000000' + '00000010');
  });

  test('an access beyond the end of a region is refused with EINVAL', () => {
    const { reply } = new VfioUserDevice(NO_BAR).serve(
      request(9, 'fe00000000000000 07000000 04000000'),
    );
    expect(reply.readUInt32LE(12)).toBe(22);
  });

  test('a read is answered with what it reads, a write before it is made', () => {
    const seen: string[] = [];
    const device = new VfioUserDevice({
      bytes: 0x1000,
      read: () => bytes('44332211'),
      write: (offset, data) => seen.push(`${offset.toString(16)} ${hex(data)}`),
    });
    const [read, write] = new VfioUserFraming().push(Buffer.concat([READ, WRITE]));
    expect(hex(device.serve(read!).reply)).toBe(
      hex(
        bytes(`
        0201 0900 24000000 01000000 00000000
        a000000000000000 00000000 04000000
        44332211`),
      ),
    );
    const { reply, effect } = device.serve(write!);
    expect(hex(reply)).toBe(
      hex(
        bytes(`
        0300 0a00 20000000 01000000 00000000
        9000000000000000 00000000 08000000`),
      ),
    );
    expect(seen).toEqual([]);
    effect!();
    expect(seen).toEqual(['90 8877665544332211']);
  });
});

describe('registers in the BAR', () => {
  test('accesses reach the block that is there, in their size', () => {
    const log: string[] = [];
    const bar = new RegisterBar(BAR_ADDRESS, [block('a', 0, log, true), block('b', 0x4000, log)], {
      registerWritten: (name, offset, value) => log.push(`told ${name} ${offset} ${value}`),
    });
    expect(bar.bytes).toBe(0x8000);
    expect(hex(bar.read(0x10, 4))).toBe('10000000');
    expect(hex(bar.read(0x10, 8))).toBe('efcdab8967452301');
    // Without 64-bit accesses of its own, a block is asked for both words.
    expect(hex(bar.read(0x4010, 8))).toBe('1000000014000000');
    expect(hex(bar.read(0x4016, 2))).toBe('0000');
    expect(hex(bar.read(0x4014, 1))).toBe('14');
    bar.write(0x10, bytes('0100000002000000'));
    bar.write(0x4010, bytes('0100000002000000'));
    expect(log).toEqual([
      'told a 16 1',
      'told a 20 2',
      'a wide 16 200000001',
      'told b 16 1',
      'told b 20 2',
      'b 16 1',
      'b 20 2',
    ]);
  });

  test('an access to nothing, and a write of a part of a register, end the run', () => {
    const bar = new RegisterBar(BAR_ADDRESS, [block('a', 0, [])], {});
    expect(() => bar.read(0x1000, 4)).toThrow('no registers at 0x10001000');
    expect(() => {
      bar.write(0x10, bytes('0100'));
    }).toThrow('a write of 2 bytes');
  });

  test('the BAR is placed and switched on in configuration space', () => {
    expect(setUpCommands()).toEqual(['writel 0x4010010010 0x10000000', 'writew 0x4010010004 0x2']);
  });
});

test.each([
  ['7.2.22', false],
  ['10.0.13', false],
  ['10.1.0', true],
  ['11.1.3', true],
  ['unknown', false],
])('QEMU %s has vfio-user: %s', (version, expected) => {
  expect(isNewEnough(version)).toBe(expected);
});

const NO_BAR: BarAccess = {
  bytes: 0x10_0000,
  read: () => {
    throw new Error('nobody reads');
  },
  write: () => undefined,
};

function request(command: number, body: string): VfioUserRequest {
  return { id: 7, command, wantsReply: true, body: bytes(body) };
}

/** A block of 4 KiB whose registers read as their offsets. */
function block(name: string, offset: number, log: string[], isWide = false): RegisterBlock {
  return {
    name,
    address: BAR_ADDRESS + offset,
    bytes: 0x1000,
    polled: {
      windows: [],
      isWatched: () => false,
      late: [],
      doorbells: new Map(),
      published: [],
      outputs: new Map(),
    },
    read: (at) => at,
    write: (at, value) => log.push(`${name} ${at} ${value}`),
    ...(isWide
      ? {
          readWide: () => 0x0123_4567_89ab_cdefn,
          writeWide: (at: number, value: bigint) =>
            log.push(`${name} wide ${at} ${value.toString(16)}`),
        }
      : {}),
  };
}
