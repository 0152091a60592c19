import { guestName } from '../machine/tree.js';
import { commonChecks, RELEVANT } from './common.js';
import { FIND_DISKS, testDisk } from './disks.js';
import type { Check, Scenario } from './scenario.js';

/** The first change is from DMA; from DMA-FQ to DMA there is a new domain in the same kind of STE. */
const TYPES = ['identity', 'DMA', 'DMA-FQ', 'DMA', 'identity', 'DMA-FQ'];
const REBINDS = 10;
const READ_BYTES = 2 << 20;

/** Drivers that come and go, in domains of all types. */
export const domains: Scenario = {
  name: 'domains',
  title: 'unbind and bind, identity and translated domains',
  prepare() {
    const disks = [
      testDisk({ name: 'main', streamId: 0x20, mebibytes: 4 }),
      testDisk({ name: 'demand', streamId: 0x30, mebibytes: 4, mirror: 'demand' }),
      testDisk({ name: 'sync', streamId: 0x31, mebibytes: 4, mirror: 'invalidate' }),
    ];
    return {
      devices: disks.map(({ options }) => options),
      relevant: new RegExp(`${RELEVANT.source}|^(type|sum) `, 'i'),
      script: `${FIND_DISKS}
cd /sys/bus/platform/drivers/virtio-mmio
sum() { echo "sum $1 $(dd if=$(disk $2) bs=64k count=32 iflag=direct 2>/dev/null | md5sum | cut -c1-32)"; }
visit() {
  p=$(readlink -f $(dirname $(readlink -f /sys/block/$(basename $(disk $1))))/../..)
  d=$(basename $p)
  n=0
  for t in ${TYPES.join(' ')}; do
    n=$((n + 1))
    echo $d >unbind
    echo $t >$p/iommu_group/type || echo "type $t failed"
    echo "type $1 $n $(cat $p/iommu_group/type)"
    echo $d >bind
    sum $1-$n $1
  done
  for i in $(seq ${REBINDS}); do
    echo $d >unbind
    echo $d >bind
    dd if=$(disk $1) bs=64k count=4 iflag=direct of=/dev/null 2>/dev/null || echo "rebind $i failed"
  done
  echo "type $1 done"
}
visit main
visit demand
visit sync
`,
      checks: (finished) => {
        const { machine, log } = finished;
        const result = [...commonChecks(finished)];
        for (const disk of disks) {
          const { name } = disk.options;
          const sum = disk.original(0, READ_BYTES);
          const wrong = TYPES.filter(
            (type, i) =>
              !log.includes(`type ${name} ${i + 1} ${type}\n`) ||
              !log.includes(`sum ${name}-${i + 1} ${sum}`),
          );
          const device = machine.devices.get(name)!;
          result.push(
            {
              name: `disk ${name} (${guestName(device)}): the same data in ${TYPES.length} domains`,
              isRight: wrong.length === 0,
              seen: wrong.join(' '),
            },
            rebound(log, name, device.counts.resets),
          );
        }
        return result;
      },
    };
  },
};

function rebound(log: string, name: string, resets: number): Check {
  return {
    name: `disk ${name}: driver unbound and bound ${REBINDS} more times`,
    isRight: log.includes(`type ${name} done`) && resets >= TYPES.length + REBINDS,
    seen: `${resets} resets`,
  };
}
