import { pino } from 'pino';
import { expect, test } from 'vitest';
import { SparseMemory } from '../../src/memory/sparse-memory.js';
import { Smmu } from '../../src/smmu.js';
import { Translation } from '../../src/transaction/translation.js';

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly count?: number;
  readonly streamId?: number;
  readonly event?: number;
}

/** A vSMMU that logs through pino, and the lines so far. */
function logged(): { smmu: Smmu; lines: Line[] } {
  const lines: Line[] = [];
  const logger = pino(
    { level: 'debug' },
    { write: (line: string) => void lines.push(JSON.parse(line) as Line) },
  );
  const memory = new SparseMemory([{ base: 0x4000_0000, byteLength: 0x10_0000 }]);
  return { smmu: new Smmu({ memory, logger }), lines };
}

test('a storm of faults writes the first ten lines, then one at each doubling', () => {
  const { smmu, lines } = logged();
  smmu.writeRegister(0x80, 8, 0x4000_0000);
  smmu.writeRegister(0x88, 4, 6);
  smmu.writeRegister(0x20, 4, 1);
  const result = new Translation();
  for (let i = 0; i < 1000; i++) smmu.translate(5, -1, 0, 0x1000 * i, 0, result);
  const faults = lines.filter(({ msg }) => msg === 'a device access faulted');
  expect(faults.map(({ count }) => count)).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 64, 128, 256, 512,
  ]);
  // C_BAD_STE at pino's level for warnings.
  expect(faults[0]).toMatchObject({ level: 40, streamId: 5, event: 4 });
});

test('what happens only a few times is logged for debugging', () => {
  const { smmu, lines } = logged();
  smmu.writeRegister(0x20, 4, 1);
  smmu.writeRegister(0x20, 4, 1);
  expect(lines).toMatchObject([{ level: 20, msg: 'CR0 written', before: 0, now: 1 }]);
});

test('an access to no register is logged, and answered as if there were none', () => {
  const { smmu, lines } = logged();
  smmu.writeRegister(0x3, 4, 7);
  expect(smmu.readRegister(0x2_0000, 4)).toBe(0);
  expect(lines).toMatchObject([
    { level: 40, msg: 'write to no register', offset: '0x3', size: 4 },
    { level: 40, msg: 'read of no register', offset: '0x20000', size: 4 },
  ]);
});
