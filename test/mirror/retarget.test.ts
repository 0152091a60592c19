import { describe, expect, test } from 'vitest';
import type { SinkCapabilities } from '../../src/mirror/sink.js';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { R } from '../smmu/smmu-machine.js';
import { AreaSink, type Refusing } from './area-sink.js';
import {
  expectKnown,
  machineWithSpace,
  RO,
  RW,
  tlbiVa,
  type MirrorMachine,
  type Space,
} from './machine.js';

/** Three pages that are three areas; the one in the middle is what changes. */
const IOVA = 0x10_0000;
const MIDDLE = IOVA + 0x1000;
const BEFORE = '100000+1000>80000000 rw';
const OLD = '101000+1000>88000000 rw';
const NEW = '101000+1000>89000000 rw';
const AFTER = '102000+1000>80005000 rw';

class World {
  readonly machine: MirrorMachine;
  readonly space: Space;
  readonly sink: AreaSink;
  readonly stream: StreamMirror;

  constructor(capabilities: SinkCapabilities = {}) {
    const { machine, space } = machineWithSpace();
    this.machine = machine;
    this.space = space;
    machine.map(space, IOVA, 0x8000_0000).map(space, MIDDLE, 0x8800_0000);
    machine.map(space, IOVA + 0x2000, 0x8000_5000);
    this.sink = new AreaSink(capabilities);
    this.stream = machine.attach('invalidate', this.sink);
    expect(this.sink.texts).toEqual([BEFORE, OLD, AFTER]);
    this.sink.take();
  }

  /** The guest gives the page in the middle another descriptor, names it, and waits. */
  retarget(address: number, attributes = RW): this {
    this.machine.map(this.space, MIDDLE, address, 1, attributes).issue(tlbiVa(MIDDLE));
    return this;
  }

  /** The sink has these areas, and the mirror knows. */
  expectAreas(...areas: string[]): void {
    expectKnown(this.stream, this.sink);
    expect(this.sink.texts).toEqual(areas);
  }
}

describe('a page that is an area and goes elsewhere', () => {
  test.each<SinkCapabilities>([{}, { unmaps: 'areas' }, { unmaps: 'area' }])(
    'is 1 unmap and 1 map: %o',
    (capabilities) => {
      const world = new World(capabilities).retarget(0x8900_0000);
      expect(world.sink.take()).toEqual(['unmap 101000+1000', `map ${NEW}`]);
      world.expectAreas(BEFORE, NEW, AFTER);
    },
  );

  test('with another permission, too', () => {
    const world = new World().retarget(0x8800_0000, RO);
    expect(world.sink.take()).toEqual(['unmap 101000+1000', 'map 101000+1000>88000000 r']);
  });

  test('and back is no operation', () => {
    const world = new World();
    world.machine.map(world.space, MIDDLE, 0x8900_0000);
    world.retarget(0x8800_0000);
    expect(world.sink.take()).toEqual([]);
    world.expectAreas(BEFORE, OLD, AFTER);
  });

  test('where the sink cannot follow is unmapped', () => {
    const world = new World({ memory: [{ base: 0x8000_0000, byteLength: 0x0900_0000 }] });
    world.retarget(0x8900_0000);
    expect(world.sink.take()).toEqual(['unmap 101000+1000']);
    world.expectAreas(BEFORE, AFTER);
    world.retarget(0x8810_0000).expectAreas(BEFORE, '101000+1000>88100000 rw', AFTER);
  });

  test('is mapped when the sink has unmapped it, and CMD_SYNC waits for both', async () => {
    const world = new World();
    const { machine, sink } = world;
    sink.isSlow = true;
    world.retarget(0x8900_0000);
    expect(sink.take()).toEqual(['unmap 101000+1000']);
    world.expectAreas(BEFORE, OLD, AFTER);
    await sink.release(1);
    expect([sink.take(), machine.isDrained]).toEqual([[`map ${NEW}`], false]);
    world.expectAreas(BEFORE, AFTER);
    await sink.release(1);
    world.expectAreas(BEFORE, NEW, AFTER);
    expect(machine.isDrained).toBe(true);
  });

  describe.each<Refusing>(['false', 'throw', 'reject', 'reject false'])('refused by %s', (how) => {
    test('its unmap: it stays as it was, and is tried again at the next CMD_SYNC', async () => {
      const world = new World();
      const { machine, sink } = world;
      sink.refuses = () => how;
      world.retarget(0x8900_0000);
      await sink.release();
      expect([sink.take(), machine.takeReports()]).toEqual([
        ['unmap 101000+1000'],
        ['refused unmap 101000'],
      ]);
      world.expectAreas(BEFORE, OLD, AFTER);
      expect([world.stream.isInStep, machine.read(R.CMDQ_CONS)]).toEqual([false, 2]);
      sink.refuses = () => undefined;
      machine.issue();
      world.expectAreas(BEFORE, NEW, AFTER);
      expect([world.stream.isInStep, machine.takeReports()]).toEqual([true, []]);
    });

    test('its map: nothing is mapped there, and it is tried again at the next CMD_SYNC', async () => {
      const world = new World();
      const { machine, sink } = world;
      sink.refuses = ({ kind }) => (kind === 'map' ? how : undefined);
      world.retarget(0x8900_0000);
      await sink.release();
      expect([sink.take(), machine.takeReports()]).toEqual([
        ['unmap 101000+1000', `map ${NEW}`],
        ['refused map 101000'],
      ]);
      world.expectAreas(BEFORE, AFTER);
      sink.refuses = () => undefined;
      machine.issue();
      world.expectAreas(BEFORE, NEW, AFTER);
      expect([world.stream.isInStep, machine.takeReports()]).toEqual([true, []]);
    });
  });
});
