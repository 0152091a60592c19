/** Where `virt` has memory of PCI devices below 4 GiB. */
const PCI_MEMORY = 0x1000_0000;
/** Configuration space of PCI devices on `virt`, 32 KiB for each of a bus. */
const ECAM = 0x40_1000_0000;
const SLOT_BYTES = 0x8000;
const SLOT = 2;
const COMMAND = 0x04;
const BAR0 = 0x10;
/** Of the command register: memory accesses are answered. */
const MEMORY_SPACE = 2;

/** Where the guest finds the registers. */
export const BAR_ADDRESS = PCI_MEMORY;

/** Of QEMU, for the device whose server listens at `socket`. */
export function deviceArguments(socket: string): string[] {
  const device = {
    driver: 'vfio-user-pci',
    bus: 'pcie.0',
    addr: String(SLOT),
    socket: { type: 'unix', path: socket },
  };
  return ['-device', JSON.stringify(device)];
}

/** Commands that do what firmware and Linux do elsewhere: place BAR0, and switch it on. */
export function setUpCommands(): string[] {
  const configuration = ECAM + SLOT * SLOT_BYTES;
  const command = (name: string, register: number, value: number): string =>
    `${name} 0x${(configuration + register).toString(16)} 0x${value.toString(16)}`;
  return [command('writel', BAR0, BAR_ADDRESS), command('writew', COMMAND, MEMORY_SPACE)];
}
