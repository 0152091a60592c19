import { beforeEach, describe, expect, test } from 'vitest';
import type { TlbRange } from '../../src/tlb/tlb-range.js';
import {
  BYPASS_STE,
  CD_TABLES,
  contextDescriptor,
  LinuxDriver,
  PAGE_TABLES,
  stage1Ste,
} from './linux-driver.js';
import { R, SmmuMachine } from './smmu-machine.js';

const DEVICE = 0x1_08;
const ROOT = PAGE_TABLES;
const WRITE = 1;
const DMA = 0x5678_0000;

describe.each([
  ['polls CMD_SYNC in its own slot (MSI)', { SIDSIZE: 16, OAS: 44 }, 1024],
  ['polls CONS (no MSI)', { preset: 'qemu' }, 1024],
  ['polls while commands run in small slices', { preset: 'qemu' }, 1],
] as const)('Linux’s driver %s', (_, features, commandBudget) => {
  let machine: SmmuMachine;
  let driver: LinuxDriver;

  beforeEach(() => {
    machine = new SmmuMachine({ features, commandBudget, cmdqLog2: 4, eventqLog2: 2 });
    machine.doorbell = () => true;
    driver = new LinuxDriver(machine);
    driver.probe();
    driver.reset();
    driver.initStream(DEVICE);
  });

  /** Attaches DEVICE to an address space with a page at 0x1000. */
  function attach(): void {
    machine.put(CD_TABLES, ...contextDescriptor(1, ROOT));
    driver.map(ROOT, 0x1000, DMA, 1);
    driver.writeSte(DEVICE, stage1Ste(CD_TABLES), true);
  }

  test('brings the SMMU up', () => {
    expect([machine.read(R.CR0), machine.read(R.CR1), machine.read(R.CR2)]).toEqual([13, 0xd75, 2]);
    expect(machine.smmu.stats().commands).toEqual({ CFGI_STE_RANGE: 1, TLBI_NSNH_ALL: 1, SYNC: 2 });
    expect(machine.read(R.GERROR)).toBe(0);
    expect(machine.read64(R.STRTAB_BASE)).toBe(0x4000_0000_4010_0000n);
  });

  test('finds a device aborted before it is attached, without an event', () => {
    expect(machine.translate(0x1000n, 0, DEVICE)).toMatchObject({ outcome: 1, event: 0 });
    expect(driver.handleEvents()).toBe(false);
    expect(driver.events).toEqual([]);
  });

  test('attaches, step by step: no access sees half of an STE', () => {
    expect(machine.translate(0x1000n, 0, DEVICE)).toMatchObject({ outcome: 1, event: 0 });
    attach();
    expect(machine.translate(0x1234n, 0, DEVICE)).toMatchObject({
      outcome: 0,
      outputAddress: DMA + 0x234,
    });
    driver.writeSte(DEVICE, BYPASS_STE, false);
    expect(machine.translate(0x1234n, 0, DEVICE)).toMatchObject({
      outcome: 0,
      outputAddress: 0x1234,
      bypassed: true,
    });
    driver.writeSte(DEVICE, stage1Ste(CD_TABLES), false);
    expect(machine.translate(0x1234n, WRITE, DEVICE).outputAddress).toBe(DMA + 0x234);
    expect(driver.handleEvents()).toBe(false);
    expect(driver.events).toEqual([]);
  });

  test('maps without a command, unmaps with TLBI by ranges, and is told of the fault', () => {
    attach();
    const ranges: string[] = [];
    machine.smmu.addKeeper({
      invalidateAll: () => undefined,
      invalidateAsid: () => undefined,
      invalidateStreams: () => undefined,
      invalidateContext: () => undefined,
      invalidateRange: ({ asid, firstLow, lastLow, leaf, granuleLog2, level }: TlbRange) => {
        const span = `${firstLow.toString(16)}-${lastLow.toString(16)}`;
        ranges.push(`${asid} ${span} ${leaf} ${granuleLog2} ${level}`);
      },
    });
    driver.map(ROOT, 0x10_0000, DMA + 0x10_0000, 0x23);
    expect(machine.translate(0x12_2abcn, WRITE, DEVICE).outputAddress).toBe(DMA + 0x12_2abc);
    driver.unmap(ROOT, 0x10_0000, 0x23, 1);
    // 3 pages, then 32.
    expect(ranges).toEqual(['1 100000-102fff true 12 3', '1 103000-122fff true 12 3']);
    expect(machine.translate(0x12_2abcn, WRITE, DEVICE)).toMatchObject({ outcome: 1, event: 0x10 });
    expect(driver.handleEvents()).toBe(false);
    expect(driver.events).toEqual([[0x108_0000_0010n, 0x200_0000_0000n, 0x12_2abcn, 0n]]);
    expect(machine.translate(0x1000n, 0, DEVICE).outcome).toBe(0);
  });

  test('sees an overflow of its event queue once, and all that fitted', () => {
    attach();
    for (let i = 0; i < 7; i++) machine.translate(BigInt(0x20_0000 + 0x1000 * i), 0, DEVICE);
    expect(driver.handleEvents()).toBe(true);
    expect(driver.events.map(([, , address]) => address)).toEqual([
      0x20_0000n,
      0x20_1000n,
      0x20_2000n,
      0x20_3000n,
    ]);
    expect(driver.handleEvents()).toBe(false);
    for (let i = 0; i < 6; i++) machine.translate(0x30_0000n, 0, DEVICE);
    expect(driver.handleEvents()).toBe(true);
    expect(driver.events).toHaveLength(8);
  });

  test('recovers from CERROR_ILL by a CMD_SYNC in its place', () => {
    attach();
    // A secure command in a batch; its neighbours have their effect.
    const broken = [0x60n, 0n] as const;
    driver.issue([0x30n, 0n], broken, [0x03n | (BigInt(DEVICE) << 32n), 1n]);
    expect(driver.errors).toEqual([1]);
    expect(machine.read(R.GERROR)).toBe(machine.read(R.GERRORN));
    expect(machine.smmu.stats().failedCommands).toBe(1);
    driver.issue(broken, broken);
    expect(driver.errors).toEqual([1, 1, 1]);
    expect(machine.translate(0x1000n, 0, DEVICE).outcome).toBe(0);
  });

  test('wraps its command queue many times', () => {
    attach();
    for (let i = 0; i < 100; i++) driver.unmap(ROOT, 0x40_0000, 1 + (i % 9), 1);
    expect(machine.smmu.stats().failedCommands).toBe(0);
    expect(machine.read(R.CMDQ_PROD)).toBe(machine.read(R.CMDQ_CONS));
  });

  test('may be started again (kexec): GBPA.ABORT in between, then as before', () => {
    attach();
    driver.reset();
    expect(machine.read(R.GBPA) & 0x0010_0000).toBe(0x0010_0000);
    expect(machine.translate(0x1234n, 0, DEVICE).outputAddress).toBe(DMA + 0x234);
  });
});

test('a driver of an SMMU without 2-level tables finds its StreamID range (7.2.1)', () => {
  const machine = new SmmuMachine({ features: { preset: 'minimal' } }).start();
  // 6 bits of StreamID, whatever LOG2SIZE says.
  machine.put(0x43c0_0000 + 64 * 63, ...BYPASS_STE);
  expect(machine.translate(0x1234n, 0, 63)).toMatchObject({ outcome: 0, outputAddress: 0x1234 });
  expect(machine.translate(0x1234n, 0, 64)).toMatchObject({ outcome: 1, event: 2 });
});
