import { FRAME_BYTES, get, Register, type RegisterFormat } from 'vsmmu';
import { SMMU_OFFSET, Spi } from './addresses.js';
import type { PolledRegisters, RegisterBlock } from './transport.js';

/** What the block needs of a vSMMU. */
export interface SmmuPort {
  readRegister(offset: number, size: number): number | bigint;
  writeRegister(offset: number, size: number, value: number | bigint): void;
}

const { CR0, CR0ACK, GBPA, GERROR, IRQ_CTRLACK, CMDQ_CONS, EVENTQ_PROD, EVENTQ_CONS } = Register;
/** EVENTQ_PROD.WR and EVENTQ_CONS.RD. */
const INDEX_BITS = 0xf_ffff;
/** Registers that the vSMMU changes. Until its queue is on, an index is the guest's to set. */
const PUBLISHED = [CR0ACK, GBPA, IRQ_CTRLACK, CMDQ_CONS, EVENTQ_PROD, GERROR];
/** The guest writes them nearly never, but with an effect: CMDQ_CONS and EVENTQ_PROD while off. */
const READ_ONLY = new Set<number>([CR0ACK, IRQ_CTRLACK, GERROR].map(({ offset }) => offset));

/** The register pages of whatever vSMMU is in place now: a restored one takes over from another. */
export class SmmuRegisters implements RegisterBlock {
  readonly name = 'smmu';
  readonly address: number;
  readonly bytes = FRAME_BYTES;
  readonly polled: PolledRegisters = {
    windows: [
      [CR0.offset, 0x100],
      [EVENTQ_PROD.offset, EVENTQ_CONS.offset + 4],
    ],
    isWatched: (offset) => this.isGuests(offset),
    // Everything that CR0 turns on is set up before.
    late: [CR0.offset],
    doorbells: new Map(),
    published: PUBLISHED.map(({ offset }) => offset),
    outputs: new Map([
      [
        EVENTQ_PROD.offset,
        { consumer: EVENTQ_CONS.offset, mask: INDEX_BITS, interrupt: 'eventq', spi: Spi.eventq },
      ],
    ]),
  };
  private readonly port: () => SmmuPort;
  private readonly word = new Uint32Array(1);

  /** @param registers guest-physical address of the machine's first register. */
  constructor(port: () => SmmuPort, registers: number) {
    this.port = port;
    this.address = registers + SMMU_OFFSET;
  }

  read(offset: number): number {
    return Number(this.port().readRegister(offset, 4));
  }

  write(offset: number, value: number): void {
    this.port().writeRegister(offset, 4, value);
  }

  readWide(offset: number): bigint {
    return BigInt(this.port().readRegister(offset, 8));
  }

  writeWide(offset: number, value: bigint): void {
    this.port().writeRegister(offset, 8, value);
  }

  private isGuests(offset: number): boolean {
    if (offset === CMDQ_CONS.offset) return !this.isOn(CR0.fields.CMDQEN);
    if (offset === EVENTQ_PROD.offset) return !this.isOn(CR0.fields.EVENTQEN);
    return !READ_ONLY.has(offset);
  }

  private isOn(enable: (typeof CR0)['fields']['CMDQEN']): boolean {
    this.word[0] = this.read((CR0ACK as RegisterFormat).offset);
    return get(this.word, 0, enable) === 1;
  }
}
