/** Sinks that the model watches: what they are told, and what the mirror reports of them. */
import type { MirrorReport } from '../../src/mirror/mirror-options.js';
import { maySay, mustStay } from './mirror-model-check.js';
import { hex, ModelSink, type Area } from './mirror-model-sink.js';
import type { Attached, SinkOptions } from './mirror-world-options.js';
import type { World } from './mirror-world.js';

export function makeSink(world: World, name: string, options: SinkOptions): ModelSink {
  const { layout } = world;
  const { answers = 'now', isReserved, hasMemory, ...rest } = options;
  const capabilities = {
    ...rest,
    ...(isReserved === true ? { reserved: layout.reserved } : {}),
    ...(hasMemory === true ? { memory: layout.memory } : {}),
  };
  return new ModelSink(name, capabilities, answers, {
    position: () => world.position(),
    mapping: (sink, area) => {
      mapping(world, sink, area);
    },
    unmapping: (sink, iova, length) => {
      const kept = mustStay(world, ownerOf(world, sink), sink, iova, iova + length);
      if (kept !== undefined) world.complain(`${name}: ${hex(kept)} is unmapped, unchanged`);
    },
    complain: (message) => {
      world.complain(message);
    },
  });
}

function mapping(world: World, sink: ModelSink, area: Area): void {
  // The SMMU sets access flag and dirty state itself.
  if (world.options.httu > 0) world.update();
  const wrong = maySay(world, ownerOf(world, sink), sink, area);
  if (wrong === undefined) return;
  const to = `${hex(area.address + (wrong - area.iova))} ${area.permissions}`;
  world.complain(`${sink.name}: ${hex(wrong)} never was ${to}`);
}

function ownerOf({ attached }: World, sink: ModelSink): Attached {
  return attached.find(({ sinks }) => sinks.includes(sink))!;
}

/** The mirror has reported a problem. */
export function reported(world: World, { stream, problem, sink }: MirrorReport): void {
  world.log.push(`report: ${problem}`);
  const one = world.attached.find(({ mirror, model, isDetached }) => {
    // Within the call that attaches it, nobody knows the mirror of the stream yet.
    const isMine = model.streamId === stream.streamId && model.substreamId === stream.substreamId;
    return mirror === stream || (mirror === undefined && !isDetached && isMine);
  })!;
  if (problem !== 'refused') {
    one.isLimited = true;
    return;
  }
  const refused = one.sinks.find((of) => of === sink);
  // A CMD_SYNC before this one may have ended what was reported, and nobody has looked since.
  const isAhead = world.position() > world.executed;
  if (refused === undefined) world.complain('a report of a sink that is none');
  else if (refused.isReported && !refused.mayBeOver && !isAhead)
    world.complain(`${refused.name}: reported twice`);
  else {
    refused.isReported = true;
    refused.mayBeOver = false;
  }
}
