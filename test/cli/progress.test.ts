import { Writable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Progress } from '../../src/cli/progress.js';
import { Terminal } from '../../src/cli/terminal.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Does half of some work in `milliseconds`, and returns what was printed to stderr. */
function halfDone(milliseconds: number, isTTY: boolean): string {
  let text = '';
  const stderr = Object.assign(
    new Writable({
      write(chunk, _encoding, done) {
        text += String(chunk);
        done();
      },
    }),
    { isTTY },
  );
  vi.useFakeTimers();
  const progress = new Progress(
    new Terminal({ stdout: new Writable(), stderr, env: {} }),
    'checking',
    200,
  );
  progress.update(1);
  vi.advanceTimersByTime(milliseconds);
  progress.update(100);
  progress.stop();
  progress.stop();
  return text;
}

describe('progress', () => {
  test('shows a bar on a terminal once the work takes a while', () => {
    expect(halfDone(1000, true)).toContain(
      'checking [====================--------------------] 50%',
    );
  });

  test('is silent for short work, and when stderr is no terminal', () => {
    expect(halfDone(100, true)).toBe('');
    expect(halfDone(1000, false)).toBe('');
  });
});
