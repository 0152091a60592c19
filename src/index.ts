export * from './arch/field.js';
export * from './arch/registers.js';
export * from './arch/ste.js';
export * from './arch/cd.js';
export * from './arch/command.js';
export * from './arch/event.js';
export * from './arch/descriptor.js';
export * from './arch/granule.js';
export * from './memory/guest-memory.js';
export * from './memory/ram-memory.js';
export * from './memory/sparse-memory.js';
export * from './memory/accessor-memory.js';
export * from './registers/features.js';
export * from './transaction/translation.js';
export * from './transaction/permissions.js';
export * from './transaction/reason.js';
export * from './transaction/context.js';
export * from './transaction/stream.js';
export * from './transaction/substream.js';
export * from './transaction/walk.js';
export * from './transaction/fault.js';
export * from './transaction/configuration.js';
export * from './transaction/translate.js';
export * from './transaction/translator.js';
export * from './transaction/survey.js';
export * from './memory/u64.js';
export * from './ioas/runs.js';
export * from './ioas/table-scan.js';
export * from './ioas/enumerate.js';
export * from './ioas/interval-map.js';
export { AreaPermission } from './mirror/sink.js';
export type { IoasSink, SinkAnswer, SinkCapabilities } from './mirror/sink.js';
export type {
  MirrorLimits,
  MirrorOptions,
  MirrorReport,
  StreamMirrorOptions,
  SyncPolicy,
} from './mirror/mirror-options.js';
export type { MirrorStats } from './mirror/mirror-stats.js';
export type { Refusal } from './mirror/sink-writer.js';
export type { TablePageListener } from './mirror/table-pages.js';
export { Mirror } from './mirror/mirror.js';
export { StreamMirror } from './mirror/stream-mirror.js';
export * from './transaction/explain.js';
export * from './memory/recording-memory.js';
export * from './print.js';
export * from './smmu.js';
export type { SmmuState, Words } from './state.js';
export type { CacheStats, EventStats, SmmuStats } from './stats.js';
export type { CacheOptions } from './tlb/cache-options.js';
export type { IovaRange } from './device/byte-handle.js';
export type { Dma } from './device/dma.js';
export { StreamHandle } from './device/stream-handle.js';
export { Segments } from './device/segments.js';
export type { Logger } from './log.js';
export type { TranslationKeeper } from './tlb/translation-keeper.js';
export { TlbRange } from './tlb/tlb-range.js';
export type { InterruptLine, Interrupts } from './event/interrupts.js';
export * from './registers/feature-names.js';
export * from './registers/feature-set.js';
export { narrowFeatures } from './registers/feature-narrow.js';
export type { StalledAccess, StallListener } from './transaction/stall.js';
export type {
  ByteField,
  ByteFields,
  ByteLayout,
  ByteValue,
  ByteValues,
} from './memory/byte-layout.js';
export type { HostAnswer, PhysicalBackend } from './passthrough/backend.js';
export { InvalidationError } from './passthrough/backend.js';
export type {
  PassthroughDeviceOptions,
  PassthroughOptions,
  PassthroughReport,
  PhysicalOptions,
} from './passthrough/passthrough-options.js';
export type { InsideReason, PassthroughStats } from './passthrough/passthrough-stats.js';
export type { PhysicalStats } from './passthrough/physical-smmu.js';
export { Passthrough } from './passthrough/passthrough.js';
export { PassthroughDevice } from './passthrough/passthrough-device.js';
export { PhysicalSmmu } from './passthrough/physical-smmu.js';
export * from './iommufd/host-calls.js';
export * from './iommufd/vevent-reader.js';
export * from './iommufd/iommufd-error.js';
export * from './iommufd/request.js';
export * from './iommufd/ioas-requests.js';
export * from './iommufd/object-requests.js';
export * from './iommufd/hwpt-requests.js';
export * from './iommufd/hw-info-requests.js';
export * from './iommufd/viommu-requests.js';
export * from './iommufd/vfio-requests.js';
export { askKernel, callKernel } from './iommufd/call.js';
export * from './iommufd/hardware-info.js';
export * from './iommufd/iova-ranges.js';
export { IommufdSmmu } from './iommufd/iommufd-smmu.js';
export type { IommufdSmmuOptions } from './iommufd/smmu-objects.js';
export * from './sinks/memory-sink.js';
export * from './sinks/recording-sink.js';
export * from './sinks/iommufd-sink.js';
export * from './sinks/vhost-user-sink.js';
export * from './sinks/vfio-user-sink.js';
