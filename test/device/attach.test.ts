import { describe, expect, test } from 'vitest';
import { Segments } from '../../src/device/segments.js';
import type { StreamHandle } from '../../src/device/stream-handle.js';
import type { AddressSpaceBuilder } from '../../src/fixtures/address-space-builder.js';
import { Reason } from '../../src/transaction/reason.js';
import { DATA, DeviceMachine, PAGE, resume, STREAM } from './device-machine.js';

const ABORTED = -1;

interface Device {
  readonly machine: DeviceMachine;
  readonly space: AddressSpaceBuilder;
  readonly handle: StreamHandle;
}

/** A page at 0x1000. */
function device(cd: Readonly<Record<string, number>> = {}): Device {
  const machine = new DeviceMachine();
  const space = machine.space(5, cd);
  machine.guest.attach(STREAM, space);
  space.map(0x1000, DATA, PAGE);
  machine.start();
  return { machine, space, handle: machine.smmu.attach(STREAM) };
}

/** CDs 0, 1, 2 and 5 of a table of eight, each with a page at 0x1000: `DATA` and as many pages on. */
function substreams(): Device {
  const machine = new DeviceMachine();
  const spaces = new Map([0, 1, 2, 5].map((n) => [n, machine.space(0x10 + n)]));
  for (const [n, space] of spaces) space.map(0x1000, DATA + n * PAGE, PAGE);
  machine.guest.attachSubstreams(STREAM, spaces, { cdMax: 3 });
  machine.start();
  return { machine, space: spaces.get(1)!, handle: machine.smmu.attach(STREAM) };
}

/** Every method of a handle that does something, by name. */
const USES: [name: string, use: (handle: StreamHandle) => unknown][] = [
  ['translate, of a page that is warm', (handle) => handle.translate(0x1000, 0)],
  ['translate, of a page that is not', (handle) => handle.translate(0x2000, 0)],
  ['translate, of a bigint', (handle) => handle.translate(0x1000n, 0)],
  ['translateRange', (handle) => handle.translateRange(0x1000, 1, 0, new Segments())],
  ['translateRange, of nothing', (handle) => handle.translateRange(0, 0, 0, new Segments())],
  ['read', (handle) => handle.read(0x1000, new Uint8Array(4))],
  ['read, of nothing', (handle) => handle.read(0x1000, new Uint8Array(0))],
  ['read, across pages', (handle) => handle.read(0x1ffe, new Uint8Array(4))],
  ['write', (handle) => handle.write(0x1000, new Uint8Array(4))],
  ['write, of nothing', (handle) => handle.write(0x1000n, new Uint8Array(0))],
  ['gather', (handle) => handle.gather([{ iova: 0x1000, length: 4 }], new Uint8Array(4))],
  ['gather, of nothing', (handle) => handle.gather([], new Uint8Array(4))],
  ['scatter', (handle) => handle.scatter(new Uint8Array(4), [{ iova: 0x1000, length: 4 }])],
  ['scatter, of nothing', (handle) => handle.scatter(new Uint8Array(4), [])],
  ['load16', (handle) => handle.load16(0x1000)],
  ['load32', (handle) => handle.load32(0x1000)],
  ['load64', (handle) => handle.load64(0x1000)],
  ['store16', (handle) => handle.store16(0x1000, 1)],
  ['store32', (handle) => handle.store32(0x1000, 1)],
  ['store64', (handle) => handle.store64(0x1000, 1)],
  ['dma', (handle) => handle.dma(0x1000, 1, 0, () => undefined)],
  ['dma, of nothing', (handle) => handle.dma(0x1000, 0, 0, () => undefined)],
];

async function expectDetached(use: () => unknown): Promise<void> {
  const message = `the handle of stream 0x${STREAM.toString(16)} is detached`;
  await expect(Promise.resolve().then(use)).rejects.toThrow(message);
}

