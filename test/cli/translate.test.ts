import { describe, expect, test } from 'vitest';
import { S1Fmt, SteConfig } from '../../src/arch/ste.js';
import { smallGuest, writeCapture } from './capture-writer.js';
import { cli, jsonLines } from './run-cli.js';

/** Stream 8: 0x1000 to 0x5000 mapped with a jump at 0x3000, a hole, 0x6000, and the last page of all. */
function guestWithHole(cd: Record<string, number> = {}) {
  const guest = smallGuest();
  const space = guest.addressSpace({ cd });
  space.map(0x1000, 0x8000_0000, 0x2000);
  space.map(0x3000, 0x9000_0000, 0x2000);
  space.map(0x6000, 0x9000_3000, 0x1000, { write: false });
  space.map(0xffff_ffff_ffff_f000n, 0xa000_0000, 0x1000);
  guest.attach(8, space);
  guest.bypass(9);
  guest.setSte(10, { V: 1, Config: SteConfig.abort });
  return { guest, space };
}

const DEVICES = [{ name: 'nvme', bdf: '0000:00:01.0', streamId: 8 }];

/** Arguments of a translation of stream 8. */
function access(folder: string, iova: string, ...more: string[]): string[] {
  return ['translate', folder, '--stream', '8', '--iova', iova, ...more];
}

