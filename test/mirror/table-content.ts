import type { Area } from './area-sink.js';
import type { MirrorMachine, Space } from './machine.js';

/**
 * What the tables of a 4K space allow an unprivileged device, by plain recursion over the words in
 * memory (DDI 0487, section D8.3): leaves joined where they continue. No flags but AF, AP and APTable.
 */
export function contentOf(machine: MirrorMachine, { root }: Pick<Space, 'root'>): Area[] {
  const found: Area[] = [];
  const add = (area: Area): void => {
    const last = found.at(-1);
    const continues =
      last !== undefined &&
      last.iova + last.length === area.iova &&
      last.address + last.length === area.address &&
      last.permissions === area.permissions;
    if (continues) last.length += area.length;
    else found.push(area);
  };
  const visit = (table: number, level: number, base: number, above: number): void => {
    const bytes = 2 ** (39 - 9 * level);
    const words = new Uint32Array(1024);
    if (!machine.ram.load(table, words, 0, 1024)) return;
    for (let i = 0; i < 512; i++) {
      const low = words[2 * i]!;
      const high = words[2 * i + 1]!;
      if ((low & 1) === 0) continue;
      const iova = base + bytes * i;
      const address = (high & 0xffff) * 2 ** 32 + ((low & 0xffff_f000) >>> 0);
      const isLast = level === 3;
      if (!isLast && (low & 2) !== 0) visit(address, level + 1, iova, above | (high >>> 29));
      if (isLast !== ((low & 2) !== 0) || level === 0) continue;
      // AF; AP[1] and APTable[0]; AP[2] and APTable[1].
      if ((low & 0x400) === 0 || (low & 0x40) === 0 || (above & 1) !== 0) continue;
      const isReadOnly = (low & 0x80) !== 0 || (above & 2) !== 0;
      add({ iova, length: bytes, address, permissions: isReadOnly ? 1 : 3 });
    }
  };
  visit(root, 0, 0, 0);
  return found;
}
