import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Hexadecimal with 0x. */
type Hex = string;

export interface OracleAccess {
  iova: Hex;
  write: boolean;
  size: number;
  streamId?: number;
}

/** Part of a case: what is done in this order, `commands` and `read` left to later tests. */
export interface OracleStep {
  memory?: [address: Hex, bytes: string][];
  registers?: Record<string, Hex>;
  accesses?: OracleAccess[];
  read?: string[];
}

export interface OracleCase extends OracleStep {
  id: string;
  category: string;
  streamId: number;
  drainEvents?: boolean;
  steps?: OracleStep[];
}

/** What became of one access. */
export interface OracleAnswer {
  ok: boolean;
  pa?: Hex;
  fault?: number | null;
  rawEvent?: string;
  segments?: [iova: Hex, pa: Hex, length: number][];
}

/** An entry of the results: of an access, or (with `regs`) of a `read`. */
export interface OracleEntry extends OracleAnswer {
  regs?: Record<string, Hex>;
  /** QEMU aborted: the rest of the case has no entries. */
  crash?: true;
  /** The architecture's answer without caches, where QEMU's is another one. */
  arm?: OracleAnswer;
}

export interface OracleResult {
  id: string;
  results: OracleEntry[];
}

function readLines<T>(name: string): T[] {
  const file = new URL(`../../fixtures/oracle/${name}`, import.meta.url);
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as T);
}

/** All cases with their results, in the order of the files. */
export function readCases(): { oracleCase: OracleCase; entries: OracleEntry[] }[] {
  const results = new Map(
    readLines<OracleResult>('results.jsonl.gz').map(({ id, results }) => [id, results]),
  );
  return readLines<OracleCase>('cases.jsonl.gz').map((oracleCase) => {
    const entries = results.get(oracleCase.id);
    if (entries === undefined) throw new RangeError(`no results of ${oracleCase.id}`);
    return { oracleCase, entries };
  });
}