describe('attach()', () => {
  test('gives the handle of a stream', () => {
    const { handle } = device();
    expect([handle.streamId, handle.substreamId]).toEqual([STREAM, -1]);
    expect(handle.fault).toMatchObject({ outcome: 0, event: 0 });
  });

  test.each([-1, 2 ** 32, 0.5, NaN, Infinity])('of %d is a RangeError', (streamId) => {
    const { machine } = device();
    expect(() => machine.smmu.attach(streamId)).toThrow(RangeError);
    expect(() => machine.smmu.attach(streamId)).toThrow('streamId is ');
  });

  test('of a stream that is attached throws; others are no matter', () => {
    const { machine, handle } = device();
    expect(() => machine.smmu.attach(STREAM)).toThrow('stream 0x10 is attached already');
    expect(machine.smmu.attach(STREAM + 1).translate(0x1000, 0)).toBe(ABORTED);
    expect(machine.smmu.attach(2 ** 32 - 1).translate(0x1000, 0)).toBe(ABORTED);
    expect(handle.translate(0x1000, 0)).toBe(DATA);
  });

  test('works again once the handle is detached', () => {
    const { machine, handle } = device();
    handle.translate(0x1000, 0);
    handle.detach();
    const again = machine.smmu.attach(STREAM);
    expect(again === handle).toBe(false);
    expect(again.translate(0x1000, 0)).toBe(DATA);
    expect(() => handle.translate(0x1000, 0)).toThrow('detached');
    expect(() => machine.smmu.attach(STREAM)).toThrow('attached already');
  });
});

describe('detach()', () => {
  test.each(USES)('ends %s', async (_, use) => {
    const { machine, handle } = device();
    expect(handle.translate(0x1000, 0)).toBe(DATA);
    await use(handle);
    machine.takeEvents();
    handle.detach();
    for (let round = 0; round < 2; round++) await expectDetached(() => use(handle));
    expect(machine.takeEvents()).toEqual([]);
    // Whatever becomes of the vSMMU later.
    machine.smmu.reset();
    machine.start();
    await expectDetached(() => use(handle));
  });

  test.each(USES)('of the stream ends %s of its substreams', async (_, use) => {
    const { machine, handle } = substreams();
    const substream = handle.substream(1);
    expect(substream.translate(0x1000, 0)).toBe(DATA + PAGE);
    await use(substream);
    machine.takeEvents();
    handle.detach();
    await expectDetached(() => use(substream));
    expect(() => substream.substream(2)).toThrow();
    expect(() => handle.substream(1)).toThrow('detached');
    expect(() => handle.substream(2)).toThrow('detached');
    expect(machine.takeEvents()).toEqual([]);
  });

  test('of a substream ends that one', () => {
    const { handle } = substreams();
    const [one, two] = [handle.substream(1), handle.substream(2)];
    one.detach();
    expect(() => one.translate(0x1000, 0)).toThrow('detached');
    expect([handle.translate(0x1000, 0), two.translate(0x1000, 0)]).toEqual([
      DATA,
      DATA + 2 * PAGE,
    ]);
    const again = handle.substream(1);
    expect(again === one).toBe(false);
    expect(again.translate(0x1000, 0)).toBe(DATA + PAGE);
    expect(() => one.translate(0x1000, 0)).toThrow('detached');
  });

  test('twice does no harm to whoever is attached meanwhile', () => {
    const { machine, handle } = device();
    handle.detach();
    const again = machine.smmu.attach(STREAM);
    handle.detach();
    expect(() => machine.smmu.attach(STREAM)).toThrow('attached already');
    expect(again.translate(0x1000, 0)).toBe(DATA);
    machine.smmu.reset();
    // It follows: SMMUEN is 0, and addresses bypass.
    expect(again.translate(0x1000, 0)).toBe(0x1000);
  });

  test('twice of a substream does no harm to the next handle', () => {
    const { handle } = substreams();
    const one = handle.substream(1);
    one.detach();
    const again = handle.substream(1);
    one.detach();
    expect(handle.substream(1) === again).toBe(true);
    handle.detach();
    expect(() => again.translate(0x1000, 0)).toThrow('detached');
  });

  test('of a device whose access stalls: its promise is rejected once the guest answers', async () => {
    const { machine, handle } = device({ S: 1 });
    const calls: string[] = [];
    const waits = handle.dma(0x1000, 2 * PAGE, 0, () => void calls.push('perform'));
    const outcome = expect(waits).rejects.toThrow('the handle of stream 0x10 is detached');
    handle.detach();
    machine.command(resume(STREAM, 1, 1, 0));
    machine.command(resume(STREAM, 2, 0, 1));
    await outcome;
    expect(calls).toEqual([]);
  });

  test('lets an access that is under way go on', async () => {
    const { machine, handle } = device();
    const waits = handle.dma(0x1000, 16, 0, async () => {
      await Promise.resolve();
      handle.detach();
      await Promise.resolve();
    });
    await expect(waits).resolves.toBe(16);
    expect(machine.smmu.stats().underWay).toBe(0);
    expect(() => handle.translate(0x1000, 0)).toThrow('detached');
  });

  test('leaves the last fault to be read', () => {
    const { handle } = device();
    handle.translate(0x5000, 1);
    handle.detach();
    expect(handle.fault).toMatchObject({ event: 0x10, inputLow: 0x5000 });
  });
});

