import { Command, CommandOpcode, get, set } from 'vsmmu';
import { CommandTap, type CommandChange } from '../machine/command-tap.js';
import { pagesOf } from '../report/command-counts.js';
import type { Mutant, MutantFault } from './mutant.js';

const { TLBI_NH_VA, CFGI_CD, PREFETCH_CONFIG } = Command;
const { ASID, NUM } = TLBI_NH_VA.fields;

/** A fault in commands: `strike` changes one, and says whether it has. */
function fault(strike: (words: Uint32Array, at: number) => boolean): MutantFault {
  let strikes = 0;
  const change: CommandChange = (words, at) => {
    if (strike(words, at)) strikes++;
  };
  return {
    wrappers: { memory: (memory, smmu) => new CommandTap(memory, smmu, change) },
    strikes: () => strikes,
  };
}

/** Makes a command one that does nothing, of the same stream or none. */
function ignore(words: Uint32Array, at: number): true {
  words.fill(0, at, at + 4);
  set(words, at, CommandOpcode, PREFETCH_CONFIG.opcode);
  return true;
}

/** Faults that are made of a command which the vSMMU gets otherwise than the guest wrote it. */
export const COMMAND_MUTANTS: readonly Mutant[] = [
  {
    name: 'tlbi',
    title: 'one TLBI in 100 is ignored',
    scenario: 'blk',
    make: () => {
      let seen = 0;
      return fault(
        (words, at) => pagesOf(words, at) > 0 && ++seen % 100 === 0 && ignore(words, at),
      );
    },
  },
  {
    name: 'cfgi-cd',
    title: 'the CFGI_CDs of one change of domain are ignored',
    scenario: 'domains',
    make: () => {
      // A driver that replaces a CD names it up to three times: invalid, changed, valid.
      const seen = new Map<number, number>();
      return fault((words, at) => {
        if (get(words, at, CommandOpcode) !== CFGI_CD.opcode) return false;
        const streamId = get(words, at, CFGI_CD.fields.StreamID);
        const count = (seen.get(streamId) ?? 0) + 1;
        seen.set(streamId, count);
        return count > FIRST_CD_COMMANDS && ignore(words, at);
      });
    },
  },
  {
    name: 'range',
    title: 'a range of several pages is one page short',
    scenario: 'blk',
    make: () =>
      fault((words, at) => {
        const num = get(words, at, NUM);
        if (pagesOf(words, at) < 2 || num === 0) return false;
        set(words, at, NUM, num - 1);
        return true;
      }),
  },
  {
    name: 'asid',
    title: 'one TLBI in 100 names another ASID',
    scenario: 'blk',
    make: () => {
      let seen = 0;
      return fault((words, at) => {
        if (pagesOf(words, at) === 0 || ++seen % 100 !== 0) return false;
        set(words, at, ASID, get(words, at, ASID) ^ 1);
        return true;
      });
    },
  },
];

/** When a device is first attached: those change nothing that anybody has used. */
const FIRST_CD_COMMANDS = 3;
