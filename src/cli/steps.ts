import type { ExplainedStep } from '../transaction/explain.js';
import { hex } from '../memory/hex.js';
import { wrap } from './output.js';
import type { Terminal } from './terminal.js';

/** Characters of a line of fields. */
const WIDTH = 84;
const INDENT = '     ';

/** Prints the steps of an explained translation, numbered. */
export function printSteps(
  terminal: Terminal,
  iova: string,
  steps: readonly ExplainedStep[],
): void {
  const { out, colors } = terminal;
  out.line(`steps for ${iova}`);
  steps.forEach((step, i) => {
    const where = step.address < 0 ? '' : ` at ${hex(step.address)}`;
    out.line(`${String(i + 1).padStart(3)}. ${colors.bold(step.what)}${where}`);
    for (let first = 0; first < step.words.length; first += WORDS_PER_LINE) {
      const words = step.words.slice(first, first + WORDS_PER_LINE).map(padded);
      out.line(`${INDENT}${colors.dim(words.join(' '))}`);
    }
    const fields = step.fields.length === 0 ? [] : wrap(step.fields, WIDTH, '').split('\n');
    for (const line of fields) out.line(`${INDENT}${line}`);
    out.line(`${INDENT}${step.rule}`);
  });
}

const WORDS_PER_LINE = 4;

function padded(word: string): string {
  return `0x${word.slice(2).padStart(16, '0')}`;
}
