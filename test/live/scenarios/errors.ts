import { Event, Register } from 'vsmmu';
import type { Machine } from '../machine/machine.js';
import { commonChecks, RELEVANT } from './common.js';
import { FIND_DISKS, testDisk } from './disks.js';
import { loggedEvents } from './event-log.js';
import { FaultInjection } from './faults.js';
import type { Check, Finished, Scenario } from './scenario.js';

const STREAM = 0x20;
const STORM_AT = 0x2_0000_0000n;
const STORM = 300;
const LATER_AT = 0x3_3333_3000n;
const RELEVANT_HERE = new RegExp(`${RELEVANT.source}|event|0x[0-9a-f]{16}|overflow`, 'i');
/** Lines like "event received" are limited to ten in five seconds. */
const LOG_AGAIN = 'sleep 6';

/** More events than the queue holds: the driver says so, acknowledges, and gets those that follow. */
export const overflow: Scenario = {
  name: 'overflow',
  title: 'a full event queue, and its recovery',
  prepare() {
    const disk = testDisk({ name: 'main', streamId: STREAM, mebibytes: 4 });
    return {
      devices: [disk.options],
      relevant: RELEVANT_HERE,
      script: `${FIND_DISKS}
main=$(disk main)
mark STORM
wait_log 'EVTQ overflow'
${LOG_AGAIN}
mark LATER
wait_log '0x0*333333000'
dd if=$main bs=64k count=32 iflag=direct 2>/dev/null | md5sum
`,
      mark: (name, { machine }) => {
        const count = name === 'STORM' ? STORM : 1;
        const from = name === 'STORM' ? STORM_AT : LATER_AT;
        for (let i = 0; i < count; i++) readNothing(machine, from + BigInt(i) * 4096n);
      },
      checks: (finished) => {
        const { machine, log } = finished;
        const { F_TRANSLATION } = machine.vsmmu.current.stats().events;
        const seen = JSON.stringify(F_TRANSLATION);
        const lost = F_TRANSLATION?.overflowed ?? 0;
        return [
          ...commonChecks(finished),
          {
            name: 'the driver reports the overflow',
            isRight: log.includes('EVTQ overflow detected'),
          },
          {
            name: 'all events are in the queue, or lost to the overflow',
            isRight: lost > 0 && lost + F_TRANSLATION!.written === STORM + 1,
            seen,
          },
          {
            name: 'the overflow is acknowledged, and the queue empty',
            isRight: register(machine, 'EVENTQ_PROD') === register(machine, 'EVENTQ_CONS'),
          },
          {
            name: 'events are reported again',
            isRight: loggedEvents(log).some(({ iova }) => iova === LATER_AT),
          },
          goesOn(finished, disk.original(0, 2 << 20)),
        ];
      },
    };
  },
};

/** Global errors: an event that finds no memory, and a command that does not exist. */
export const gerror: Scenario = {
  name: 'gerror',
  title: 'global errors: an aborted event, an illegal command',
  prepare() {
    const disk = testDisk({ name: 'main', streamId: STREAM, mebibytes: 4 });
    const faults = new FaultInjection();
    return {
      devices: [disk.options],
      // The driver waits for a command with interrupts off: another CPU must take the one of the error.
      cpus: 2,
      wrappers: faults.wrappers,
      relevant: new RegExp(`${RELEVANT_HERE.source}|global|cmdq|command`, 'i'),
      script: `${FIND_DISKS}
main=$(disk main)
for i in /proc/irq/*; do [ -d $i/virtio0 ] && echo 2 >$i/smp_affinity; done
mark ABORT
wait_log 'global error'
mark LATER
wait_log '0x0*333333000'
mark ILLEGAL
taskset 2 dd if=$main bs=4k count=4 iflag=direct of=/dev/null
wait_log 'CMDQ error'
taskset 2 dd if=$main bs=64k count=32 iflag=direct 2>/dev/null | md5sum
`,
      mark: (name, { machine }) => {
        if (name === 'ILLEGAL') {
          faults.spoilCommand = true;
          return;
        }
        faults.abortEvent = name === 'ABORT';
        readNothing(machine, name === 'ABORT' ? STORM_AT : LATER_AT);
      },
      checks: (finished) => {
        const { machine, log } = finished;
        const stats = machine.vsmmu.current.stats();
        return [
          ...commonChecks(finished),
          {
            name: 'the driver reports the aborted event',
            isRight: log.includes('EVTQ write aborted'),
          },
          {
            name: 'events are reported again',
            isRight: loggedEvents(log).some(
              ({ iova, event }) => iova === LATER_AT && event === Event.F_TRANSLATION.id,
            ),
          },
          {
            name: 'the driver reports the illegal command',
            isRight: /CMDQ error.*Illegal command/.test(log) && stats.failedCommands === 1,
            seen: `${stats.failedCommands} failed`,
          },
          {
            name: 'all errors are acknowledged',
            isRight: register(machine, 'GERROR') === register(machine, 'GERRORN'),
          },
          goesOn(finished, disk.original(0, 2 << 20)),
        ];
      },
    };
  },
};

function readNothing(machine: Machine, iova: bigint): void {
  machine.checkedDmas.get('main')!.read(iova, new Uint8Array(8));
}

function register(machine: Machine, name: keyof typeof Register): number {
  return Number(machine.vsmmu.current.readRegister(Register[name].offset, 4));
}

function goesOn({ log }: Finished, sum: string): Check {
  return { name: 'the device goes on', isRight: log.includes(sum) };
}
