import { beforeEach, describe, expect, test } from 'vitest';
import type { SmmuState } from '../../src/state.js';
import { CMDQEN, EVENTQEN, R, SMMUEN } from '../smmu/smmu-machine.js';
import {
  cfgiCd,
  cfgiSte,
  CMD_SYNC,
  GBPA_ABORT,
  Rig,
  TLBI_ALL,
  type Plugged,
  type SteName,
} from './device-rig.js';

const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;
const ENOMEM = 12;
const SIDS = [0x10, 0x11, 0x12, 0x13];
const NAMES: readonly SteName[] = ['s1', 'bypass', 'abort', 'other'];
const KINDS = ['s1', 'bypass', 'abort', 's1'];

let rig: Rig;
let plugged: Plugged[];

async function plugAll(into: Rig): Promise<Plugged[]> {
  const all: Plugged[] = [];
  for (const sid of SIDS) all.push((await into.device(sid)).plugged);
  return all;
}

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  SIDS.forEach((sid, i) => rig.ste(sid, NAMES[i]!));
  plugged = await plugAll(rig);
});

const kinds = (of: Rig, devices: readonly Plugged[]): string[] =>
  devices.map((device) => of.kind(device));

function throughJson(state: SmmuState): SmmuState {
  return JSON.parse(JSON.stringify(state)) as SmmuState;
}

/** Another vSMMU over the same memory, with a kernel of its own. */
function another(): Promise<Rig> {
  return Rig.make({ features: rig.machine.smmu.features, memory: rig.machine.ram });
}

describe('reset', () => {
  test('devices stay attached, and bypass as registers say; hardware forgets', () => {
    rig.machine.write(R.GBPA, GBPA_ABORT).write(R.CR0, ON);
    expect(kinds(rig, plugged)).toEqual(KINDS);
    rig.quiet().machine.smmu.reset();
    expect(kinds(rig, plugged)).toEqual(['bypass', 'bypass', 'bypass', 'bypass']);
    // Both nested ones: their CDs too.
    expect(rig.hardware()).toEqual(['TLBI_NH_ALL', 'CFGI_CD_ALL', 'CFGI_CD_ALL']);
    expect([rig.count('hwpt-nested'), rig.count('vdevice')]).toEqual([2, 4]);
    expect(rig.physicals[0]!.stats().translating).toBe(0);
  });

  test('hardware that never translated has nothing to forget', () => {
    rig.quiet().machine.smmu.reset();
    expect(rig.calls).toEqual([]);
  });

  test('the guest starts again', () => {
    rig.machine.write(R.CR0, ON).command(cfgiCd(0x10), CMD_SYNC);
    rig.machine.smmu.reset();
    rig.machine.prod = 0;
    rig.quiet().machine.start(ON).command(TLBI_ALL, cfgiCd(0x10), CMD_SYNC);
    expect(kinds(rig, plugged)).toEqual(KINDS);
    expect([rig.machine.read(R.CMDQ_CONS), rig.hardware()]).toEqual([
      3,
      ['TLBI_NH_ALL', 'CFGI_CD'],
    ]);
  });

  test('commands that were held are given up', () => {
    rig.machine.write(R.CR0, ON);
    rig.kernel.failInvalidation(() => ({ errno: ENOMEM }));
    rig.machine.command(TLBI_ALL, CMD_SYNC);
    expect(rig.isStopped).toBe(true);
    rig.kernel.failInvalidation(undefined);
    rig.machine.smmu.reset();
    rig.machine.prod = 0;
    rig.quiet().machine.start(ON).command(CMD_SYNC);
    expect([rig.hardware(), rig.isStopped, rig.machine.read(R.CMDQ_CONS)]).toEqual([[], false, 1]);
  });
});

