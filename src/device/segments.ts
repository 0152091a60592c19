/**
 * Guest-physical pieces that an access consists of, in order. One object is made by the caller and
 * filled again and again; it grows as needed. Pieces that continue each other are one segment.
 */
export class Segments {
  /** Number of segments. */
  count = 0;
  /** Guest-physical address of each, in bytes. */
  addresses = new Float64Array(8);
  /** Bytes of each. */
  lengths = new Float64Array(8);

  /** Empties the list. */
  clear(): void {
    this.count = 0;
  }

  /** Adds a piece at the end: to the last segment, where it continues that. */
  add(address: number, length: number): void {
    const last = this.count - 1;
    const end = last < 0 ? -1 : this.addresses[last]! + this.lengths[last]!;
    if (end === address) {
      this.lengths[last] = this.lengths[last]! + length;
      return;
    }
    if (this.count === this.addresses.length) {
      this.addresses = doubled(this.addresses);
      this.lengths = doubled(this.lengths);
    }
    this.addresses[this.count] = address;
    this.lengths[this.count] = length;
    this.count++;
  }
}

function doubled(array: Float64Array): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(2 * array.length);
  copy.set(array);
  return copy;
}
