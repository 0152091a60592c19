import { readFields } from '../memory/byte-layout.js';
import type { HostAnswer } from '../passthrough/backend.js';
import { checkFeatures, refuse } from '../registers/feature-check.js';
import { featuresOf, implementedFeatures, type Features } from '../registers/features.js';
import { checkCalls, checkFd, checkId } from './arguments.js';
import { after, callKernel, hostBytes, locate } from './call.js';
import type { HostCalls } from './host-calls.js';
import {
  HW_INFO_ARM_SMMUV3_BYTES,
  HwCapability,
  HwInfoArmSmmuv3,
  HwInfoType,
  IOMMU_GET_HW_INFO,
} from './hw-info-requests.js';
import { Errno, IommufdError } from './iommufd-error.js';

/** Words of a register frame up to AIDR. */
const ID_WORDS = 8;
/** Word of AIDR in a register frame. */
const AIDR_WORD = 7;
const MAX_QUEUE_LOG2 = 19;

/** What the kernel says about the physical SMMU of a device, and about the device. */
export interface HardwareInfo {
  /** Raw values of the physical IDR0 to IDR5. */
  readonly idr: readonly number[];
  /** Raw value of the physical IIDR: who made the SMMU. */
  readonly iidr: number;
  /** Raw value of the physical AIDR: the version of the architecture. */
  readonly aidr: number;
  /** Bits 31:0 of `out_capabilities`: {@link HwCapability} bits. */
  readonly capabilities: number;
  /** log2 of the PASIDs that the device can use; 0 when it has none. */
  readonly maxPasidLog2: number;
}

/**
 * Asks what the SMMU behind a device is (IOMMU_GET_HW_INFO).
 * @param fd file descriptor of `/dev/iommu`.
 * @param device the kernel's id of the device.
 * @throws IommufdError, or rejects with it, when the kernel refuses; with EOPNOTSUPP when the IOMMU of
 * the device is not an SMMUv3.
 * @throws RangeError or TypeError when an argument is not what it should be.
 */
export function readHardwareInfo(
  calls: HostCalls,
  fd: number,
  device: number,
): HostAnswer<HardwareInfo> {
  checkCalls(calls);
  checkFd('fd', fd);
  checkId('device', device);
  const data = hostBytes(HW_INFO_ARM_SMMUV3_BYTES);
  // Without INPUT_TYPE: every kernel then gives the type of the hardware, and older ones know no other way.
  const values = { dev_id: device, data_len: data.length, data_uptr: locate(calls, data) };
  return after(callKernel(calls, fd, IOMMU_GET_HW_INFO, values, [data]), (answer) => {
    if (answer.data_type !== HwInfoType.ARM_SMMUV3) {
      throw new IommufdError(IOMMU_GET_HW_INFO.name, Errno.EOPNOTSUPP);
    }
    const { idr0, idr1, idr2, idr3, idr4, idr5, iidr, aidr } = readFields(data, 0, HwInfoArmSmmuv3);
    return {
      idr: [idr0, idr1, idr2, idr3, idr4, idr5],
      iidr,
      aidr,
      capabilities: answer.out_capabilities.low,
      maxPasidLog2: answer.out_max_pasid_log2,
    };
  });
}

/**
 * What a guest may be shown of a physical SMMU whose stage 2 is the host's: for {@link narrowFeatures}.
 *
 * From IDR0 TTF, CD2L, ASID16, TTENDIAN, TERM_MODEL and ST_LEVEL, from IDR1 SIDSIZE and SSIDSIZE, from
 * IDR3 RIL and BBML, from IDR5 VAX, the granules and OAS; reserved codes count as the nearest one below.
 * ATS is 1 when IDR0.ATS is and the device does not lack it. Everything else in the physical registers
 * promises a guest nothing and is off, so the version is v3.0; S1P and COHACC are 1, and the sizes of
 * queues the largest, for these are the VMM's own. STALL_MODEL is 1: stalls need the fault queue, which
 * is not used.
 * @param info of {@link readHardwareInfo}.
 * @throws RangeError when there are not 6 ID registers, or a guest cannot do with what they say: an SMMU
 * that stalls every fault, has no VMSAv8-64 tables, no granule, or a reserved endianness.
 */
export function featuresOfHardware(info: HardwareInfo): Features {
  const { idr, capabilities } = info;
  refuse(idr.length !== 6, `info.idr has ${idr.length} words: give IDR0 to IDR5`);
  const frame = new Uint32Array(ID_WORDS);
  frame.set(idr);
  frame[AIDR_WORD] = 0;
  const raw = featuresOf(frame);
  refuse(
    raw.STALL_MODEL > 1,
    `IDR0.STALL_MODEL of the physical SMMU is ${raw.STALL_MODEL}: one that can only stall a faulting ` +
      'access, or a reserved value, cannot serve a guest without stalls',
  );
  refuse(
    (raw.TTF & 0b10) === 0,
    `IDR0.TTF of the physical SMMU is ${raw.TTF}: it has no VMSAv8-64 tables`,
  );
  const stLevel = Math.min(raw.ST_LEVEL, 1);
  const cannotAts = (capabilities & HwCapability.PCI_ATS_NOT_SUPPORTED) !== 0;
  const features = implementedFeatures({
    ...raw,
    S1P: 1,
    COHACC: 1,
    HTTU: 0,
    ATS: cannotAts ? 0 : raw.ATS,
    MSI: 0,
    SEV: 0,
    PRI: 0,
    VMID16: 0,
    STALL_MODEL: 1,
    STALL_MAX: 0,
    ST_LEVEL: stLevel,
    // A linear stream table has no more than 64 entries.
    SIDSIZE: stLevel === 0 ? Math.min(raw.SIDSIZE, 6) : raw.SIDSIZE,
    CMDQS: MAX_QUEUE_LOG2,
    EVENTQS: MAX_QUEUE_LOG2,
    PRIQS: 0,
    ATTR_PERMS_OVR: 0,
    HAD: 0,
    FWB: 0,
    STT: 0,
    BBML: Math.min(raw.BBML, 2),
    E0PD: 0,
    EPAN: 0,
    DS: 0,
    // 52 bits need descriptors with room for them, which without DS only those of 64 KiB granules have.
    OAS: raw.GRAN64K === 1 ? raw.OAS : Math.min(raw.OAS, 48),
    ArchMinor: 0,
  });
  checkFeatures(features);
  return features;
}
