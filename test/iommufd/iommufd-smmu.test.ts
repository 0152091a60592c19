import { describe, expect, test } from 'vitest';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { InvalidationError } from '../../src/passthrough/backend.js';
import { ScriptedKernel, type Asked } from './scripted-kernel.js';

const FD = 3;
const DEVICE_FD = 8;
/** The ids that the kernel gives to what the opening makes. */
const VIOMMU = 3;
/** Calls of the opening. */
const OPENING = 5;

/** A vSTE with different words. */
const STE = Uint32Array.of(0x1122_330b, 0x4455_6677, 0x8899_00aa, 0xbbcc_ddee);

async function opened(): Promise<{ kernel: ScriptedKernel; smmu: IommufdSmmu }> {
  const kernel = new ScriptedKernel();
  const base = { calls: kernel, fd: FD, ioasId: 77, deviceFd: DEVICE_FD };
  const smmu = await IommufdSmmu.open({ ...base, veventqDepth: 64 });
  return { kernel, smmu };
}

/** The words of a call. */
function words({ view }: Asked): number[] {
  return Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
}

function wordsOf(data: Uint8Array | undefined): number[] {
  return [...new Uint32Array(data!.slice().buffer)];
}

/** `count` commands, each word its number. */
function commandsOf(count: number, first = 0): Uint32Array {
  return Uint32Array.from({ length: 4 * count }, (_, i) => first + i);
}

/** Makes the next invalidations fail with `entry_num` coming back as `handled`. */
function failInvalidations(kernel: ScriptedKernel, errno: number, handled: number): void {
  kernel.script.set('INVALIDATE', ({ argument }) => {
    new DataView(argument.buffer).setUint32(24, handled, true);
    return -errno;
  });
}

/** The calls on an open SMMU: what each is asked, of which file, and answers. */
const CALLS: {
  name: string;
  run: (smmu: IommufdSmmu) => unknown;
  fd: number;
  words: (number | null)[];
  answer: unknown;
}[] = [
  {
    name: 'BIND',
    run: (smmu) => smmu.addDevice(11),
    fd: 11,
    words: [24, 0, FD, 0, 0, 0],
    answer: 5,
  },
  // The pointer is wherever the vSTE is.
  {
    name: 'HWPT_ALLOC',
    run: (smmu) => smmu.allocate(1, STE),
    fd: FD,
    words: [48, 0, 1, VIOMMU, 0, 0, 2, 16, null, null, 0, 0],
    answer: 5,
  },
  {
    name: 'ATTACH',
    run: (smmu) => smmu.attach(1, 9),
    fd: DEVICE_FD,
    words: [16, 0, 9, 0],
    answer: undefined,
  },
  {
    name: 'DETACH',
    run: (smmu) => smmu.detach(1),
    fd: DEVICE_FD,
    words: [12, 0, 0],
    answer: undefined,
  },
  {
    name: 'DESTROY',
    run: (smmu) => smmu.destroy(9),
    fd: FD,
    words: [8, 9],
    answer: undefined,
  },
  {
    name: 'VDEVICE_ALLOC',
    run: (smmu) => smmu.bind(1, 0xffff_fffe),
    fd: FD,
    words: [24, VIOMMU, 1, 0, 0xffff_fffe, 0],
    answer: 5,
  },
  {
    name: 'INVALIDATE',
    run: (smmu) => smmu.invalidate(commandsOf(2), 2),
    fd: FD,
    words: [32, VIOMMU, null, null, 1, 16, 2, 0],
    answer: undefined,
  },
];

describe.each(CALLS)('$name', ({ name, run, fd, words: expected, answer }) => {
  test('goes to its file with its structure, and is answered at once', async () => {
    const { kernel, smmu } = await opened();
    expect(run(smmu)).toBe(answer);
    expect(kernel.names(OPENING)).toEqual([name]);
    const asked = kernel.log[OPENING]!;
    expect(asked.fd).toBe(fd);
    expect(words(asked).map((word, i) => (expected[i] === null ? null : word))).toEqual(expected);
  });

  test('is a promise when the kernel answers with one', async () => {
    const { kernel, smmu } = await opened();
    kernel.isLater = true;
    const later = run(smmu);
    expect(later).toBeInstanceOf(Promise);
    await kernel.answer();
    expect(await later).toBe(answer);
  });

  test('throws what the kernel refuses with, or rejects with it', async () => {
    const { kernel, smmu } = await opened();
    kernel.fail(name, 16);
    const refusal = { errno: 16, request: expect.stringContaining(name) as string };
    expect(() => run(smmu)).toThrow(expect.objectContaining(refusal) as Error);
    kernel.isLater = true;
    const later = run(smmu) as Promise<unknown>;
    later.catch(() => undefined);
    await kernel.answer();
    await expect(later).rejects.toMatchObject(refusal);
  });

  test('has a structure of its own for each promise', async () => {
    const { kernel, smmu } = await opened();
    kernel.isLater = true;
    const both = [run(smmu), run(smmu)];
    const [first, second] = kernel.log.slice(OPENING) as [Asked, Asked];
    expect(first.argument.buffer).not.toBe(second.argument.buffer);
    await kernel.answer();
    await Promise.all(both);
  });
});

describe('a nested HWPT', () => {
  test('is made from the words of the vSTE as they are at the call', async () => {
    const { kernel, smmu } = await opened();
    const ste = STE.slice();
    kernel.isLater = true;
    const later = smmu.allocate(1, ste);
    ste.fill(0);
    await kernel.answer();
    await later;
    expect(wordsOf(kernel.log[OPENING]!.data)).toEqual([...STE]);
  });
});

