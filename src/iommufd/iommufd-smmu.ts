import { writeFields } from '../memory/byte-layout.js';
import type { Halves } from '../memory/u64.js';
import {
  InvalidationError,
  type HostAnswer,
  type PhysicalBackend,
} from '../passthrough/backend.js';
import type { Features } from '../registers/features.js';
import { checkFd, checkId, checkInteger } from './arguments.js';
import { after, askKernel, callKernel, hostBytes, locate } from './call.js';
import type { HardwareInfo } from './hardware-info.js';
import type { HostCalls } from './host-calls.js';
import {
  HWPT_ARM_SMMUV3_BYTES,
  HwptArmSmmuv3,
  HwptDataType,
  HwptInvalidateDataType,
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_INVALIDATE,
  VIOMMU_ARM_SMMUV3_INVALIDATE_BYTES,
} from './hwpt-requests.js';
import { IOMMU_DESTROY } from './object-requests.js';
import { decodeRequest, encodeRequest } from './request.js';
import {
  bindDevice,
  checkSmmuOptions,
  makeSmmuObjects,
  type IommufdSmmuOptions,
  type SmmuObjects,
} from './smmu-objects.js';
import { VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_DETACH_IOMMUFD_PT } from './vfio-requests.js';
import { IOMMU_VDEVICE_ALLOC } from './viommu-requests.js';

const VSTE_WORDS = 4;
const COMMAND_WORDS = 4;

/**
 * One physical SMMU that Linux shares with a guest: a nest parent over the guest's memory, a vIOMMU, and
 * when asked for a vEVENTQ. With {@link HostCalls} that answer at once every method but `open` has done
 * its work when it returns; with promises each gives a promise. What the kernel refuses is an
 * {@link IommufdError}, thrown or rejected with likewise; what a method cannot take is a TypeError or
 * RangeError, thrown before the kernel is asked.
 */
export class IommufdSmmu implements PhysicalBackend {
  /** What a guest may be shown of the hardware: see {@link featuresOfHardware}. */
  readonly features: Features;
  /** What the kernel says about the hardware, and about the first device. */
  readonly hardware: HardwareInfo;
  /** The kernel's id of the device that it was opened with. */
  readonly firstDevice: number;
  /**
   * File descriptor of the vEVENTQ, to poll and read events from; `undefined` without a depth. The
   * embedder closes it.
   */
  readonly veventqFd: number | undefined;
  private readonly calls: HostCalls;
  private readonly fd: number;
  private readonly viommuId: number;
  /** Objects to destroy at the end, the last first: nest parent, vIOMMU, vEVENTQ. */
  private readonly made: number[];
  private readonly deviceFds = new Map<number, number>();
  /** Where buffers of commands begin in this process: they live long, and asking takes time. */
  private readonly addresses = new WeakMap<ArrayBufferLike, Halves>();
  private invalidation = hostBytes(IOMMU_HWPT_INVALIDATE.byteLength);
  private closing: HostAnswer<void> | undefined;

  private constructor(options: IommufdSmmuOptions, objects: SmmuObjects) {
    this.calls = options.calls;
    this.fd = options.fd;
    this.features = objects.features;
    this.hardware = objects.hardware;
    this.firstDevice = objects.firstDevice;
    this.veventqFd = objects.veventqFd;
    this.viommuId = objects.viommu;
    this.made = objects.made;
    this.deviceFds.set(objects.firstDevice, options.deviceFd);
  }

  /**
   * Binds the first device, and makes what its physical SMMU needs for a guest. Guest RAM may be mapped
   * in the IOAS before or after. When a step fails, what was made before is destroyed again; only the
   * binding stays until the device's file is closed.
   * @returns a promise; it rejects with the IommufdError of the step that failed: EOPNOTSUPP when the
   * hardware is no SMMUv3 or cannot nest.
   * @throws RangeError (rejects) when an option is out of range, or a guest cannot do with the hardware.
   * @throws TypeError (rejects) when an option has the wrong type.
   * @throws Error (rejects) on a big-endian host.
   */
  static async open(options: IommufdSmmuOptions): Promise<IommufdSmmu> {
    checkSmmuOptions(options);
    return new IommufdSmmu(options, await makeSmmuObjects(options));
  }

  /**
   * Binds another device. Whether it is behind this physical SMMU shows later: the kernel refuses its
   * HWPTs and its vDEVICE with EINVAL when it is not. Then close its file, and open an IommufdSmmu of its
   * own for it.
   * @param deviceFd its file descriptor, opened from `/dev/vfio/devices`, not bound yet.
   * @returns the kernel's id of the device.
   */
  addDevice(deviceFd: number): HostAnswer<number> {
    checkFd('deviceFd', deviceFd);
    return after(bindDevice(this.calls, this.fd, deviceFd), (device) => {
      this.deviceFds.set(device, deviceFd);
      return device;
    });
  }

  /**
   * Detaches a device from its HWPT: its DMA is blocked.
   * @param device {@link firstDevice}, or what {@link addDevice} gave.
   */
  detach(device: number): HostAnswer<void> {
    const fd = this.fileOf(device);
    return after(callKernel(this.calls, fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, {}), nothing);
  }

