import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeAll, describe, expect, test } from 'vitest';
import type { HostCalls } from '../../src/iommufd/host-calls.js';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { ScriptedKernel } from './scripted-kernel.js';

let collect: () => void;

beforeAll(() => {
  setFlagsFromString('--expose-gc');
  collect = runInNewContext('gc') as () => void;
});

/** An SMMU whose calls, once it is open, `ioctl` answers, and where its buffers are without keeping them. */
async function opened(ioctl: HostCalls['ioctl']) {
  const kernel = new ScriptedKernel();
  const located: WeakRef<ArrayBufferLike>[] = [];
  let isOpen = false;
  const calls: HostCalls = {
    ioctl: (fd, request, argument) => (isOpen ? ioctl : kernel.ioctl)(fd, request, argument),
    addressOf: (bytes) => {
      if (!isOpen) return kernel.addressOf(bytes);
      located.push(new WeakRef(bytes.buffer));
      return 0x1000;
    },
  };
  const smmu = await IommufdSmmu.open({ calls, fd: 3, ioasId: 77, deviceFd: 8 });
  isOpen = true;
  return { smmu, located };
}

/** One vSTE and 1000 commands, which nobody but the kernel has afterwards. */
function call(smmu: IommufdSmmu): void {
  void smmu.allocate(1, Uint32Array.of(9, 0, 0, 0));
  void smmu.invalidate(new Uint32Array(4000), 1000);
}

/** Bytes of the buffers that a collection leaves. */
async function leftOf(located: readonly WeakRef<ArrayBufferLike>[]) {
  // A WeakRef keeps its target until the end of the job that made or read it.
  await new Promise((resolve) => setTimeout(resolve, 1));
  collect();
  return located.map((reference) => reference.deref()?.byteLength);
}

describe('buffers that the kernel has the address of', () => {
  test('are there until it has answered, and no longer', async () => {
    const answers: ((result: number) => void)[] = [];
    const { smmu, located } = await opened(() => new Promise((resolve) => answers.push(resolve)));
    call(smmu);
    expect(await leftOf(located)).toEqual([16, 16_000]);
    for (const answer of answers) answer(0);
    expect(await leftOf(located)).toEqual([undefined, undefined]);
  });

  test('are there even when nobody waits for the answer', async () => {
    const { smmu, located } = await opened(() => new Promise(() => undefined));
    call(smmu);
    expect(await leftOf(located)).toEqual([16, 16_000]);
  });

  test('are not kept by calls that were answered at once', async () => {
    const { smmu, located } = await opened(() => 0);
    call(smmu);
    expect(await leftOf(located)).toEqual([undefined, undefined]);
  });
});
