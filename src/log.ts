/** The part of a pino logger that the library uses; any logger of this shape does. */
export interface Logger {
  /** Something that the guest may have done wrong. */
  warn(details: object, message: string): void;
  /** Something worth knowing when a guest is brought up. */
  debug(details: object, message: string): void;
}

/** Occurrences of one kind that are all logged, before only every doubling is. */
const ALL = 10;

/**
 * Writes lines that a guest can cause, within limits: of each kind the first ten, then those at every
 * power of two, with how many there were. Kinds are the library's own, so their number is bounded.
 */
export class GuestLog {
  private readonly logger: Logger | undefined;
  private readonly counts = new Map<string, number>();

  constructor(logger: Logger | undefined) {
    this.logger = logger;
  }

  /** Whether anybody listens: check it before putting details together. */
  get isOn(): boolean {
    return this.logger !== undefined;
  }

  /** Counts an occurrence of `kind` and logs it, if it is its turn. */
  warn(kind: string, details: object): void {
    if (this.logger === undefined) return;
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    if (count <= ALL || Number.isInteger(Math.log2(count)))
      this.logger.warn({ ...details, count }, kind);
  }

  /** Logs what happens only a few times in the life of a guest. */
  debug(message: string, details: object): void {
    this.logger?.debug(details, message);
  }
}
