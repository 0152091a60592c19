import { VIRTIO_OFFSET, VIRTIO_STRIDE, Spi } from '../machine/addresses.js';
import type { PolledRegisters, RegisterBlock } from '../machine/transport.js';
import type { BeforeRequests, Dma } from './dma.js';
import type { VirtioFunction } from './function.js';
import { PackedQueue } from './packed-queue.js';
import type { DeviceQueue } from './queue.js';
import { SplitQueue } from './split-queue.js';

/** Registers of virtio-mmio (virtio 1.2, section 4.2.2). */
const Reg = {
  MagicValue: 0x00,
  Version: 0x04,
  DeviceID: 0x08,
  VendorID: 0x0c,
  DeviceFeatures: 0x10,
  DeviceFeaturesSel: 0x14,
  QueueSel: 0x30,
  QueueNumMax: 0x34,
  QueueNum: 0x38,
  QueueReady: 0x44,
  QueueNotify: 0x50,
  InterruptStatus: 0x60,
  InterruptACK: 0x64,
  Status: 0x70,
  QueueDescLow: 0x80,
  QueueDriverLow: 0x90,
  QueueDeviceLow: 0xa0,
  End: 0xb0,
  Config: 0x100,
} as const;
const BLOCK_BYTES = 0x200;
const MAGIC = 0x7472_6976;
const VENDOR = 0x554d_4d56;
const QUEUE_SIZE = 128;
const DRIVER_OK = 4;
/** Feature bits 63:32: VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM. */
const HIGH_FEATURES = 0b11;
/** VIRTIO_F_RING_PACKED, in the high word: a driver that is offered it takes it. */
const PACKED = 0b100;
/** No queue has this number. */
const NO_QUEUE = 0xffff_ffff;

/** What a device is connected to. */
export interface VirtioPort {
  /** Guest-physical address of the machine's first register. */
  readonly registers: number;
  readonly dma: Dma;
  readonly before: BeforeRequests;
  interrupt(name: string, spi: number): void;
}

/** What a device has done. */
export interface VirtioCounts {
  doorbells: number;
  requests: number;
  interrupts: number;
  resets: number;
}

/**
 * A virtio device with one queue behind virtio-mmio registers, as far as a transport can serve them that
 * sees values only: a register has one value whatever the selectors say, so both words of the features
 * are the same, and InterruptStatus stays 1. So a disk that takes requests of several pieces (SEG_MAX, bit 2)
 * has a packed queue (bit 34), and one that does not has a split queue.
 */
export class VirtioMmio implements RegisterBlock {
  readonly name: string;
  readonly address: number;
  readonly spi: number;
  readonly bytes = BLOCK_BYTES;
  readonly polled: PolledRegisters;
  readonly counts: VirtioCounts = { doorbells: 0, requests: 0, interrupts: 0, resets: 0 };
  readonly function: VirtioFunction;
  private readonly registers = new DataView(new ArrayBuffer(BLOCK_BYTES));
  private readonly port: VirtioPort;
  private queue: DeviceQueue | undefined;

  constructor(index: number, name: string, device: VirtioFunction, port: VirtioPort) {
    this.name = name;
    this.function = device;
    this.port = port;
    this.address = port.registers + VIRTIO_OFFSET + index * VIRTIO_STRIDE;
    this.spi = Spi.virtio + index;
    const features = device.features | HIGH_FEATURES;
    const values: readonly (readonly [number, number])[] = [
      [Reg.MagicValue, MAGIC],
      [Reg.Version, 2],
      [Reg.DeviceID, device.type],
      [Reg.VendorID, VENDOR],
      [Reg.DeviceFeatures, features],
      [Reg.QueueNumMax, QUEUE_SIZE],
      [Reg.InterruptStatus, 1],
    ];
    for (const [offset, value] of values) this.registers.setUint32(offset, value, true);
    new Uint8Array(this.registers.buffer).set(device.configuration, Reg.Config);
    this.polled = {
      windows: [[Reg.DeviceFeaturesSel, Reg.End]],
      isWatched: (offset) => offset !== Reg.InterruptStatus,
      late: [Reg.QueueSel, Reg.Status, Reg.QueueNotify],
      // A driver selects the queue when it gives it up and when it sets it up. So even a reset of which
      // nothing else was seen, because this process did not run meanwhile, leaves a trace.
      doorbells: new Map([
        [Reg.QueueSel, NO_QUEUE],
        [Reg.QueueNotify, NO_QUEUE],
      ]),
      published: [],
      outputs: new Map(),
    };
  }

  /** Whether a driver is using the device. */
  get isLive(): boolean {
    return this.queue !== undefined;
  }

  /** The queue is broken: the driver did not expect that. */
  get isBroken(): boolean {
    return this.queue?.isBroken === true;
  }

  read(offset: number): number {
    return this.registers.getUint32(offset, true);
  }

  write(offset: number, value: number): void {
    this.registers.setUint32(offset, value, true);
    if (offset === Reg.Status) {
      this.statusWritten(value);
    } else if (offset === Reg.QueueSel) {
      this.drop();
      this.statusWritten(this.read(Reg.Status));
    } else if (offset === Reg.QueueNotify) this.notified();
  }

  /** Serves what is available: also for requests that came in while the vSMMU was replaced. */
  notified(): void {
    const { queue, port } = this;
    if (queue === undefined || queue.isBroken) return;
    this.counts.doorbells++;
    // The rings themselves may be new.
    port.before();
    let served = 0;
    for (let waiting = queue.waiting(); waiting > 0; waiting = queue.waiting()) {
      // Every buffer that is counted was mapped before it was.
      port.before();
      for (; waiting > 0; waiting--) {
        const chain = queue.take();
        if (chain === undefined) return;
        queue.give(chain, this.function.serve(port.dma, chain));
        served++;
      }
    }
    this.counts.requests += served;
    if (served === 0 || !queue.wantsInterrupt()) return;
    this.counts.interrupts++;
    port.interrupt(this.name, this.spi);
  }

  private drop(): void {
    if (this.queue !== undefined) this.counts.resets++;
    this.queue = undefined;
  }

  private statusWritten(status: number): void {
    if ((status & DRIVER_OK) === 0) {
      this.drop();
      return;
    }
    if (this.queue !== undefined || this.read(Reg.QueueReady) !== 1) return;
    const Queue = (this.read(Reg.DeviceFeatures) & PACKED) === 0 ? SplitQueue : PackedQueue;
    this.queue = new Queue(this.port.dma, {
      size: this.read(Reg.QueueNum),
      descriptors: this.registers.getBigUint64(Reg.QueueDescLow, true),
      driver: this.registers.getBigUint64(Reg.QueueDriverLow, true),
      device: this.registers.getBigUint64(Reg.QueueDeviceLow, true),
    });
  }
}
