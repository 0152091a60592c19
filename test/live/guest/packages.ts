import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { Unavailable } from './unavailable.js';

const run = promisify(execFile);

/** Bytes of the kernel's pages. */
export type PageSize = '4k' | '16k';

/** What a boot needs of Debian. */
export interface GuestFiles {
  /** Name of the kernel's package. */
  readonly kernel: string;
  readonly kernelImage: string;
  /** The kernel's package, unpacked. */
  readonly kernelFolder: string;
  /** A static busybox. */
  readonly busybox: string;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** The cloud flavour is the smallest; there is none with 16 KiB pages. Signed images have no -unsigned. */
const KERNEL_PACKAGE: Readonly<Record<PageSize, RegExp>> = {
  '4k': /^linux-image-\d\S*-cloud-arm64$/,
  '16k': /^linux-image-\d\S*-arm64-16k$/,
};
/** Less than any of these is not what was wanted. */
const LEAST_BYTES = { kernel: 8 << 20, busybox: 1 << 20 } as const;

/** Where packages are kept unless said otherwise. */
export function defaultCache(): string {
  const { VSMMU_LIVE_CACHE, XDG_CACHE_HOME } = process.env;
  return VSMMU_LIVE_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vsmmu-live');
}

/** Debian's suites that packages are taken from: the newest kernel of all of them. */
function suites(): string[] {
  return (process.env.VSMMU_LIVE_SUITE ?? 'trixie').split(' ');
}

/** The mirror of Debian that the host's apt uses, unless the environment names one. */
async function mirror(): Promise<string> {
  const named = process.env.VSMMU_LIVE_MIRROR;
  if (named !== undefined) return named;
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(LABEL)']);
  const sources = stdout.split('\n').map((line) => line.split(' '));
  // Before the first update apt does not know labels.
  const found =
    sources.find(([, label]) => label === 'Debian') ??
    sources.find(([address]) => address?.endsWith('/debian/'));
  if (found?.[0] !== undefined) return found[0];
  throw new Error('apt has no source of Debian: set VSMMU_LIVE_MIRROR to one');
}

/**
 * The files of a guest with pages of `pageSize`, out of `cache`; what is not there is fetched from Debian.
 * @throws Unavailable when it cannot be.
 */
export async function guestFiles(cache: string, pageSize: PageSize): Promise<GuestFiles> {
  const folder = join(cache, [...suites(), pageSize].join('-'));
  if (!existsSync(folder)) await fetchGuest(cache, folder, pageSize);
  const kernelFolder = join(folder, 'kernel');
  const { image, name } = kernelIn(kernelFolder);
  return {
    kernel: name,
    kernelImage: image,
    kernelFolder,
    busybox: join(folder, 'busybox'),
  };
}

/** Downloads and unpacks in a folder of its own, which becomes `folder` when everything is right. */
async function fetchGuest(cache: string, folder: string, pageSize: PageSize): Promise<void> {
  if (!existsSync(KEYRING)) {
    throw new Unavailable(`no ${KEYRING}: install debian-archive-keyring, apt and dpkg`);
  }
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, 'fetch-'));
  try {
    const source = await mirror();
    const apt = aptIn(scratch, source);
    await apt('apt-get', ['-q', 'update']);
    const pattern = '^linux-(image|binary|modules)-[0-9]';
    const listing = await apt('apt-cache', ['search', '--names-only', pattern]);
    const packages = new Set(listing.split('\n').map((line) => line.split(' ')[0]!));
    const kernels = [...packages]
      .filter((name) => KERNEL_PACKAGE[pageSize].test(name))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    const kernel = kernels.at(-1);
    if (kernel === undefined) {
      throw new Error(`no kernel with pages of ${pageSize} in ${source}, ${suites().join(' ')}`);
    }
    // Newer kernels come in parts, and their image is an empty package.
    const parts = ['image', 'binary', 'modules']
      .map((part) => kernel.replace('-image-', `-${part}-`))
      .filter((name) => packages.has(name));
    await apt('apt-get', ['-q', 'download', ...parts, 'busybox-static']);
    await unpack(scratch, 'linux-', 'kernel');
    await unpack(scratch, 'busybox-static_', 'busybox-package');
    const busybox = fileNamed(join(scratch, 'busybox-package'), 'busybox');
    check(busybox, LEAST_BYTES.busybox);
    check(kernelIn(join(scratch, 'kernel')).image, LEAST_BYTES.kernel);
    const ready = join(scratch, 'ready');
    mkdirSync(ready);
    cpSync(busybox, join(ready, 'busybox'));
    renameSync(join(scratch, 'kernel'), join(ready, 'kernel'));
    renameSync(ready, folder);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Unavailable(`the guest's packages could not be fetched: ${reason}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs apt with lists, status and settings of its own: the host's are left alone. */
function aptIn(
  scratch: string,
  source: string,
): (program: string, args: string[]) => Promise<string> {
  const path = (...names: string[]): string => join(scratch, 'apt', ...names);
  for (const name of ['lists/partial', 'cache/archives/partial']) {
    mkdirSync(path(name), { recursive: true });
  }
  writeFileSync(path('status'), '');
  writeFileSync(
    path('sources.list'),
    suites()
      .map((suite) => `deb [arch=arm64 signed-by=${KEYRING}] ${source} ${suite} main\n`)
      .join(''),
  );
  const settings: Readonly<Record<string, string>> = {
    'Dir::Etc::sourcelist': path('sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': path('lists'),
    'Dir::State::status': path('status'),
    'Dir::Cache': path('cache'),
    'APT::Architecture': 'arm64',
    'APT::Architectures': 'arm64',
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  writeFileSync(path('apt.conf'), lines.join(''));
  const env = { ...process.env, APT_CONFIG: path('apt.conf') };
  const options = { cwd: scratch, env, timeout: 300_000, maxBuffer: 1 << 26 };
  return async (program, args) => (await run(program, args, options)).stdout;
}

async function unpack(scratch: string, prefix: string, into: string): Promise<void> {
  const archives = readdirSync(scratch).filter((file) => file.startsWith(prefix));
  if (archives.length === 0) throw new Error(`${prefix}*.deb was not downloaded`);
  for (const archive of archives) {
    await run('dpkg-deb', ['--extract', join(scratch, archive), join(scratch, into)]);
  }
}

/** The kernel in its unpacked package: `boot/vmlinuz-VERSION`, or of newer ones `.../VERSION/vmlinuz`. */
function kernelIn(folder: string): { image: string; name: string } {
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const version = /(?:^|\/)boot\/vmlinuz-([^/]+)$|\/([^/]+)\/vmlinuz$/.exec(file);
    if (version === null) continue;
    return { image: join(folder, file), name: `Linux ${version[1] ?? version[2]!}` };
  }
  throw new Unavailable(`${folder} has no kernel: remove it`);
}

function fileNamed(folder: string, name: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const found = files.find(
    (file) => basename(file) === name && statSync(join(folder, file)).isFile(),
  );
  if (found === undefined) throw new Error(`the package has no ${name}`);
  return join(folder, found);
}

function check(file: string, leastBytes: number): void {
  if (statSync(file).size < leastBytes) throw new Error(`${file} is too small: download again`);
}
