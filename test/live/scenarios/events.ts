import { Event } from 'vsmmu';
import type { Machine } from '../machine/machine.js';
import { commonChecks, RELEVANT } from './common.js';
import { FIND_DISKS, testDisk } from './disks.js';
import { loggedEvents } from './event-log.js';
import type { Check, Scenario } from './scenario.js';

const STREAM = 0x20;
const READ_AT = 0x1_2345_6000n;
const WRITE_AT = 0xdead_0000n;

/** Accesses that the guest does not allow: its driver must say so, with what was wrong and where. */
export const events: Scenario = {
  name: 'events',
  title: 'unmapped and read-only DMA, as the driver reports it',
  prepare() {
    const disk = testDisk({ name: 'main', streamId: STREAM, mebibytes: 4 });
    const block = disk.block;
    let header = -1n;
    return {
      devices: [disk.options],
      relevant: new RegExp(`${RELEVANT.source}|event|0x[0-9a-f]{16}`, 'i'),
      script: `${FIND_DISKS}
main=$(disk main)
dd if=$main bs=4k count=4 iflag=direct of=/dev/null
mark UNMAPPED
wait_log '0x0*123456000'
wait_log '0x0*dead0000'
mark READONLY
dd if=$main bs=4k skip=8 count=1 iflag=direct of=/dev/null
wait_log '0x0*13 received\\|F_PERMISSION'
dd if=$main bs=64k count=32 iflag=direct | md5sum
grep -c '[.]iommu' /proc/interrupts
grep smmu /proc/interrupts
`,
      mark: (name, { machine }) => {
        if (name === 'UNMAPPED') unmapped(machine);
        if (name !== 'READONLY') return;
        block.once = (dma, chain) => {
          header = chain.pieces[0]!.iova;
          dma.write(header, new Uint8Array(8));
        };
      },
      checks: (finished) => {
        const logged = loggedEvents(finished.log);
        const has = (what: string, event: number, iova: bigint, isRead: boolean): Check => ({
          name: `the driver reports ${what}, with stream, address and direction`,
          isRight: logged.some(
            (each) =>
              each.event === event &&
              each.streamId === STREAM &&
              each.iova === iova &&
              each.isRead === isRead,
          ),
        });
        return [
          ...commonChecks(finished),
          has('a read of nothing', Event.F_TRANSLATION.id, READ_AT, true),
          has('a write to nothing', Event.F_TRANSLATION.id, WRITE_AT, false),
          has('a write to what is read-only', Event.F_PERMISSION.id, header, false),
          {
            name: 'no other events',
            isRight: logged.length === 3,
            seen: `${logged.length}`,
          },
          {
            name: 'the device goes on',
            isRight: finished.log.includes(disk.original(0, 2 << 20)) && block.failures === 0,
          },
        ];
      },
    };
  },
};

function unmapped(machine: Machine): void {
  const dma = machine.checkedDmas.get('main')!;
  dma.read(READ_AT, new Uint8Array(8));
  dma.write(WRITE_AT, new Uint8Array(8));
}
