import { randomTests } from './command-random.js';

randomTests(3);
