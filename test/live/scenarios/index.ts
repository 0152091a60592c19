import { domains } from './domains.js';
import { gerror, overflow } from './errors.js';
import { events } from './events.js';
import { rng } from './rng.js';
import { short } from './short.js';
import type { Scenario } from './scenario.js';
import { VARIANTS } from './variants.js';

/** All scenarios, in the order in which they are run. */
export const SCENARIOS: readonly Scenario[] = [
  rng,
  short,
  ...VARIANTS,
  events,
  overflow,
  gerror,
  domains,
];
