import { beforeEach, describe, expect, test } from 'vitest';
import { KernelModel } from '../../src/fixtures/kernel-model.js';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { allocateIoas } from '../../src/iommufd/iova-ranges.js';
import type { PassthroughDevice } from '../../src/passthrough/passthrough-device.js';
import type { TranslationKeeper } from '../../src/tlb/translation-keeper.js';
import { PAGE, STREAM, type SmmuGuest } from '../examples/smmu-guest.js';
import {
  BUFFERS,
  DATA,
  header,
  IN,
  OK,
  OUT,
  STATUS,
  VirtioDriver,
  DESCRIPTORS,
} from '../examples/virtio-driver.js';
import { R } from '../smmu/smmu-machine.js';
import { featureless } from './device-rig.js';

/** The passthrough device; the disk has 0x42. */
const SID = 0x43;
const ASID = 7n;
const PHYSICAL = 0x999;

let driver: VirtioDriver;
let guest: SmmuGuest;
let kernel: KernelModel;
let fd: number;
let device: PassthroughDevice;
/** What the emulated side was told to forget. */
let emulated: string[];

const keeper: TranslationKeeper = {
  invalidateAll: () => void emulated.push('all'),
  invalidateAsid: (asid) => void emulated.push(`ASID ${asid}`),
  invalidateRange: ({ asid }) => void emulated.push(`range of ${asid}`),
  invalidateStreams: (first, last) => void emulated.push(`streams ${first} to ${last}`),
  invalidateContext: (streamId, substreamId) =>
    void emulated.push(`CD ${substreamId} of ${streamId}`),
};

beforeEach(async () => {
  driver = new VirtioDriver();
  ({ guest } = driver);
  // The STE of the disk is that of the other too: one CD, one ASID, the same tables.
  const table = Number(guest.smmu.readRegister(R.STRTAB_BASE, 8));
  const ste = new Uint8Array(64);
  guest.memory.loadBytes(table + 64 * STREAM, ste, 0, 64);
  guest.memory.storeBytes(table + 64 * SID, ste, 0, 64);

  kernel = new KernelModel();
  const ioasId = await allocateIoas(kernel, kernel.fd);
  fd = kernel.addDevice({ streamId: PHYSICAL });
  const backend = await IommufdSmmu.open({ calls: kernel, fd: kernel.fd, ioasId, deviceFd: fd });
  const passthrough = guest.smmu.passthrough();
  const physical = passthrough.addPhysical(featureless(backend));
  device = await passthrough.attach(SID, { physical, device: backend.firstDevice });
  kernel.clearHardware();
  emulated = [];
  guest.smmu.addKeeper(keeper);
});

let prod = 0;
beforeEach(() => {
  prod = 0;
});

/** Issues commands by the queue that the guest has, which is empty. */
function command(...commands: readonly (readonly [bigint, bigint])[]): void {
  const base = Number(BigInt(guest.smmu.readRegister(R.CMDQ_BASE, 8)) & ~0x1fn);
  for (const [low, high] of commands) {
    const bytes = new Uint8Array(new BigUint64Array([low, high]).buffer);
    guest.memory.storeBytes(base + 16 * (prod & 63), bytes, 0, 16);
    prod = (prod + 1) & 127;
  }
  guest.smmu.writeRegister(R.CMDQ_PROD, 4, prod);
  expect(guest.smmu.readRegister(R.CMDQ_CONS, 4)).toBe(prod);
}

const hardware = (): string[] =>
  kernel.hardware().flatMap(({ opcode }) => (opcode === 'SYNC' ? [] : [opcode]));

const SYNC = [0x46n, 0n] as const;
const of = (streamId: number): bigint => BigInt(streamId) << 32n;

