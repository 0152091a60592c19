import { describe, expect, test } from 'vitest';
import { S1Dss, S1Fmt, SteConfig } from '../../src/arch/ste.js';
import { RAM_BASE, smallGuest, writeCapture } from './capture-writer.js';
import { cli, jsonLines } from './run-cli.js';

/** Stream 8: pages in both halves, one read-only, one privileged; 9: bypass; 10: aborts. */
function mixedGuest() {
  const guest = smallGuest();
  const space = guest.addressSpace({ cd: { ASID: 5 } });
  space.map(0x1000, 0x8000_0000, 0x2000);
  space.map(0x3000, 0x8000_2000, 0x1000, { unprivileged: false });
  space.map(0x10000, 0x9000_0000, 0x1000, { write: false });
  space.map(0xffff_ffff_ffff_e000n, 0xa000_0000, 0x2000);
  guest.attach(8, space);
  guest.bypass(9);
  guest.setSte(10, { V: 1, Config: SteConfig.abort });
  return { guest, space };
}

const DEVICES = [{ name: 'nvme', bdf: '0000:00:01.0', streamId: 8 }];

describe('vsmmu ioas', () => {
  test('prints one JSON object a line, sorted, addresses exact up to 2^64', async () => {
    const folder = writeCapture(mixedGuest().guest);
    const { status, out, err } = await cli(['ioas', folder, '--json']);
    expect(out).toBe(
      [
        '{"streamId":8,"ssid":null,"iova":"0x1000","pa":"0x80000000","length":"0x2000","read":true,"write":true}',
        '{"streamId":8,"ssid":null,"iova":"0x10000","pa":"0x90000000","length":"0x1000","read":true,"write":false}',
        '{"streamId":8,"ssid":null,"iova":"0xffffffffffffe000","pa":"0xa0000000","length":"0x2000","read":true,"write":true}',
        '{"streamId":9,"ssid":null,"iova":"0x40000000","pa":"0x40000000","length":"0x100000","read":true,"write":true}',
        '',
      ].join('\n'),
    );
    expect([status, err]).toEqual([0, '']);
  });

  test('lists what privileged accesses reach with --privileged', async () => {
    const folder = writeCapture(mixedGuest().guest);
    const { out } = await cli(['ioas', folder, '--json', '--stream', '0x8', '--privileged']);
    expect(out.split('\n')[0]).toBe(
      '{"streamId":8,"ssid":null,"iova":"0x1000","pa":"0x80000000","length":"0x3000","read":true,"write":true}',
    );
  });

  test('prints aligned columns for people', async () => {
    const folder = writeCapture(mixedGuest().guest, { devices: DEVICES });
    const { status, out } = await cli(['ioas', folder]);
    expect(out).toBe(
      [
        'StreamID 0x8 (nvme 0000:00:01.0), ASID 5: 3 ranges, 20 KiB',
        '                IOVA          PA  length      size  access',
        '              0x1000  0x80000000  0x2000     8 KiB  rw',
        '             0x10000  0x90000000  0x1000     4 KiB  r-',
        '  0xffffffffffffe000  0xa0000000  0x2000     8 KiB  rw',
        '',
        'StreamID 0x9, bypass: 1 range, 1 MiB',
        '        IOVA          PA    length      size  access',
        '  0x40000000  0x40000000  0x100000     1 MiB  rw',
        '',
      ].join('\n'),
    );
    expect(status).toBe(0);
  });

  test('STE.PRIVCFG and INSTCFG decide what kind of access the device makes (13.5)', async () => {
    const { guest, space } = mixedGuest();
    guest.attach(8, space, { PRIVCFG: 3 });
    guest.attach(11, space, { PRIVCFG: 2, INSTCFG: 3 });
    guest.attach(12, space, { PRIVCFG: 3, INSTCFG: 3 });
    const folder = writeCapture(guest);
    const privileged = await cli(['ioas', folder, '--json', '--stream', '8']);
    expect(jsonLines(privileged.out)[0]).toMatchObject({ iova: '0x1000', length: '0x3000' });
    // Unprivileged code may execute the privileged page as well: UXN=0.
    const fetches = await cli(['ioas', folder, '--json', '--stream', '11', '--privileged']);
    expect(jsonLines(fetches.out).slice(0, 2)).toMatchObject([
      { iova: '0x1000', length: '0x2000', read: true, write: true },
      { iova: '0x3000', length: '0x1000', read: true, write: false },
    ]);
    // Privileged code may not execute what unprivileged code can write.
    const kernel = await cli(['ioas', folder, '--json', '--stream', '12']);
    expect(jsonLines(kernel.out)[0]).toMatchObject({ iova: '0x1000', read: false, write: true });
  });

  test('says that a stream aborts, or that its STE is missing or invalid', async () => {
    const folder = writeCapture(mixedGuest().guest);
    expect(await cli(['ioas', folder, '--stream', '10'])).toEqual({
      status: 0,
      out: '',
      err: 'vsmmu: StreamID 0xa aborts: nothing is mapped\n',
    });
    expect(await cli(['ioas', folder, '--stream', '7'])).toEqual({
      status: 1,
      out: '',
      err: 'vsmmu: StreamID 0x7: C_BAD_STE: STE.V=0 (IHI 0070, section 5.2)\n',
    });
    const outside = await cli(['ioas', folder, '--stream', '0xffffffff']);
    expect(outside.status).toBe(1);
    expect(outside.err).toContain('StreamID 0xffffffff: C_BAD_STREAMID: StreamID is outside');
  });

  test('notes streams that are illegal for it, nested ones among them', async () => {
    const { guest } = mixedGuest();
    guest.setSte(3, { V: 1, Config: SteConfig.nested });
    guest.setSte(4, { V: 1, Config: SteConfig.s1, S1CDMax: 21 });
    const { status, out, err } = await cli(['ioas', writeCapture(guest), '--json']);
    expect(status).toBe(0);
    expect(jsonLines(out)).toHaveLength(4);
    expect(err.split('\n')).toEqual([
      expect.stringMatching(/^vsmmu: StreamID 0x3: C_BAD_STE: STE is illegal, rule 2: /),
      expect.stringMatching(/^vsmmu: StreamID 0x4: C_BAD_STE: STE is illegal, rule 8: /),
      '',
    ]);
  });

  test('reads 2-level stream tables', async () => {
    const guest = smallGuest({ streamIdBits: 16, split: 8 });
    const space = guest.addressSpace();
    space.map(0x1000, 0x8000_0000, 0x1000);
    guest.attach(0x123, space);
    guest.attach(0xfffe, space);
    const { status, out } = await cli(['ioas', writeCapture(guest), '--json']);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([{ streamId: 0x123 }, { streamId: 0xfffe }]);
  });

  test('CR0.SMMUEN=0: every device bypasses or aborts, as GBPA says (6.3.15)', async () => {
    const { guest } = mixedGuest();
    guest.setRegisters({ CR0: 0 });
    const bypass = await cli(['ioas', writeCapture(guest, { devices: DEVICES }), '--json']);
    expect(bypass.status).toBe(0);
    expect(jsonLines(bypass.out)).toMatchObject([
      { streamId: 8, ssid: null, iova: '0x40000000', pa: '0x40000000', length: '0x100000' },
    ]);
    guest.setRegisters({ GBPA: 1 << 20 });
    const abort = await cli(['ioas', writeCapture(guest, { devices: DEVICES }), '--json']);
    expect(abort).toEqual({
      status: 0,
      out: '',
      err: 'vsmmu: CR0.SMMUEN=0: GBPA.ABORT=1, every stream aborts\n',
    });
  });
});

