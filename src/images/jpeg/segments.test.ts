/** Frame headers of JPEG files against libvips, also of files whose bytes were changed. */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { jpegSize } from './segments.ts';

const GOLDENS = new URL('../../../test/goldens/images/', import.meta.url);
const files = readdirSync(GOLDENS).filter(name => name.endsWith('.jpg'));

it('reads what libvips reads', async () => {
  expect(files.length).toBeGreaterThan(8);
  const channels = new Set<number>();
  for (const file of files) {
    const bytes = readFileSync(new URL(file, GOLDENS));
    const metadata = await sharp(bytes).metadata();
    const { width, height } = metadata;
    expect(jpegSize(bytes), file).toEqual({ width, height, channels: metadata.channels });
    channels.add(metadata.channels);
  }
  expect(channels).toEqual(new Set([1, 3, 4]));
});

it('passes over comments', async () => {
  const bytes = readFileSync(new URL('photo.jpg', GOLDENS));
  const comment = Buffer.from([0xff, 0xfe, 0, 6, 1, 2, 3, 4]);
  const longer = Buffer.concat([bytes.subarray(0, 2), comment, bytes.subarray(2)]);
  expect((await sharp(longer).metadata()).width).toBe(jpegSize(bytes)!.width);
  expect(jpegSize(longer)).toEqual(jpegSize(bytes));
});

it('gives no size of a damaged file that libvips would not give', async () => {
  const bytes = readFileSync(new URL('photo.jpg', GOLDENS));
  const start = bytes.subarray(0, 700);
  const change = fc.tuple(fc.integer({ min: 2, max: start.length - 1 }), fc.integer({ min: 0, max: 255 }));
  let agreed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 3, max: bytes.length }),
      async (changes, length) => {
        const damaged = Buffer.from(bytes);
        for (const [at, value] of changes) damaged[at] = value;
        const cut = damaged.subarray(0, length);
        const header = jpegSize(cut);
        const metadata = await sharp(cut)
          .metadata()
          .catch(() => undefined);
        if (!header || !metadata) return;
        expect([header.width, header.height]).toEqual([metadata.width, metadata.height]);
        agreed++;
      },
    ),
    { numRuns: 300, seed: 1 },
  );
  expect(agreed).toBeGreaterThan(20);
});
