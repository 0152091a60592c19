import { beforeEach, describe, expect, test } from 'vitest';
import { CMDQEN, EVENTQEN, NOWHERE, R, SMMUEN } from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';
import { CFGI_ALL, cfgiSte, CMD_SYNC, Rig, type SteName } from './device-rig.js';

const SID = 0x10;
/** Beyond the 2^8 StreamIDs of the table. */
const FAR = 0x110;
const QUEUES = EVENTQEN | CMDQEN;
const ON = QUEUES | SMMUEN;
const at = (sid: number): bigint => BigInt(sid) << 32n;

// Records (IHI 0070, section 7.3): number [7:0], StreamID [63:32], FetchAddr [247:195].
const badSte = (sid = SID): bigint[] => [0x04n | at(sid), 0n, 0n, 0n];
const badStreamId = (sid: number): bigint[] => [0x02n | at(sid), 0n, 0n, 0n];
const steFetch = (address: number, sid = SID): bigint[] => [
  0x03n | at(sid),
  0n,
  0n,
  BigInt(address),
];

let rig: Rig;

beforeEach(async () => {
  rig = await Rig.make();
  rig.machine.start(QUEUES);
  rig.ste(SID, 's1');
});

describe('an STE that gives nothing to attach to', () => {
  test.each<[string, SteName]>([
    ['V=0', 'invalid'],
    ['Config=111', 'illegal'],
  ])('%s: C_BAD_STE, once', async (_, name) => {
    await rig.device(SID);
    rig.machine.write(R.CR0, ON);
    rig.configure(SID, name);
    rig.machine.command(cfgiSte(SID), CFGI_ALL, CMD_SYNC);
    expect(rig.events()).toEqual([badSte()]);
    expect(rig.machine.smmu.stats().events).toMatchObject({ C_BAD_STE: { written: 1, merged: 0 } });
    // Right again, and wrong again: a new one.
    rig.configure(SID, 's1').configure(SID, 'invalid');
    expect(rig.events()).toEqual([badSte(), badSte()]);
  });

  test('Config=000 aborts, and says nothing', async () => {
    const { device } = await rig.device(SID);
    rig.machine.write(R.CR0, ON);
    rig.configure(SID, 'abort');
    expect([device.disposition, rig.events()]).toEqual(['abort', []]);
  });

  test('at SMMUEN and at attach too', async () => {
    await rig.device(SID);
    rig
      .ste(SID, 'invalid')
      .ste(SID + 1, 'illegal')
      .machine.write(R.CR0, ON);
    expect(rig.events()).toEqual([badSte()]);
    await rig.device(SID + 1);
    expect(rig.events()).toEqual([badSte(), badSte(SID + 1)]);
    rig.machine.write(R.CR0, QUEUES).write(R.CR0, ON);
    expect(rig.events()).toHaveLength(4);
  });

  test('nothing while SMMUEN is 0', async () => {
    rig.ste(SID, 'invalid');
    await rig.device(SID);
    rig.machine.command(cfgiSte(SID), CMD_SYNC);
    expect(rig.events()).toEqual([]);
  });

  test('a table outside RAM: F_STE_FETCH with its address', async () => {
    const { device } = await rig.device(SID);
    rig.machine.write64(R.STRTAB_BASE, BigInt(NOWHERE)).write(R.CR0, ON);
    rig.machine.command(cfgiSte(SID), CMD_SYNC);
    expect(rig.events()).toEqual([steFetch(NOWHERE + 64 * SID)]);
    expect(device.disposition).toBe('abort');
  });

  test('F_STE_FETCH and then C_BAD_STE are two things', async () => {
    await rig.device(SID);
    // FMT=1, SPLIT=6, LOG2SIZE=8; L1STD: Span=7, in RAM or not.
    const l1 = STREAM_TABLE + 0x2_0000;
    rig.machine.write64(R.STRTAB_BASE, BigInt(l1)).write(R.STRTAB_BASE_CFG, 0x1_0188);
    rig.machine.put(l1, BigInt(NOWHERE) | 7n).write(R.CR0, ON);
    expect(rig.events()).toEqual([steFetch(NOWHERE + 64 * SID)]);
    rig.machine.put(l1, BigInt(STREAM_TABLE) | 7n);
    rig.configure(SID, 'invalid');
    expect(rig.events()).toEqual([steFetch(NOWHERE + 64 * SID), badSte()]);
    rig.configure(SID, 's1');
    expect(rig.events()).toHaveLength(2);
  });

  test('an L1STD outside RAM: F_STE_FETCH with its address', async () => {
    await rig.device(0x50);
    rig.machine.write64(R.STRTAB_BASE, BigInt(NOWHERE)).write(R.STRTAB_BASE_CFG, 0x1_0188);
    rig.machine.write(R.CR0, ON);
    expect(rig.events()).toEqual([steFetch(NOWHERE + 8, 0x50)]);
  });

  test('a StreamID that the table does not have: nothing at SMMUEN or attach', async () => {
    await rig.device(FAR);
    rig.machine.write(R.CR0, ON);
    const { device } = await rig.device(FAR + 1);
    expect([rig.events(), device.disposition]).toEqual([[], 'abort']);
  });

  test('a StreamID that the table loses: C_BAD_STREAMID at a CFGI command, once', async () => {
    const { device } = await rig.device(0x50);
    const l1 = STREAM_TABLE + 0x2_0000;
    rig.ste(0x50, 's1').machine.put(l1 + 8, BigInt(STREAM_TABLE + 64 * 0x40) | 7n);
    rig.machine.write64(R.STRTAB_BASE, BigInt(l1)).write(R.STRTAB_BASE_CFG, 0x1_0188);
    rig.machine.write(R.CR0, ON);
    expect(device.disposition).toBe('nested');
    // Span=5: 16 STEs, of which 0x50 would be number 16.
    rig.machine.put(l1 + 8, BigInt(STREAM_TABLE + 64 * 0x40) | 5n);
    rig.machine.command(cfgiSte(0x50), cfgiSte(0x50), CMD_SYNC);
    expect([device.disposition, rig.events()]).toEqual(['abort', [badStreamId(0x50)]]);
  });

  // passthrough-device.ts, evaluate: lastEvent is set although the event was not recorded.
  test('C_BAD_STREAMID comes at the first CFGI command, when there was none before', async () => {
    await rig.device(FAR);
    rig.machine.write(R.CR0, ON).command(cfgiSte(FAR), CMD_SYNC);
    expect(rig.events()).toEqual([badStreamId(FAR)]);
  });

  test('without RECINVSID there is never a C_BAD_STREAMID', async () => {
    rig.machine.write(R.CR0, 0).write(R.CR2, 0);
    await rig.device(FAR);
    rig.machine.write(R.CR0, ON).command(cfgiSte(FAR), CFGI_ALL, CMD_SYNC);
    expect(rig.events()).toEqual([]);
  });

  test('an event that was not recorded, the queue being off, does not come later', async () => {
    await rig.device(SID);
    rig.machine.write(R.CR0, ON & ~EVENTQEN);
    rig.configure(SID, 'invalid');
    rig.machine.write(R.CR0, ON).command(cfgiSte(SID), CMD_SYNC);
    expect(rig.events()).toEqual([]);
    expect(rig.machine.smmu.stats().events).toMatchObject({ C_BAD_STE: { discarded: 1 } });
  });
});
