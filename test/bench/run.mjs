// Runs every benchmark in a process of its own on the built package and prints a table, or with
// --json one object a line. Arguments other than --json choose cases by name.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { cases } from './cases.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
if (!existsSync(`${root}dist/index.js`)) {
  console.error('dist is missing: npm run build');
  process.exit(2);
}
const json = process.argv.includes('--json');
const wanted = process.argv.slice(2).filter((argument) => argument !== '--json');
const unknown = wanted.find((name) => !(name in cases));
if (unknown !== undefined) {
  console.error(`no benchmark ${unknown}: there are ${Object.keys(cases).join(', ')}`);
  process.exit(2);
}

const table = new Table({ head: ['name', 'median', 'best', 'worst', 'unit'] });
for (const name of wanted.length > 0 ? wanted : Object.keys(cases)) {
  const child = spawnSync(
    process.execPath,
    [...(cases[name].flags ?? []), `${root}test/bench/case.mjs`, name],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (child.status !== 0) {
    console.error(`${name} failed`);
    process.exit(1);
  }
  const { unit, samples } = JSON.parse(child.stdout);
  samples.sort((a, b) => a - b);
  const round = (value) => Math.round(value * 100) / 100;
  const median = round(samples[samples.length >> 1]);
  const best = round(samples[0]);
  const worst = round(samples[samples.length - 1]);
  if (json) console.log(JSON.stringify({ name, unit, median, best, worst }));
  else table.push([name, median, best, worst, unit]);
}
if (!json) {
  console.log(table.toString());
  console.log(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`);
}
