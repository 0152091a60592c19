import {
  atcInv,
  cfgiCd,
  cfgiCdAll,
  NH_ALL,
  nhAsid,
  nhVa,
  NSNH_ALL,
  prefetch,
  SYNC,
  type Entry,
} from './command-rig.js';
import type { World } from './command-world.js';

/** What happens next; each takes `n`, any number. */
export const STEPS = {
  tlbi: (w: World, n: number) => {
    w.issue([nhVa, nhAsid, nhVa][n % 3]!(w.tag()));
  },
  burst: (w: World, n: number) => {
    const entry = (i: number): Entry =>
      (n + i) % 3 === 0 ? cfgiCd(w.tag() & 0xffff, w.streamOf(n + i)) : nhVa(w.tag());
    w.issue(...Array.from({ length: 2 + (n % 7) }, (_, i) => entry(i)));
  },
  all: (w: World, n: number) => {
    w.issue(n % 2 === 0 ? NH_ALL : NSNH_ALL);
  },
  cd: (w: World, n: number) => {
    w.issue(cfgiCd(w.tag() & 0xffff, w.streamOf(n)));
  },
  cds: (w: World, n: number) => {
    w.issue(cfgiCdAll(w.streamOf(n)));
  },
  atc: (w: World, n: number) => {
    w.issue(atcInv(w.tag(), w.streamOf(n)));
  },
  hint: (w: World) => {
    w.issue(prefetch());
  },
  sync: (w: World) => {
    w.issue(SYNC);
  },
  ste: (w: World, n: number) => {
    w.changeSte(n);
  },
  answer: (w: World, n: number) => {
    w.answer(n, undefined);
  },
  refuse: (w: World, n: number) => {
    w.refuse(n);
  },
  acknowledge: (w: World) => {
    w.acknowledge();
  },
  queue: (w: World) => {
    w.switchQueue();
  },
  enable: (w: World) => {
    w.switchEnable();
  },
  retire: (w: World, n: number) => {
    w.retireOrBind(n);
  },
  access: (w: World) => {
    w.switchAccess();
  },
  restore: (w: World) => {
    w.restore();
  },
  mode: (w: World, n: number) => {
    w.changeMode(n);
  },
  wait: () => undefined,
} as const;
export type StepName = keyof typeof STEPS;
