import type { Check, Finished } from './scenario.js';

/** Lines of the guest's log that every scenario shows. */
export const RELEVANT =
  /smmu|iommu|@@|blk|vd[a-z]|hwrng|records|failed|not (logged|there)|BUG|WARN|Call trace|timeout|rror|md5|[0-9a-f]{32} /i;

/** What holds for every run. */
export function commonChecks({ machine, log }: Finished): Check[] {
  const { differences } = machine;
  const broken = [...machine.devices.values()].filter(({ isBroken }) => isBroken);
  return [
    { name: 'the guest came to its end', isRight: /^@@END/m.test(log) },
    {
      name: 'the kernel is content',
      isRight:
        !/BUG:|WARNING:|Call trace|Kernel panic|CMD_SYNC timeout|insmod \S+ failed|not (logged|there):/.test(
          log,
        ),
    },
    {
      name: 'no queue of a device broke',
      isRight: broken.length === 0,
      seen: broken.map(({ name }) => name).join(' '),
    },
    {
      name: 'every DMA as the reference walks it',
      isRight: differences.count === 0 && (differences.compared > 0 || !machine.isChecked),
      seen: `${differences.compared} compared, ${differences.count} different`,
    },
  ];
}
