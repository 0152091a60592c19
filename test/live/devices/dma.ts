import type { Dma as DeviceDma } from 'vsmmu';

/** How a device reaches guest memory: what `StreamHandle` of the library offers, and what stands in for it. */
export type Dma = Pick<DeviceDma, 'read' | 'write' | 'load16' | 'store16'>;

/** Makes sure that the rings and buffers of a device can be reached, before it looks at them. */
export type BeforeRequests = () => void;
