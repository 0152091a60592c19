import { parseExpected, parseLeaves } from '../fixtures/expectations.js';
import { verifyCapture } from '../fixtures/verify.js';
import { openCapture, openCaptureText } from './open-capture.js';
import { Progress } from './progress.js';
import { Exit, type Terminal } from './terminal.js';

/** Mismatches that are printed. */
const SHOWN = 10;

/** `vsmmu verify`: compares every line of `expected.jsonl` and `leaves.jsonl` with the library. */
export async function verify(
  terminal: Terminal,
  folder: string,
  options: { readonly json?: true },
): Promise<number> {
  const { out, colors } = terminal;
  const capture = openCapture(folder);
  const expected = openCaptureText(folder, 'expected.jsonl');
  const leaves = openCaptureText(folder, 'leaves.jsonl');
  const lines = linesIn(expected.text) + linesIn(leaves.text);
  const progress = new Progress(terminal, 'checking', lines);
  let verification;
  try {
    verification = verifyCapture(
      capture,
      parseExpected(expected.file, expected.text),
      parseLeaves(leaves.file, leaves.text),
      {
        show: SHOWN,
        progress: (done) => {
          progress.update(done);
        },
      },
    );
  } finally {
    progress.stop();
  }
  const { translations, leaves: checkedLeaves, skipped, mismatches, first } = verification;
  if (options.json) {
    out.line(JSON.stringify({ translations, leaves: checkedLeaves, skipped, mismatches, first }));
  } else {
    const summary = `checked ${translations} translations, ${checkedLeaves} leaves: ${mismatches} mismatches`;
    out.line(mismatches === 0 ? colors.green(summary) : colors.red(summary));
    for (const line of first) out.line(line);
    if (skipped > 0) out.line(`${skipped} lines belong to stage 2 and were not checked`);
  }
  await out.flush();
  return mismatches > 0 ? Exit.found : Exit.fine;
}

function linesIn(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}
