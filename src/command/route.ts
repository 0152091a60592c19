import { Cerror, Command } from '../arch/command.js';
import type { CommandExecutor } from './command-queue.js';
import { configuredStreams, type CommandEmulator } from './emulate.js';
import type { HardwareSide } from './hardware-side.js';

/** What becomes of a command: the second column of the table in `docs/passthrough.md`. */
const Route = {
  barrier: 0,
  tlbi: 1,
  stream: 2,
  atc: 3,
  hint: 4,
  configuration: 5,
  sync: 6,
} as const;

const routes = new Uint8Array(256);
for (const { opcode } of [
  Command.TLBI_NH_ALL,
  Command.TLBI_NH_ASID,
  Command.TLBI_NH_VA,
  Command.TLBI_NH_VAA,
  Command.TLBI_NSNH_ALL,
]) {
  routes[opcode] = Route.tlbi;
}
routes[Command.CFGI_CD.opcode] = Route.stream;
routes[Command.CFGI_CD_ALL.opcode] = Route.stream;
routes[Command.ATC_INV.opcode] = Route.atc;
routes[Command.PREFETCH_CONFIG.opcode] = Route.hint;
routes[Command.PREFETCH_ADDR.opcode] = Route.hint;
routes[Command.CFGI_STE.opcode] = Route.configuration;
routes[Command.CFGI_STE_RANGE.opcode] = Route.configuration;
routes[Command.SYNC.opcode] = Route.sync;

/**
 * Routes commands by what they name, while there may be passthrough devices: translations and CDs are
 * invalidated on the emulated side, and gathered for hardware; STEs decide anew what devices meet.
 */
export class CommandRouter implements CommandExecutor {
  private readonly emulator: CommandEmulator;
  private readonly hardware: HardwareSide;

  constructor(emulator: CommandEmulator, hardware: HardwareSide) {
    this.emulator = emulator;
    this.hardware = hardware;
  }

  get stoppedAt(): number {
    return this.hardware.stoppedAt;
  }

  endsRun(opcode: number): boolean {
    const route = routes[opcode]!;
    return route === Route.barrier || route >= Route.configuration;
  }

  execute(words: Uint32Array, opcode: number, ordinal: number): number {
    const { emulator, hardware } = this;
    switch (routes[opcode]) {
      case Route.tlbi: {
        const error = emulator.execute(words, opcode);
        return error === Cerror.NONE ? hardware.takeTlbi(words, opcode, ordinal) : error;
      }
      case Route.stream:
        emulator.execute(words, opcode);
        return hardware.takeStream(words, opcode, ordinal);
      case Route.atc:
        if (!hardware.owns(words)) emulator.execute(words, opcode);
        return hardware.takeStream(words, opcode, ordinal);
      case Route.configuration: {
        emulator.execute(words, opcode);
        const [first, last] = configuredStreams(words, opcode);
        return hardware.configure(first, last);
      }
      case Route.sync: {
        const error = hardware.synchronize();
        return error === Cerror.NONE ? emulator.execute(words, opcode) : error;
      }
      default:
        return emulator.execute(words, opcode);
    }
  }

  flush(): number {
    return this.hardware.flush();
  }

  cancel(): void {
    this.hardware.cancel();
  }
}
