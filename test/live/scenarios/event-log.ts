/** An event as the guest's driver has logged it. */
export interface LoggedEvent {
  /** Number of the event. */
  readonly event: number;
  readonly streamId: number;
  readonly iova: bigint;
  readonly isRead: boolean;
}

/** Names of the events that newer drivers print in words. */
const NAMES: Readonly<Record<string, number>> = {
  F_TRANSLATION: 0x10,
  F_ADDR_SIZE: 0x11,
  F_ACCESS: 0x12,
  F_PERMISSION: 0x13,
};
const READ = 1n << 35n;

/** The events in a guest's log: as raw records (Linux up to 6.13), or in words. */
export function loggedEvents(log: string): LoggedEvent[] {
  const events: LoggedEvent[] = [];
  // What the host types is echoed in between.
  const lines = log.split('\n').filter((line) => line.includes('arm-smmu-v3'));
  lines.forEach((line, i) => {
    if (/event 0x[0-9a-f]+ received:/.test(line)) {
      const words = lines
        .slice(i + 1, i + 5)
        .map((text) => /(0x[0-9a-f]{16})\s*$/.exec(text)?.[1] ?? '0')
        .map(BigInt);
      const [first = 0n, second = 0n, third = 0n] = words;
      events.push({
        event: Number(first & 0xffn),
        streamId: Number(first >> 32n),
        iova: third,
        isRead: (second & READ) !== 0n,
      });
      return;
    }
    const match = /event: (\w+) client: .* sid: (0x[0-9a-f]+).* iova: (0x[0-9a-f]+)/.exec(line);
    if (match === null) return;
    events.push({
      event: NAMES[match[1]!] ?? 0,
      streamId: Number(match[2]),
      iova: BigInt(match[3]!),
      isRead: /(unpriv|priv) (data|inst) read/.test(lines[i + 1] ?? ''),
    });
  });
  // Newer drivers print both.
  const texts = new Map(events.map((each) => [Object.values(each).join(' '), each]));
  return [...texts.values()];
}
