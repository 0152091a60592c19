import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { writeCpio, type ArchiveEntry } from './cpio.js';
import { loadModules } from './modules.js';
import type { GuestFiles } from './packages.js';

const MODULES = ['virtio_mmio', 'virtio_rng', 'virtio-rng', 'virtio_blk'];

/**
 * What the guest's script can use besides busybox. `mark NAME` tells the host, and waits until the host
 * has done its part; `wait_log PATTERN` waits until the kernel has logged it.
 */
const PROLOGUE = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /usr/bin /usr/sbin /sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mark() { echo "@@$1"; read -r answer; }
wait_log() {
  n=0
  until dmesg | grep -q "$1"; do
    n=$((n + 1)); [ $n -gt 100 ] && { echo "not logged: $1"; return 1; }
    sleep 0.1
  done
}
wait_for() {
  n=0
  until [ -e "$1" ]; do
    n=$((n + 1)); [ $n -gt 100 ] && { echo "not there: $1"; return 1; }
    sleep 0.1
  done
}
for m in $(cat /modules/order); do insmod /modules/$m.ko || echo "insmod $m failed"; done
`;

const EPILOGUE = `
echo "@@END"
sync
poweroff -f
`;

/** The guest's first and only root file system: busybox, modules, and `script`. */
export function buildInitramfs(guest: GuestFiles, script: string): Buffer {
  const modules = loadModules(guest.kernelFolder, MODULES);
  const order = modules.map(({ name }) => `${name}\n`).join('');
  const entries: ArchiveEntry[] = [
    ...['bin', 'dev', 'modules'].map((name): ArchiveEntry => ({ name, kind: 'folder' })),
    { name: 'dev/console', kind: 'device', device: [5, 1] },
    { name: 'bin/busybox', kind: 'program', data: readFileSync(guest.busybox) },
    { name: 'init', kind: 'program', data: Buffer.from(PROLOGUE + script + EPILOGUE) },
    { name: 'modules/order', kind: 'file', data: Buffer.from(order) },
    ...modules.map(({ name, data }): ArchiveEntry => ({
      name: `modules/${name}.ko`,
      kind: 'file',
      data,
    })),
  ];
  return gzipSync(writeCpio(entries), { level: 1 });
}
