import type { FeatureOptions } from 'vsmmu';
import { Entropy } from '../devices/entropy.js';
import { MirrorDma } from '../check/stream-dma.js';
import { commonChecks, RELEVANT } from './common.js';
import { FIND_DISKS, testDisk, type TestDisk } from './disks.js';
import type { Check, Finished, Running, Scenario, ScenarioRun, Setting } from './scenario.js';

const MIB = 1 << 20;
/** Where the guest writes on each disk, and how much. */
const WRITTEN = { at: 2 * MIB, bytes: MIB } as const;

/** What may differ from one blk scenario to another. */
export interface BlkOptions {
  readonly name: string;
  readonly title: string;
  /** Size of the main disk, all of which is read. */
  readonly mebibytes: number;
  readonly features?: FeatureOptions;
  readonly cpus?: number;
  readonly kernelArguments?: string;
  /** StreamID of the random numbers: above 2^8 only where the stream table reaches it. */
  readonly entropyStream?: number;
  /** What else must be so. */
  readonly more?: (finished: Finished) => Check[];
  /** Called each time that the guest has been served. */
  readonly served?: (running: Running, disks: readonly TestDisk[]) => void;
}

/** Reads, writes and mixed parallel traffic on four disks, two of which know nothing but a mirror's IOAS. */
export function blkScenario(options: BlkOptions): Scenario {
  return {
    name: options.name,
    title: options.title,
    prepare: (setting) => prepare(options, setting),
  };
}

function prepare(options: BlkOptions, setting: Setting): ScenarioRun {
  const { mebibytes, features, cpus, kernelArguments, entropyStream = 0x1234 } = options;
  const disks = [
    testDisk({ name: 'main', streamId: 0x20, mebibytes, isSegmented: true }),
    testDisk({ name: 'file', streamId: 0x21, mebibytes: 4, folder: setting.folder }),
    testDisk({ name: 'demand', streamId: 0x30, mebibytes: 4, mirror: 'demand' }),
    testDisk({
      name: 'sync',
      streamId: 0x31,
      mebibytes: 4,
      mirror: 'invalidate',
      isSegmented: true,
    }),
  ];
  const entropy = { name: 'rng', streamId: entropyStream, device: new Entropy() };
  return {
    devices: [entropy, ...disks.map(({ options: device }) => device)],
    script: script(mebibytes),
    relevant: new RegExp(`${RELEVANT.source}|^(sum|group) `, 'i'),
    ...(features === undefined ? {} : { features }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(kernelArguments === undefined ? {} : { kernelArguments }),
    served: (running) => options.served?.(running, disks),
    checks: (finished) => [
      ...commonChecks(finished),
      ...checks(finished, disks, mebibytes),
      ...(options.more?.(finished) ?? []),
    ],
  };
}

function script(mebibytes: number): string {
  return `${FIND_DISKS}
sum() { echo "sum $1 $(md5sum | cut -c1-32)"; }
main=$(disk main)
dd if=$main bs=1M iflag=direct count=${mebibytes} 2>/dev/null | sum all
dd if=/dev/hwrng bs=1k count=4 2>/dev/null >/tmp/x
dd if=/dev/urandom bs=1k count=1020 2>/dev/null >>/tmp/x
sum random </tmp/x
for d in main file demand sync; do
  dev=$(disk $d)
  dd if=/tmp/x of=$dev bs=64k seek=32 oflag=direct conv=fsync 2>/dev/null
  dd if=$dev bs=64k skip=32 count=16 iflag=direct 2>/dev/null | sum back-$d
done
echo "mixed traffic"
for d in main file demand sync; do
  dev=$(disk $d)
  ( dd if=$dev bs=64k count=32 iflag=direct 2>/dev/null | sum low-$d ) &
  ( dd if=$dev bs=4k skip=768 count=256 iflag=direct 2>/dev/null | sum high-$d ) &
  dd if=/tmp/x of=$dev bs=4k seek=512 oflag=direct conv=fsync 2>/dev/null &
done
dd if=/dev/hwrng bs=1k count=16 2>/dev/null | wc -c &
wait
echo 3 >/proc/sys/vm/drop_caches
for d in main file demand sync; do
  dd if=$(disk $d) bs=1M count=4 2>/dev/null | sum whole-$d
done
for g in /sys/kernel/iommu_groups/*; do
  echo "group \${g##*/} $(cat $g/type) $(ls $g/devices)"
done
`;
}

function checks({ machine, log }: Finished, disks: TestDisk[], mebibytes: number): Check[] {
  const sums = new Map<string, string>();
  for (const [, name, sum] of log.matchAll(/^sum (\S+) ([0-9a-f]{32})/gm)) sums.set(name!, sum!);
  const same = (name: string, found: string, expected: string | undefined): Check => ({
    name,
    isRight: sums.get(found) !== undefined && sums.get(found) === expected,
  });
  const [main] = disks;
  const result = [
    same(
      `${mebibytes} MiB read with the right checksum`,
      'all',
      main!.original(0, mebibytes * MIB),
    ),
  ];
  for (const disk of disks) {
    const { name, mirror } = disk.options;
    const kind = mirror === undefined ? '' : `, mirror on ${mirror}`;
    const parts = [
      same('back', `back-${name}`, sums.get('random')),
      same('disk', 'random', disk.now(WRITTEN.at, WRITTEN.bytes)),
      same('low', `low-${name}`, disk.original(0, 2 * MIB)),
      same('high', `high-${name}`, disk.original(3 * MIB, MIB)),
      same('whole', `whole-${name}`, disk.now(0, 4 * MIB)),
    ];
    const wrong = parts.filter(({ isRight }) => !isRight).map((part) => part.name);
    result.push(
      {
        name: `disk ${name}${kind}: written, read back, mixed traffic`,
        isRight: wrong.length === 0,
        seen: wrong.join(' '),
      },
      {
        name: `disk ${name}: flushed, no request failed`,
        isRight: disk.block.requests.flushes > 0 && disk.block.failures === 0,
        seen: `${JSON.stringify(disk.block.requests)}, most pieces ${disk.block.mostPieces}`,
      },
    );
    const dma = machine.dmas.get(name);
    if (dma instanceof MirrorDma) {
      const seen = `${dma.hits} found, ${dma.misses} missed`;
      const isRight = dma.hits > 1000 && dma.misses > 0 === (mirror === 'demand');
      result.push({ name: `disk ${name}: served from the mirror's IOAS alone`, isRight, seen });
    }
  }
  result.push({
    name: 'requests have several pieces of data',
    isRight: main!.block.mostPieces > 3,
    seen: `${main!.block.mostPieces} at most`,
  });
  const groups = new Set(
    [...log.matchAll(/^group (\d+) \S+ \S+\.virtio_mmio$/gm)].map((m) => m[1]),
  );
  result.push({
    name: 'each disk has its own IOMMU group',
    isRight: groups.size === disks.length + 1,
    seen: `${groups.size} groups`,
  });
  return result;
}
