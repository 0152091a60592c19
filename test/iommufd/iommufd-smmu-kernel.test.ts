import { describe, expect, test } from 'vitest';
import { KernelModel, type KernelModelOptions } from '../../src/fixtures/kernel-model.js';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { allocateIoas } from '../../src/iommufd/iova-ranges.js';

/** vSTEs of 4 words: V with Config 0, 4 and 5; and one with S2TTB where nothing may be. */
const ABORT = Uint32Array.of(0x1, 0, 0, 0);
const BYPASS = Uint32Array.of(0x9, 0, 0, 0);
const NESTED = Uint32Array.of(0x43e0_000b, 0x0800_0001, 0x1000_00d6, 0);
const WRONG = Uint32Array.of(0x43e0_000b, 0, 0, 1);
const SID = 0x77;

/** Commands of 4 words. */
const TLBI_ALL = [0x30, 0, 0, 0];
const ASID_5 = [0x11, 0x5_0000, 0, 0];
const CFGI_CD = [0x5 | (3 << 12), SID, 1, 0];
const NOBODY = [0x6, SID + 1, 0, 0];
const NONE = [0x3, SID, 1, 0];

const list = (...commands: number[][]): Uint32Array => Uint32Array.from(commands.flat());

interface Opened {
  kernel: KernelModel;
  smmu: IommufdSmmu;
  ioasId: number;
  fd: number;
}

async function open(options: KernelModelOptions = {}, depth?: number): Promise<Opened> {
  const kernel = new KernelModel(options);
  const ioasId = await allocateIoas(kernel, kernel.fd);
  const fd = kernel.addDevice({ streamId: 0x1234 });
  const smmu = await IommufdSmmu.open({
    calls: kernel,
    fd: kernel.fd,
    ioasId,
    deviceFd: fd,
    ...(depth !== undefined && { veventqDepth: depth }),
  });
  return { kernel, smmu, ioasId, fd };
}

const kinds = (kernel: KernelModel): string[] => kernel.objects().map(({ kind }) => kind);

function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return 'nothing was thrown';
}

describe('an IommufdSmmu on the model of the kernel', () => {
  test('opens with one object of each kind, and closes with none', async () => {
    const { kernel, smmu, fd } = await open({}, 16);
    const made = ['ioas', 'device', 'hwpt-paging', 'viommu', 'veventq'];
    expect(kinds(kernel)).toEqual(made);
    expect(thrown(() => smmu.close())).toMatchObject({ errno: 16 });
    kernel.close(smmu.veventqFd!);
    expect(smmu.close()).toBeUndefined();
    expect(kinds(kernel)).toEqual(made.slice(0, 2));
    kernel.closeDevice(fd);
    expect(kinds(kernel)).toEqual(['ioas']);
  });

  test('on hardware that cannot nest leaves nothing but the binding', async () => {
    const kernel = new KernelModel({ smmus: [{ idr: [0x094c_341a] }] });
    const ioasId = await allocateIoas(kernel, kernel.fd);
    const deviceFd = kernel.addDevice({ streamId: 1 });
    const opening = IommufdSmmu.open({ calls: kernel, fd: kernel.fd, ioasId, deviceFd });
    await expect(opening).rejects.toMatchObject({ errno: 95, request: 'IOMMU_HWPT_ALLOC' });
    expect(kinds(kernel)).toEqual(['ioas', 'device']);
  });

  test('with a vEVENTQ that is too deep for no kernel undoes what it made', async () => {
    const kernel = new KernelModel();
    kernel.failing(({ name }) => (name === 'IOMMU_VEVENTQ_ALLOC' ? 12 : undefined));
    const ioasId = await allocateIoas(kernel, kernel.fd);
    const deviceFd = kernel.addDevice({ streamId: 1 });
    const options = { calls: kernel, fd: kernel.fd, ioasId, deviceFd, veventqDepth: 4 };
    await expect(IommufdSmmu.open(options)).rejects.toMatchObject({ errno: 12 });
    expect(kinds(kernel)).toEqual(['ioas', 'device']);
  });

  test('what the guest may be shown is in the registers of the hardware', async () => {
    const idr = [0x0944_101b, 0x0140_00cc, 0, 0x0000_0004, 0, 0x12];
    const { smmu } = await open({ smmus: [{ idr, iidr: 0x43b, aidr: 3 }] });
    expect(smmu.hardware).toMatchObject({ idr, iidr: 0x43b, aidr: 3 });
    // IDR0: no ATS [10], no CD2L [19]; IDR1: SIDSIZE=12, SSIDSIZE=3; IDR3: no RIL; IDR5: 40 bits, 4K.
    expect(smmu.features).toMatchObject({
      ATS: 0,
      CD2L: 0,
      SIDSIZE: 12,
      SSIDSIZE: 3,
      RIL: 0,
      OAS: 40,
      GRAN4K: 1,
      GRAN16K: 0,
      GRAN64K: 0,
      S2P: 0,
      ArchMinor: 0,
    });
  });

  test('vSTEs, attachments, vDEVICEs', async () => {
    const { kernel, smmu, fd } = await open();
    const device = smmu.firstDevice;
    const [abort, bypass] = [smmu.allocate(device, ABORT), smmu.allocate(device, BYPASS)];
    const nested = smmu.allocate(device, NESTED) as number;
    smmu.attach(device, abort as number);
    smmu.attach(device, bypass as number);
    // Stage 1 needs a vDEVICE.
    expect(thrown(() => smmu.attach(device, nested))).toMatchObject({ errno: 2 });
    const vdevice = smmu.bind(device, SID) as number;
    smmu.attach(device, nested);
    expect(kernel.history(fd).map(({ kind }) => kind)).toEqual([
      'blocked',
      'abort',
      'bypass',
      's1',
    ]);
    expect(kernel.attachment(fd)).toMatchObject({
      hwpt: nested,
      ste: [0x43e0_000b, 0x0800_0001, 0xd6, 0],
      ats: true,
    });
    expect(thrown(() => smmu.allocate(device, WRONG))).toMatchObject({ errno: 5 });
    expect(thrown(() => smmu.bind(device, SID + 1))).toMatchObject({ errno: 17 });
    expect(thrown(() => smmu.destroy(nested))).toMatchObject({ errno: 16 });
    smmu.attach(device, abort as number);
    smmu.destroy(nested);
    smmu.destroy(vdevice);
    expect(thrown(() => smmu.destroy(nested))).toMatchObject({ errno: 2 });
    smmu.detach(device);
    expect(kernel.attachment(fd)).toEqual({ kind: 'blocked' });
    smmu.destroy(abort as number);
    smmu.destroy(bypass as number);
    smmu.close();
    expect(kinds(kernel)).toEqual(['ioas', 'device']);
  });

  test('a device behind another SMMU is refused, and served by a second one', async () => {
    const { kernel, smmu, ioasId } = await open({ smmus: [{}, {}] });
    const fd = kernel.addDevice({ smmu: 1, streamId: 0x1234 });
    const stranger = smmu.addDevice(fd) as number;
    expect(thrown(() => smmu.allocate(stranger, ABORT))).toMatchObject({ errno: 22 });
    expect(thrown(() => smmu.bind(stranger, SID))).toMatchObject({ errno: 22 });
    kernel.closeDevice(fd);
    const again = kernel.addDevice({ smmu: 1, streamId: 0x1234 });
    const other = await IommufdSmmu.open({ calls: kernel, fd: kernel.fd, ioasId, deviceFd: again });
    other.attach(other.firstDevice, other.allocate(other.firstDevice, ABORT) as number);
    expect(kernel.attachment(again).kind).toBe('abort');
  });
});

