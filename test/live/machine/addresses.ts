/** Guest-physical addresses and interrupts of the machine; `docs/live.md` shows them. */

/** First byte of RAM on QEMU's `virt` machine. */
export const RAM_BASE = 0x4000_0000;
export const RAM_BYTES = 512 << 20;
/** RAM at the end that Linux is told to leave alone: where register pages may lie. */
export const HIDDEN_BYTES = 2 << 20;
/** First byte behind the RAM that Linux uses, and that the SMMU and its devices reach. */
export const RAM_END = RAM_BASE + RAM_BYTES - HIDDEN_BYTES;

export const HIDDEN_BASE = RAM_END;

/** The SMMU's two register pages of 64 KiB, counted from the first register. */
export const SMMU_OFFSET = 0;
/** The virtio-mmio devices, a page each. */
export const VIRTIO_OFFSET = 0x4_0000;
export const VIRTIO_STRIDE = 0x1_0000;

/** Shared peripheral interrupts, edge triggered; `virt` itself uses none from 78 to 111. */
export const Spi = { eventq: 100, gerror: 101, virtio: 102 } as const;
/** The distributor of QEMU's GICv3. */
export const GICD_BASE = 0x0800_0000;
