import { get, high, isAddress, low, type Layout } from './arch/field.js';
import { hexU64 } from './memory/u64.js';

/** The named fields of a structure as `name=value`: addresses in hexadecimal, the rest in decimal. */
export function fieldsOf(
  words: Uint32Array,
  at: number,
  layout: Layout,
  names: readonly string[] = Object.keys(layout),
): string[] {
  return names.map((name) => {
    const field = layout[name]!;
    const value = isAddress(field)
      ? hexU64(high(words, at, field), low(words, at, field))
      : String(get(words, at, field));
    return `${name}=${value}`;
  });
}