describe('invalidate', () => {
  async function bound(options: KernelModelOptions = {}): Promise<Opened> {
    const opened = await open({ block: 2, ...options });
    await opened.smmu.bind(opened.smmu.firstDevice, SID);
    return opened;
  }
  const words = (kernel: KernelModel): number[][] =>
    kernel.hardware().map((command) => [...command.words]);
  const SYNC = [0x46, 0, 0, 0];

  test('commands reach hardware with VMID and physical StreamID, each block with a SYNC', async () => {
    const { kernel, smmu } = await bound();
    expect(smmu.invalidate(list(TLBI_ALL, ASID_5, CFGI_CD), 3)).toBeUndefined();
    const cd = [0x3005, 0x1234, 1, 0];
    expect(words(kernel)).toEqual([[0x10, 1, 0, 0], [0x11, 0x5_0001, 0, 0], SYNC, cd, SYNC]);
  });

  test('takes the first ones of a larger array, and a part of one', async () => {
    const { kernel, smmu } = await bound();
    const all = list(TLBI_ALL, ASID_5, CFGI_CD);
    smmu.invalidate(all, 1);
    smmu.invalidate(all.subarray(4), 1);
    smmu.invalidate(all.subarray(4, 8), 1);
    const asid = [0x11, 0x5_0001, 0, 0];
    expect(words(kernel)).toEqual([[0x10, 1, 0, 0], SYNC, asid, SYNC, asid, SYNC]);
  });

  test.each<[string, number[], number, boolean]>([
    ['a StreamID of nobody', NOBODY, 5, false],
    ['a command that is not forwarded', NONE, 5, false],
  ])('%s: EIO, and how many were handled', async (_, wrong, errno) => {
    const { kernel, smmu } = await bound();
    const commands = list(TLBI_ALL, ASID_5, ASID_5, wrong, ASID_5);
    expect(thrown(() => smmu.invalidate(commands, 5))).toMatchObject({ errno, handled: 3 });
    // The third was checked, and not issued.
    expect(words(kernel)).toHaveLength(3);
    smmu.invalidate(commands, 3);
    expect(words(kernel)).toHaveLength(3 + 5);
  });

  test.each<[string, number, number, number]>([
    ['ENOMEM, entry_num as it was', 12, 0, 4],
    ['ETIMEDOUT, in the second block', 110, 2, 3],
  ])('%s', async (_, errno, index, handled) => {
    const { kernel, smmu } = await bound();
    kernel.failInvalidation(() => ({ errno, index }));
    const commands = list(TLBI_ALL, ASID_5, CFGI_CD, ASID_5);
    expect(thrown(() => smmu.invalidate(commands, 4))).toMatchObject({ errno, handled });
    const done = kernel.hardware().filter(({ completed }) => completed);
    expect(done).toHaveLength(errno === 12 ? 0 : 3);
  });

  test('two at a time, on a kernel that answers in another order', async () => {
    const { kernel, smmu } = await bound();
    kernel.async('step');
    const [first, second] = [list(ASID_5, NOBODY), list(TLBI_ALL)];
    const answers = [smmu.invalidate(first, 2), smmu.invalidate(second, 1)];
    kernel.step(1);
    await answers[1];
    expect(words(kernel)).toEqual([[0x10, 1, 0, 0], SYNC]);
    kernel.step();
    await expect(answers[0]).rejects.toMatchObject({ errno: 5, handled: 1 });
  });

  test('600 commands go in one call', async () => {
    const { kernel, smmu } = await bound({ block: 63 });
    const { operations } = kernel;
    smmu.invalidate(list(...Array<number[]>(600).fill(ASID_5)), 600);
    expect(kernel.operations - operations).toBe(1);
    // Ten blocks, each with its SYNC.
    expect(kernel.hardwareLength()).toBe(610);
  });
});
