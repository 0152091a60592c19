/** A vSMMU whose passthrough devices are behind SMMUs of the model of the kernel, for many short runs. */
import { KernelModel, type KernelModelOptions } from '../../src/fixtures/kernel-model.js';
import { IommufdSmmu } from '../../src/iommufd/iommufd-smmu.js';
import { allocateIoas } from '../../src/iommufd/iova-ranges.js';
import { CMDQ, R, SmmuMachine } from '../smmu/smmu-machine.js';
import { STREAM_TABLE } from '../transaction/machine.js';
import { ON, SID, STES } from './command-rig.js';

const QUEUE_LOG2 = 8;
const SIZE = 1 << QUEUE_LOG2;
/** StreamID of the devices in hardware, less that of the guest. */
export const HOST_SID = 0x300;

export class KernelRig {
  readonly machine = new SmmuMachine({ cmdqLog2: QUEUE_LOG2, features: { preset: 'full' } });
  readonly kernel: KernelModel;
  /** Ids of the vIOMMUs. */
  readonly viommus: number[] = [];
  /** The next free slot, with its wrap bit. */
  prod = 0;

  private constructor(options: KernelModelOptions) {
    this.kernel = new KernelModel(options);
  }

  static async make(smmus: number, counts: 'checked' | 'issued'): Promise<KernelRig> {
    const rig = new KernelRig({ smmus: Array.from({ length: smmus }, () => ({})), counts });
    const { kernel, machine } = rig;
    const ioasId = await allocateIoas(kernel, kernel.fd);
    const passthrough = machine.smmu.passthrough();
    for (let smmu = 0; smmu < smmus; smmu++) {
      const streamId = SID + smmu;
      const deviceFd = kernel.addDevice({ smmu, streamId: streamId + HOST_SID });
      const before = new Set(kernel.objects().map(({ id }) => id));
      const backend = await IommufdSmmu.open({ calls: kernel, fd: kernel.fd, ioasId, deviceFd });
      const made = kernel.objects().filter(({ id, kind }) => !before.has(id) && kind === 'viommu');
      rig.viommus.push(made[0]!.id);
      machine.put(STREAM_TABLE + 64 * streamId, ...STES.s1);
      const physical = passthrough.addPhysical(backend);
      await passthrough.attach(streamId, { physical, device: backend.firstDevice });
    }
    machine.start(ON);
    return rig;
  }

  /** Puts commands, 4 words each, into the queue, and tells the vSMMU. */
  command(words: Uint32Array): void {
    const { machine } = this;
    const count = words.length / 4;
    const slot = this.prod % SIZE;
    const fitting = Math.min(count, SIZE - slot);
    machine.ram.store(CMDQ + 16 * slot, words, 0, 4 * fitting);
    if (fitting < count) machine.ram.store(CMDQ, words, 4 * fitting, 4 * (count - fitting));
    this.prod = (this.prod + count) % (2 * SIZE);
    machine.write(R.CMDQ_PROD, this.prod);
  }

  get cons(): number {
    return this.machine.read(R.CMDQ_CONS) & 0xf_ffff;
  }

  /** CMDQ_CONS.ERR while GERROR.CMDQ_ERR is active, else 0. */
  get error(): number {
    const isActive = ((this.machine.read(R.GERROR) ^ this.machine.read(R.GERRORN)) & 1) === 1;
    return isActive ? this.machine.cerror : 0;
  }

  /** Index `count` commands behind `from`. */
  after(from: number, count: number): number {
    return (from + count) % (2 * SIZE);
  }

  /** Writes another command over the one at CONS. */
  overwrite(words: Uint32Array): void {
    this.machine.ram.store(CMDQ + 16 * (this.cons % SIZE), words, 0, 4);
  }

  acknowledge(): void {
    this.machine.write(R.GERRORN, this.machine.read(R.GERROR));
  }
}