describe('devices', () => {
  test('each have their file', async () => {
    const { kernel, smmu } = await opened();
    const second = await smmu.addDevice(11);
    void smmu.attach(second, 9);
    void smmu.detach(smmu.firstDevice);
    void smmu.detach(second);
    const calls = kernel.log.slice(OPENING + 1).map(({ name, fd }) => [name, fd]);
    expect(calls).toEqual([['ATTACH', 11], ['DETACH', DEVICE_FD], ['DETACH', 11]]); // prettier-ignore
  });

  test('that were never added are an embedder mistake', async () => {
    const { kernel, smmu } = await opened();
    const message =
      "device is 6: it is none of this SMMU's; pass firstDevice, or what addDevice gave";
    expect(() => smmu.attach(6, 9)).toThrow(new RangeError(message));
    expect(() => smmu.detach(6)).toThrow(new RangeError(message));
    kernel.fail('BIND', 16);
    expect(() => smmu.addDevice(11)).toThrow('VFIO_DEVICE_BIND_IOMMUFD failed: EBUSY');
    expect(kernel.names(OPENING)).toEqual(['BIND']);
  });
});

describe('arguments', () => {
  test('out of range are refused before the kernel is asked', async () => {
    const { kernel, smmu } = await opened();
    const { located } = kernel;
    expect(() => smmu.addDevice(-1)).toThrow('deviceFd is -1');
    expect(() => smmu.allocate(0, STE)).toThrow('device is 0');
    expect(() => smmu.allocate(1, STE.subarray(1))).toThrow(
      new RangeError('ste has 3 words: it must have 4 at least'),
    );
    expect(() => smmu.allocate(1, [1, 0, 0, 0] as unknown as Uint32Array)).toThrow(TypeError);
    expect(() => smmu.attach(1, 0)).toThrow('hwpt is 0');
    expect(() => smmu.destroy(2 ** 32)).toThrow('object is 4294967296');
    expect(() => smmu.bind(1, -1)).toThrow('streamId is -1');
    expect(() => smmu.bind(1, 2 ** 32)).toThrow(RangeError);
    expect(() => smmu.invalidate(commandsOf(2), 0)).toThrow('count is 0');
    expect(() => smmu.invalidate(commandsOf(2), 1.5)).toThrow('count is 1.5');
    expect(() => smmu.invalidate(commandsOf(2), 3)).toThrow(
      new RangeError('commands has 8 words: it must have 12 at least'),
    );
    expect(() => smmu.invalidate(new Uint8Array(16) as unknown as Uint32Array, 1)).toThrow(
      new TypeError('commands is no Uint32Array: pass one'),
    );
    expect(kernel.log.length).toBe(OPENING);
    expect(kernel.located).toBe(located);
  });
});

describe('invalidation', () => {
  test('gives the kernel the commands in place, and asks once where a buffer is', async () => {
    const { kernel, smmu } = await opened();
    const { located } = kernel;
    const all = commandsOf(100);
    void smmu.invalidate(all, 1);
    void smmu.invalidate(all.subarray(4), 2);
    void smmu.invalidate(all.subarray(380), 5);
    all.fill(7);
    void smmu.invalidate(all, 100);
    expect(kernel.located).toBe(located + 1);
    const data = kernel.log.slice(OPENING).map((asked) => wordsOf(asked.data));
    expect(data[0]).toEqual([0, 1, 2, 3]);
    expect(data[1]).toEqual([4, 5, 6, 7, 8, 9, 10, 11]);
    expect(data[2]).toEqual(Array.from({ length: 20 }, (_, i) => 380 + i));
    expect(data[3]).toEqual(new Array(400).fill(7));
    void smmu.invalidate(commandsOf(1, 50), 1);
    expect(kernel.located).toBe(located + 2);
    expect(wordsOf(kernel.log.at(-1)!.data)).toEqual([50, 51, 52, 53]);
  });

  test('takes commands in shared memory', async () => {
    const { kernel, smmu } = await opened();
    const shared = new Uint32Array(new SharedArrayBuffer(32));
    shared.set([1, 2, 3, 4], 4);
    void smmu.invalidate(shared.subarray(4), 1);
    expect(wordsOf(kernel.log.at(-1)!.data)).toEqual([1, 2, 3, 4]);
  });

  test('uses one structure for calls that are answered at once', async () => {
    const { kernel, smmu } = await opened();
    for (let i = 0; i < 3; i++) void smmu.invalidate(commandsOf(1), 1);
    expect(new Set(kernel.log.slice(OPENING).map(({ argument }) => argument.buffer)).size).toBe(1);
  });

  test.each([
    [5, 0],
    [5, 2],
    [110, 3],
    [12, 4],
  ])('that fails with errno %i says that %i were handled', async (errno, handled) => {
    const { kernel, smmu } = await opened();
    failInvalidations(kernel, errno, handled);
    const expected = new InvalidationError(errno, handled);
    const run = () => smmu.invalidate(commandsOf(4), 4);
    expect(run).toThrow(expected);
    expect(run).toThrow(expect.objectContaining({ errno, handled }) as Error);
    kernel.isLater = true;
    const later = Promise.resolve(run());
    later.catch(() => undefined);
    await kernel.answer();
    await expect(later).rejects.toBeInstanceOf(InvalidationError);
    await expect(later).rejects.toMatchObject({ errno, handled });
  });

  test('never says that more were handled than there were', async () => {
    const { kernel, smmu } = await opened();
    failInvalidations(kernel, 5, 0xffff_ffff);
    expect(() => smmu.invalidate(commandsOf(4), 4)).toThrow(
      expect.objectContaining({ handled: 4 }) as Error,
    );
  });
});
