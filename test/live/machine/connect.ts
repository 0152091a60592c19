import { join } from 'node:path';
import { PollingTransport } from './polling-transport.js';
import { Qtest } from './qtest.js';
import { RamFile } from './ram-file.js';
import type { Transport } from './transport.js';
import { PostedQtest } from './vfio-user-qtest.js';
import { PostedRam } from './vfio-user-ram.js';
import { VfioUserTransport } from './vfio-user-transport.js';

/** What lies between the guest's processors and this process. */
export interface Connection {
  readonly ram: RamFile;
  readonly qtest: Qtest;
  readonly transport: Transport;
}

/** How the guest's processors and this process are connected. */
export type TransportName = 'polling' | 'vfio-user';

export const TRANSPORTS: readonly TransportName[] = ['polling', 'vfio-user'];

/** @param folder for pipes, sockets and the RAM file. */
export function connect(name: TransportName, folder: string): Connection {
  const [ramPath, qtestPath] = [join(folder, 'ram'), join(folder, 'qtest')];
  if (name === 'polling') {
    const qtest = new Qtest(qtestPath);
    const ram = new RamFile(ramPath);
    return { ram, qtest, transport: new PollingTransport(ram, qtest) };
  }
  const qtest = new PostedQtest(qtestPath);
  const ram = new PostedRam(ramPath, qtest);
  return { ram, qtest, transport: new VfioUserTransport(folder, qtest) };
}
