/** Decoding against Pillow's recorded pixels, and every kind of bad file with its one line. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asOrdinaryUser, compare, pattern, type Recorded } from '../../test/images.ts';
import { S3aError } from '../errors.ts';
import { random } from '../random.ts';
import type { Rgb } from './affine.ts';
import { makeView, normalise } from './augment.ts';
import { decodeImage } from './decode.ts';

const GOLDENS = fileURLToPath(new URL('../../test/goldens/images/', import.meta.url));
const golden = (name: string): unknown => JSON.parse(readFileSync(join(GOLDENS, name), 'utf8'));

describe('decodeImage', () => {
  const cases = golden('decode.json') as (Recorded & { file_name: string; size: [number, number] })[];
  for (const { file_name, size, ...recorded } of cases) {
    it(`decodes ${file_name} as Pillow does`, async () => {
      const { data, width, height } = await decodeImage(join(GOLDENS, file_name));
      expect([width, height]).toEqual(size);
      const [actual, expected] = compare(data, recorded);
      expect(actual).toEqual(expected);
    });
  }

  it('keeps the high byte of 16-bit grey, where Pillow saturates', async () => {
    const samples = Uint16Array.of(0, 0x1234, 0x80ff, 0xffff);
    const png = await sharp(samples, { raw: { width: 4, height: 1, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toBuffer();
    expect((await sharp(png).metadata()).depth).toBe('ushort');
    expect([...(await decodeImage(png)).data]).toEqual([0, 0, 0, 0x12, 0x12, 0x12, 0x80, 0x80, 0x80, 255, 255, 255]);
  });

  it('decodes 100 megapixels and 1×1', async () => {
    const create = { width: 10_000, height: 10_000, channels: 3 as const, background: '#0a141e' };
    const large = await decodeImage(await sharp({ create }).png().toBuffer());
    expect([large.width, large.height, ...large.data.slice(-3)]).toEqual([10_000, 10_000, 10, 20, 30]);
    const one = await decodeImage(
      await sharp({ create: { ...create, width: 1, height: 1 } })
        .png()
        .toBuffer(),
    );
    expect(one).toEqual({ data: Uint8Array.of(10, 20, 30), width: 1, height: 1 });
  });
});

describe('CLIP preprocessing', () => {
  const { mean, std, values } = golden('clip.json') as {
    mean: Rgb;
    std: Rgb;
    values: (Recorded & { file_name: string; size: number })[];
  };
  for (const { file_name, size, ...recorded } of values) {
    it(`equals transformers' Pillow backend in every bit: ${file_name} at ${size}`, async () => {
      const view = makeView(await decodeImage(join(GOLDENS, file_name)), 'evaluation', size, random(0), [0, 0, 0]);
      const [actual, expected] = compare(normalise([view], mean, std), recorded);
      expect(actual).toEqual(expected);
    });
  }
});

describe('bad files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3a-decode-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function refusal(name: string, content: string | Uint8Array): Promise<string> {
    await writeFile(join(folder, name), content);
    return refusalOf(join(folder, name));
  }

  async function refusalOf(path: string, maxPixels?: number): Promise<string> {
    const error: unknown = await decodeImage(path, { maxPixels }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(S3aError);
    const { code, message, hint } = error as S3aError;
    expect(code).toBe('BAD_IMAGE');
    expect(message).not.toMatch(/\n/);
    expect(hint).toBeTruthy();
    return message;
  }

  it('names an empty file, text, a web page and SVG for what they are', async () => {
    expect(await refusal('empty.jpg', '')).toMatch(/empty\.jpg: empty file \(0 bytes\)$/);
    expect(await refusal('text.png', 'hello, I am no image\n')).toMatch(/not an image file \(it holds text\)$/);
    expect(await refusal('page.jpg', '<!DOCTYPE html><title>404</title>')).toMatch(/it holds a web page/);
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>';
    expect(await refusal('drawing.png', svg)).toMatch(/SVG or XML, which is not accepted/);
    expect(await refusal('xml.png', `<?xml version="1.0"?>\n${svg}`)).toMatch(/SVG or XML/);
    expect(await refusal('noise.png', Uint8Array.of(0, 255, 3, 9, 8))).toMatch(/begins with the bytes 00 ff 03 09/);
    const heic = Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic');
    expect(await refusal('phone.jpg', heic)).toMatch(
      /phone\.jpg: not an image file \(HEIC, which is not read; convert/,
    );
    expect(await refusal('clip.avif', Buffer.from('\0\0\0\x14ftypmp42\0\0\0\0mp42....'))).toMatch(/not an image file/);
  });

  it('refuses a truncated file of every format, wherever it is cut', async () => {
    const { data, width, height } = pattern(120, 90);
    const image = sharp(data, { raw: { width, height, channels: 3 } });
    const files = {
      'cut.jpg': await image.clone().jpeg().toBuffer(),
      'cut-progressive.jpg': await image.clone().jpeg({ progressive: true }).toBuffer(),
      'cut.png': await image.clone().png().toBuffer(),
      'cut.webp': await image.clone().webp({ lossless: true }).toBuffer(),
      'cut.gif': await image.clone().gif().toBuffer(),
      'cut.tif': await image.clone().tiff().toBuffer(),
      'cut.avif': await image.clone().avif().toBuffer(),
      'cut.bmp': await readFile(join(GOLDENS, 'rgb24.bmp')),
    };
    for (const [name, bytes] of Object.entries(files)) {
      if (!name.endsWith('.bmp')) await decodeImage(bytes);
      for (const share of [0.02, 0.3, 0.6, 0.9]) {
        const message = await refusal(name, bytes.subarray(0, Math.floor(bytes.length * share)));
        expect(message, `${name} cut at ${share}`).toContain(`${name}: `);
        expect(message.length - folder.length, message).toBeLessThan(240);
        expect(message).not.toContain('bad seek');
      }
    }
  });

  it('checks the size in the header before decoding', async () => {
    const path = join(folder, 'wide.png');
    await sharp({ create: { width: 300, height: 200, channels: 3, background: 'red' } })
      .png()
      .toFile(path);
    expect(await refusalOf(path, 59_999)).toMatch(/300×200 = 60000 pixels is over the limit of 59999/);
    const jpeg = join(folder, 'wide.jpg');
    await sharp(path).toFile(jpeg);
    expect(await refusalOf(jpeg, 59_999)).toMatch(/300×200 = 60000 pixels is over the limit of 59999/);
    const png = await readFile(path);
    // The header claims 4 billion pixels that are not there.
    png.writeUInt32BE(65_536, 16);
    png.writeUInt32BE(65_536, 20);
    expect(await refusal('bomb.png', png)).toMatch(/bomb\.png: /);
  });

  it('refuses what is no file, without waiting for it', async () => {
    expect(await refusalOf(folder)).toMatch(/: a folder$/);
    expect(await refusalOf(join(folder, 'absent.png'))).toMatch(/absent\.png: no such file$/);
    execFileSync('mkfifo', [join(folder, 'pipe.png')]);
    expect(await refusalOf(join(folder, 'pipe.png'))).toMatch(/not a regular file$/);
  });

  it('says when a file may not be read', async () => {
    await writeFile(join(folder, 'secret.png'), 'x');
    await chmod(join(folder, 'secret.png'), 0);
    await chmod(folder, 0o755);
    expect(await asOrdinaryUser(() => refusalOf(join(folder, 'secret.png')))).toMatch(/permission denied/);
  });

  it('prints names with line breaks on one line', async () => {
    expect(await refusal('a\nb.png', '')).toMatch(/a\\nb\.png: empty file/);
  });
});
