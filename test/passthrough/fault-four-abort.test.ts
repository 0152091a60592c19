import { ABORT_CASES, faultTests } from './command-faults.js';

faultTests(4, ABORT_CASES);
