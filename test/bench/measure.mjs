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

/**
 * As {@link nanoseconds}, of steps that have to be prepared anew each time, without the preparation.
 * `prepare` returns the steps; each prepares itself, and returns what is measured, which returns its
 * number of operations.
 */
export function sections(prepare, samples = 15) {
  const sample = () => {
    let spent = 0;
    let operations = 0;
    while (spent < 2e6) {
      for (const step of prepare()) {
        const measured = step();
        const start = process.hrtime.bigint();
        operations += measured();
        spent += Number(process.hrtime.bigint() - start);
      }
    }
    return spent / operations;
  };
  const end = process.hrtime.bigint() + 2_000_000_000n;
  while (process.hrtime.bigint() < end) sample();
  return Array.from({ length: samples }, sample);
}

/** A young generation that is not collected: bytes allocated are a difference of two readings. */
export const NO_COLLECTION = [
  '--expose-gc',
  '--min-semi-space-size=256',
  '--max-semi-space-size=256',
];

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
