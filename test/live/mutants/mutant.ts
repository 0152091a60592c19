import type { Wrappers } from '../machine/vsmmu.js';

/** A fault of a vSMMU, made from outside, that the rig must see. */
export interface Mutant {
  readonly name: string;
  readonly title: string;
  /** The scenario in which it does harm. */
  readonly scenario: string;
  /** A fresh fault: how often it has struck is in `strikes`. */
  make(): MutantFault;
}

/** A fault in one machine. */
export interface MutantFault {
  readonly wrappers: Wrappers;
  /** How often it has struck. */
  strikes(): number;
}
