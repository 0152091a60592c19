import { Outcome, type StreamHandle, type U64 } from 'vsmmu';
import { hex, type Journal, type Line } from './journal.js';

/** What recordings do not have. */
const UNKNOWN = ['dma', 'gather', 'scatter', 'translateRange'] as const;

/** Writes down what a device does through `handle`: its methods are replaced. */
export function recordHandle(handle: StreamHandle, journal: Journal): StreamHandle {
  const line = (op: string, iova: U64, more: Record<string, unknown>): Line => {
    const { streamId, substreamId } = handle;
    const who = substreamId < 0 ? { streamId } : { streamId, substreamId };
    // The library takes another way for a bigint.
    const wide = typeof iova === 'bigint' ? { wide: 1 } : {};
    return { kind: 'dma', op, ...who, iova: hex(iova), ...wide, ...more };
  };
  const addFault = (entry: Line): void => {
    const { outcome, event } = handle.fault;
    entry.outcome = outcome === Outcome.translated ? Outcome.aborted : outcome;
    entry.event = event;
  };

  const translate = handle.translate.bind(handle);
  handle.translate = (iova, access) =>
    journal.call(
      line('translate', iova, { access }),
      () => translate(iova, access),
      (entry, address) => {
        if (address < 0) addFault(entry);
        else entry.pa = hex(address);
      },
    );

  for (const op of ['read', 'write'] as const) {
    const move = handle[op].bind(handle);
    handle[op] = (iova, bytes) =>
      journal.call(
        line(op, iova, { bytes: bytes.length }),
        () => move(iova, bytes),
        (entry, done) => {
          entry.done = done;
          if (done < bytes.length) addFault(entry);
        },
      );
  }

  const stores = { store16: 2, store32: 4 } as const;
  for (const name of Object.keys(stores) as (keyof typeof stores)[]) {
    const store = handle[name].bind(handle);
    handle[name] = (iova, value) =>
      recordStore(iova, value, stores[name], () => store(iova, value));
  }
  const store64 = handle.store64.bind(handle);
  handle.store64 = (iova, value) => recordStore(iova, value, 8, () => store64(iova, value));
  function recordStore(iova: U64, value: U64, bytes: number, make: () => number): number {
    const entry = line('store', iova, { bytes, value: hex(value) });
    return journal.call(entry, make, (_, outcome) => {
      if (outcome < 0) addFault(entry);
    });
  }

  const substream = handle.substream.bind(handle);
  const recorded = new WeakSet<StreamHandle>();
  handle.substream = (substreamId) => {
    const inner = substream(substreamId);
    if (!recorded.has(inner)) recordHandle(inner, journal);
    recorded.add(inner);
    return inner;
  };

  for (const name of UNKNOWN) {
    handle[name] = () => {
      throw new Error(`a recording has no ${name}()`);
    };
  }
  return handle;
}
