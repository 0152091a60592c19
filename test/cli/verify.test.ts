import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SteConfig } from '../../src/arch/ste.js';
import { smallGuest, writeCapture } from './capture-writer.js';
import { cli, jsonLines } from './run-cli.js';

const CAPTURES = fileURLToPath(new URL('../../fixtures/captures/', import.meta.url));

/** Stream 8 with one page; stream 9 nested. */
function guestWithPage() {
  const guest = smallGuest({ registers: { IDR0: 0x0804_109b } });
  const space = guest.addressSpace();
  space.map(0x1000, 0x8000_0000, 0x1000);
  guest.attach(8, space);
  guest.setSte(9, { V: 1, Config: SteConfig.nested });
  return guest;
}

const LEAF = {
  streamId: 8,
  stage: 1,
  iova: '0x1000',
  size: 4096,
  pa: '0x80000000',
  level: 3,
  write: true,
  desc: '0x80000f47',
};
const ANSWER = { streamId: 8, iova: '0x1040', write: true, pa: '0x80000040', perm: 3 };

describe('vsmmu verify', () => {
  test('prints how much was checked, and what belongs to stage 2', async () => {
    const folder = writeCapture(guestWithPage(), {
      expected: [ANSWER, { ...ANSWER, streamId: 9 }],
      leaves: [LEAF],
    });
    expect(await cli(['verify', folder])).toEqual({
      status: 0,
      out:
        'checked 1 translations, 1 leaves: 0 mismatches\n' +
        '1 lines belong to stage 2 and were not checked\n',
      err: '',
    });
    expect((await cli(['verify', folder, '--json'])).out).toBe(
      '{"translations":1,"leaves":1,"skipped":1,"mismatches":0,"first":[]}\n',
    );
  });

  test('prints the first ten mismatches and exits with 1', async () => {
    const wrong = { ...ANSWER, pa: '0x90000040', perm: 1, write: false };
    const folder = writeCapture(guestWithPage(), {
      expected: Array.from({ length: 12 }, () => wrong),
      leaves: [LEAF],
    });
    const { status, out } = await cli(['verify', folder]);
    expect(status).toBe(1);
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toBe('checked 12 translations, 1 leaves: 24 mismatches');
    expect(lines).toHaveLength(11);
    expect(lines[1]).toBe(
      'expected.jsonl:1: stream 0x8, read of 0x1040 goes to 0x80000040; it should go to 0x90000040',
    );
    const json = await cli(['verify', folder, '--json']);
    expect(json.status).toBe(1);
    expect(jsonLines(json.out)).toMatchObject([{ mismatches: 24 }]);
  });
});

describe('captures of real guests', () => {
  const folders = readdirSync(CAPTURES, { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );

  test.each(folders.map(({ name }) => name))(
    '%s agrees, and every command answers',
    async (name) => {
      const folder = `${CAPTURES}${name}`;
      const verified = await cli(['verify', folder]);
      expect(verified.out).toMatch(/^checked \d{3} translations, \d+ leaves: 0 mismatches\n$/);
      const listed = await cli(['ioas', folder, '--json']);
      expect([verified.status, listed.status, listed.err]).toEqual([0, 0, '']);
      const ranges = jsonLines(listed.out) as {
        streamId: number;
        iova: string;
        pa: string;
        length: string;
      }[];
      const { streamId, iova, pa, length } = ranges.at(-1)!;
      const range = ['--stream', String(streamId), '--iova', iova, '--length', length, '--json'];
      const translated = await cli(['translate', folder, ...range]);
      expect(translated.out).toBe(`${JSON.stringify({ iova, pa, length })}\n`);
      const shown = await cli(['inspect', folder]);
      expect([shown.status, shown.err]).toEqual([0, '']);
      expect(shown.out).toContain('  11 stage 1, 0 bypass, 501 abort\n');
    },
  );
});
