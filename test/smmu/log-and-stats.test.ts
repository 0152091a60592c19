import { describe, expect, test } from 'vitest';
import { GuestLog, type Logger } from '../../src/log.js';
import { CMDQEN, EVENTQEN, R, SMMUEN, SmmuMachine } from './smmu-machine.js';

interface Line {
  level: string;
  details: Record<string, unknown>;
  message: string;
}

function collect(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: string) => (details: object, message: string) =>
    void lines.push({ level, details: details as Record<string, unknown>, message });
  return { logger: { warn: at('warn'), debug: at('debug') }, lines };
}

describe('what a guest can make the library log', () => {
  test('of each kind the first ten, then every doubling, with the count', () => {
    const { logger, lines } = collect();
    const log = new GuestLog(logger);
    for (let i = 1; i <= 1000; i++) log.warn('one kind', { i });
    const counts = lines.map(({ details }) => details.count);
    expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 64, 128, 256, 512]);
    expect(lines.map(({ details }) => details.i)).toEqual(counts);
    log.warn('another kind', {});
    expect(lines.at(-1)).toEqual({ level: 'warn', details: { count: 1 }, message: 'another kind' });
  });

  test('nothing without a logger', () => {
    const log = new GuestLog(undefined);
    expect(log.isOn).toBe(false);
    log.warn('kind', {});
    log.debug('message', {});
    expect(new GuestLog(collect().logger).isOn).toBe(true);
  });

  test('debug lines are passed on', () => {
    const { logger, lines } = collect();
    new GuestLog(logger).debug('hello', { a: 1 });
    expect(lines).toEqual([{ level: 'debug', details: { a: 1 }, message: 'hello' }]);
  });

  test('a storm of bad accesses, commands and registers is a few lines', () => {
    const { logger, lines } = collect();
    const machine = new SmmuMachine({ logger }).start();
    for (let i = 0; i < 5000; i++) {
      machine.translate(1n << 50n);
      machine.read(0x1_fffc);
      machine.smmu.readRegister(0x21, 4);
      machine.smmu.writeRegister(0x20, 2, 1);
    }
    machine.command([0xffn, 0n]);
    for (let i = 0; i < 5000; i++) machine.write(R.GERRORN, machine.read(R.GERROR));
    const warnings = lines.filter(({ level }) => level === 'warn');
    const kinds = new Set(warnings.map(({ message }) => message));
    expect(kinds.size).toBeGreaterThanOrEqual(4);
    expect(warnings.length).toBeLessThanOrEqual(kinds.size * 23);
    const fault = warnings.find(({ message }) => message === 'a device access faulted');
    expect(fault?.details).toMatchObject({ streamId: 0x10, event: 0x10, count: 1 });
    const stopped = warnings.find(({ message }) => message === 'the command queue has stopped');
    expect(stopped?.details).toMatchObject({ error: 1, count: 1 });
  });
});

describe('counters', () => {
  const NONE = { written: 0, merged: 0, overflowed: 0, discarded: 0, aborted: 0 };

  test('a fresh vSMMU has done nothing', () => {
    expect(new SmmuMachine().smmu.stats()).toEqual({
      commands: {},
      failedCommands: 0,
      events: {},
      translations: 0,
      cache: { entries: 0, microHits: 0, shadowHits: 0, misses: 0, evictions: 0 },
      underWay: 0,
      walks: 0,
      steFetches: 0,
      cdFetches: 0,
      stalled: 0,
    });
  });

  test('what was done is counted by name', () => {
    const machine = new SmmuMachine().start();
    for (let i = 0; i < 5; i++) machine.translate();
    machine.translate(1n << 50n);
    machine.translate(0n, 0, 0x11);
    machine.translate(0n, 0, 0x1000);
    machine.command([0x46n, 0n], [0x46n, 0n], [0x03n | (0x10n << 32n), 1n]).translate();
    machine.command([0x12n, 0x1000n], [0xffn, 0n], [0x46n, 0n]);
    machine.write(R.CR0, SMMUEN | CMDQEN).translate(1n << 50n);
    expect(machine.smmu.stats()).toEqual({
      commands: { SYNC: 2, CFGI_STE: 1, TLBI_NH_VA: 1 },
      failedCommands: 1,
      events: {
        F_TRANSLATION: { ...NONE, written: 1, discarded: 1 },
        C_BAD_STE: { ...NONE, written: 1 },
        C_BAD_STREAMID: { ...NONE, written: 1 },
      },
      translations: 10,
      // All but the first of five equal accesses hit. The STE takes the entry along, the access after it
      // makes it anew; the other walks fault, and streams without an STE do not come to one.
      cache: { entries: 1, microHits: 4, shadowHits: 0, misses: 4, evictions: 0 },
      underWay: 0,
      walks: 4,
      // One for each of the streams that fault, and two for the one that was invalidated.
      steFetches: 4,
      cdFetches: 2,
      stalled: 0,
    });
  });

  test('a reset begins anew', () => {
    const machine = new SmmuMachine().start();
    machine.translate();
    machine.smmu.reset();
    expect(machine.smmu.stats()).toMatchObject({ translations: 0, steFetches: 0 });
    machine.start(EVENTQEN).translate();
    expect(machine.smmu.stats()).toMatchObject({ translations: 1, walks: 0 });
  });
});

describe('what an embedder gets wrong', () => {
  test('no memory, or half of one', () => {
    const make = (memory: unknown) => () => new SmmuMachine({ memory } as never);
    expect(make({})).toThrow(/options\.memory has no method load/);
    expect(make({ load: () => true })).toThrow(TypeError);
    const most = { load: () => true, load64: () => true, store: () => true };
    expect(make(most)).toThrow(/options\.memory has no method compareExchange/);
  });
});
