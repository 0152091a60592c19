import { closeSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { RAM_BASE, RAM_END } from '../machine/addresses.js';
import type { MachineListener } from '../machine/transport.js';
import type { Wrappers } from '../machine/vsmmu.js';
import { captureJson, memoryFile } from './capture-files.js';
import { Recorder, type RecordingEnd } from './recorder.js';

/** What a recording is of. */
export interface RecordedRun {
  readonly scenario: { readonly name: string; readonly title: string };
  readonly run: {
    readonly devices: readonly { readonly name: string; readonly streamId: number }[];
  };
  /** All that the guest has written to its console. */
  readonly log: string;
}

/** Text that is compressed at once, as a part of the file of its own. */
const PART = 4 << 20;
const COMPRESSION = { level: 9 } as const;

/** Records a run of the machine into a folder, until the guest turns its SMMU off. */
export class LiveRecording {
  /** What the machine is given. */
  readonly hooks: { readonly wrappers: Wrappers; readonly listeners: readonly MachineListener[] };
  private readonly folder: string;
  private readonly file: number;
  private readonly recorder: Recorder;
  private text = '';
  private lines = 0;
  private end: RecordingEnd | undefined;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.file = openSync(this.path('trace.jsonl.gz'), 'w');
    this.recorder = new Recorder({
      line: (text) => {
        this.line(text);
      },
      finish: (end) => {
        this.end = end;
      },
      // The guest sees what is published; everybody else asks the vSMMU.
      readsAreTheGuests: false,
      untilOff: true,
    });
    const listener: MachineListener = {
      registerPublished: (block, offset, value) => {
        if (block === 'smmu') this.recorder.registerRead(offset, value);
      },
    };
    this.hooks = {
      wrappers: { smmu: (options) => this.recorder.attach(options) },
      listeners: [listener],
    };
  }

  /**
   * Writes what is left.
   * @returns what there is now, in a sentence.
   * @throws Error when the guest has not turned its SMMU off: the memory is gone by now.
   */
  close(run: RecordedRun): string {
    const { end } = this;
    this.flush();
    closeSync(this.file);
    if (end === undefined) throw new Error('the recording has no end: the SMMU is still on');
    const { scenario, log } = run;
    const origin = {
      name: scenario.name,
      description: `A live guest: ${scenario.title}.`,
      ramBase: RAM_BASE,
      ramBytes: RAM_END - RAM_BASE,
      devices: run.run.devices.map(({ name, streamId }) => ({ name, streamId })),
      more: { kernel: /Linux version (\S+)/.exec(log)?.[1] ?? '' },
    };
    writeFileSync(this.path('capture.json'), captureJson(origin, end));
    writeFileSync(this.path('memory.bin.gz'), gzipSync(memoryFile(end), COMPRESSION));
    const { size } = statSync(this.path('trace.jsonl.gz'));
    const cut = end.isCut ? ', cut off at a limit' : '';
    return `${this.folder}: ${this.lines} lines in ${size} bytes, ${end.pages.length} pages${cut}`;
  }

  private line(text: string): void {
    this.lines++;
    this.text += `${text}\n`;
    if (this.text.length >= PART) this.flush();
  }

  private flush(): void {
    if (this.text !== '') writeSync(this.file, gzipSync(this.text, COMPRESSION));
    this.text = '';
  }

  private path(name: string): string {
    return join(this.folder, name);
  }
}
