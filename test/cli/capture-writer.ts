import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { onTestFinished } from 'vitest';
import { GuestBuilder, type GuestOptions } from '../../src/fixtures/guest-builder.js';

/** A small guest, every page of whose RAM fits a capture. */
export function smallGuest(options: GuestOptions = {}): GuestBuilder {
  return new GuestBuilder({ ramBase: RAM_BASE, ramBytes: RAM_BYTES, ...options });
}

export const RAM_BASE = 0x4000_0000;
export const RAM_BYTES = 0x10_0000;

/** What goes into a capture besides the guest. */
export interface CaptureContents {
  devices?: readonly { name: string; bdf: string; streamId: number }[];
  /** Pages that are left out. */
  omit?: readonly number[];
  expected?: readonly object[];
  leaves?: readonly object[];
}

/** Writes the guest as a capture into a new folder, whose path it returns; it lasts as long as the test. */
export function writeCapture(guest: GuestBuilder, contents: CaptureContents = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'vsmmu-cli-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const registers: Record<string, string> = {};
  guest.frame.forEach((word, i) => {
    if (word !== 0) registers[`0x${(4 * i).toString(16)}`] = `0x${word.toString(16)}`;
  });
  const capture = {
    name: 'small',
    description: 'A guest made by a test.',
    ramBase: '0x40000000',
    ramSize: '0x100000',
    registers,
    devices: contents.devices ?? [],
  };
  writeFileSync(join(folder, 'capture.json'), JSON.stringify(capture, null, 1));
  writeFileSync(join(folder, 'memory.bin.gz'), gzipSync(memoryRecords(guest, contents.omit ?? [])));
  writeFileSync(join(folder, 'expected.jsonl'), lines(contents.expected ?? []));
  writeFileSync(join(folder, 'leaves.jsonl'), lines(contents.leaves ?? []));
  return folder;
}

/** Records of 4104 bytes: address, then 4096 bytes. */
export function memoryRecords(guest: GuestBuilder, omit: readonly number[]): Buffer {
  const records: Buffer[] = [];
  for (let page = RAM_BASE; page < RAM_BASE + RAM_BYTES; page += 4096) {
    if (omit.includes(page)) continue;
    const words = new Uint32Array(1024);
    guest.load(page, words);
    const record = Buffer.alloc(4104);
    record.writeUInt32LE(page, 0);
    words.forEach((word, i) => record.writeUInt32LE(word, 8 + 4 * i));
    records.push(record);
  }
  return Buffer.concat(records);
}

function lines(objects: readonly object[]): string {
  return objects.map((object) => `${JSON.stringify(object)}\n`).join('');
}
