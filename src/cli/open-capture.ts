import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Capture } from '../fixtures/capture.js';
import { InputError } from '../fixtures/input-error.js';
import { readCapture, readCaptureText, readCompressedText } from '../node/capture-folder.js';

/**
 * Reads the capture in `folder`.
 * @throws InputError in plain words when there is none, or it is damaged.
 */
export function openCapture(folder: string): Capture {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) throw new InputError(folder, 0, 'there is no such folder');
  if (!stat.isDirectory()) {
    const problem = 'not a folder; a capture is a folder with capture.json and memory.bin.gz';
    throw new InputError(folder, 0, problem);
  }
  return readCapture(folder);
}

/** A text file of a capture, with the name that errors use. */
export interface CaptureText {
  readonly file: string;
  readonly text: string;
}

/**
 * Reads a text file of the capture in `folder`.
 * @throws InputError in plain words when it cannot be read.
 */
export function openCaptureText(folder: string, name: string): CaptureText {
  return { file: join(folder, name), text: readCaptureText(folder, name) };
}

/**
 * Reads a gzip-compressed text file of the capture in `folder`.
 * @throws InputError in plain words when it cannot be read.
 */
export function openCompressedText(folder: string, name: string): CaptureText {
  return { file: join(folder, name), text: readCompressedText(folder, name) };
}
