/**
 * The generator behind the random machines: xoshiro128**, seeded by splitmix32. All that a machine is
 * follows from one 32-bit seed, so a failure is repeated by its seed.
 */
export class Random {
  private readonly state = new Uint32Array(4);

  constructor(seed: number) {
    let mixed = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      mixed = (mixed + 0x9e37_79b9) >>> 0;
      this.state[i] = mix(mixed);
    }
  }

  u32(): number {
    const s = this.state;
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** An integer from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * count);
  }

  /** An integer from `first` to `last`, both included. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 0x1_0000_0000;
  }

  /** 1 with the given probability, else 0. */
  bit(probability = 0.5): number {
    return this.chance(probability) ? 1 : 0;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from');
    return items[this.below(items.length)] as T;
  }

  /** An index of `weights`, as often as its weight says. */
  weighted(weights: readonly number[]): number {
    let left = (this.u32() / 0x1_0000_0000) * weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < weights.length - 1; i++) {
      left -= weights[i]!;
      if (left < 0) return i;
    }
    return weights.length - 1;
  }

  /** A value of `count` bits, every one as likely as another. */
  bits(count: number): bigint {
    const value = (BigInt(this.u32()) << 32n) | BigInt(this.u32());
    return value & ((1n << BigInt(count)) - 1n);
  }

  /** A value of `count` bits that is often at an edge: few bits, all ones, low, high. */
  edged(count: number): bigint {
    const ones = (1n << BigInt(count)) - 1n;
    switch (this.below(8)) {
      case 0:
        return this.bits(Math.ceil(count / 3));
      case 1:
        return ones ^ this.bits(Math.ceil(count / 3));
      case 2:
        return count === 0 ? 0n : 1n << BigInt(this.below(count));
      case 3:
        return this.chance(0.5) ? ones : 0n;
      default:
        return this.bits(count);
    }
  }

  /** An address below 2^`size`, a multiple of 2^`align`; 0 where there is no other. */
  address(size: number, align: number): bigint {
    if (align >= size) return 0n;
    const value = this.chance(0.25) ? this.bits(Math.min(size, 32)) : this.edged(size);
    return (value >> BigInt(align)) << BigInt(align);
  }
}

function rotate(value: number, count: number): number {
  return (value << count) | (value >>> (32 - count));
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Seed number `index` of a run that was started with `seed`. */
export function nthSeed(seed: number, index: number): number {
  return mix((mix(seed >>> 0) + Math.imul(index, 0x9e37_79b9)) >>> 0);
}

/** `value` at bit `lsb` of a 64-bit word: how the words here are made from the manual's positions. */
export function at(lsb: number, value: number | bigint): bigint {
  return BigInt(value) << BigInt(lsb);
}
