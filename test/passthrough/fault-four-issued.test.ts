import { ILLEGAL_CASES, faultTests } from './command-faults.js';

faultTests(4, ILLEGAL_CASES, ['issued']);
