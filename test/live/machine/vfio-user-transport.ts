import { join } from 'node:path';
import { Console } from './console.js';
import type { MachineListener, RegisterBlock, Transport } from './transport.js';
import { RegisterBar } from './vfio-user-bar.js';
import { VfioUserDevice } from './vfio-user-device.js';
import { BAR_ADDRESS, deviceArguments, setUpCommands } from './vfio-user-pci.js';
import type { PostedQtest } from './vfio-user-qtest.js';
import { VfioUserServer } from './vfio-user-server.js';

const WAIT_MS = 10;
/** As long as QEMU may take to start. */
const START_MS = 60_000;

/**
 * Registers in a BAR of a PCI device that QEMU asks this process for, access by access: vfio-user.
 * The guest knows nothing of PCI; it finds the registers where its device tree says.
 */
export class VfioUserTransport implements Transport {
  readonly name = 'vfio-user';
  readonly registers = BAR_ADDRESS;
  readonly qemuArguments: readonly string[];
  private readonly qtest: PostedQtest;
  private readonly server = new VfioUserServer();
  private readonly socket: string;
  private readonly monitor: Console;
  private device: VfioUserDevice | undefined;
  private listener: MachineListener = {};

  constructor(folder: string, qtest: PostedQtest) {
    this.qtest = qtest;
    this.socket = join(folder, 'vfio-user');
    const path = join(folder, 'monitor');
    this.monitor = new Console(path);
    this.qemuArguments = [
      ...deviceArguments(this.socket),
      ...['-chardev', `pipe,id=monitor,path=${path}`, '-mon', 'chardev=monitor,mode=control'],
      // The guest waits until the registers are where it looks for them.
      '-S',
    ];
  }

  async start(blocks: readonly RegisterBlock[], listener: MachineListener): Promise<void> {
    this.listener = listener;
    this.device = new VfioUserDevice(new RegisterBar(BAR_ADDRESS, blocks, listener));
    await this.server.listen(this.socket);
  }

  async release(hasEnded: () => boolean): Promise<void> {
    // QEMU meets the device while it starts, and reads commands afterwards.
    for (const command of setUpCommands()) this.qtest.ask(command);
    await this.until(() => this.qtest.isQuiet || hasEnded());
    this.monitor.type('{"execute":"qmp_capabilities"}');
    this.monitor.type('{"execute":"cont"}');
    let returned = 0;
    await this.until(() => {
      for (const line of this.monitor.lines()) {
        if (line.includes('"error"')) throw new Error(`QEMU does not start the guest: ${line}`);
        if (line.includes('"return"')) returned++;
      }
      return returned === 2 || hasEnded();
    });
  }

  poll(): boolean {
    const { device, server } = this;
    if (server.error !== undefined) throw server.error;
    // What the guest has seen of the stores before these requests is known to be done.
    this.qtest.collect();
    const requests = server.take();
    for (const request of requests) {
      const { reply, effect } = device!.serve(request);
      if (request.wantsReply) server.send(reply);
      effect?.();
    }
    return requests.length > 0;
  }

  /** A processor that looks asks. */
  publish(): void {
    // Nothing is kept anywhere else.
  }

  interrupt(name: string, spi: number): void {
    this.listener.interrupt?.(name, spi);
    this.qtest.pulse(spi);
  }

  async wait(ms: number): Promise<void> {
    await this.server.wait(ms);
  }

  close(): void {
    this.server.close();
    this.monitor.close();
  }

  private async until(isSo: () => boolean): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (!isSo()) {
      if (performance.now() > deadline) throw new Error('QEMU does not start');
      await this.wait(WAIT_MS);
      this.poll();
    }
  }
}
