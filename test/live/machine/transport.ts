/** Number of a register's bytes from the start of its block. */
export type Offset = number;

/**
 * How a block of registers is to be watched by a transport that sees values in memory, not accesses.
 */
export interface PolledRegisters {
  /** Stretches of registers to look at, `[first, end)`. */
  readonly windows: readonly (readonly [first: Offset, end: Offset])[];
  /** Whether the guest's value of a register is of interest now. */
  isWatched(offset: Offset): boolean;
  /** Registers whose changes are passed on after those of the others, in this order. */
  readonly late: readonly Offset[];
  /** Registers that show this value until the guest writes another: each write is one access. */
  readonly doorbells: ReadonlyMap<Offset, number>;
  /** Registers that the device itself changes. */
  readonly published: readonly Offset[];
  /** Queues that the device fills for the guest, by the register of their producer index. */
  readonly outputs: ReadonlyMap<Offset, OutputQueue>;
}

/**
 * A queue that raises an interrupt when it is no longer empty. A value that is polled is an old one: the
 * device may take a queue for filled that the guest has emptied, and then both wait for each other.
 */
export interface OutputQueue {
  /** Register of the consumer index. */
  readonly consumer: Offset;
  /** Bits of both registers that are the index. */
  readonly mask: number;
  readonly interrupt: string;
  readonly spi: number;
}

/**
 * Registers of a device, as the processors of the guest reach them: 32 bits at a time, or 64 where a
 * transport sees that, and the device cares.
 */
export interface RegisterBlock {
  readonly name: string;
  readonly address: number;
  readonly bytes: number;
  readonly polled: PolledRegisters;
  read(offset: Offset): number;
  write(offset: Offset, value: number): void;
  readWide?(offset: Offset): bigint;
  writeWide?(offset: Offset, value: bigint): void;
}

/** Told of everything that passes between the guest and the machine: for counting, or for a recording. */
export interface MachineListener {
  registerWritten?(block: string, offset: Offset, value: number): void;
  registerPublished?(block: string, offset: Offset, value: number): void;
  interrupt?(name: string, spi: number): void;
}

/** How the guest's processors reach devices that live in this process, and how these reach them. */
export interface Transport {
  readonly name: string;
  /** Guest-physical address of the first register; `docs/live.md` says what follows it. */
  readonly registers: number;
  /** Further arguments of QEMU. */
  readonly qemuArguments: readonly string[];
  /** QEMU is about to be started: from then on the guest may meet `blocks`. */
  start(blocks: readonly RegisterBlock[], listener: MachineListener): void | Promise<void>;
  /** QEMU has been started, and holds the guest: lets it run. `hasEnded` says that it will not. */
  release?(hasEnded: () => boolean): Promise<void>;
  /** Serves what the guest has done since the last call. @returns whether that was anything. */
  poll(): boolean;
  /** Returns when there is something to serve, or after `ms`. Without it there is nothing but to look. */
  wait?(ms: number): Promise<void>;
  /** What devices have changed by themselves becomes visible to the guest, before an interrupt of it. */
  publish(): void;
  /** One edge of an interrupt. */
  interrupt(name: string, spi: number): void;
  close?(): void;
}
