import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

/** What a block device keeps its sectors in. */
export interface Disk {
  readonly bytes: number;
  /** `into` and `from` lie within the disk. */
  read(at: number, into: Uint8Array): void;
  write(at: number, from: Uint8Array): void;
  flush(): void;
}

/** A disk in memory. */
export class MemoryDisk implements Disk {
  readonly content: Buffer;

  constructor(content: Buffer) {
    this.content = content;
  }

  get bytes(): number {
    return this.content.length;
  }

  read(at: number, into: Uint8Array): void {
    into.set(this.content.subarray(at, at + into.length));
  }

  write(at: number, from: Uint8Array): void {
    this.content.set(from, at);
  }

  flush(): void {
    // What has been written is where it stays.
  }
}

/** A disk in a file. */
export class FileDisk implements Disk {
  readonly bytes: number;
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'r+');
    this.bytes = fstatSync(this.file).size;
  }

  read(at: number, into: Uint8Array): void {
    readSync(this.file, into, 0, into.length, at);
  }

  write(at: number, from: Uint8Array): void {
    writeSync(this.file, from, 0, from.length, at);
  }

  flush(): void {
    fdatasyncSync(this.file);
  }

  close(): void {
    closeSync(this.file);
  }
}
