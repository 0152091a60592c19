import { describe, expect, test } from 'vitest';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { ScriptedKernel } from './scripted-kernel.js';

/** Ids: the device 1, the nest parent 2, the vIOMMU 3, the vEVENTQ 4. */
async function opened(
  veventqDepth?: number,
): Promise<{ kernel: ScriptedKernel; smmu: IommufdSmmu }> {
  const kernel = new ScriptedKernel();
  const smmu = await IommufdSmmu.open({
    calls: kernel,
    fd: 3,
    ioasId: 77,
    deviceFd: 8,
    ...(veventqDepth === undefined ? {} : { veventqDepth }),
  });
  kernel.log.length = 0;
  return { kernel, smmu };
}

/** What was called since the opening: name, file and id. */
function calls(kernel: ScriptedKernel): unknown[] {
  return kernel.log.map(({ name, fd, view }) => [name, fd, view.getUint32(4, true)]);
}

describe('closing an SMMU', () => {
  test('destroys vEVENTQ, vIOMMU and nest parent, in this order', async () => {
    const { kernel, smmu } = await opened(64);
    expect(smmu.close()).toBeUndefined();
    expect(calls(kernel)).toEqual([
      ['DESTROY', 3, 4],
      ['DESTROY', 3, 3],
      ['DESTROY', 3, 2],
    ]);
  });

  test('without a vEVENTQ destroys vIOMMU and nest parent', async () => {
    const { kernel, smmu } = await opened();
    expect(smmu.close()).toBeUndefined();
    expect(calls(kernel)).toEqual([
      ['DESTROY', 3, 3],
      ['DESTROY', 3, 2],
    ]);
  });

  test('is a promise when the kernel answers with promises, one for callers at the same time', async () => {
    const { kernel, smmu } = await opened(64);
    kernel.isLater = true;
    const first = smmu.close();
    expect(first).toBeInstanceOf(Promise);
    expect(smmu.close()).toBe(first);
    await kernel.answer();
    await first;
    expect(calls(kernel).length).toBe(3);
    expect(smmu.close()).toBeUndefined();
  });

  test('twice destroys nothing twice', async () => {
    const { kernel, smmu } = await opened(64);
    void smmu.close();
    void smmu.close();
    expect(calls(kernel).length).toBe(3);
  });

  test.each([false, true])('goes on where the kernel refused, promises: %s', async (isLater) => {
    const { kernel, smmu } = await opened(64);
    kernel.isLater = isLater;
    const close = async (): Promise<void> => {
      const closing = Promise.resolve().then(() => smmu.close());
      closing.catch(() => undefined);
      await kernel.answer();
      return closing;
    };
    kernel.script.set('DESTROY', ({ view }) => (view.getUint32(4, true) === 3 ? -16 : undefined));
    await expect(close()).rejects.toMatchObject({ request: 'IOMMU_DESTROY', errno: 16 });
    kernel.script.clear();
    await close();
    expect(calls(kernel)).toEqual([
      ['DESTROY', 3, 4],
      ['DESTROY', 3, 3],
      ['DESTROY', 3, 3],
      ['DESTROY', 3, 2],
    ]);
  });

  test('ends what names the vIOMMU, whose id may be of another object by then', async () => {
    const { kernel, smmu } = await opened();
    void smmu.close();
    const message = 'this IommufdSmmu is closed: open another';
    expect(() => smmu.allocate(1, new Uint32Array(4))).toThrow(message);
    expect(() => smmu.bind(1, 2)).toThrow(message);
    expect(() => smmu.invalidate(new Uint32Array(4), 1)).toThrow(message);
    expect(calls(kernel).length).toBe(2);
    expect(smmu.detach(1)).toBeUndefined();
  });
});
