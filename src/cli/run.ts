import { Command, CommanderError } from 'commander';
import { InputError } from '../fixtures/input-error.js';
import {
  UsageError,
  parseCacheEntries,
  parseInputAddress,
  parseLength,
  parsePhysical,
  parsePolicy,
  parseSink,
  parseStreamId,
  parseStreamIds,
  parseSubstreamId,
} from './arguments.js';
import { conform, type ConformOptions } from './conform.js';
import { inspect } from './inspect.js';
import { ioas, type IoasOptions } from './ioas.js';
import { mirror, type MirrorCommandOptions } from './mirror.js';
import { replay, type ReplayCommandOptions } from './replay.js';
import { route, type RouteCommandOptions } from './route.js';
import { Exit, Terminal, type Streams } from './terminal.js';
import { translate, type TranslateOptions } from './translate.js';
import { verify } from './verify.js';
import { VERSION } from './version.js';

/** Outcomes of commander that are not wrong use: the user asked for help or the version. */
const ASKED_FOR = ['commander.helpDisplayed', 'commander.help', 'commander.version'];

/**
 * Runs the command line.
 * @param argv the arguments after the name of the program.
 * @returns the exit status: an {@link Exit}.
 */
export async function run(argv: readonly string[], streams: Streams): Promise<number> {
  const terminal = new Terminal(streams);
  const session: Session = { terminal, status: Exit.fine };
  try {
    await programOf(session).parseAsync(argv, { from: 'user' });
  } catch (error) {
    session.status = explainFailure(error, terminal);
  }
  await terminal.close();
  return terminal.failed ? Exit.misuse : session.status;
}

interface Session {
  readonly terminal: Terminal;
  /** Of the command that ran. */
  status: number;
}

