import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import type { FeatureOptions, SyncPolicy } from 'vsmmu';
import { CheckedDma } from '../check/checked-dma.js';
import { Differences } from '../check/differences.js';
import { ReferenceWalk } from '../check/reference-walk.js';
import { HandleDma, MirrorDma } from '../check/stream-dma.js';
import type { Dma } from '../devices/dma.js';
import type { VirtioFunction } from '../devices/function.js';
import { VirtioMmio } from '../devices/virtio-mmio.js';
import { buildInitramfs } from '../guest/initramfs.js';
import type { GuestFiles } from '../guest/packages.js';
import { RAM_BYTES, Spi } from './addresses.js';
import { connect, type TransportName } from './connect.js';
import { Console } from './console.js';
import { dumpDeviceTree, QemuProcess } from './qemu.js';
import type { Qtest } from './qtest.js';
import type { RamFile } from './ram-file.js';
import { SmmuRegisters } from './smmu-registers.js';
import { machineTree, type PlacedDevice } from './tree.js';
import type { MachineListener, RegisterBlock, Transport } from './transport.js';
import { Vsmmu, type Wrappers } from './vsmmu.js';

/** A device of the machine. */
export interface DeviceOptions {
  readonly name: string;
  readonly streamId: number;
  readonly device: VirtioFunction;
  /** A mirror keeps its IOAS, in this way. Default: a stream handle. */
  readonly mirror?: Exclude<SyncPolicy, 'tracked'>;
}

/** What the machine is made of. */
export interface MachineOptions {
  readonly guest: GuestFiles;
  readonly cpus: number;
  readonly features: FeatureOptions;
  readonly kernelArguments: string;
  readonly script: string;
  readonly devices: readonly DeviceOptions[];
  readonly wrappers: Wrappers;
  /** How the guest's processors reach the devices. */
  readonly transport: TransportName;
  readonly listeners: readonly MachineListener[];
  /** Compares every DMA with the reference. */
  readonly isChecked: boolean;
}

/** The machine: QEMU's processor and RAM, and everything else in this process. */
export class Machine {
  readonly ram: RamFile;
  readonly qtest: Qtest;
  readonly console: Console;
  readonly vsmmu: Vsmmu;
  readonly devices = new Map<string, VirtioMmio>();
  readonly dmas = new Map<string, HandleDma | MirrorDma>();
  /** What the devices use: with the comparison around it, if there is one. */
  readonly checkedDmas = new Map<string, Dma>();
  readonly differences = new Differences();
  /** Commands of the guest wait for `Smmu.drain`. */
  hasCommands = false;
  qemu: QemuProcess | undefined;
  private readonly options: MachineOptions;
  private readonly folder: string;
  private readonly transport: Transport;
  private readonly placed: PlacedDevice[] = [];

  constructor(folder: string, options: MachineOptions) {
    this.folder = folder;
    this.options = options;
    const { ram, qtest, transport } = connect(options.transport, folder);
    this.ram = ram;
    this.qtest = qtest;
    this.transport = transport;
    this.console = new Console(join(folder, 'console'));
    const memory = this.ram.guestMemory();
    this.vsmmu = new Vsmmu({
      memory,
      features: options.features,
      wrappers: options.wrappers,
      interrupts: {
        wired: (line) => {
          if (line === 'eventq' || line === 'gerror') this.transport.interrupt(line, Spi[line]);
        },
      },
      commandsPending: () => {
        this.hasCommands = true;
      },
    });
    const smmu = () => this.vsmmu.current;
    const reference = new ReferenceWalk(memory, smmu);
    options.devices.forEach(({ name, streamId, device, mirror }, index) => {
      const dma =
        mirror === undefined
          ? new HandleDma(this.vsmmu, streamId)
          : new MirrorDma(this.vsmmu, streamId, mirror, memory, this.differences);
      const used = options.isChecked ? new CheckedDma(dma, reference, this.differences, smmu) : dma;
      const virtio = new VirtioMmio(index, name, device, {
        registers: transport.registers,
        dma: used,
        before: () => {
          if (dma instanceof MirrorDma) dma.sync();
        },
        interrupt: (from, spi) => {
          this.transport.interrupt(from, spi);
        },
      });
      this.devices.set(name, virtio);
      this.dmas.set(name, dma);
      this.checkedDmas.set(name, used);
      this.placed.push({ device: virtio, streamId });
    });
  }

  /** Whether DMA is compared with the reference. */
  get isChecked(): boolean {
    return this.options.isChecked;
  }

  /** Starts QEMU. */
  async start(): Promise<void> {
    const { guest, cpus, kernelArguments, script, listeners } = this.options;
    const file = (name: string): string => join(this.folder, name);
    const machine = ['-machine', 'virt,gic-version=3', '-cpu', 'neoverse-n1'];
    const common = [...machine, '-smp', String(cpus), '-m', `${RAM_BYTES >> 20}M`];
    common.push('-nodefaults', '-display', 'none');
    const { transport } = this;
    const blob = await dumpDeviceTree(common, file('virt.dtb'));
    const tree = machineTree(blob, this.placed, transport.registers);
    writeFileSync(file('live.dtb'), tree);
    writeFileSync(file('initrd.gz'), buildInitramfs(guest, script));
    const blocks: RegisterBlock[] = [
      new SmmuRegisters(() => this.vsmmu.current, transport.registers),
      ...this.devices.values(),
    ];
    await transport.start(blocks, {
      registerWritten: (...args) => {
        listeners.forEach((each) => each.registerWritten?.(...args));
      },
      registerPublished: (...args) => {
        listeners.forEach((each) => each.registerPublished?.(...args));
      },
      interrupt: (...args) => {
        listeners.forEach((each) => each.interrupt?.(...args));
      },
    });
    const backend = `memory-backend-file,id=ram,size=${RAM_BYTES >> 20}M,mem-path=${this.ram.path},share=on`;
    const args = [
      ...common,
      ...['-object', backend, '-machine', 'memory-backend=ram', '-no-reboot'],
      ...['-accel', cpus === 1 ? 'tcg' : 'tcg,thread=multi'],
      ...['-kernel', guest.kernelImage, '-initrd', file('initrd.gz'), '-dtb', file('live.dtb')],
      ...['-append', `console=ttyAMA0 panic=-1 ${kernelArguments}`],
      ...['-chardev', `pipe,id=console,path=${file('console')}`, '-serial', 'chardev:console'],
      ...['-qtest', `pipe:${file('qtest')}`, '-qtest-log', 'none'],
      ...transport.qemuArguments,
    ];
    const qemu = new QemuProcess(args, this.folder, file('errors'));
    this.qemu = qemu;
    this.ram.storeWhole = (address, value, bytes) => {
      this.qtest.store(address, value, bytes);
    };
    await transport.release?.(() => qemu.exit !== undefined);
  }

  /** Serves the guest once. @returns whether there was anything to do. */
  serve(): boolean {
    const isBusy = this.transport.poll();
    if (!this.hasCommands) return isBusy;
    this.hasCommands = this.vsmmu.current.drain(1024);
    this.transport.publish();
    return true;
  }

  /**
   * Waits until there is something to serve, or for `ms`.
   * @returns `undefined` when that cannot be told.
   */
  wait(ms: number): Promise<void> | undefined {
    return this.transport.wait?.(ms);
  }

  /** What the host's side has done becomes visible to the guest. */
  publish(): void {
    this.transport.publish();
  }

  async close(): Promise<void> {
    await this.qemu?.stop();
    this.transport.close?.();
    this.qtest.close();
    this.console.close();
    this.ram.close();
  }
}
