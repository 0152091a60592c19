import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { InputError } from '../fixtures/input-error.js';

/** Decompressed bytes that a file may have: a damaged one must not fill the memory. */
const MAX_BYTES = 2 ** 29;

/**
 * Reads a text file; one that begins as gzip files do is decompressed.
 * @throws InputError when it cannot be read.
 */
export function readTextFile(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new InputError(file, 0, missing ? 'there is no such file' : messageOf(error));
  }
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
      bytes = gunzipSync(bytes, { maxOutputLength: MAX_BYTES });
    }
    return bytes.toString('utf8');
  } catch (error) {
    throw new InputError(file, 0, `not a whole gzip file: ${messageOf(error)}`);
  }
}

/**
 * Writes a text file, compressed when its name ends in `.gz`.
 * @throws InputError when it cannot be written.
 */
export function writeTextFile(file: string, text: string): void {
  try {
    writeFileSync(file, file.endsWith('.gz') ? gzipSync(text) : text);
  } catch (error) {
    throw new InputError(file, 0, `cannot be written: ${messageOf(error)}`);
  }
}

/** Whether both names mean one file that exists. */
export function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
