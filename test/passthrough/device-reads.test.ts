import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { RecordingMemory } from '../../src/memory/recording-memory.js';
import { CMDQ, CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import { CD_TABLE, STREAM_TABLE } from '../transaction/machine.js';
import {
  atcInv,
  CFGI_ALL,
  cfgiCd,
  cfgiCdAll,
  cfgiRange,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  GBPA_BYPASS,
  Rig,
  STES,
  TLBI_ALL,
  tlbiAsid,
  tlbiVa,
  type SteName,
} from './device-rig.js';

const QUEUES = EVENTQEN | CMDQEN;
/** L1STDs, each with the STEs of 64 StreamIDs. */
const L1 = STREAM_TABLE + 0x2_0000;
const SIDS = [0x02, 0x41, 0x81];
const NAMES = Object.keys(STES) as SteName[];

/** What a read was of, by where it is and how long; the manual has their sizes. */
function kindOf(address: number, words: number): string {
  if (address >= CMDQ && address < CMDQ + (16 << 6) && words === 4) return 'command';
  if (address >= L1 && address < L1 + 32 && words === 2) return 'L1STD';
  if (address >= STREAM_TABLE && address < STREAM_TABLE + 0x4000 && words === 16) return 'STE';
  return `0x${address.toString(16)} with ${words} words`;
}

async function make(): Promise<{ rig: Rig; memory: RecordingMemory }> {
  // The rig's memory is there only when the vSMMU that is given it is.
  const made: { rig?: Rig } = {};
  const ram = (): GuestMemory => made.rig!.machine.ram;
  const memory = new RecordingMemory({
    load: (...args) => ram().load(...args),
    load64: (...args) => ram().load64(...args),
    store: (...args) => ram().store(...args),
    loadBytes: (...args) => ram().loadBytes(...args),
    storeBytes: (...args) => ram().storeBytes(...args),
    compareExchange: (...args) => ram().compareExchange(...args),
  });
  const rig = await Rig.make({ memory });
  made.rig = rig;
  rig.machine.start(0);
  // FMT=1, SPLIT=6, LOG2SIZE=8; Span=7.
  rig.machine.write64(R.STRTAB_BASE, BigInt(L1)).write(R.STRTAB_BASE_CFG, 0x1_0188);
  for (let i = 0; i < 4; i++) {
    rig.machine.put(L1 + 8 * i, BigInt(STREAM_TABLE + 64 * 64 * i) | 7n);
  }
  // With substreams, so that there are CDs and L1CDs to read, and tables behind them.
  rig.machine.put(CD_TABLE + 0x1_0000, BigInt(CD_TABLE) | 1n);
  for (const sid of SIDS) await rig.device(sid);
  rig.machine.write(R.CR0, QUEUES);
  return { rig, memory };
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('ste', 'ste', 'cfgi', 'range', 'all', 'cd', 'tlbi', 'enable', 'gbpa'),
    sid: fc.constantFrom(...SIDS, 0x03),
    name: fc.constantFrom(...NAMES, 's1' as const, 's1' as const),
    bit: fc.boolean(),
  }),
  { minLength: 120, maxLength: 160 },
);

describe('reads of the guest’s memory with passthrough devices only', () => {
  test('are of commands, L1STDs and STEs, each as often as it must be', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const { rig, memory } = await make();
        let isEnabled = false;
        let commands = 0;
        let lookups = 0;
        const issue = (...some: (readonly [bigint, bigint])[]): void => {
          rig.machine.command(...some, CMD_SYNC);
          commands += some.length + 1;
        };
        for (const { kind, sid, name, bit } of list) {
          const looks = isEnabled ? SIDS.filter((one) => one === sid).length : 0;
          if (kind === 'ste') rig.ste(sid, name);
          if (kind === 'ste' || kind === 'cfgi') {
            issue(cfgiSte(sid));
            lookups += looks;
          } else if (kind === 'range') {
            issue(cfgiRange(sid, 5));
            lookups += isEnabled && sid === 0x03 ? 1 : looks;
          } else if (kind === 'all') {
            issue(CFGI_ALL);
            lookups += isEnabled ? SIDS.length : 0;
          } else if (kind === 'cd') {
            issue(cfgiCd(sid, bit ? 3 : 0), cfgiCdAll(sid), atcInv(sid));
          } else if (kind === 'tlbi') {
            issue(bit ? TLBI_ALL : tlbiAsid(2), tlbiVa(2, 0x8000n));
          } else if (kind === 'enable') {
            if (bit && !isEnabled) lookups += SIDS.length;
            isEnabled = bit;
            rig.machine.write(R.CR0, bit ? QUEUES | SMMUEN : QUEUES);
          } else {
            rig.machine.write(R.GBPA, bit ? GBPA_ABORT : GBPA_BYPASS);
          }
        }
        expect(rig.isStopped).toBe(false);
        const counts: Record<string, number> = { command: 0, L1STD: 0, STE: 0 };
        for (const { address, words, update } of memory.fetches) {
          const of = update ? 'an update' : kindOf(address, words.length);
          counts[of] = (counts[of] ?? 0) + 1;
        }
        expect(counts).toEqual({ command: commands, L1STD: lookups, STE: lookups });
        const { walks, cdFetches, steFetches } = rig.machine.smmu.stats();
        expect([walks, cdFetches, steFetches]).toEqual([0, 0, 0]);
      }),
      { numRuns: 40 },
    );
  });
});
