import { COMMAND_MUTANTS } from './commands.js';
import type { Mutant } from './mutant.js';
import { TABLE_MUTANTS } from './tables.js';

/** All mutants. */
export const MUTANTS: readonly Mutant[] = [...COMMAND_MUTANTS, ...TABLE_MUTANTS];
