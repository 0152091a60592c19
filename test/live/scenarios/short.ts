import { Entropy } from '../devices/entropy.js';
import { commonChecks, RELEVANT } from './common.js';
import { FIND_DISKS, md5, testDisk } from './disks.js';
import type { Scenario } from './scenario.js';

const STREAM = 0x20;
const KIB = 1024;
/** Nothing is mapped there. */
const READ_AT = 0x1_2345_6000n;

/** A little of everything, for a recording that is short. */
export const short: Scenario = {
  name: 'short',
  title: 'random numbers, a few blocks and one fault: worth a recording',
  prepare() {
    const disk = testDisk({ name: 'main', streamId: STREAM, mebibytes: 1 });
    const entropy = { name: 'rng', streamId: 0x1234, device: new Entropy() };
    return {
      devices: [entropy, disk.options],
      relevant: RELEVANT,
      script: `${FIND_DISKS}
main=$(disk main)
dd if=/dev/hwrng bs=1k count=4 2>/dev/null >/tmp/x
dd if=$main bs=64k count=4 iflag=direct 2>/dev/null | md5sum
dd if=$main bs=4k skip=128 count=64 iflag=direct 2>/dev/null | md5sum
mark UNMAPPED
wait_log '0x0*123456000'
dd if=/tmp/x of=$main bs=4k seek=64 oflag=direct conv=fsync 2>/dev/null
dd if=$main bs=4k skip=64 count=1 iflag=direct 2>/dev/null | md5sum
`,
      mark: (_, { machine }) => {
        machine.checkedDmas.get('main')!.read(READ_AT, new Uint8Array(8));
      },
      checks: (finished) => [
        ...commonChecks(finished),
        {
          name: 'read, written and read back',
          isRight:
            finished.log.includes(disk.original(0, 256 * KIB)) &&
            finished.log.includes(disk.now(256 * KIB, 4 * KIB)) &&
            disk.now(256 * KIB, 4 * KIB) !== md5(Buffer.alloc(4 * KIB)),
        },
        {
          name: 'the driver reports the fault',
          isRight: /0x0*123456000/.test(finished.log),
        },
      ],
    };
  },
};
