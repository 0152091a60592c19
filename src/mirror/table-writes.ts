import type { TablePages } from './table-pages.js';

const PAGE = 4096;

/**
 * Reads again what was written of tables: the descriptors in `length` bytes from `address`.
 * @param isLate tables are being read: these ones are to be read after that.
 */
export function takeWrites(
  pages: TablePages,
  address: number,
  length: number,
  isLate: boolean,
): void {
  for (const page of pages.touched(address, length)) {
    for (const [node, space] of [...(pages.tablesOn(page) ?? [])]) {
      // What was read before it may have taken it out.
      if (pages.tablesOn(page)?.has(node) !== true) continue;
      const start = Math.max(address, PAGE * page) - node.address;
      const end = Math.min(address + length, PAGE * (page + 1)) - node.address;
      const first = Math.max(0, Math.floor(start / 8));
      const last = Math.min(node.entries, Math.ceil(end / 8));
      if (first >= last) continue;
      if (isLate) space.invalidate(node.iova + first * node.bytes, node.iova + last * node.bytes);
      else space.refreshTable(node, first, last - first);
    }
  }
}
