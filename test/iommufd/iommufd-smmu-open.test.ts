import { afterEach, describe, expect, test, vi } from 'vitest';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import type { IommufdSmmuOptions } from '../../src/iommufd/smmu-objects.js';
import { HARDWARE, ScriptedKernel, type Asked } from './scripted-kernel.js';

const FD = 3;
const DEVICE_FD = 8;

function options(kernel: ScriptedKernel, more: Partial<IommufdSmmuOptions> = {}) {
  return { calls: kernel, fd: FD, ioasId: 77, deviceFd: DEVICE_FD, veventqDepth: 64, ...more };
}

/** The words of a call. */
function words({ view }: Asked): number[] {
  return Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
}

const STEPS = ['BIND', 'GET_HW_INFO', 'HWPT_ALLOC', 'VIOMMU_ALLOC', 'VEVENTQ_ALLOC'];

/** Ids: the device 1, the nest parent 2, the vIOMMU 3, the vEVENTQ 4. */
const UNDONE: Record<string, number[]> = {
  BIND: [],
  GET_HW_INFO: [],
  HWPT_ALLOC: [],
  VIOMMU_ALLOC: [2],
  VEVENTQ_ALLOC: [3, 2],
};

/** Ids that were destroyed, in order. */
function destroyed(kernel: ScriptedKernel): number[] {
  return kernel.log
    .filter(({ name }) => name === 'DESTROY')
    .map(({ view }) => view.getUint32(4, true));
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each([
  ['at once', false],
  ['with promises', true],
])('opening an SMMU, on a kernel that answers %s', (_, isLater) => {
  async function open(kernel: ScriptedKernel, more?: Partial<IommufdSmmuOptions>) {
    kernel.isLater = isLater;
    const opening = IommufdSmmu.open(options(kernel, more));
    opening.catch(() => undefined);
    await kernel.answer();
    return opening;
  }

  test('binds, asks, and makes nest parent, vIOMMU and vEVENTQ', async () => {
    const kernel = new ScriptedKernel();
    const smmu = await open(kernel);
    expect(kernel.names()).toEqual(STEPS);
    expect(kernel.log.map(({ fd }) => fd)).toEqual([DEVICE_FD, FD, FD, FD, FD]);
    // argsz, flags, iommufd, out_devid, token.
    expect(words(kernel.log[0]!)).toEqual([24, 0, FD, 0, 0, 0]);
    // size, flags NEST_PARENT, dev_id, pt_id, no data, no fault queue.
    expect(words(kernel.log[2]!)).toEqual([48, 1, 1, 77, 0, 0, 0, 0, 0, 0, 0, 0]);
    // size, flags, type ARM_SMMUV3, dev_id, hwpt_id, no data.
    expect(words(kernel.log[3]!)).toEqual([40, 0, 1, 1, 2, 0, 0, 0, 0, 0]);
    // size, flags, viommu_id, type ARM_SMMUV3, depth.
    expect(words(kernel.log[4]!)).toEqual([32, 0, 3, 1, 64, 0, 0, 0]);
    expect(smmu).toMatchObject({ firstDevice: 1, veventqFd: 99 });
    expect(smmu.hardware.idr).toEqual(HARDWARE.slice(0, 6));
    expect(smmu.features).toMatchObject({ STALL_MODEL: 1, ATS: 1, SIDSIZE: 16, OAS: 48 });
  });

  test('makes no vEVENTQ without a depth', async () => {
    const kernel = new ScriptedKernel();
    kernel.isLater = isLater;
    const opening = IommufdSmmu.open({ calls: kernel, fd: FD, ioasId: 77, deviceFd: DEVICE_FD });
    await kernel.answer();
    expect(await opening).toMatchObject({ veventqFd: undefined });
    expect(kernel.names()).toEqual(STEPS.slice(0, 4));
  });

  test.each(STEPS)('undoes what was made when %s is refused', async (step) => {
    const kernel = new ScriptedKernel();
    kernel.fail(step, 95);
    await expect(open(kernel)).rejects.toMatchObject({
      name: 'IommufdError',
      request: expect.stringContaining(step) as string,
      errno: 95,
    });
    const failed = STEPS.indexOf(step);
    const undone = UNDONE[step]!;
    expect(kernel.names()).toEqual([...STEPS.slice(0, failed + 1), ...undone.map(() => 'DESTROY')]);
    expect(destroyed(kernel)).toEqual(undone);
  });

  test('rejects with what failed first when the undoing is refused too', async () => {
    const kernel = new ScriptedKernel();
    kernel.fail('VEVENTQ_ALLOC', 22);
    kernel.fail('DESTROY', 16);
    await expect(open(kernel)).rejects.toMatchObject({ request: 'IOMMU_VEVENTQ_ALLOC', errno: 22 });
    expect(destroyed(kernel)).toEqual([3, 2]);
  });

  test('undoes what was made when the call answers with no integer', async () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('VIOMMU_ALLOC', () => null);
    await expect(open(kernel)).rejects.toThrow(TypeError);
    expect(destroyed(kernel)).toEqual([2]);
  });

  test('is refused on hardware that can only stall, before anything is made', async () => {
    const kernel = new ScriptedKernel();
    kernel.script.set('GET_HW_INFO', ({ argument }, data) => {
      const idr = new DataView(data.buffer, data.byteOffset, data.byteLength);
      idr.setUint32(8, 0x0e4f_76bf, true);
      new DataView(argument.buffer).setUint32(24, 2, true);
      return 0;
    });
    await expect(open(kernel)).rejects.toThrow('IDR0.STALL_MODEL of the physical SMMU is 2');
    expect(kernel.names()).toEqual(['BIND', 'GET_HW_INFO']);
  });
});

describe('options of an SMMU', () => {
  test.each([
    [{ fd: -1 }, 'options.fd is -1: it must be an integer from 0 to 2147483647'],
    [{ fd: 1.5 }, 'options.fd is 1.5'],
    [{ ioasId: 0 }, 'options.ioasId is 0: it must be an integer from 1 to 4294967295'],
    [{ deviceFd: NaN }, 'options.deviceFd is NaN'],
    [{ veventqDepth: 0 }, 'options.veventqDepth is 0: it must be an integer from 1 to 524288'],
    [{ veventqDepth: 2 ** 19 + 1 }, 'options.veventqDepth is 524289'],
  ])('%o are a RangeError, before the kernel is asked', async (more, message) => {
    const kernel = new ScriptedKernel();
    await expect(IommufdSmmu.open(options(kernel, more))).rejects.toThrow(RangeError);
    await expect(IommufdSmmu.open(options(kernel, more))).rejects.toThrow(message);
    expect(kernel.log).toEqual([]);
  });

  test('need the two methods of HostCalls', async () => {
    const kernel = new ScriptedKernel();
    const calls = { ioctl: kernel.ioctl } as unknown as ScriptedKernel;
    await expect(IommufdSmmu.open(options(kernel, { calls }))).rejects.toThrow(
      new TypeError('calls has no method addressOf: pass a HostCalls'),
    );
  });

  test('do not matter on a big-endian host', async () => {
    const kernel = new ScriptedKernel();
    vi.spyOn(Uint32Array, 'of').mockReturnValue(new Uint32Array([0x0100_0000]));
    await expect(IommufdSmmu.open(options(kernel))).rejects.toThrow('this host is big-endian');
    expect(kernel.log).toEqual([]);
  });
});
