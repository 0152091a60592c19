import { ABORT_CASES, ILLEGAL_CASES, laterFaultTests } from './command-faults.js';

laterFaultTests(2, [...ILLEGAL_CASES, ...ABORT_CASES]);
