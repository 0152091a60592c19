/** A node of a device tree: its properties, in order, and the nodes in it. */
export interface TreeNode {
  readonly name: string;
  readonly properties: Map<string, Buffer>;
  readonly nodes: TreeNode[];
}

/** A property as it is written down: a string or several, cells of 32 bits, or nothing but its name. */
export type PropertyValue = string | readonly string[] | readonly number[] | true;

/** A flattened device tree, laid open. */
export interface DeviceTree {
  readonly root: TreeNode;
  /** The memory reservation block, as it is. */
  readonly reservations: Buffer;
  readonly bootProcessor: number;
}

const MAGIC = 0xd00d_feed;
const HEADER_BYTES = 40;
const Token = { BEGIN_NODE: 1, END_NODE: 2, PROP: 3, NOP: 4, END: 9 } as const;

/** A new node. */
export function node(
  name: string,
  properties: Readonly<Record<string, PropertyValue>>,
  nodes: TreeNode[] = [],
): TreeNode {
  const entries = Object.entries(properties).map(([key, value]): [string, Buffer] => [
    key,
    bytesOf(value),
  ]);
  return { name, properties: new Map(entries), nodes };
}

/** Lays a blob open (Devicetree Specification 0.4, chapter 5). */
export function parseDeviceTree(blob: Buffer): DeviceTree {
  const word = (offset: number): number => blob.readUInt32BE(offset);
  if (word(0) !== MAGIC) throw new Error('the device tree that QEMU wrote has no magic number');
  const strings = word(12);
  const open: TreeNode[] = [node('above the root', {})];
  for (let at = word(8); ;) {
    const token = word(at);
    at += 4;
    if (token === Token.END) break;
    if (token === Token.NOP) continue;
    const top = open[open.length - 1]!;
    if (token === Token.BEGIN_NODE) {
      const child = node(textAt(blob, at), {});
      top.nodes.push(child);
      open.push(child);
      at += aligned(child.name.length + 1);
    } else if (token === Token.END_NODE) {
      open.pop();
    } else if (token === Token.PROP) {
      const length = word(at);
      const value = blob.subarray(at + 8, at + 8 + length);
      top.properties.set(textAt(blob, strings + word(at + 4)), value);
      at += 8 + aligned(length);
    } else {
      throw new Error(`the device tree that QEMU wrote has token ${token}`);
    }
  }
  return {
    root: open[0]!.nodes[0]!,
    reservations: blob.subarray(word(16), word(8)),
    bootProcessor: word(28),
  };
}

/** The blob of a tree. */
export function writeDeviceTree(tree: DeviceTree): Buffer {
  const strings = new Map<string, number>();
  let stringBytes = 0;
  const structure: Buffer[] = [];
  const emit = ({ name, properties, nodes }: TreeNode): void => {
    structure.push(cells([Token.BEGIN_NODE]), padded(Buffer.from(`${name}\0`)));
    for (const [key, value] of properties) {
      let offset = strings.get(key);
      if (offset === undefined) {
        offset = stringBytes;
        strings.set(key, offset);
        stringBytes += key.length + 1;
      }
      structure.push(cells([Token.PROP, value.length, offset]), padded(value));
    }
    nodes.forEach(emit);
    structure.push(cells([Token.END_NODE]));
  };
  emit(tree.root);
  structure.push(cells([Token.END]));
  const body = Buffer.concat(structure);
  const names = Buffer.from([...strings.keys()].map((name) => `${name}\0`).join(''));
  const bodyAt = HEADER_BYTES + tree.reservations.length;
  const namesAt = bodyAt + body.length;
  const header = cells([
    MAGIC,
    namesAt + names.length,
    bodyAt,
    namesAt,
    HEADER_BYTES,
    17,
    16,
    tree.bootProcessor,
    names.length,
    body.length,
  ]);
  return Buffer.concat([header, tree.reservations, body, names]);
}

function bytesOf(value: PropertyValue): Buffer {
  if (value === true) return Buffer.alloc(0);
  if (typeof value === 'string') return Buffer.from(`${value}\0`);
  return Buffer.concat(
    value.map((item) => (typeof item === 'string' ? Buffer.from(`${item}\0`) : cells([item]))),
  );
}

function cells(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * words.length);
  words.forEach((word, i) => bytes.writeUInt32BE(word, 4 * i));
  return bytes;
}

function textAt(blob: Buffer, at: number): string {
  return blob.toString('latin1', at, blob.indexOf(0, at));
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
}