describe('vsmmu translate', () => {
  test('prints where a byte goes', async () => {
    const folder = writeCapture(guestWithHole().guest, { devices: DEVICES });
    expect(await cli(access(folder, '0x1234'))).toEqual({
      status: 0,
      out:
        'read of 1 byte at 0x1234, StreamID 0x8 (nvme 0000:00:01.0)\n' +
        '0x1234 -> 0x80000234  0x1 (1 byte)  4 KiB at level 3, unprivileged rwx, privileged rw-\n',
      err: '',
    });
    expect((await cli(access(folder, '4660', '--json'))).out).toBe(
      '{"iova":"0x1234","pa":"0x80000234","length":"0x1"}\n',
    );
  });

  test('--length: a segment per contiguous physical range, up to a hole', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const whole = await cli(access(folder, '0x1800', '--length', '0x3800', '--json', '--write'));
    expect(whole.status).toBe(0);
    expect(whole.out).toBe(
      '{"iova":"0x1800","pa":"0x80000800","length":"0x1800"}\n' +
        '{"iova":"0x3000","pa":"0x90000000","length":"0x2000"}\n',
    );
    const hole = await cli(access(folder, '0x1800', '--length', '24576', '--json', '--write'));
    expect(hole.status).toBe(1);
    expect(jsonLines(hole.out)).toEqual([
      { iova: '0x1800', pa: '0x80000800', length: '0x1800' },
      { iova: '0x3000', pa: '0x90000000', length: '0x2000' },
      {
        iova: '0x5000',
        fault: 'F_TRANSLATION',
        event: 16,
        reason: 'descriptor is invalid: bit 0 is 0 (DDI 0487, section D8.3)',
        outcome: 'aborted',
        done: '0x3800',
        recorded: true,
        // Type and StreamID; CLASS 2, a write; the address.
        record: [
          '0x0000000800000010',
          '0x0000020000000000',
          '0x0000000000005000',
          '0x0000000000000000',
        ],
      },
    ]);
  });

  test('--explain tells the steps of the first byte and of the one that faults', async () => {
    const { guest, space } = guestWithHole();
    const { status, out } = await cli(
      access(writeCapture(guest), '0x4000', '--length', '0x1001', '--explain'),
    );
    expect(status).toBe(1);
    const leaf = space.descriptorAddress(0x5000, 3).toString(16);
    const lines = out.split('\n');
    expect(lines.filter((line) => line.startsWith('steps for'))).toEqual([
      'steps for 0x4000',
      'steps for 0x5000',
    ]);
    expect(out).toContain('     V=1 Config=5 S1Fmt=0 S1ContextPtr=0x40006000');
    expect(out).toContain(
      `  7. level 3 descriptor at 0x${leaf}\n     0x0000000000000000\n     Valid=0\n`,
    );
    expect(lines.slice(-6)).toEqual([
      '0x5000 faults: F_TRANSLATION (event 0x10), after 0x1000 of 0x1001 bytes',
      '  why     descriptor is invalid: bit 0 is 0 (DDI 0487, section D8.3)',
      '  effect  the access aborts',
      // RnW is bit 99, CLASS bits 105:104.
      '  record  0x0000000800000010 0x0000020800000000 0x0000000000005000 0x0000000000000000',
      '          SSV=0 SubstreamID=0 StreamID=8 STAG=0 Stall=0 PnU=0 InD=0 RnW=1 NSIPA=0 S2=0 CLASS=2 InputAddr=0x5000 IPA=0x0',
      '',
    ]);
  });

  test('--explain --json prints the steps as one object', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const { out } = await cli(access(folder, '0x1000', '--explain', '--json'));
    const [explained, segment] = jsonLines(out) as [{ iova: string; steps: unknown[] }, unknown];
    expect(explained.iova).toBe('0x1000');
    expect(explained.steps[0]).toMatchObject({
      what: 'STRTAB_BASE, STRTAB_BASE_CFG',
      address: null,
    });
    expect(explained.steps[1]).toMatchObject({ what: 'STE', address: '0x40000200' });
    expect(segment).toEqual({ iova: '0x1000', pa: '0x80000000', length: '0x1' });
  });

  test('addresses of the upper half are exact', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const last = await cli(access(folder, '0xffffffffffffffff', '--json'));
    expect(last.out).toBe('{"iova":"0xffffffffffffffff","pa":"0xa0000fff","length":"0x1"}\n');
    const fault = await cli(access(folder, '18446744073709547519', '--json'));
    expect(jsonLines(fault.out)).toMatchObject([
      {
        iova: '0xffffffffffffefff',
        record: [
          '0x0000000800000010',
          '0x0000020800000000',
          '0xffffffffffffefff',
          '0x0000000000000000',
        ],
      },
    ]);
  });

  test('--write, --instruction and --privileged reach the record: RnW, InD and PnU (7.3)', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const write = await cli(access(folder, '0x6000', '--write', '--privileged'));
    expect(write.status).toBe(1);
    expect(write.out).toContain('privileged write of 1 byte at 0x6000');
    expect(write.out).toContain('F_PERMISSION (event 0x13)');
    expect(write.out).toContain('0x0000000800000013 0x0000020200000000 0x0000000000006000');
    const fetch = await cli(access(folder, '0x5000', '--instruction'));
    expect(fetch.out).toContain('instruction fetch of 1 byte');
    expect(fetch.out).toContain('0x0000000800000010 0x0000020c00000000 0x0000000000005000');
  });

  test('--ssid chooses a CD, and is in the record', async () => {
    const guest = smallGuest();
    const space = guest.addressSpace();
    space.map(0x1000, 0x8000_0000, 0x1000);
    guest.attachSubstreams(8, new Map([[3, space]]), { format: S1Fmt.linear });
    const folder = writeCapture(guest);
    const found = await cli(access(folder, '0x1000', '--ssid', '0x3', '--json'));
    expect(found.out).toBe('{"iova":"0x1000","pa":"0x80000000","length":"0x1"}\n');
    const fault = await cli(access(folder, '0x2000', '--ssid', '3', '--json'));
    // SSV is bit 11, SubstreamID bits 31:12.
    expect(jsonLines(fault.out)).toMatchObject([
      { record: expect.arrayContaining(['0x0000000800003810']) as unknown },
    ]);
    expect((await cli(access(folder, '0x2000', '--ssid', '3'))).out).toContain('SubstreamID 3');
  });

  test('CD.A, R and S decide the effect and the record (5.5)', async () => {
    const zeroed = writeCapture(guestWithHole({ A: 0, R: 0 }).guest);
    const text = await cli(access(zeroed, '0x5000'));
    expect(text.status).toBe(1);
    expect(text.out).toContain('  effect  the access reads as zeros and writes nothing (CD.A=0)\n');
    expect(text.out).toContain('  record  none: CD.R=0\n');
    expect(jsonLines((await cli(access(zeroed, '0x5000', '--json'))).out)).toMatchObject([
      { outcome: 'zeroed', recorded: false, record: null },
    ]);
    const stalled = writeCapture(guestWithHole({ S: 1 }).guest);
    expect((await cli(access(stalled, '0x5000'))).out).toContain('stalls until CMD_RESUME');
  });

  test('an unknown StreamID is recorded only with CR2.RECINVSID, nothing without EVENTQEN', async () => {
    const { guest } = guestWithHole();
    const argv = (folder: string) => ['translate', folder, '--stream', '256', '--iova', '0'];
    const recorded = await cli(argv(writeCapture(guest)));
    expect(recorded.out).toContain('C_BAD_STREAMID (event 0x2)');
    expect(recorded.out).toContain('  record  0x0000010000000002 0x0000000000000000');
    guest.setRegisters({ CR2: 0 });
    expect((await cli(argv(writeCapture(guest)))).out).toContain(
      '  record  none: CR2.RECINVSID=0\n',
    );
    guest.setRegisters({ CR2: 2, CR0: 1 });
    expect((await cli(argv(writeCapture(guest)))).out).toContain(
      '  record  none: CR0.EVENTQEN=0\n',
    );
  });

  test('bypass keeps the address; abort is silent', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const bypass = await cli([
      'translate',
      folder,
      '--stream',
      '9',
      '--iova',
      '0xfffffffff000',
      '--length',
      '0x2000',
    ]);
    expect(bypass.status).toBe(1);
    expect(bypass.out).toContain(
      '0xfffffffff000 -> 0xfffffffff000  0x1000 (4 KiB)  not translated\n',
    );
    expect(bypass.out).toContain(
      '0x1000000000000 faults: F_ADDR_SIZE (event 0x11), after 0x1000 of 0x2000 bytes',
    );
    const abort = await cli(['translate', folder, '--stream', '10', '--iova', '0', '--json']);
    expect(abort.status).toBe(1);
    expect(jsonLines(abort.out)).toMatchObject([
      { fault: 'abort', event: 0, recorded: false, record: null },
    ]);
    const text = await cli(['translate', folder, '--stream', '10', '--iova', '0']);
    expect(text.out).toContain('0x0 faults: abort\n');
    expect(text.out).toContain('  record  none: this kind of abort has no event\n');
  });

  test('several leaves in one segment are counted', async () => {
    const folder = writeCapture(guestWithHole().guest);
    const { out } = await cli(access(folder, '0x1000', '--length', '0x2000'));
    expect(out).toContain('0x1000 -> 0x80000000  0x2000 (8 KiB)  2 leaves, the first 4 KiB, ');
  });

  test('an access beyond 2^64 is wrong use', async () => {
    const folder = writeCapture(guestWithHole().guest);
    expect(await cli(access(folder, '0xfffffffffffff000', '--length', '0x1001'))).toEqual({
      status: 2,
      out: '',
      err: 'vsmmu: the access goes beyond 2^64: give a smaller --length\n',
    });
    expect((await cli(access(folder, '0xfffffffffffff000', '--length', '0x1000'))).status).toBe(0);
  });
});
