import {
  isRegisterRead,
  parseConformanceCases,
  conformanceQuestions,
  type ConformanceCase,
} from '../fixtures/conformance-case.js';
import { compareConformance, type ConformanceDifference } from '../fixtures/conformance-compare.js';
import {
  formatConformanceResult,
  isRegisterAnswer,
  parseConformanceResults,
} from '../fixtures/conformance-result.js';
import { runConformanceCase, type ConformanceRun } from '../fixtures/conformance-run.js';
import { UsageError } from './arguments.js';
import { Progress } from './progress.js';
import { Exit, type Terminal } from './terminal.js';
import { isSameFile, readTextFile, writeTextFile } from './text-file.js';

/** Options of {@link conform}. */
export interface ConformOptions {
  /** File for our own answers. */
  readonly out?: string;
  readonly json?: true;
}

/** `vsmmu conform`: runs cases on the vSMMU, and compares its answers with the results of another. */
export async function conform(
  terminal: Terminal,
  casesFile: string,
  resultsFile: string | undefined,
  options: ConformOptions,
): Promise<number> {
  const { out } = terminal;
  for (const input of [casesFile, resultsFile]) {
    if (options.out !== undefined && input !== undefined && isSameFile(options.out, input)) {
      throw new UsageError(`--out ${options.out} would replace an input file`);
    }
  }
  const cases = parseConformanceCases(casesFile, readTextFile(casesFile));
  const results =
    resultsFile === undefined
      ? undefined
      : parseConformanceResults(resultsFile, readTextFile(resultsFile), cases);
  const runs = runAll(terminal, cases);
  if (options.out !== undefined) {
    const lines = runs.map(({ answers }, i) => formatConformanceResult(cases[i]!, answers));
    writeTextFile(options.out, lines.map((line) => `${line}\n`).join(''));
  }
  if (results === undefined) {
    printCounts(terminal, cases, runs, options);
    await out.flush();
    return Exit.fine;
  }
  const differences: ConformanceDifference[] = [];
  const allowances: Record<string, number> = {};
  const counts = { agree: 0, advisory: 0, differ: 0 };
  cases.forEach((one, i) => {
    const compared = compareConformance(one, runs[i]!, results[i]!);
    differences.push(...compared.differences);
    for (const code of compared.allowances) allowances[code] = (allowances[code] ?? 0) + 1;
    if (compared.differences.length > 0) counts.differ++;
    else if (compared.allowances.length > 0) counts.advisory++;
    else counts.agree++;
  });
  if (options.json) {
    out.line(JSON.stringify({ cases: cases.length, ...counts, allowances, differences }));
  } else {
    printComparison(terminal, cases.length, counts);
    for (const difference of differences) {
      out.line(describe(difference));
      if (out.full) await out.flush();
    }
  }
  await out.flush();
  return counts.differ > 0 ? Exit.found : Exit.fine;
}

function runAll(terminal: Terminal, cases: readonly ConformanceCase[]): ConformanceRun[] {
  const progress = new Progress(terminal, 'running', cases.length);
  try {
    return cases.map((one, i) => {
      const run = runConformanceCase(one);
      progress.update(i + 1);
      return run;
    });
  } finally {
    progress.stop();
  }
}

function printCounts(
  { out }: Terminal,
  cases: readonly ConformanceCase[],
  runs: readonly ConformanceRun[],
  { json }: ConformOptions,
): void {
  const reads = cases.flatMap(conformanceQuestions).filter(isRegisterRead).length;
  const answers = runs.flatMap((run) => run.answers);
  const accesses = answers.length - reads;
  const translated = answers.filter((answer) => !isRegisterAnswer(answer) && answer.ok).length;
  const faulted = accesses - translated;
  if (json) out.line(JSON.stringify({ cases: cases.length, accesses, translated, faulted, reads }));
  else {
    const ofAccesses = `${accesses} accesses, ${translated} translated, ${faulted} not`;
    out.line(`${cases.length} cases: ${ofAccesses}; ${reads} reads of registers`);
  }
}

function printComparison(
  { out, colors }: Terminal,
  cases: number,
  { agree, advisory, differ }: Record<'agree' | 'advisory' | 'differ', number>,
): void {
  const summary = `${cases} cases: ${agree} agree, ${advisory} advisory, ${differ} differ`;
  out.line(differ === 0 ? colors.green(summary) : colors.red(summary));
}

function describe(difference: ConformanceDifference): string {
  const { id, entry, question, field, ours, expected, reason, path } = difference;
  const remarks = [reason, path].filter((remark) => remark !== '');
  const remark = remarks.length === 0 ? '' : ` (${remarks.join('; ')})`;
  return `${id} entry ${entry}: ${question}: ${field} is ${ours}, expected ${expected}${remark}`;
}
