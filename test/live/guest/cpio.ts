/** A file, folder or device node of an archive. */
export interface ArchiveEntry {
  /** Path without a leading slash. */
  readonly name: string;
  readonly kind: 'folder' | 'file' | 'program' | 'device';
  readonly data?: Buffer;
  /** Of a device: major and minor number. */
  readonly device?: readonly [number, number];
}

const MODES = { folder: 0o40755, file: 0o100644, program: 0o100755, device: 0o20600 } as const;

/** An archive in the "newc" format, which the kernel unpacks as its first root file system. */
export function writeCpio(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, i) => {
    parts.push(...record(i + 1, MODES[entry.kind], entry));
  });
  parts.push(...record(0, 0, { name: 'TRAILER!!!', kind: 'file' }));
  return Buffer.concat(parts);
}

function record(inode: number, mode: number, entry: ArchiveEntry): Buffer[] {
  const { name, data = Buffer.alloc(0), device = [0, 0] } = entry;
  const path = Buffer.from(`${name}\0`);
  // inode, mode, owner, group, links, time, bytes, device of the file, device it is, name, checksum
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, ...device, path.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  const head = Buffer.concat([Buffer.from(header), path]);
  return [head, padding(head.length), data, padding(data.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
