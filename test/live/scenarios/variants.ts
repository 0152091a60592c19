import { blkScenario } from './blk.js';
import type { Check, Finished, Scenario } from './scenario.js';

/** Bits of the features that the driver says it has found. */
const Found = { twoLevelStreamTable: 1 << 0, message: 1 << 7, rangeInvalidation: 1 << 15 } as const;
/** Of disks that are read completely where the size does not matter. */
const MEBIBYTES = 8;
/** Requests between two restores. */
const RESTORE_EVERY = 20;

/** Disks on SMMUs and kernels that differ. */
export const VARIANTS: readonly Scenario[] = [
  blkScenario({ name: 'blk', title: 'disks, strict invalidation', mebibytes: 32 }),
  blkScenario({
    name: 'lazy',
    title: 'disks, lazy invalidation',
    mebibytes: 32,
    kernelArguments: 'iommu.strict=0',
    more: (finished) => [
      {
        name: 'the kernel invalidates lazily',
        isRight: finished.log.includes('invalidation policy: lazy') && has(finished, 'DMA-FQ'),
      },
    ],
  }),
  blkScenario({
    name: 'msi',
    title: 'CMD_SYNC completed by a message',
    mebibytes: MEBIBYTES,
    features: { MSI: 1 },
    more: (finished) => [
      found(finished, 'message', true),
      {
        name: 'nearly every CMD_SYNC was completed by a message',
        isRight: finished.counters.commands.messages > 1000,
        seen: `${finished.counters.commands.messages}`,
      },
    ],
  }),
  blkScenario({
    name: 'linear',
    title: 'linear stream table',
    mebibytes: MEBIBYTES,
    entropyStream: 0x10,
    features: { ST_LEVEL: 0, SIDSIZE: 6 },
    more: (finished) => [found(finished, 'twoLevelStreamTable', false)],
  }),
  blkScenario({
    name: 'noril',
    title: 'without invalidation of ranges',
    mebibytes: MEBIBYTES,
    // Version 3.2 demands it, so this is an older one.
    features: { RIL: 0, ArchMinor: 1 },
    more: (finished) => [
      found(finished, 'rangeInvalidation', false),
      {
        name: 'no command names a range',
        isRight: finished.counters.commands.mostPages === 1,
      },
    ],
  }),
  blkScenario({
    name: 'smp',
    title: '2 CPUs',
    mebibytes: MEBIBYTES,
    cpus: 2,
    more: (finished) => [
      { name: 'the guest has 2 CPUs', isRight: finished.log.includes('Brought up 1 node, 2 CPUs') },
    ],
  }),
  blkScenario({
    name: 'restore',
    title: 'save and restore in the middle of requests',
    mebibytes: MEBIBYTES,
    served: ({ machine }, disks) => {
      for (const { block } of disks) {
        const { reads, writes } = block.requests;
        if ((reads + writes) % RESTORE_EVERY !== 0) continue;
        block.once ??= () => {
          machine.vsmmu.saveAndRestore();
        };
      }
    },
    more: ({ machine }) => [
      {
        name: 'restored in the middle of requests',
        isRight: machine.vsmmu.restores > 10,
        seen: `${machine.vsmmu.restores} times`,
      },
    ],
  }),
];

function found({ log }: Finished, feature: keyof typeof Found, wanted: boolean): Check {
  const features = Number(/\(features (0x[0-9a-f]+)\)/.exec(log)?.[1] ?? NaN);
  return {
    name: `the driver ${wanted ? 'uses' : 'does without'} ${feature}`,
    isRight: ((features & Found[feature]) !== 0) === wanted && !Number.isNaN(features),
  };
}

function has({ log }: Finished, domain: string): boolean {
  return new RegExp(`^group \\d+ ${domain} `, 'm').test(log);
}
