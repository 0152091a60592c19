import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RAM_BASE } from './addresses.js';
import { PostedRam } from './vfio-user-ram.js';

let folder: string;
let ram: PostedRam;
/** Commands that QEMU has not executed, with what follows when it has. */
let commands: { command: string; done: () => void }[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vsmmu-live-test-'));
  commands = [];
  ram = new PostedRam(join(folder, 'ram'), {
    post: (command, done) => commands.push({ command, done }),
  });
});

afterEach(() => {
  ram.close();
  rmSync(folder, { recursive: true });
});

function read(offset: number, count: number): number[] {
  const into = new Uint8Array(count);
  ram.read(RAM_BASE + offset, into);
  return [...into];
}

describe('RAM whose whole stores are made later', () => {
  beforeEach(() => {
    ram.write(RAM_BASE, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    ram.storeWhole = () => undefined;
  });

  test('until the guest runs, stores are made at once', () => {
    expect(commands).toEqual([]);
    expect(read(0, 8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('aligned 2, 4 and 8 bytes are stored by QEMU, in order', () => {
    ram.write(RAM_BASE + 2, Uint8Array.of(0x34, 0x12));
    ram.write(RAM_BASE + 4, Uint8Array.of(0x78, 0x56, 0x34, 0x12));
    ram.write(RAM_BASE + 8, Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1));
    expect(commands.map(({ command }) => command)).toEqual([
      'writew 0x40000002 0x1234',
      'writel 0x40000004 0x12345678',
      'writeq 0x40000008 0x0102030405060708',
    ]);
  });

  test('what is on its way is read at once, by reads that touch it', () => {
    ram.write(RAM_BASE + 4, Uint8Array.of(0x78, 0x56, 0x34, 0x12));
    expect(read(0, 8)).toEqual([1, 2, 3, 4, 0x78, 0x56, 0x34, 0x12]);
    expect(read(6, 1)).toEqual([0x34]);
    expect(read(0, 4)).toEqual([1, 2, 3, 4]);
    ram.write(RAM_BASE + 4, Uint8Array.of(0x99, 0x88));
    expect(read(3, 4)).toEqual([4, 0x99, 0x88, 0x34]);
  });

  test('when QEMU has stored it, memory is what it is', () => {
    ram.write(RAM_BASE + 4, Uint8Array.of(0x78, 0x56, 0x34, 0x12));
    commands.shift()!.done();
    // Nobody stored it here, as if the guest had put the old value back.
    expect(read(4, 4)).toEqual([5, 6, 7, 8]);
  });

  test('other bytes are written at once, unless they follow a store to the same place', () => {
    ram.write(RAM_BASE + 1, Uint8Array.of(9, 9, 9));
    expect(commands).toHaveLength(0);
    ram.write(RAM_BASE + 4, Uint8Array.of(0, 0));
    ram.write(RAM_BASE + 3, Uint8Array.of(0xa, 0xb, 0xc));
    expect(commands.at(-1)!.command).toBe('write 0x40000003 0x3 0x0a0b0c');
    expect(read(0, 8)).toEqual([1, 9, 9, 0xa, 0xb, 0xc, 7, 8]);
  });
});
