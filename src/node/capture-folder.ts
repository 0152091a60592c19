import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parseCapture, type Capture } from '../fixtures/capture.js';
import { InputError } from '../fixtures/input-error.js';

/** Decompressed bytes that a file of a capture may have: a damaged one must not fill the memory. */
const MAX_BYTES = 2 ** 31;

/**
 * Reads `capture.json` and `memory.bin.gz` from a capture folder.
 * @throws InputError when a file is missing or damaged.
 */
export function readCapture(folder: string): Capture {
  return parseCapture(
    { json: readCaptureText(folder, 'capture.json'), memory: gunzip(folder, 'memory.bin.gz') },
    `${folder.replace(/\/+$/, '')}/`,
  );
}

/**
 * Reads a text file of a capture folder.
 * @throws InputError when it cannot be read.
 */
export function readCaptureText(folder: string, name: string): string {
  return decode(folder, name, readFile(folder, name));
}

/**
 * Reads a gzip-compressed text file of a capture folder.
 * @throws InputError when it cannot be read.
 */
export function readCompressedText(folder: string, name: string): string {
  return decode(folder, name, gunzip(folder, name));
}

function decode(folder: string, name: string, bytes: Buffer): string {
  try {
    return bytes.toString('utf8');
  } catch (error) {
    // Longer than a string can be.
    throw new InputError(join(folder, name), 0, messageOf(error));
  }
}

function gunzip(folder: string, name: string): Buffer {
  const compressed = readFile(folder, name);
  try {
    return gunzipSync(compressed, { maxOutputLength: MAX_BYTES });
  } catch (error) {
    throw new InputError(join(folder, name), 0, `not a whole gzip file: ${messageOf(error)}`);
  }
}

function readFile(folder: string, name: string): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const problem = missing ? 'the file is missing' : messageOf(error);
    throw new InputError(join(folder, name), 0, problem);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
