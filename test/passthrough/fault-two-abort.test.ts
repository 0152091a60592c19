import { ABORT_CASES, faultTests } from './command-faults.js';

faultTests(2, ABORT_CASES);
