/** The decoder of plain JPEG files against Pillow's recorded pixels and against libvips, whole, in part, and damaged. */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { compare, pattern } from '../../../test/images.ts';
import type { Rect } from '../image.ts';
import { decodeJpeg } from './decode.ts';
import { readHeader } from './header.ts';

const GOLDENS = new URL('../../../test/goldens/', import.meta.url);
const cases = JSON.parse(readFileSync(new URL('jpeg.json', GOLDENS), 'utf8')) as {
  name: string;
  size: [number, number];
  file: string;
  sha256: string;
}[];
const files = cases.map(({ file }) => Buffer.from(file, 'base64'));

function decode(bytes: Uint8Array, wanted?: Rect): ReturnType<typeof decodeJpeg> {
  const frame = readHeader(bytes);
  return frame && decodeJpeg(bytes, frame, wanted ?? { x: 0, y: 0, width: frame.width, height: frame.height });
}

async function libvips(bytes: Uint8Array): Promise<Uint8Array> {
  return sharp(bytes, { failOn: 'error' }).removeAlpha().toColourspace('srgb').raw().toBuffer();
}

const share = fc.noBias(fc.integer({ min: 0, max: 10_000 })).map(value => value / 10_001);

/** Rows and columns of an image of a width. */
function cutOut(data: Uint8Array, imageWidth: number, { x, y, width, height }: Rect): number[] {
  return Array.from({ length: height }, (_, row) => {
    const at = 3 * ((y + row) * imageWidth + x);
    return [...data.subarray(at, at + 3 * width)];
  }).flat();
}

describe('decodeJpeg', () => {
  for (const [i, { name, size, sha256 }] of cases.entries()) {
    it(`has Pillow's pixels: ${name}`, () => {
      const part = decode(files[i])!;
      expect(part.rect).toEqual({ x: 0, y: 0, width: size[0], height: size[1] });
      const [actual, expected] = compare(part.data, { sha256 });
      expect(actual).toEqual(expected);
    });
  }

  it('decodes any part as it is in the whole', () => {
    const property = fc.property(
      fc.integer({ min: 0, max: files.length - 1 }),
      fc.tuple(share, share, share, share),
      (i, [left, top, across, down]) => {
        const [width, height] = cases[i].size;
        const [x, y] = [Math.floor(left * (width - 1)), Math.floor(top * (height - 1))];
        const wanted = {
          x,
          y,
          width: 1 + Math.floor(across * (width - x - 1)),
          height: 1 + Math.floor(down * (height - y - 1)),
        };
        const whole = decode(files[i])!.data.slice();
        const { data, rect } = decode(files[i], wanted)!;
        const inPart = { ...wanted, x: wanted.x - rect.x, y: wanted.y - rect.y };
        expect(data.length).toBe(3 * rect.width * rect.height);
        expect(cutOut(data, rect.width, inPart)).toEqual(cutOut(whole, width, wanted));
      },
    );
    fc.assert(property, { numRuns: 400, seed: 1 });
  });

  it('does not read what comes below the part', () => {
    const [bytes] = files;
    const { width, height } = readHeader(bytes)!;
    const damaged = Buffer.from(bytes);
    // No code begins with so many ones.
    damaged.fill(0xfe, damaged.length - 60, damaged.length - 2);
    expect(decode(damaged)).toBeUndefined();
    const top = { x: 0, y: 0, width, height: height / 2 };
    expect([...decode(damaged, top)!.data]).toEqual([...decode(bytes, top)!.data]);
  });

  it('agrees with libvips on images of any size and quality', async () => {
    for (const [i, chromaSubsampling] of ['4:2:0', '4:4:4'].entries()) {
      for (const [width, height] of [
        [5, 3],
        [16, 16],
        [17, 33],
        [100, 64],
        [300, 211],
      ]) {
        const { data } = pattern(width, height);
        const image = sharp(data, { raw: { width, height, channels: 3 } });
        const jpeg = await image.jpeg({ quality: 20 + 70 * i, chromaSubsampling }).toBuffer();
        expect(Buffer.compare(decode(jpeg)!.data, await libvips(jpeg)), `${width}×${height}`).toBe(0);
      }
    }
  });

  it('gives the pixels of libvips or none of a file with changed bytes', async () => {
    const change = fc.tuple(share, fc.noBias(fc.integer({ min: 0, max: 255 })));
    const seen = { same: 0, left: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: files.length - 1 }),
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        async (i, changes, isCut) => {
          const bytes = Buffer.from(files[i]);
          for (const [at, value] of changes) bytes[2 + Math.floor(at * (bytes.length - 3))] = value;
          const damaged = isCut ? bytes.subarray(0, 2 + Math.floor(changes[0][0] * bytes.length)) : bytes;
          const frame = readHeader(damaged);
          if (!frame || frame.width * frame.height > 1e6) return;
          const part = decode(damaged)?.data.slice();
          seen[part ? 'same' : 'left']++;
          if (part) expect(Buffer.compare(part, await libvips(damaged))).toBe(0);
        },
      ),
      { numRuns: 600, seed: 1 },
    );
    expect(seen.same).toBeGreaterThan(50);
    expect(seen.left).toBeGreaterThan(50);
  });
});

describe('readHeader', () => {
  it('knows the files that are plain', () => {
    const folder = new URL('images/', GOLDENS);
    const plain = readdirSync(folder)
      .filter(name => name.endsWith('.jpg'))
      .filter(name => readHeader(readFileSync(new URL(name, folder))));
    // Not those of inks, progressive ones, and those that EXIF turns.
    expect(plain).toEqual(['grey.jpg', 'photo.jpg', 'profile.jpg']);
  });

  it('leaves RGB, a second scan and twelve bits to others', async () => {
    const [bytes] = files;
    const frame = bytes.indexOf(Buffer.from([0xff, 0xc0]));
    const changed = (...changes: [at: number, value: number][]): Buffer => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) copy[at] = value;
      return copy;
    };
    expect(readHeader(bytes)).toBeDefined();
    expect(readHeader(changed([frame + 4, 12]))).toBeUndefined();
    expect(readHeader(changed([frame + 1, 0xc2]))).toBeUndefined();
    // Without JFIF's segment the names of the planes say what they are.
    expect(readHeader(changed([6, 0]))).toBeDefined();
    const scan = bytes.indexOf(Buffer.from([0xff, 0xda]));
    const named = 'RGB'.split('').flatMap((letter, i): [number, number][] => [
      [frame + 10 + 3 * i, letter.charCodeAt(0)],
      [scan + 5 + 2 * i, letter.charCodeAt(0)],
    ]);
    expect(readHeader(changed([6, 0], ...named))).toBeUndefined();
    const more = Buffer.concat([bytes.subarray(0, -2), bytes.subarray(scan)]);
    expect(decode(more)).toBeUndefined();
  });
});