describe('substream()', () => {
  test('makes accesses through the CD of its number', () => {
    const { handle } = substreams();
    for (let round = 0; round < 2; round++) {
      expect(handle.translate(0x1000, 0)).toBe(DATA);
      for (const n of [1, 2, 5]) {
        expect(handle.substream(n).translate(0x1000, 0)).toBe(DATA + n * PAGE);
        expect(handle.substream(n).translate(0x1fffn, 1)).toBe(DATA + n * PAGE + 0xfff);
      }
    }
  });

  test('is the same object each time, with its own last fault', () => {
    const { handle } = substreams();
    const one = handle.substream(1);
    expect(handle.substream(1) === one).toBe(true);
    expect([one.streamId, one.substreamId]).toEqual([STREAM, 1]);
    expect(handle.substream(2) === one).toBe(false);
    one.translate(0x9000, 0);
    expect(handle.substream(1).fault).toMatchObject({ substreamId: 1, inputLow: 0x9000 });
    expect(handle.fault.event).toBe(0);
    expect(handle.substream(2).fault.event).toBe(0);
  });

  test('faults are recorded with SSV [11] and SubstreamID [31:12]', () => {
    const { machine, handle } = substreams();
    expect(handle.substream(5).translate(0x9000, 1)).toBe(ABORTED);
    expect(handle.substream(2).translate(0x9000, 0)).toBe(ABORTED);
    expect(handle.translate(0x9000, 0)).toBe(ABORTED);
    expect(machine.takeEvents()).toEqual([
      [0x10_0000_5810n, 0x200_0000_0000n, 0x9000n, 0n],
      [0x10_0000_2810n, 0x208_0000_0000n, 0x9000n, 0n],
      [0x10_0000_0010n, 0x208_0000_0000n, 0x9000n, 0n],
    ]);
  });

  test('a number beyond the table is C_BAD_SUBSTREAMID, a CD that is not there C_BAD_CD', () => {
    const { machine, handle } = substreams();
    expect(handle.substream(8).translate(0x1000, 0)).toBe(ABORTED);
    expect(handle.substream(8).fault).toMatchObject({ event: 0x8, substreamId: 8 });
    expect(handle.substream(2 ** 20 - 1).translate(0x1000, 0)).toBe(ABORTED);
    expect(handle.substream(3).translate(0x1000, 0)).toBe(ABORTED);
    expect(handle.substream(3).fault).toMatchObject({ event: 0xa, substreamId: 3 });
    expect(machine.takeEvents().map(([word]) => word! & 0xffn)).toEqual([0x8n, 0x8n, 0xan]);
  });

  test('of a stream without substreams faults', () => {
    const { handle } = device();
    const one = handle.substream(1);
    expect(one.translate(0x1000, 0)).toBe(ABORTED);
    expect(one.fault).toMatchObject({ event: 0x8, reason: Reason.substreamsOff });
    expect(handle.translate(0x1000, 0)).toBe(DATA);
  });

  test('STE.S1DSS decides over the stream itself, warm or not (5.2)', () => {
    const machine = new DeviceMachine();
    const spaces = new Map([0, 1].map((n) => [n, machine.space(0x10 + n)]));
    for (const [n, space] of spaces) space.map(0x1000, DATA + n * PAGE, PAGE);
    // 0: an access without SubstreamID faults; 1: it bypasses; 2: it uses CD 0, which 1 may not.
    const expected = [
      [ABORTED, DATA, DATA + PAGE],
      [0x1000, DATA, DATA + PAGE],
      [DATA, ABORTED, DATA + PAGE],
    ];
    machine.start();
    for (const [s1dss, answers] of expected.entries()) {
      const streamId = STREAM + s1dss;
      machine.guest.attachSubstreams(streamId, spaces, { s1dss });
      const handle = machine.smmu.attach(streamId);
      for (let round = 0; round < 3; round++) {
        const handles = [handle, handle.substream(0), handle.substream(1)];
        expect(handles.map((each) => each.translate(0x1000, 0))).toEqual(answers);
      }
    }
  });

  test.each([-1, 2 ** 20, 0.5, NaN, Infinity])('%d is a RangeError', (substreamId) => {
    const { handle } = device();
    expect(() => handle.substream(substreamId)).toThrow(RangeError);
    expect(() => handle.substream(substreamId)).toThrow('substreamId is ');
  });

  test('of a substream throws', () => {
    const { handle } = device();
    expect(() => handle.substream(1).substream(2)).toThrow('a substream has no substreams');
  });
});