describe('a disk that is emulated and a device that is passed through, with one ASID', () => {
  test('TLBI by ASID reaches each side once', () => {
    expect(device.disposition).toBe('nested');
    command([0x11n | (ASID << 48n), 0n], SYNC);
    expect([emulated, hardware()]).toEqual([['ASID 7'], ['TLBI_NH_ASID']]);
    // ASID [31:16] and the VMID of the nest parent.
    expect(kernel.hardware()[0]!.words).toEqual([0x11, 0x7_0001, 0, 0]);
  });

  test('TLBI by address and of everything too', () => {
    command([0x12n | (ASID << 48n), 0x5000n | 1n], SYNC, [0x10n, 0n], SYNC);
    expect(emulated).toEqual(['range of 7', 'all']);
    expect(hardware()).toEqual(['TLBI_NH_VA', 'TLBI_NH_ALL']);
  });

  test('CFGI_CD and ATC_INV of the disk do not reach hardware', () => {
    command([0x5n | of(STREAM), 1n], [0x6n | of(STREAM), 0n], [0x40n | of(STREAM), 52n], SYNC);
    expect(emulated).toEqual([`CD 0 of ${STREAM}`, `CD -1 of ${STREAM}`]);
    expect(hardware()).toEqual([]);
  });

  test('CFGI_CD of the other changes nothing for the disk', () => {
    const { cdFetches, steFetches } = guest.smmu.stats();
    command([0x5n | of(SID), 1n], [0x6n | of(SID), 0n], [0x3n | of(SID), 1n], SYNC);
    expect(hardware()).toEqual(['CFGI_CD', 'CFGI_CD_ALL', 'CFGI_CD_ALL']);
    guest.map(BUFFERS, 3);
    expect(driver.request(IN, 1, new Uint8Array(), 512)).toEqual([OK, 513]);
    // What the disk uses was kept, or is read once as before: nothing twice.
    const after = guest.smmu.stats();
    expect([after.cdFetches - cdFetches, after.steFetches - steFetches]).toEqual([1, 1]);
    command([0x5n | of(SID), 1n], [0x3n | of(SID), 1n], SYNC);
    driver.request(IN, 1, new Uint8Array(), 512);
    expect(guest.smmu.stats()).toMatchObject(pick(after));
  });

  function pick({ cdFetches, steFetches }: { cdFetches: number; steFetches: number }): object {
    return { cdFetches, steFetches };
  }

  test('DMA of the disk is right while pages change, and each TLBI reaches hardware once', () => {
    const mirror = driver.disk.slice();
    let invalidations = 0;
    for (let i = 0; i < 120; i++) {
      // As a strict Linux guest: new pages for each request, and their end is told before they are used again.
      guest.map(BUFFERS, 3);
      const sector = (i * 7) % 60;
      const data = new Uint8Array(1024).map((_, j) => i * 31 + j * 7);
      const isWrite = i % 2 === 0;
      const [toDevice, bytes] = isWrite ? [[16, 1024], 0] : [[16], 1024];
      guest.write(BUFFERS, header(isWrite ? OUT : IN, sector));
      if (isWrite) guest.write(DATA, data);
      const read = toDevice.map((length, at) => ({ iova: at === 0 ? BUFFERS : DATA, length }));
      const write = bytes === 0 ? [] : [{ iova: DATA, length: bytes }];
      driver.chain(DESCRIPTORS, read, [...write, { iova: STATUS, length: 1 }]);
      driver.offer(0);
      driver.notify();
      expect(driver.used()).toEqual([[0, bytes + 1]]);
      expect(guest.read(STATUS, 1)).toEqual(Uint8Array.of(OK));
      if (isWrite) mirror.set(data, 512 * sector);
      else {
        const found = guest.read(DATA, 1024);
        expect(Buffer.compare(found, mirror.subarray(512 * sector, 512 * sector + 1024))).toBe(0);
      }
      guest.unmap(BUFFERS, 3);
      guest.invalidate(BUFFERS, 3);
      invalidations += 3;
      if (i % 10 === 0) expect(kernel.attachment(fd).kind).toBe('s1');
    }
    expect(Buffer.compare(driver.disk, mirror)).toBe(0);
    expect(guest.events()).toEqual([]);
    expect(hardware()).toEqual(Array(invalidations).fill('TLBI_NH_VA'));
    expect(emulated).toEqual(Array(invalidations).fill('range of 7'));
    const pages = kernel
      .hardware()
      .flatMap(({ opcode, words }) => (opcode === 'SYNC' ? [] : [words[2]]));
    const page = Number(BUFFERS);
    expect(pages.slice(0, 3)).toEqual([page | 1, (page + PAGE) | 1, (page + 2 * PAGE) | 1]);
  });
});
