import {
  enumerate,
  RecordingMemory,
  spacesOf,
  Translator,
  UNPRIVILEGED_DATA,
  validStreams,
  type Features,
  type GuestMemory,
} from 'vsmmu';

const PAGE = 4096;
/** What a guest of a live run never comes near. */
const LIMITS = { tables: 65_536, runs: 1 << 20 } as const;

/** Reads, of an STE, a CD or a part of a table, after which the rest is left out: tables may be endless. */
const MOST_READS = 1 << 16;

class Enough extends Error {}

/** Memory that notes the pages read, until it has had enough. */
class NotedPages extends RecordingMemory {
  readonly pages = new Set<number>();
  private reads = 0;

  override load(address: number, into: Uint32Array, at: number, count: number): boolean {
    if (++this.reads > MOST_READS) throw new Enough();
    const isRead = super.load(address, into, at, count);
    this.fetches.length = 0;
    if (!isRead) return false;
    const last = address + 4 * count - 1;
    for (let page = Math.floor(address / PAGE); page * PAGE <= last; page++) {
      this.pages.add(page * PAGE);
    }
    return true;
  }
}

/** Addresses of the pages with the stream table, and with the CDs and tables that its streams reach. */
export function reachedPages(
  memory: GuestMemory,
  features: Features,
  frame: Uint32Array,
): Set<number> {
  const seen = new NotedPages(memory);
  const translator = new Translator(seen, features);
  translator.configure(frame);
  const counts = { invalid: 0, missing: 0, firstMissing: -1 };
  try {
    for (const streamId of validStreams(translator.streams, counts)) {
      for (const space of spacesOf(translator, streamId)) {
        if (space.kind === 'stage1') enumerate(seen, translator.context, UNPRIVILEGED_DATA, LIMITS);
      }
    }
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  return seen.pages;
}
