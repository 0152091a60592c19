/** Bytes written down in hexadecimal, with spaces and line breaks as one likes. */
export function bytes(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/** Bytes in hexadecimal, for comparison. */
export function hexOf(message: Uint8Array): string {
  return Array.from(message, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** `text` as {@link hexOf} writes it. */
export function hexText(text: string): string {
  return text.replace(/\s/g, '');
}
