import { describe, expect, test, vi } from 'vitest';
import { parseConformanceCases } from '../../src/fixtures/conformance-case.js';
import { compareConformance } from '../../src/fixtures/conformance-compare.js';
import { parseConformanceResults } from '../../src/fixtures/conformance-result.js';
import { runConformanceCase } from '../../src/fixtures/conformance-run.js';
import type { PhysicalBackend } from '../../src/passthrough/backend.js';
import { Smmu as Counted } from '../../src/smmu.js';
import { CASES_FILE, readText, RESULTS_FILE } from '../fixtures/conformance-files.js';

const calls = vi.hoisted(() => ({ attached: 0, invalidated: 0, isRetired: false }));

// Every vSMMU that a case makes has a passthrough device, on a StreamID that no case uses.
vi.mock('../../src/smmu.js', async (original) => {
  const { Smmu } = await original<typeof import('../../src/smmu.js')>();
  /** No case has an STE for it. */
  const SID = 0xfff0;
  const backend: PhysicalBackend = {
    allocate: () => 1,
    attach: () => {
      calls.attached++;
    },
    destroy: () => undefined,
    bind: () => 2,
    invalidate: () => {
      calls.invalidated++;
    },
  };
  class WithDevice extends Smmu {
    constructor(options: ConstructorParameters<typeof Smmu>[0]) {
      // Most of the time a case takes is that of the room for 65,536 translations.
      super({ ...options, cache: { entries: 4096 } });
      const passthrough = this.passthrough();
      const physical = passthrough.addPhysical(backend);
      void passthrough.attach(SID, { physical, device: 1 });
      if (calls.isRetired) void passthrough.deviceOf(SID)!.retire();
    }
  }
  return { Smmu: WithDevice };
});

describe('a vSMMU with a passthrough device that the guest leaves alone', () => {
  const cases = parseConformanceCases('cases.jsonl', readText(CASES_FILE));
  const results = parseConformanceResults('results.jsonl', readText(RESULTS_FILE), cases);

  function differences() {
    expect(Counted.name).toBe('WithDevice');
    Object.assign(calls, { attached: 0, invalidated: 0 });
    const compared = cases.map((one, i) =>
      compareConformance(one, runConformanceCase(one), results[i]!),
    );
    expect(calls.attached).toBeGreaterThan(cases.length);
    expect(calls.invalidated).toBe(0);
    return compared.flatMap((one) => one.differences);
  }

  test('and that is retired, differs nowhere from one without', () => {
    calls.isRetired = true;
    expect(differences()).toEqual([]);
  });

  test('translates as one without; its event queue has a C_BAD_STREAMID after CFGI_ALL', () => {
    calls.isRetired = false;
    const fields = new Set(differences().map(({ field }) => field));
    for (const field of ['ok', 'pa', 'segments', 'CMDQ_CONS', 'GERROR', 'CR0ACK']) {
      expect(fields).not.toContain(field);
    }
    expect(fields).toContain('EVENTQ_PROD');
  });
});
