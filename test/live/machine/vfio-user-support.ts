import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Unavailable } from '../guest/unavailable.js';
import { QEMU } from './qemu.js';

const run = promisify(execFile);

/** The first QEMU with `vfio-user-pci`. */
const LEAST = [10, 1] as const;

/** @throws Unavailable when this QEMU, of `version`, knows nothing of vfio-user. */
export async function requireVfioUser(version: string): Promise<void> {
  if (!isNewEnough(version)) {
    throw new Unavailable(
      `vfio-user needs QEMU ${LEAST.join('.')} or later, and ${QEMU} is ${version}: VSMMU_LIVE_QEMU may name another`,
    );
  }
  try {
    await run(QEMU, ['-device', 'vfio-user-pci,help'], { timeout: 20_000 });
  } catch {
    throw new Unavailable(`${QEMU} was built without vfio-user-pci`);
  }
}

/** Whether a version has the device: `unknown` has not. */
export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => parseInt(part, 10));
  return major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]);
}