  allocate(device: number, ste: Uint32Array): HostAnswer<number> {
    checkId('device', device);
    checkWords('ste', ste, VSTE_WORDS);
    const data = hostBytes(HWPT_ARM_SMMUV3_BYTES);
    writeFields(data, 0, HwptArmSmmuv3, {
      ste0: { low: ste[0]!, high: ste[1]! },
      ste1: { low: ste[2]!, high: ste[3]! },
    });
    const values = {
      dev_id: device,
      pt_id: this.viommu,
      data_type: HwptDataType.ARM_SMMUV3,
      data_len: data.length,
      data_uptr: locate(this.calls, data),
    };
    return after(
      callKernel(this.calls, this.fd, IOMMU_HWPT_ALLOC, values, [data]),
      ({ out_hwpt_id }) => out_hwpt_id,
    );
  }

  attach(device: number, hwpt: number): HostAnswer<void> {
    const fd = this.fileOf(device);
    checkId('hwpt', hwpt);
    const values = { pt_id: hwpt };
    return after(callKernel(this.calls, fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, values), nothing);
  }

  destroy(object: number): HostAnswer<void> {
    checkId('object', object);
    return after(callKernel(this.calls, this.fd, IOMMU_DESTROY, { id: object }), nothing);
  }

  bind(device: number, streamId: number): HostAnswer<number> {
    checkId('device', device);
    checkInteger('streamId', streamId, 0, 2 ** 32 - 1, 'pass a StreamID of the guest');
    return after(
      callKernel(this.calls, this.fd, IOMMU_VDEVICE_ALLOC, {
        viommu_id: this.viommu,
        dev_id: device,
        virt_id: streamId,
      }),
      ({ out_vdevice_id }) => out_vdevice_id,
    );
  }

  invalidate(commands: Uint32Array, count: number): HostAnswer<void> {
    checkInteger('count', count, 1, 2 ** 32 - 1, 'pass how many commands there are');
    checkWords('commands', commands, COMMAND_WORDS * count);
    const argument = this.invalidation;
    encodeRequest(
      IOMMU_HWPT_INVALIDATE,
      {
        hwpt_id: this.viommu,
        data_uptr: this.addressOf(commands),
        data_type: HwptInvalidateDataType.ARM_SMMUV3,
        entry_len: VIOMMU_ARM_SMMUV3_INVALIDATE_BYTES,
        entry_num: count,
      },
      argument,
    );
    const answer = askKernel(this.calls, this.fd, IOMMU_HWPT_INVALIDATE, argument, [commands]);
    if (typeof answer !== 'number') {
      this.invalidation = hostBytes(IOMMU_HWPT_INVALIDATE.byteLength);
    }
    return after(answer, (result) => {
      if (result >= 0) return;
      const { entry_num: handled } = decodeRequest(IOMMU_HWPT_INVALIDATE, argument);
      throw new InvalidationError(-result, Math.min(handled, count));
    });
  }

  /**
   * Destroys the vEVENTQ, the vIOMMU and the nest parent, in this order. Before: detach every device (or
   * attach it to something of another SMMU), destroy the nested HWPTs and vDEVICEs, and close
   * {@link veventqFd}. After: close the files of the devices, and destroy the IOAS. When the kernel
   * refuses (EBUSY: something is in use still) it can be called again, and goes on where it stopped.
   */
  close(): HostAnswer<void> {
    if (this.closing !== undefined) return this.closing;
    const answer = this.destroyMade();
    if (answer === undefined) return;
    const over = (): void => {
      this.closing = undefined;
    };
    this.closing = Promise.resolve(answer).finally(over);
    return this.closing;
  }

  /** The vIOMMU; once it is destroyed the kernel may give its id to another object. */
  private get viommu(): number {
    if (this.made.includes(this.viommuId)) return this.viommuId;
    throw new Error('this IommufdSmmu is closed: open another');
  }

  private destroyMade(): HostAnswer<void> {
    const object = this.made.at(-1);
    if (object === undefined) return;
    return after(this.destroy(object), () => {
      this.made.pop();
      return this.destroyMade();
    });
  }

  private fileOf(device: number): number {
    const fd = this.deviceFds.get(device);
    if (fd !== undefined) return fd;
    throw new RangeError(
      `device is ${device}: it is none of this SMMU's; pass firstDevice, or what addDevice gave`,
    );
  }

  private addressOf(commands: Uint32Array): Halves {
    const { buffer, byteOffset } = commands;
    let base = this.addresses.get(buffer);
    if (base === undefined) {
      base = locate(this.calls, new Uint8Array(buffer));
      this.addresses.set(buffer, base);
    }
    const low = base.low + byteOffset;
    return { high: base.high + Math.floor(low / 0x1_0000_0000), low: low >>> 0 };
  }
}

/** @throws TypeError or RangeError when `words` are not at least `least` words. */
function checkWords(name: string, words: Uint32Array, least: number): void {
  if (!(words instanceof Uint32Array)) throw new TypeError(`${name} is no Uint32Array: pass one`);
  if (words.length >= least) return;
  throw new RangeError(`${name} has ${words.length} words: it must have ${least} at least`);
}

function nothing(): void {
  // The answer says that it is done, and no more.
}