describe('vsmmu ioas, SubstreamIDs', () => {
  function substreamGuest(s1dss: number, format: number) {
    const guest = smallGuest();
    const spaces = [0, 1, 70].map((substreamId) => {
      const space = guest.addressSpace();
      space.map(0x1000, 0x8000_0000 + 0x1000 * substreamId, 0x1000);
      return [substreamId, space] as const;
    });
    const table = guest.attachSubstreams(8, new Map(spaces), { s1dss, format });
    return { guest, table };
  }

  test.each([
    [
      'linear, S1DSS=2: CD 0 is for accesses without SubstreamID',
      S1Dss.substream0,
      S1Fmt.linear,
      [null, 1, 70],
    ],
    [
      '4K, S1DSS=0: accesses without SubstreamID end',
      S1Dss.terminate,
      S1Fmt.twoLevel4K,
      [0, 1, 70],
    ],
    [
      '64K, S1DSS=1: accesses without SubstreamID bypass',
      S1Dss.bypass,
      S1Fmt.twoLevel64K,
      [null, 0, 1, 70],
    ],
  ])('%s (5.2)', async (_name, s1dss, format, ssids) => {
    const { guest } = substreamGuest(s1dss, format);
    const { status, out, err } = await cli(['ioas', writeCapture(guest), '--json']);
    expect([status, err]).toEqual([0, '']);
    expect(jsonLines(out).map((line) => (line as { ssid: number | null }).ssid)).toEqual(ssids);
  });

  test('--ssid lists that SubstreamID only', async () => {
    const folder = writeCapture(substreamGuest(S1Dss.substream0, S1Fmt.linear).guest);
    const one = await cli(['ioas', folder, '--json', '--ssid', '70']);
    expect(one.out).toBe(
      '{"streamId":8,"ssid":70,"iova":"0x1000","pa":"0x80046000","length":"0x1000","read":true,"write":true}\n',
    );
    const text = await cli(['ioas', folder, '--ssid', '70']);
    expect(text.out).toContain('StreamID 0x8, SubstreamID 70, ASID 0: 1 range, 4 KiB');
    expect(await cli(['ioas', folder, '--ssid', '71'])).toEqual({
      status: 1,
      out: '',
      err: 'vsmmu: no stream has SubstreamID 71\n',
    });
    const asked = await cli(['ioas', folder, '--stream', '8', '--ssid', '71']);
    expect(asked.status).toBe(1);
    expect(asked.err).toContain('StreamID 0x8, SubstreamID 71: C_BAD_CD: CD is illegal, rule 1');
  });

  test('an illegal CD is a note, a missing CD table a problem', async () => {
    const { guest, table } = substreamGuest(S1Dss.terminate, S1Fmt.linear);
    guest.changeCd(table + 64, { AA64: 0 });
    const illegal = await cli(['ioas', writeCapture(guest), '--json']);
    expect(illegal.status).toBe(0);
    expect(illegal.err).toMatch(
      /^vsmmu: StreamID 0x8, SubstreamID 1: C_BAD_CD: CD is illegal, rule 7: /,
    );
    const missing = await cli(['ioas', writeCapture(guest, { omit: [table] }), '--json']);
    expect(missing.status).toBe(1);
    expect(jsonLines(missing.out)).toMatchObject([{ ssid: 70 }]);
    expect(missing.err).toBe(
      'vsmmu: StreamID 0x8, SubstreamID 0: F_CD_FETCH: external abort while fetching the CD ' +
        `(IHI 0070, section 7.3.10): 0x${table.toString(16)} is not in memory\n`,
    );
  });

  test('a missing level-1 CD table is said once per L1CD', async () => {
    const { guest, table } = substreamGuest(S1Dss.terminate, S1Fmt.twoLevel4K);
    const page = table - (table % 4096);
    const { status, err } = await cli(['ioas', writeCapture(guest, { omit: [page] })]);
    expect(status).toBe(1);
    expect(err.split('\n').filter((line) => line.includes('L1CD'))).toHaveLength(2);
  });
});

