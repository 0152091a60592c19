import { createServer, type Server, type Socket } from 'node:net';
import { VfioUserFraming, type VfioUserRequest } from './vfio-user-protocol.js';

/** A socket that QEMU connects to, and what has come through it. */
export class VfioUserServer {
  /** What went wrong with the connection. */
  error: Error | undefined;
  private readonly server: Server;
  private socket: Socket | undefined;
  private requests: VfioUserRequest[] = [];
  private wake: (() => void) | undefined;

  constructor() {
    this.server = createServer((socket) => {
      this.connected(socket);
    });
  }

  /** Makes the socket `path`. */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(path, resolve);
    });
  }

  /** The requests that have come since the last call, in order. */
  take(): VfioUserRequest[] {
    const { requests } = this;
    if (requests.length > 0) this.requests = [];
    return requests;
  }

  send(reply: Buffer): void {
    this.socket?.write(reply);
  }

  /** Returns when a request has come, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (this.requests.length > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = undefined;
  }

  close(): void {
    this.socket?.destroy();
    this.server.close();
  }

  private connected(socket: Socket): void {
    this.socket = socket;
    const framing = new VfioUserFraming();
    socket.on('data', (chunk) => {
      try {
        this.requests.push(...framing.push(chunk));
      } catch (error) {
        this.fail(error as Error);
      }
      this.wake?.();
    });
    // The end of QEMU: others see that.
    socket.on('error', () => undefined);
  }

  private fail(error: Error): void {
    this.error ??= error;
    this.socket?.destroy();
  }
}
