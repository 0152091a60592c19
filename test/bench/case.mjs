// One benchmark: `node case.mjs NAME` prints its unit and samples.
import { cases } from './cases.mjs';

const { unit, measure } = cases[process.argv[2]];
console.log(JSON.stringify({ unit, samples: measure() }));
