import { Entropy } from '../devices/entropy.js';
import type { Scenario } from './scenario.js';
import { commonChecks, RELEVANT } from './common.js';

/** The least: probe, reset, and a device that writes. */
export const rng: Scenario = {
  name: 'rng',
  title: 'probe, reset, 16 KiB of random numbers',
  prepare() {
    const device = new Entropy();
    return {
      devices: [{ name: 'rng', streamId: 0x1234, device }],
      relevant: RELEVANT,
      script: `
cat /sys/class/misc/hw_random/rng_current
dd if=/dev/hwrng bs=1024 count=16 of=/tmp/random
wc -c /tmp/random
ls /sys/kernel/iommu_groups/*/devices
`,
      checks: (finished) => [
        ...commonChecks(finished),
        {
          name: 'the driver found its features',
          isRight: /arm-smmu-v3 \S+: .*\(features 0x[0-9a-f]+\)/.test(finished.log),
        },
        { name: 'the guest got its bytes', isRight: finished.log.includes('16384 /tmp/random') },
        {
          name: 'the device gave at least as many',
          isRight: device.bytes >= 16_384,
          seen: `${device.bytes}`,
        },
      ],
    };
  },
};
