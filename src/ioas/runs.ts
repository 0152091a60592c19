/**
 * Mappings in ascending order as columns, joined where they continue each other: the outcome of an
 * enumeration. Addresses and lengths are numbers of bytes, multiples of 4096, and so exact up to
 * 2^64 (a double has 53 significant bits, and twelve of these are zero).
 */
export class Runs {
  /** Number of runs. */
  count = 0;
  /** First IOVA of each run, in bytes. */
  iovas = new Float64Array(64);
  /** Length of each run, in bytes. */
  lengths = new Float64Array(64);
  /** Physical address behind the first IOVA of each run, in bytes. */
  addresses = new Float64Array(64);
  /** {@link Permission} bits of each run. */
  permissions = new Uint8Array(64);

  /** Appends a run; nothing is joined. */
  push(iova: number, length: number, address: number, permissions: number): void {
    if (this.count === this.iovas.length) this.grow();
    const at = this.count++;
    this.iovas[at] = iova;
    this.lengths[at] = length;
    this.addresses[at] = address;
    this.permissions[at] = permissions;
  }

  private grow(): void {
    const capacity = 2 * this.iovas.length;
    this.iovas = copyOf(this.iovas, new Float64Array(capacity));
    this.lengths = copyOf(this.lengths, new Float64Array(capacity));
    this.addresses = copyOf(this.addresses, new Float64Array(capacity));
    const permissions = new Uint8Array(capacity);
    permissions.set(this.permissions);
    this.permissions = permissions;
  }
}

function copyOf(from: Float64Array, into: Float64Array): Float64Array<ArrayBuffer> {
  into.set(from);
  return into as Float64Array<ArrayBuffer>;
}
