/** A vSMMU whose mirror publishes pages, with a journal of what was published and what was read. */
import { expect } from 'vitest';
import type { StreamMirror } from '../../src/mirror/stream-mirror.js';
import { AreaSink } from './area-sink.js';
import { DEVICE, MirrorMachine, TABLES, type Space } from './machine.js';
import { WatchedMemory } from './watched-memory.js';

export const IOVA = 0x7f_1220_0000;
export const PA = 0x8000_0000;

export interface World {
  machine: MirrorMachine;
  space: Space;
  memory: WatchedMemory;
  /** What the listener was told, and what was read of tables, in order. */
  journal: string[];
  /** Pages that are published. */
  pages: Set<number>;
}

export function hex(value: number): string {
  return value.toString(16);
}

export function watched(shape?: Space['shape']): World {
  const memory = new WatchedMemory();
  const journal: string[] = [];
  const pages = new Set<number>();
  const machine = new MirrorMachine({
    watched: memory,
    mirror: {
      tablePages: {
        added: (page) => {
          expect(pages.has(page)).toBe(false);
          pages.add(page);
          journal.push(`added ${hex(page)}`);
        },
        removed: (page) => {
          expect(pages.delete(page)).toBe(true);
          journal.push(`removed ${hex(page)}`);
        },
      },
    },
  });
  const space = machine.space(undefined, shape);
  machine.setSte(DEVICE, space.cd);
  memory.onRead = ({ address, bytes }) => {
    if (address < TABLES || address === space.cd) return;
    for (let page = address - (address % 4096); page < address + bytes; page += 4096) {
      journal.push(`read ${hex(page)}`);
    }
  };
  return { machine, space, memory, journal, pages };
}

/** The table of level 0 to 3 on the way to `iova`. */
export function tableOf({ machine, space }: World, level: number, iova = IOVA): number {
  const at = machine.descriptor(space, iova, level);
  return at - (at % 4096);
}

export function attach(world: World): { sink: AreaSink; stream: StreamMirror } {
  const sink = new AreaSink();
  const stream = world.machine.attach('tracked', sink);
  sink.take();
  world.journal.length = 0;
  world.memory.clear();
  return { sink, stream };
}
