import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HostCalls } from '../../src/iommufd/host-calls.js';
import { connect, openKernelCalls } from '../../src/node/kernel-calls.js';

// Numbers of asm-generic/ioctls.h, linux/random.h, linux/nsfs.h, linux/sockios.h and section 1.
const FIONREAD = 0x541b;
const RNDGETENTCNT = 0x8004_5200;
const NS_GET_NSTYPE = 0xb703;
const SIOCGIFCONF = 0x8912;
const IOMMU_DESTROY = 0x3b80;

const isLinux = process.platform === 'linux';
const name = (what: string): string => (isLinux ? what : `${what} (skipped: not Linux)`);

/** Whether the native part of koffi is in this process. */
const hasKoffi = (): boolean => fs.readFileSync('/proc/self/maps', 'utf8').includes('koffi');

describe.skipIf(!isLinux)(name('calls of this kernel'), () => {
  let hadKoffi: boolean;
  let calls: HostCalls;
  let folder: string;
  const fds: number[] = [];

  beforeAll(async () => {
    hadKoffi = hasKoffi();
    calls = await openKernelCalls();
    folder = fs.mkdtempSync(join(tmpdir(), 'vsmmu-'));
  });
  afterAll(() => {
    for (const fd of fds) fs.closeSync(fd);
    fs.rmSync(folder, { recursive: true });
  });

  function open(path: string, flags: string): number {
    const fd = fs.openSync(path, flags);
    fds.push(fd);
    return fd;
  }

  /** A socket that listens, open while `use` runs. */
  async function withSocket(use: (fd: number) => void): Promise<void> {
    const server = net.createServer();
    await new Promise<void>((done) => server.listen(join(folder, 'socket'), done));
    try {
      use((server as unknown as { _handle: { fd: number } })._handle.fd);
    } finally {
      server.close();
    }
  }

  /** Bytes of this process at an address, as the kernel sees them. */
  function peek(address: number | bigint, length: number): number[] {
    const found = Buffer.alloc(length);
    expect(fs.readSync(open('/proc/self/mem', 'r'), found, 0, length, address)).toBe(length);
    return [...found];
  }

  test('load koffi only when they are opened', () => {
    expect(hadKoffi).toBe(false);
    expect(hasKoffi()).toBe(true);
  });

  describe('ioctl', () => {
    test('has the kernel write its answer in the argument, and nowhere else', () => {
      const path = join(folder, 'fifo');
      execFileSync('mkfifo', [path]);
      const fd = open(path, 'r+');
      fs.writeSync(fd, 'twelve bytes');
      const buffer = new Uint8Array(16).fill(0xee);
      expect(calls.ioctl(fd, FIONREAD, buffer.subarray(5, 9))).toBe(0);
      expect([...buffer]).toEqual([
        ...[0xee, 0xee, 0xee, 0xee, 0xee, 12, 0, 0, 0],
        ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee],
      ]);
    });

    test('takes arguments in shared memory', () => {
      const path = join(folder, 'file');
      fs.writeFileSync(path, new Uint8Array(0x0102));
      const shared = new Uint8Array(new SharedArrayBuffer(4));
      expect(calls.ioctl(open(path, 'r'), FIONREAD, shared)).toBe(0);
      expect([...shared]).toEqual([2, 1, 0, 0]);
    });

    test('takes request numbers with bit 31', () => {
      const argument = new Uint8Array(4).fill(0xff);
      expect(calls.ioctl(open('/dev/urandom', 'r'), RNDGETENTCNT, argument)).toBe(0);
      // An int of bits: 256 today, up to 4096 before Linux 5.18.
      const bits = new DataView(argument.buffer).getInt32(0, true);
      expect(bits).toBeGreaterThanOrEqual(0);
      expect(bits).toBeLessThanOrEqual(4096);
    });

    test('answers with what the kernel returns, where that is more than 0', () => {
      const fd = open('/proc/self/ns/net', 'r');
      // CLONE_NEWNET of linux/sched.h.
      expect(calls.ioctl(fd, NS_GET_NSTYPE, new Uint8Array(4))).toBe(0x4000_0000);
    });

    test.each([-1, -(2 ** 31), 2 ** 31 - 1])('answers -EBADF, -9, for descriptor %i', (fd) => {
      expect(calls.ioctl(fd, FIONREAD, new Uint8Array(4))).toBe(-9);
    });

    test('answers -ENOTTY, -25, for a request of iommufd on another file', () => {
      const fd = open('/dev/null', 'r');
      expect(calls.ioctl(fd, IOMMU_DESTROY, new Uint8Array(8))).toBe(-25);
    });

    test('answers -EINVAL, -22, for bytes to read of a socket that listens', async () => {
      await withSocket((fd) => {
        expect(calls.ioctl(fd, FIONREAD, new Uint8Array(4))).toBe(-22);
      });
    });

    test('answers each call with its own error', () => {
      const fd = open('/dev/null', 'r');
      const argument = new Uint8Array(8);
      const answers = Array.from({ length: 1000 }, (_, i) =>
        calls.ioctl(i % 2 === 0 ? fd : -1, IOMMU_DESTROY, argument),
      );
      expect(answers).toEqual(Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? -25 : -9)));
    });

    test.each([
      [1.5, 0, 'fd is 1.5: give the file descriptor, an integer of 32 bits'],
      [NaN, 0, 'fd is NaN: give the file descriptor, an integer of 32 bits'],
      [2 ** 31, 0, 'fd is 2147483648: give the file descriptor, an integer of 32 bits'],
      [3, -1, 'request is -1: give the number of the ioctl, an integer from 0 to 2^32-1'],
      [3, 0.5, 'request is 0.5: give the number of the ioctl, an integer from 0 to 2^32-1'],
      [
        3,
        2 ** 32,
        'request is 4294967296: give the number of the ioctl, an integer from 0 to 2^32-1',
      ],
    ])('refuses descriptor %d with request %d', (fd, request, message) => {
      expect(() => calls.ioctl(fd, request, new Uint8Array(4))).toThrow(new RangeError(message));
    });
  });

  describe('addressOf', () => {
    test.each([
      ['a small array', () => new Uint8Array(24)],
      ['a large array', () => new Uint8Array(100_000)],
      ['a Buffer in a pool', () => Buffer.from('x'.repeat(24))],
      ['shared memory', () => new Uint8Array(new SharedArrayBuffer(24))],
      ['a part of a buffer', () => new Uint8Array(new ArrayBuffer(64), 13, 24)],
      ['memory of WebAssembly', () => new Uint8Array(wasmMemory(), 1000, 24)],
    ])('is where the kernel finds the bytes of %s', (_, make) => {
      const bytes = make();
      for (let i = 0; i < 24; i++) bytes[i] = i ^ 0xa5;
      expect(peek(calls.addressOf(bytes), 24)).toEqual([...bytes.subarray(0, 24)]);
      bytes[23] = 0x77;
      expect(peek(calls.addressOf(bytes.subarray(23)), 1)).toEqual([0x77]);
      expect(BigInt(calls.addressOf(bytes.subarray(7))) - BigInt(calls.addressOf(bytes))).toBe(7n);
    });

    test('stays true when memory is collected', () => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      const kept = Array.from({ length: 200 }, (_, i) => new Uint8Array(8).fill(i));
      const addresses = kept.map((bytes) => calls.addressOf(bytes));
      for (let i = 0; i < 3; i++) collect();
      expect(kept.map((bytes) => calls.addressOf(bytes))).toEqual(addresses);
      expect(peek(addresses[150]!, 8)).toEqual(Array.from({ length: 8 }, () => 150));
    });

    test('makes a pointer that the kernel writes through', async () => {
      // struct ifreq: a name of 16 bytes, then a sockaddr_in with the address at byte 20; 40 in all.
      const list = new Uint8Array(64 * 40);
      // struct ifconf: ifc_len at 0, ifc_buf at 8.
      const argument = new Uint8Array(16);
      const view = new DataView(argument.buffer);
      view.setInt32(0, list.length, true);
      view.setBigUint64(8, BigInt(calls.addressOf(list)), true);
      await withSocket((fd) => {
        expect(calls.ioctl(fd, SIOCGIFCONF, argument)).toBe(0);
      });
      const addresses: string[] = [];
      for (let at = 0; at < view.getInt32(0, true); at += 40) {
        addresses.push(list.subarray(at + 20, at + 24).join('.'));
      }
      const expected = Object.values(networkInterfaces())
        .flatMap((interfaces) => interfaces ?? [])
        .filter(({ family }) => family === 'IPv4')
        .map(({ address }) => address);
      expect(addresses).toEqual(expect.arrayContaining(expected));
    });
  });

  describe('an array without bytes', () => {
    const sent = new Uint8Array(8);
    structuredClone(sent.buffer, { transfer: [sent.buffer] });
    const message = (what: string): string =>
      `${what} has no bytes: it is empty, or its buffer was transferred; give an array that has some`;

    test.each([
      ['empty', new Uint8Array(0)],
      ['transferred', sent],
    ])('is refused when it is %s', (_, bytes) => {
      expect(() => calls.addressOf(bytes)).toThrow(new TypeError(message('bytes')));
      expect(() => calls.ioctl(-1, FIONREAD, bytes)).toThrow(new TypeError(message('argument')));
    });

    test.each([['a string'], [8], [undefined], [new DataView(new ArrayBuffer(8))]])(
      'is refused when it is %s',
      (wrong) => {
        const bytes = wrong as unknown as Uint8Array;
        const problem = `is a ${typeof wrong}: give a Uint8Array`;
        expect(() => calls.addressOf(bytes)).toThrow(new TypeError(`bytes ${problem}`));
        expect(() => calls.ioctl(-1, 0, bytes)).toThrow(new TypeError(`argument ${problem}`));
      },
    );
  });
});

