import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Block } from '../devices/block.js';
import { FileDisk, MemoryDisk } from '../devices/disk.js';
import type { DeviceOptions } from '../machine/machine.js';

const MIB = 1 << 20;

/** A disk of known content, and the device that it is in. */
export interface TestDisk {
  readonly options: DeviceOptions;
  readonly block: Block;
  /** MD5 of a stretch of what it held at first. */
  original(at: number, bytes: number): string;
  /** MD5 of a stretch of what it holds now. */
  now(at: number, bytes: number): string;
}

/** How a disk is made; its name is its serial number in the guest. */
export interface TestDiskOptions {
  readonly name: string;
  readonly streamId: number;
  readonly mebibytes: number;
  readonly mirror?: 'demand' | 'invalidate';
  /** Takes requests of several pieces, in a packed queue. */
  readonly isSegmented?: boolean;
  /** Keeps the content in a file in this folder. */
  readonly folder?: string;
}

/** A disk in which every word says where it is, and which disk it is on. */
export function testDisk(given: TestDiskOptions): TestDisk {
  const { name, streamId, mebibytes, mirror, isSegmented = false, folder } = given;
  const content = Buffer.alloc(mebibytes * MIB);
  for (let at = 0; at < content.length; at += 4) {
    content.writeUInt32LE((at ^ (streamId << 26)) >>> 0, at);
  }
  const first = Buffer.from(content);
  let now = (): Buffer => content;
  let disk: MemoryDisk | FileDisk = new MemoryDisk(content);
  if (folder !== undefined) {
    const path = join(folder, `${name}.img`);
    writeFileSync(path, content);
    disk = new FileDisk(path);
    let kept: Buffer | undefined;
    now = () => (kept ??= readFileSync(path));
  }
  const block = new Block(disk, name, isSegmented);
  return {
    options: { name, streamId, device: block, ...(mirror === undefined ? {} : { mirror }) },
    block,
    original: (at, bytes) => md5(first.subarray(at, at + bytes)),
    now: (at, bytes) => md5(now().subarray(at, at + bytes)),
  };
}

/** The guest's side: `disk NAME` prints the block device of a disk. */
export const FIND_DISKS = `
disk() {
  for d in /sys/block/vd*; do
    [ "$(cat $d/serial)" = "$1" ] && echo /dev/\${d##*/}
  done
}
`;

export function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
