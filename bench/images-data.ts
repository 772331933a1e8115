/** Drawn photographs for bench/images.ts: JPEG files with the sizes, and about the bytes a pixel, of those of cameras. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { random } from '../src/random.ts';

const SIZES = [
  [500, 375],
  [375, 500],
  [640, 480],
  [1024, 768],
] as const;

/** Draws `count` photographs, or finds them there; their file names. */
export async function photographs(folder: string, count: number): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const files = Array.from({ length: count }, (_, i) => `${String(i).padStart(5, '0')}.jpg`);
  for (const [i, file] of files.entries()) {
    const path = join(folder, file);
    if (!existsSync(path)) await draw(path, i);
  }
  return files;
}

/** Noise of every scale from the whole image to a pixel, weaker the finer it is, with less colour in what is fine. */
async function draw(path: string, index: number): Promise<void> {
  const [width, height] = SIZES[index % SIZES.length];
  const draws = random('bench', 'photograph', index);
  const levels = new Float32Array(width * height * 3).fill(128);
  for (let cells = 2; cells < 2 * Math.max(width, height); cells *= 2) {
    const across = Math.min(cells, width);
    const down = Math.min(height, Math.max(2, Math.round((cells * height) / width)));
    const colour = cells <= 32 ? 0.5 : 0.15;
    const noise = new Uint8Array(across * down * 3);
    for (let at = 0; at < noise.length; at += 3) {
      const light = 256 * draws.next();
      for (let c = 0; c < 3; c++) noise[at + c] = light * (1 - colour) + 256 * draws.next() * colour;
    }
    const enlarged = await sharp(noise, { raw: { width: across, height: down, channels: 3 } })
      .resize(width, height, { kernel: 'cubic', fit: 'fill' })
      .raw()
      .toBuffer();
    const strength = 0.9 / Math.sqrt(cells / 2);
    for (let i = 0; i < levels.length; i++) levels[i] += (enlarged[i] - 128) * strength;
  }
  const pixels = new Uint8ClampedArray(levels);
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toFile(path);
}
