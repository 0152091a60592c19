/** Sinks that can be made to fail, with the truth of what they hold. */
import { KernelIoas } from '../../src/fixtures/kernel-ioas.js';
import type { IoasSink, SinkCapabilities } from '../../src/mirror/sink.js';
import { IommufdSink } from '../../src/sinks/iommufd-sink.js';
import { AreaSink, type Area, type Refusing } from './area-sink.js';

/** A sink whose operations can be made to fail. */
export interface Rig {
  readonly sink: IoasSink;
  /** What is really mapped. */
  held(): readonly Area[];
  /** Operations that the sink was asked for. */
  operations(): number;
  /** Makes operations fail from now on: those whose number, counted from 1, `fails` names. */
  fail(fails: (index: number) => boolean): void;
  /** What was asked for against the sink's capabilities. */
  wrongs(): readonly string[];
}

/** One way of failing: a name, and a sink that fails so. */
export type RigMaker = readonly [name: string, make: () => Rig];

/** Operations that no scenario comes near. */
const ENDLESS = 20_000;

/** What fails, up to a number of operations that shows that the mirror does not come to an end. */
function bounded(fails: (index: number) => boolean, wrongs: string[]): (index: number) => boolean {
  return (index) => {
    if (index === ENDLESS) wrongs.push('operations without end');
    return index < ENDLESS && fails(index);
  };
}

/** A plain list, which refuses as a sink may. */
export function areaRig(capabilities: SinkCapabilities, how: Refusing): RigMaker {
  return [
    `${capabilities.unmaps ?? 'any'}, ${how}`,
    () => {
      const sink = new AreaSink(capabilities);
      return {
        sink,
        held: () => sink.areas,
        operations: () => sink.operations,
        fail: (asked) => {
          const fails = bounded(asked, sink.wrongs);
          sink.refuses = ({ index }) => (fails(index) ? how : undefined);
        },
        wrongs: () => sink.wrongs,
      };
    },
  ];
}

export const WAYS: readonly Refusing[] = ['false', 'throw', 'reject', 'reject false'];

const USER = 0x7f00_0000_0000;
const RAM_BASE = 0x8000_0000;
const RAM_BYTES = 0x8000_0000;

/**
 * The kernel's IOAS behind an IommufdSink.
 * @param partial areas that an unmap of more than that removes before it fails.
 * @param isSlow the system call is answered by a promise.
 */
export function kernelRig(errno: number, partial: number, isSlow: boolean): RigMaker {
  const name = `kernel, errno ${errno}${partial > 0 ? ` after ${partial} areas` : ''}`;
  return [
    isSlow ? `${name}, promises` : name,
    () => {
      const kernel = new KernelIoas();
      const wrongs: string[] = [];
      const { ioctl } = kernel;
      const sink = new IommufdSink({
        fd: 3,
        ioasId: 1,
        regions: [{ base: RAM_BASE, byteLength: RAM_BYTES, userAddress: USER + RAM_BASE }],
        ioctl: isSlow ? (...call) => Promise.resolve().then(() => ioctl(...call)) : ioctl,
      });
      const areasIn = (from: number, to: number): number =>
        kernel.areas().filter(({ iova, length }) => iova < to && iova + length > from).length;
      return {
        sink,
        held: () =>
          kernel.areas().map(({ iova, length, address, permissions }) => {
            return { iova, length, address: Number(address) - USER, permissions };
          }),
        operations: () => kernel.operations,
        fail: (asked) => {
          const fails = bounded(asked, wrongs);
          kernel.failing(({ index, kind, iova, length }) => {
            const count = areasIn(iova, iova + length);
            // What is gone can be unmapped again without an error.
            if (!fails(index) || (kind === 'unmap' && count === 0)) return undefined;
            return { errno, areas: count > partial ? partial : 0 };
          });
        },
        wrongs: () => wrongs,
      };
    },
  ];
}

/** Every kind of sink with every way of failing; 12, 16 and 22 are ENOMEM, EBUSY and EINVAL. */
export const RIGS: readonly RigMaker[] = [
  ...WAYS.map((how) => areaRig({}, how)),
  ...WAYS.map((how) => areaRig({ unmaps: 'areas' }, how)),
  ...WAYS.map((how) => areaRig({ unmaps: 'area' }, how)),
  kernelRig(12, 0, false),
  kernelRig(16, 1, false),
  kernelRig(22, 0, true),
  kernelRig(16, 2, true),
];