describe('calls of the kernel cannot be opened', () => {
  /** What {@link connect} rejects with. */
  async function problem(
    platform: NodeJS.Platform,
    load: Parameters<typeof connect>[1],
  ): Promise<Error> {
    return connect(platform, load).then(
      () => expect.fail('it was opened'),
      (error: unknown) => error as Error,
    );
  }

  test('where there is no Linux; koffi is not asked for', async () => {
    const load = (): Promise<never> => expect.fail('koffi was asked for');
    const { message } = await problem('darwin', load);
    expect(message).toBe('This is darwin: iommufd and VFIO are system calls of Linux');
  });

  test.each([
    ['import', "import('koffi').catch(tell)"],
    ['require', "try { require('koffi') } catch (e) { tell(e) }"],
  ])('where %s finds no koffi installed', async (_, use) => {
    // The error of Node itself, in a folder without packages.
    const script = `const tell = (e) => console.log(JSON.stringify({ code: e.code, text: e.message })); ${use}`;
    const output = execFileSync(process.execPath, ['-e', script], { cwd: tmpdir() }).toString();
    const { code, text } = JSON.parse(output) as { code: string; text: string };
    const absent = Object.assign(new Error(text), { code });
    const error = await problem('linux', () => Promise.reject(absent));
    expect(error.message).toBe(
      'System calls need the package koffi, which is not installed: npm install koffi',
    );
    expect(error.cause).toBe(absent);
  });

  test.each([
    [new Error('Cannot find the native Koffi module'), 'Cannot find the native Koffi module'],
    [
      Object.assign(new Error("Cannot find module '/x/koffi/a.js'"), {
        code: 'ERR_MODULE_NOT_FOUND',
      }),
      "Cannot find module '/x/koffi/a.js'",
    ],
    ['a text', 'a text'],
  ])('where koffi does not load: %s', async (cause, text) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    const error = await problem('linux', () => Promise.reject(cause));
    expect(error.message).toBe(
      `koffi is installed, but does not load: ${text}; install it again, with its optional dependencies: npm install koffi`,
    );
    expect(error.cause).toBe(cause);
  });

  test('where koffi has no address of an array, as before its version 2.16', async () => {
    const cause = new TypeError('Unexpected Uint8Array value for ptr, expected pointer');
    const old = {
      load: () => ({ func: () => () => 0 }),
      errno: () => 0,
      address: () => {
        throw cause;
      },
    };
    const error = await problem('linux', () => Promise.resolve({ default: old }));
    expect(error.message).toBe(`koffi cannot call ioctl: ${cause.message}`);
    expect(error.cause).toBe(cause);
  });
});

/** A page of a WebAssembly memory. */
function wasmMemory(): ArrayBuffer {
  const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: WasmMemory } }).WebAssembly;
  return new Memory({ initial: 1 }).buffer;
}

type WasmMemory = new (pages: { initial: number }) => { buffer: ArrayBuffer };
