import { ABORT_CASES, ILLEGAL_CASES, faultTests } from './command-faults.js';

faultTests(1, [...ILLEGAL_CASES, ...ABORT_CASES]);
