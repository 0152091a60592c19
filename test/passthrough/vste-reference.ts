import { field, field64, flag } from '../reference/bits.js';
import { decodeIds } from '../reference/ids.js';
import { fetchSte } from '../reference/stream.js';
import type { ReferenceMachine } from '../reference/types.js';

/** ID registers of an SMMU. */
export type IdRegisters = Pick<ReferenceMachine, 'idr0' | 'idr1' | 'idr3' | 'idr5' | 'aidr'>;

/** What a device is to meet. */
export type Expected =
  | { readonly kind: 'abort'; readonly event: number }
  | { readonly kind: 'bypass' }
  | { readonly kind: 's1'; readonly w0: bigint; readonly w1: bigint };

/** Legality is that of the reference model: a linear table of one STE at 0x1000. */
function eventOf(ste: readonly bigint[], registers: IdRegisters): number {
  const machine: ReferenceMachine = {
    ...registers,
    memory: {
      read64: (address) => ste[Number(address - 0x1000n) / 8] ?? null,
      write64: () => false,
    },
    cr0: 1,
    cr2: 0,
    gbpa: 0,
    strtabBase: 0x1000n,
    strtabBaseCfg: 0,
  };
  const access = { streamId: 0, iova: 0n, write: false, instruction: false, privileged: false };
  const tx = { machine, ids: decodeIds(machine), access, privileged: false, instruction: false };
  const step = fetchSte(tx);
  return step.ended && step.outcome.kind === 'fault' ? step.outcome.event : 0;
}

/**
 * What an STE (8 words of 64 bits) gives a passthrough device, and the canonical vSTE of a nested one:
 * of the bits that the kernel takes (iommufd-uapi, section 3) those that mean something
 * (smmuv3-structures, section 2.2).
 */
export function referenceVste(ste: readonly bigint[], registers: IdRegisters): Expected {
  const event = eventOf(ste, registers);
  const [w0 = 0n, w1 = 0n] = ste;
  const config = field(w0, 3, 1);
  if (event !== 0 || config < 0b100) return { kind: 'abort', event };
  if (config === 0b100) return { kind: 'bypass' };

  const { ssidSize, stallModel, ats, oas } = decodeIds({ ...registers } as ReferenceMachine);
  // S1CDMax is ignored without substreams; S1Fmt and S1DSS with one CD. 3 behaves as 0 in both.
  const cdMax = ssidSize === 0 ? 0 : field(w0, 63, 59);
  const format = cdMax === 0 ? 0 : field(w0, 5, 4);
  const dss = cdMax === 0 ? 0 : field(w1, 1, 0);
  const pointer = (field64(w0, 51, 6) << 6n) & ((1n << BigInt(oas)) - 1n);
  // Where stalls are no choice S1STALLD=1 is illegal. EATS is ignored without ATS; 3 needs DPT.
  const stalld = stallModel === 0 && flag(w1, 27);
  const eats = ats && field(w1, 29, 28) === 1;
  return {
    kind: 's1',
    w0: 0b1011n | (BigInt(format === 3 ? 0 : format) << 4n) | pointer | (BigInt(cdMax) << 59n),
    w1:
      BigInt(dss === 3 ? 0 : dss) |
      (field64(w1, 5, 2) << 2n) |
      (field(w1, 7, 6) === 1 ? 0n : field64(w1, 7, 6) << 6n) |
      (stalld ? 1n << 27n : 0n) |
      (eats ? 1n << 28n : 0n),
  };
}