describe('save and restore', () => {
  test.each<[string, number, number, string[]]>([
    ['SMMUEN', 0, ON, KINDS],
    ['SMMUEN=0, GBPA.ABORT', GBPA_ABORT, QUEUES, ['abort', 'abort', 'abort', 'abort']],
    ['nothing', 0, 0, ['bypass', 'bypass', 'bypass', 'bypass']],
  ])('%s: devices of another kernel meet the same', async (_, gbpa, cr0, expected) => {
    if (gbpa !== 0) rig.machine.write(R.GBPA, gbpa);
    rig.machine.write(R.CR0, cr0);
    const saved = throughJson(rig.machine.smmu.save());
    const there = await another();
    const moved = await plugAll(there);
    there.machine.smmu.restore(saved);
    expect(kinds(there, moved)).toEqual(expected);
    expect(kinds(rig, plugged)).toEqual(expected);
    expect(there.machine.smmu.save()).toEqual(saved);
    expect(there.machine.read(R.CR0ACK)).toBe(cr0);
  });

  test('devices attached after the restore meet the same, and never bypass', async () => {
    rig.machine.write(R.CR0, ON);
    const there = await another();
    there.machine.smmu.restore(throughJson(rig.machine.smmu.save()));
    const moved = await plugAll(there);
    expect(kinds(there, moved)).toEqual(KINDS);
    expect(moved.map((device) => there.history(device))).toEqual(
      KINDS.map((kind) => ['blocked', kind]),
    );
    rig.machine.enqueue(TLBI_ALL, CMD_SYNC);
    there.quiet().machine.write(R.CMDQ_PROD, rig.machine.prod);
    expect(there.hardware()).toEqual(['TLBI_NH_ALL']);
  });

  test('a queue that stopped at what was refused goes on there', async () => {
    rig.machine.write(R.CR0, ON);
    rig.kernel.failInvalidation(() => ({ errno: ENOMEM }));
    rig.machine.command(TLBI_ALL, cfgiCd(0x13), CMD_SYNC);
    expect([rig.isStopped, rig.machine.read(R.CMDQ_CONS)]).toEqual([true, 0x0200_0000]);
    const there = await another();
    await plugAll(there);
    there.machine.smmu.restore(throughJson(rig.machine.smmu.save()));
    expect(there.machine.read(R.CMDQ_CONS)).toBe(0x0200_0000);
    there.quiet().acknowledge();
    expect([there.hardware(), there.machine.read(R.CMDQ_CONS)]).toEqual([
      ['TLBI_NH_ALL', 'CFGI_CD'],
      3,
    ]);
  });

  test('after a reset the state is taken over as by another', () => {
    rig.machine.write(R.CR0, ON);
    const saved = throughJson(rig.machine.smmu.save());
    rig.machine.smmu.reset();
    rig.quiet().machine.smmu.restore(saved);
    expect(kinds(rig, plugged)).toEqual(KINDS);
    // What hardware kept of the life between is gone before anything is nested.
    expect(rig.hardware()).toEqual(['TLBI_NH_ALL']);
    expect(rig.calls[0]).toBe('HWPT_INVALIDATE');
  });

  // passthrough.ts, startAnew: what invalidateAll comes to is not looked at, and isStale not set.
  test('TLBs that could not be invalidated are, before a device becomes nested', () => {
    rig.machine.write(R.CR0, ON);
    const saved = throughJson(rig.machine.smmu.save());
    rig.kernel.failInvalidation(() => ({ errno: ENOMEM }));
    rig.machine.smmu.reset();
    rig.quiet().machine.smmu.restore(saved);
    rig.kernel.failInvalidation(undefined);
    rig.machine.command(cfgiSte(0x10), CMD_SYNC);
    expect(rig.kind(plugged[0]!) === 's1' && !rig.hardware().includes('TLBI_NH_ALL')).toBe(false);
  });

  test('a damaged state changes nothing', () => {
    const { registers, ...rest } = throughJson(rig.machine.smmu.save());
    const before = kinds(rig, plugged);
    rig.machine.smmu.reset();
    rig.quiet();
    const damaged = { ...rest, registers: { ...registers, CR0: '0xffffffff' } };
    expect(() => {
      rig.machine.smmu.restore(damaged);
    }).toThrow(/registers\.CR0/);
    expect([kinds(rig, plugged), rig.calls]).toEqual([before, []]);
  });
});
