import type { AddressSpace } from './address-space.js';
import type { TableNode } from './table-node.js';

/** Who protects the guest's tables from writes that nobody sees: the VMM. */
export interface TablePageListener {
  /** The guest page (4 KiB) at `address` holds a table: from now on writes to it are to be told. */
  added(address: number): void;
  /** The page at `address` holds none any more. */
  removed(address: number): void;
}

const PAGE = 4096;

/** Which guest pages hold the tables of tracked address spaces. */
export class TablePages {
  /** By number of the page: the tables on it, in each place where they stand in an address space. */
  private readonly pages = new Map<number, Map<TableNode, AddressSpace>>();
  private readonly listener: TablePageListener | undefined;

  constructor(listener: TablePageListener | undefined) {
    this.listener = listener;
  }

  /** Pages that hold tables. */
  get size(): number {
    return this.pages.size;
  }

  /** Addresses of the pages, in the order in which they came. */
  *addresses(): Generator<number> {
    for (const page of this.pages.keys()) yield page * PAGE;
  }

  /** The tables on page number `page`, with their address spaces; the live map. */
  tablesOn(page: number): ReadonlyMap<TableNode, AddressSpace> | undefined {
    return this.pages.get(page);
  }

  /** Numbers of the pages that `length` bytes from `address` touch and that hold tables. */
  touched(address: number, length: number): readonly number[] {
    const first = Math.floor(address / PAGE);
    const end = Math.ceil((address + length) / PAGE);
    const found: number[] = [];
    if (end - first <= this.pages.size) {
      for (let page = first; page < end; page++) if (this.pages.has(page)) found.push(page);
    } else {
      for (const page of this.pages.keys()) if (page >= first && page < end) found.push(page);
    }
    return found;
  }

  /** Before a table is read for the first time. */
  add(node: TableNode, space: AddressSpace): void {
    for (let page = firstPage(node); page <= lastPage(node); page++) {
      let nodes = this.pages.get(page);
      if (nodes === undefined) {
        this.pages.set(page, (nodes = new Map<TableNode, AddressSpace>()));
        this.listener?.added(page * PAGE);
      }
      nodes.set(node, space);
    }
  }

  /** When a table is not looked at any more. */
  remove(node: TableNode): void {
    for (let page = firstPage(node); page <= lastPage(node); page++) {
      const nodes = this.pages.get(page);
      if (nodes?.delete(node) !== true || nodes.size > 0) continue;
      this.pages.delete(page);
      this.listener?.removed(page * PAGE);
    }
  }
}

function firstPage(node: TableNode): number {
  return Math.floor(node.address / PAGE);
}

function lastPage(node: TableNode): number {
  return Math.floor((node.address + 8 * node.entries - 1) / PAGE);
}
