import { node, parseDeviceTree, writeDeviceTree } from '../guest/device-tree.js';
import type { VirtioMmio } from '../devices/virtio-mmio.js';
import { HIDDEN_BASE, HIDDEN_BYTES, SMMU_OFFSET, Spi } from './addresses.js';
import { FRAME_BYTES } from 'vsmmu';

const PHANDLE = 0x9001;
/** Of an interrupt: shared peripheral, rising edge. */
const SHARED = 0;
const EDGE = 1;

/** A device and the stream that its DMA belongs to. */
export interface PlacedDevice {
  readonly device: VirtioMmio;
  readonly streamId: number;
}

/**
 * QEMU's device tree with the SMMU, the devices behind it, and the memory they may take; and without PCI,
 * which is a transport's.
 * @param registers guest-physical address of the first register.
 */
export function machineTree(
  blob: Buffer,
  devices: readonly PlacedDevice[],
  registers: number,
): Buffer {
  const tree = parseDeviceTree(blob);
  const smmu = registers + SMMU_OFFSET;
  const pci = tree.root.nodes.findIndex(({ name }) => name.startsWith('pcie@'));
  if (pci >= 0) tree.root.nodes.splice(pci, 1);
  const cells = { '#address-cells': [2], '#size-cells': [2] };
  tree.root.nodes.push(
    node('reserved-memory', { ...cells, ranges: true }, [
      node(`registers@${HIDDEN_BASE.toString(16)}`, {
        reg: [0, HIDDEN_BASE, 0, HIDDEN_BYTES],
        'no-map': true,
      }),
    ]),
    node(`iommu@${smmu.toString(16)}`, {
      compatible: 'arm,smmu-v3',
      reg: [0, smmu, 0, FRAME_BYTES],
      interrupts: [SHARED, Spi.eventq, EDGE, SHARED, Spi.gerror, EDGE],
      'interrupt-names': ['eventq', 'gerror'],
      'dma-coherent': true,
      '#iommu-cells': [1],
      phandle: [PHANDLE],
    }),
    ...devices.map(({ device, streamId }) =>
      node(nodeName(device), {
        compatible: 'virtio,mmio',
        reg: [0, device.address, 0, device.bytes],
        interrupts: [SHARED, device.spi, EDGE],
        'dma-coherent': true,
        iommus: [PHANDLE, streamId],
      }),
    ),
  );
  return writeDeviceTree(tree);
}

/** Name of the device's platform device in the guest. */
export function guestName({ address }: VirtioMmio): string {
  return `${address.toString(16)}.virtio_mmio`;
}

function nodeName({ address }: VirtioMmio): string {
  return `virtio_mmio@${address.toString(16)}`;
}