function programOf(session: Session): Command {
  const { terminal } = session;
  const program = new Command('vsmmu')
    .description(
      'Looks into captures of an Arm SMMUv3: registers, streams, mappings, translations.',
    )
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError('See `vsmmu --help`.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        terminal.out.write(text);
      },
      writeErr: (text) => {
        terminal.err.write(text);
      },
      outputError: (text, write) => {
        write(text.replace(/^error:/, 'vsmmu:'));
      },
      getOutHasColors: () => terminal.colorsOut,
      getErrHasColors: () => terminal.colorsErr,
    });
  addExample(program, 'vsmmu inspect captures/linux');

  const inspectCommand = addCommand(
    program,
    'inspect',
    'decode registers, queues, streams and CDs',
  );
  addExample(inspectCommand, 'vsmmu inspect captures/linux');
  inspectCommand.action(async (capture: string, options: { json?: true }) => {
    session.status = await inspect(terminal, capture, options);
  });

  const ioasCommand = addCommand(program, 'ioas', 'list what is mapped, as ranges')
    .option('-s, --stream <id>', 'only this StreamID', parseStreamId)
    .option('--ssid <n>', 'only this SubstreamID', parseSubstreamId)
    .option('--privileged', 'permissions of privileged accesses, not of unprivileged ones');
  addExample(ioasCommand, 'vsmmu ioas captures/linux --stream 0x80 --json');
  ioasCommand.action(async (capture: string, options: IoasOptions) => {
    session.status = await ioas(terminal, capture, options);
  });

  const translateCommand = addCommand(program, 'translate', 'translate an access of a device')
    .requiredOption('-s, --stream <id>', 'StreamID of the device', parseStreamId)
    .requiredOption('-i, --iova <address>', 'address that the device presents', parseInputAddress)
    .option('-w, --write', 'a write; a read without it')
    .option('--instruction', 'an instruction fetch')
    .option('--privileged', 'a privileged access')
    .option('--ssid <n>', 'SubstreamID (PASID) of the access', parseSubstreamId)
    .option('-l, --length <bytes>', 'bytes to translate', parseLength, 1)
    .option('-e, --explain', 'print every step');
  addExample(
    translateCommand,
    'vsmmu translate captures/linux --stream 0x80 --iova 0x10000000 --explain',
  );
  translateCommand.action(async (capture: string, options: TranslateOptions) => {
    session.status = await translate(terminal, capture, options);
  });

  const verifyCommand = addCommand(
    program,
    'verify',
    'compare with the expected.jsonl and leaves.jsonl of the capture',
  );
  addExample(verifyCommand, 'vsmmu verify captures/linux');
  verifyCommand.action(async (capture: string, options: { json?: true }) => {
    session.status = await verify(terminal, capture, options);
  });

  const replayCommand = addCommand(
    program,
    'replay',
    'replay the trace.jsonl.gz of the capture through the vSMMU',
  ).option(
    '--cache <n>',
    'translations that the vSMMU keeps, 0 for none; 65,536 without it',
    parseCacheEntries,
  );
  addExample(replayCommand, 'vsmmu replay captures/linux');
  replayCommand.action(async (capture: string, options: ReplayCommandOptions) => {
    session.status = await replay(terminal, capture, options);
  });

  const mirrorCommand = addCommand(
    program,
    'mirror',
    'replay with an IOAS mirror attached, then mirror the captured tables',
  )
    .option(
      '-p, --policy <policy>',
      'when the mirror learns of new mappings: demand, invalidate or tracked',
      parsePolicy,
      'invalidate',
    )
    .option(
      '--sink <sink>',
      'what it writes to: memory, iommufd, vhost-user or vfio-user',
      parseSink,
      'memory',
    );
  addExample(mirrorCommand, 'vsmmu mirror captures/linux --policy tracked --sink iommufd');
  mirrorCommand.action(async (capture: string, options: MirrorCommandOptions) => {
    session.status = await mirror(terminal, capture, options);
  });

  const routeCommand = addCommand(
    program,
    'route',
    'replay with passthrough devices, and print what their hardware is sent',
  )
    .option('--passthrough <ids>', 'StreamIDs of the devices, with commas between', parseStreamIds)
    .option(
      '--physical <n>',
      'physical SMMUs, 1 to 16, that the devices are dealt out to in turn',
      parsePhysical,
      1,
    );
  addExample(routeCommand, 'vsmmu route captures/linux --passthrough 0x10,0x18 --physical 2');
  routeCommand.action(async (capture: string, options: RouteCommandOptions) => {
    session.status = await route(terminal, capture, options);
  });

  const conformCommand = configure(
    program.command('conform').description('run conformance cases on the vSMMU'),
  )
    .argument('<cases>', 'JSON Lines with a case each, or that compressed with gzip')
    .argument('[results]', 'answers of another implementation, to compare with')
    .option('-o, --out <file>', 'write the answers of the vSMMU, compressed for a name in .gz');
  addExample(conformCommand, 'vsmmu conform cases.jsonl.gz results.jsonl.gz');
  conformCommand.action(
    async (cases: string, results: string | undefined, options: ConformOptions) => {
      session.status = await conform(terminal, cases, results, options);
    },
  );
  return program;
}

function addCommand(program: Command, name: string, description: string): Command {
  return configure(program.command(name).description(description)).argument(
    '<capture>',
    'folder with capture.json and memory.bin.gz',
  );
}

/** What all commands have. */
function configure(command: Command): Command {
  return command
    .option('--json', 'print JSON for programs')
    .showHelpAfterError(`See \`vsmmu ${command.name()} --help\`.`)
    .helpOption('-h, --help', 'print this help');
}

function addExample(command: Command, line: string): void {
  command.addHelpText('after', `\nExample:\n  $ ${line}`);
}

/** Says what is wrong on stderr; never with a stack trace. */
function explainFailure(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) {
    // Commander has printed its message. Help that nobody asked for comes with exit code 1.
    return error.exitCode === 0 && ASKED_FOR.includes(error.code) ? Exit.fine : Exit.misuse;
  }
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof InputError || error instanceof UsageError;
  const prefix = known ? '' : 'unexpected error: ';
  terminal.err.line(`vsmmu: ${prefix}${message.split('\n', 1)[0]!}`);
  return Exit.misuse;
}
