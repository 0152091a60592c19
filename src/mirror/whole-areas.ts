import type { SinkWriter } from './sink-writer.js';

const PAGE = 4096;

/** Ranges in one area become one: an area that must go as a whole must go once, and not come again as it was. */
export function joinWithinAreas(writer: SinkWriter): void {
  const { dirty, retry, held } = writer;
  if (!retry.isEmpty) {
    addRefused(writer, dirty.from(0));
    addRefused(writer, dirty.to(0) - PAGE);
  }
  while (dirty.count > 1) {
    const to = dirty.to(0);
    held.seek(to - PAGE);
    if (held.isAtEnd) return;
    const { chunk, index } = held;
    const start = chunk.iovas[index]!;
    if (start >= to || start + chunk.lengths[index]! <= dirty.from(1)) return;
    dirty.add(dirty.from(0), dirty.from(1));
  }
}

/** What was refused in the area at `iova` is looked at with the rest of it. */
function addRefused({ dirty, retry, held }: SinkWriter, iova: number): void {
  held.seek(iova);
  if (held.isAtEnd) return;
  const start = held.chunk.iovas[held.index]!;
  const end = start + held.chunk.lengths[held.index]!;
  if (start > iova) return;
  for (let i = 0; i < retry.count; i++) {
    const from = Math.max(start, retry.from(i));
    const to = Math.min(end, retry.to(i));
    if (from < to) dirty.add(from, to);
  }
}
