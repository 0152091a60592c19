import { describe, test } from 'vitest';
import { holds, QUEUE, randomTests } from './command-random.js';

randomTests(1, 2);

describe('accesses of an emulated device that take time', () => {
  test('do not let CONS pass what is not sent', () => holds(1, { ...QUEUE, access: 12 }, 80, 40));
});
