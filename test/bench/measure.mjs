/**
 * Nanoseconds of processor time per operation, in `samples` samples of at least 40 ms each, after
 * warming up for 300 ms. `batch` runs its operations and returns their number.
 */
export function nanoseconds(batch, samples = 15) {
  const spend = (atLeast) => {
    const start = process.cpuUsage();
    let operations = 0;
    for (;;) {
      operations += batch();
      const { user, system } = process.cpuUsage(start);
      if (user + system >= atLeast) return (1000 * (user + system)) / operations;
    }
  };
  spend(300_000);
  return Array.from({ length: samples }, () => spend(40_000));
}

/** Bytes allocated per operation, in five samples; needs --expose-gc and a large young generation. */
export function allocatedBytes(batch) {
  for (let i = 0; i < 20; i++) batch();
  return Array.from({ length: 5 }, () => {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    const idle = process.memoryUsage().heapUsed;
    const operations = batch();
    const after = process.memoryUsage().heapUsed;
    return Math.max(0, after - idle - (idle - before)) / operations;
  });
}

/** Numbers 0 to `count`-1 in one fixed random order. */
export function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 0x2545_f491;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