describe('vsmmu ioas, what is not in the capture', () => {
  test('missing descriptors are said and exit with 1', async () => {
    const { guest, space } = mixedGuest();
    const page = space.descriptorAddress(0x1000, 3) & ~0xfff;
    const { status, out, err } = await cli([
      'ioas',
      writeCapture(guest, { omit: [page] }),
      '--json',
    ]);
    expect(status).toBe(1);
    expect(jsonLines(out)).toMatchObject([{ iova: '0xffffffffffffe000' }, { streamId: 9 }]);
    expect(err).toBe(
      `vsmmu: StreamID 0x8: 512 descriptors, from 0x${page.toString(16)} on, not in memory\n`,
    );
  });

  test('missing pages of the stream table are said and exit with 1', async () => {
    const { guest } = mixedGuest();
    const { status, err } = await cli(['ioas', writeCapture(guest, { omit: [RAM_BASE + 0x2000] })]);
    expect(status).toBe(1);
    expect(err).toBe('vsmmu: 1 page of the stream table, from 0x40002000 on, not in memory\n');
  });

  test('tables that point to themselves end at the limit', async () => {
    const guest = smallGuest();
    const space = guest.addressSpace();
    space.map(0x1000, 0x8000_0000, 0x1000);
    const level0 = space.descriptorAddress(0, 0);
    for (let i = 0; i < 512; i++) guest.store(level0 + 8 * i, new Uint32Array([level0 | 3, 0]));
    guest.attach(8, space);
    const { status, err } = await cli(['ioas', writeCapture(guest), '--json'], { errIsTTY: true });
    expect(status).toBe(1);
    expect(err).toMatch(
      /StreamID 0x8: incomplete: stopped after (1048576 tables|4194304 ranges)\n/,
    );
  });
});
