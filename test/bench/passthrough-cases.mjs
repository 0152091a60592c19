import { guestOf, smmuFor, STREAM } from './guest.mjs';
import { allocatedBytes, nanoseconds, NO_COLLECTION, sections } from './measure.mjs';

const COMMANDS = 1022;

/** A vSMMU with one passthrough device, nested, on a physical SMMU that takes everything at once. */
function machine() {
  const { smmu, enqueue } = smmuFor(guestOf(16, { scattered: true }));
  const asked = { calls: 0, commands: 0 };
  const passthrough = smmu.passthrough();
  let id = 0;
  const physical = passthrough.addPhysical({
    allocate: () => ++id,
    attach: () => undefined,
    destroy: () => undefined,
    bind: () => ++id,
    invalidate: (words, count) => {
      asked.calls++;
      asked.commands += count;
    },
  });
  // At once, since the backend answers at once.
  void passthrough.attach(STREAM, { physical, device: 1 });
  if (passthrough.deviceOf(STREAM).disposition !== 'nested') throw new Error('not nested');
  return { smmu, enqueue, asked };
}

/** TLBI_NH_VA of one page, another one each time. */
let page = 0;
function tlbi() {
  page = (page + 1) & 0xfffff;
  return [0x12, 5 << 16, (page << 12) | 1, 0x12];
}

/** A queue full of TLBI_NH_VA, and a CMD_SYNC at its end. */
function runs() {
  const { enqueue, asked } = machine();
  return () => {
    const words = new Uint32Array(4 * COMMANDS);
    for (let i = 0; i < COMMANDS - 1; i++) words.set(tlbi(), 4 * i);
    words[4 * (COMMANDS - 1)] = 0x46;
    const run = enqueue(words);
    return () => {
      const before = asked.commands;
      run();
      if (asked.commands - before !== COMMANDS - 1) throw new Error('not all were sent');
      return COMMANDS;
    };
  };
}

/** As a strict Linux: TLBI_NH_VA and CMD_SYNC, and a write of CMDQ_PROD for each pair. */
function pairs() {
  const { smmu, enqueue, asked } = machine();
  // The queue has them all from now on: 2^10 entries, and commands stay what they are.
  for (const count of [1022, 2]) {
    const words = new Uint32Array(4 * count);
    for (let i = 0; i < count; i += 2) {
      words.set(tlbi(), 4 * i);
      words[4 * (i + 1)] = 0x46;
    }
    enqueue(words)();
  }
  let prod = 1024;
  const batch = () => {
    for (let i = 0; i < 1024; i += 2) {
      prod = (prod + 2) & 0x7ff;
      smmu.writeRegister(0x98, 4, prod);
    }
    if (smmu.readRegister(0x9c, 4) !== prod) throw new Error('commands are left');
    return 1024;
  };
  return { batch, asked };
}

/** Calls of the backend for each CMD_SYNC. */
function calls() {
  const { batch, asked } = pairs();
  return Array.from({ length: 5 }, () => {
    const before = asked.calls;
    const commands = batch();
    return (2 * (asked.calls - before)) / commands;
  });
}

export const passthroughCases = {
  'drain-tlbi': {
    unit: 'ns/command',
    measure: () => {
      const step = runs();
      return sections(() => [step]);
    },
  },
  'drain-linux': { unit: 'ns/command', measure: () => nanoseconds(pairs().batch) },
  'drain-calls': { unit: 'calls/SYNC', measure: calls },
  'drain-allocated': {
    unit: 'bytes/command',
    flags: NO_COLLECTION,
    measure: () => {
      const { batch } = pairs();
      return allocatedBytes(() => {
        let commands = 0;
        while (commands < 100_000) commands += batch();
        return commands;
      });
    },
  },
};
