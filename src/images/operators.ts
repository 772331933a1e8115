/** Pillow's colour operators on 8-bit RGB, as timm's RandAugment uses them; every byte equal to Pillow's. */
import type { RgbImage } from './image.ts';

/** `ImageOps.autocontrast`: each channel stretched so that its darkest value is 0 and its lightest 255. */
export function autoContrast(image: RgbImage): RgbImage {
  return perChannel(image, counts => {
    const low = counts.findIndex(n => n > 0);
    const high = counts.findLastIndex(n => n > 0);
    if (high <= low) return identity();
    const scale = 255 / (high - low);
    const offset = -low * scale;
    return table(i => Math.trunc(i * scale + offset));
  });
}

/** `ImageOps.equalize`: each channel's histogram made as flat as its steps allow. */
export function equalize(image: RgbImage): RgbImage {
  return perChannel(image, counts => {
    const last = counts.findLastIndex(n => n > 0);
    const step = Math.floor((image.width * image.height - counts[last]) / 255);
    if (step === 0) return identity();
    let n = Math.floor(step / 2);
    return table(i => {
      const value = Math.floor(n / step);
      n += counts[i];
      return value;
    });
  });
}

/** `ImageOps.invert`. */
export function invert(image: RgbImage): RgbImage {
  return lookUp(
    image,
    table(i => 255 - i),
  );
}

/** `ImageOps.posterize`: only the `bits` high bits of every value (0 … 8) are kept. */
export function posterize(image: RgbImage, bits: number): RgbImage {
  const mask = bits >= 8 ? 255 : 255 & ~(2 ** (8 - bits) - 1);
  return lookUp(
    image,
    table(i => i & mask),
  );
}

/** `ImageOps.solarize`: values from `threshold` (0 … 256) on are inverted. */
export function solarize(image: RgbImage, threshold: number): RgbImage {
  return lookUp(
    image,
    table(i => (i < threshold ? i : 255 - i)),
  );
}

/** timm's `solarize_add`: `add` is added to values below 128. */
export function solarizeAdd(image: RgbImage, add: number): RgbImage {
  return lookUp(
    image,
    table(i => (i < 128 ? i + add : i)),
  );
}

/** `ImageEnhance.Color`: factor 0 is grey, 1 the image. */
export function color({ data, width, height }: RgbImage, factor: number): RgbImage {
  const to = new Uint8Array(data.length);
  const alpha = Math.fround(factor);
  for (let at = 0; at < to.length; at += 3) {
    const grey = luma(data, at);
    to[at] = mix(grey, data[at], alpha);
    to[at + 1] = mix(grey, data[at + 1], alpha);
    to[at + 2] = mix(grey, data[at + 2], alpha);
  }
  return { data: to, width, height };
}

/** `ImageEnhance.Contrast`: factor 0 is the mean grey, 1 the image. */
export function contrast(image: RgbImage, factor: number): RgbImage {
  let sum = 0;
  for (let at = 0; at < image.data.length; at += 3) sum += luma(image.data, at);
  const mean = Math.trunc(sum / (image.width * image.height) + 0.5);
  return lookUp(image, blendTable(mean, factor));
}

/** `ImageEnhance.Brightness`: factor 0 is black, 1 the image. */
export function brightness(image: RgbImage, factor: number): RgbImage {
  return lookUp(image, blendTable(0, factor));
}

/** `ImageEnhance.Sharpness`: factor 0 is `ImageFilter.SMOOTH`, 1 the image. */
export function sharpness(image: RgbImage, factor: number): RgbImage {
  return blend(smooth(image), image, factor);
}

/** The 3×3 kernel [1 1 1; 1 5 1; 1 1 1] / 13 in single precision and Pillow's order of sums; the border stays. */
function smooth(image: RgbImage): RgbImage {
  const { data, width, height } = image;
  const to = data.slice();
  const sides = Float32Array.from({ length: 256 }, (_, value) => value * Math.fround(1 / 13));
  const middles = Float32Array.from({ length: 256 }, (_, value) => value * Math.fround(5 / 13));
  const row = width * 3;
  // The sums of the rows above and below hold for three rows each.
  let [above, here, below] = [new Float32Array(row), new Float32Array(row), new Float32Array(row)];
  const sumRow = (y: number, sums: Float32Array): void => {
    const from = y * row;
    for (let i = 3; i < row - 3; i++) {
      const at = from + i;
      sums[i] = Math.fround(sides[data[at - 3]] + sides[data[at]]) + sides[data[at + 3]];
    }
  };
  if (height > 2) {
    sumRow(0, above);
    sumRow(1, here);
  }
  for (let y = 1; y < height - 1; y++) {
    sumRow(y + 1, below);
    for (let i = 3; i < row - 3; i++) {
      const at = y * row + i;
      const middle = Math.fround(Math.fround(sides[data[at - 3]] + middles[data[at]]) + sides[data[at + 3]]);
      const sum = Math.fround(Math.fround(Math.fround(0.5 + below[i]) + middle) + above[i]);
      to[at] = Math.min(sum, 255);
    }
    [above, here, below] = [here, below, above];
  }
  return { data: to, width, height };
}

/** ITU-R 601 luma of the pixel at `at` in Pillow's fixed point. */
function luma(data: Uint8Array, at: number): number {
  return (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
}

/** `Image.blend(from, to, factor)`. */
function blend({ data: from }: RgbImage, { data: to, width, height }: RgbImage, factor: number): RgbImage {
  const data = new Uint8Array(to.length);
  const alpha = Math.fround(factor);
  for (let i = 0; i < data.length; i++) data[i] = mix(from[i], to[i], alpha);
  return { data, width, height };
}

function blendTable(from: number, factor: number): Uint8ClampedArray {
  const alpha = Math.fround(factor);
  return table(i => mix(from, i, alpha));
}

/** One value of Pillow's blend: single precision, cut towards zero, clipped. */
function mix(from: number, to: number, alpha: number): number {
  const value = Math.fround(from + Math.fround(alpha * (to - from)));
  return value <= 0 ? 0 : value >= 255 ? 255 : value | 0;
}

function identity(): Uint8ClampedArray {
  return table(i => i);
}

function table(value: (i: number) => number): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: 256 }, (_, i) => value(i));
}

function lookUp(image: RgbImage, map: Uint8ClampedArray): RgbImage {
  return mapped(image, map, map, map);
}

/** The image with each channel's values exchanged by its table. */
function mapped(
  { data, width, height }: RgbImage,
  red: Uint8ClampedArray,
  green: Uint8ClampedArray,
  blue: Uint8ClampedArray,
): RgbImage {
  const to = new Uint8Array(data.length);
  for (let at = 0; at < to.length; at += 3) {
    to[at] = red[data[at]];
    to[at + 1] = green[data[at + 1]];
    to[at + 2] = blue[data[at + 2]];
  }
  return { data: to, width, height };
}

function perChannel(image: RgbImage, mapOf: (counts: Uint32Array) => Uint8ClampedArray): RgbImage {
  const { data } = image;
  const [red, green, blue] = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)];
  for (let at = 0; at < data.length; at += 3) {
    red[data[at]]++;
    green[data[at + 1]]++;
    blue[data[at + 2]]++;
  }
  return mapped(image, mapOf(red), mapOf(green), mapOf(blue));
}
