import { ILLEGAL_CASES, faultTests } from './command-faults.js';

faultTests(2, ILLEGAL_CASES);
