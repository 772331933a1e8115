/** The views of METHOD §3: evaluation, weak and strong; and the normalisation that turns them into network input. */
import { S3aError } from '../errors.ts';
import type { Random } from '../random.ts';
import type { Rgb } from './affine.ts';
import { flip } from './crop.ts';
import type { Rect, RgbImage } from './image.ts';
import { normaliseKernel, PIXELS } from './normalise-kernel.ts';
import { drawSteps, randAugment, type Step } from './randaugment.ts';
import { type Filter, type ResizeOptions, resize, shortSideSize } from './resize.ts';

/** `evaluation` draws nothing at random; `weak` is the teacher's, `strong` the student's. */
export const VIEWS = ['evaluation', 'weak', 'strong'] as const;
export type View = (typeof VIEWS)[number];

/** How a model wants its images made. */
export interface ViewGeometry {
  /**
   * The evaluation view: `shortest` (the default) makes the short side `size` and cuts out the middle, `squash` makes both
   * sides `size`, whatever the shape of the image.
   */
  resize?: 'shortest' | 'squash';
  /** Filter of every resize; default bicubic. */
  interpolation?: Filter;
  /**
   * Whose centre crop: of an odd margin `transformers` (the default) cuts the smaller half off left and top, `torchvision`,
   * as open_clip and OpenAI's CLIP have it, the half that is even.
   */
  crop?: 'transformers' | 'torchvision';
}

const SCALE = [0.3, 1] as const;
const RATIO = [3 / 4, 4 / 3] as const;

/** What is done to an image to make a view of it, with all that is drawn at random. */
export interface ViewPlan {
  /** The size to which {@link resize} brings the region, and of the result the part that is wanted. */
  readonly width: number;
  readonly height: number;
  readonly options: ResizeOptions & { readonly region: Rect };
  readonly mirrored: boolean;
  readonly steps: readonly Step[];
}

/**
 * One view of an image, `size` × `size`.
 *
 * - `evaluation`: short side to `size`, centre crop, as CLIP's preprocessing, or, squashed, both sides to `size`, as SigLIP's
 *   (Pillow backend of transformers).
 * - `weak`: short side to `size`, random crop.
 * - `strong`: random resized crop (scale 0.3 … 1, ratio ¾ … 4⁄3), mirrored with probability ½, RandAugment.
 *
 * `fill` is the colour RandAugment brings in from outside the image.
 */
export function makeView(
  image: RgbImage,
  view: View,
  size: number,
  random: Random,
  fill: Rgb,
  geometry: ViewGeometry = {},
): RgbImage {
  return renderView(image, planView(image, view, size, random, geometry), fill);
}

/** Plans one view of an image of a size, of which no pixel is looked at. */
export function planView(
  image: { readonly width: number; readonly height: number },
  view: View,
  size: number,
  random: Random,
  { resize: mode = 'shortest', interpolation: filter = 'bicubic', crop: whose = 'transformers' }: ViewGeometry = {},
): ViewPlan {
  const region: Rect = { x: 0, y: 0, width: image.width, height: image.height };
  if (view === 'strong') {
    const cut = resizedCropRect(image.width, image.height, random);
    const mirrored = random.next() < 0.5;
    return { width: size, height: size, options: { filter, region: cut }, mirrored, steps: drawSteps(random) };
  }
  const plain = { mirrored: false, steps: [] };
  if (view === 'evaluation' && mode === 'squash') {
    return { width: size, height: size, options: { filter, region }, ...plain };
  }
  const [width, height] = shortSideSize(image.width, image.height, size);
  const half = whose === 'torchvision' ? halfToEven : (margin: number) => Math.floor(margin / 2);
  const [x, y] = [width - size, height - size].map(margin => (view === 'weak' ? random.int(margin + 1) : half(margin)));
  return { width, height, options: { filter, region, window: { x, y, width: size, height: size } }, ...plain };
}

/**
 * Makes a planned view. `at` is where in the image the first of the given pixels is, if they are a part of it, which has to
 * hold the plan's {@link sourceRect}.
 */
export function renderView(
  pixels: RgbImage,
  { width, height, options, mirrored, steps }: ViewPlan,
  fill: Rgb,
  at: { readonly x: number; readonly y: number } = { x: 0, y: 0 },
): RgbImage {
  const { region } = options;
  const here: Rect = { ...region, x: region.x - at.x, y: region.y - at.y };
  const resized = resize(pixels, width, height, { ...options, region: here });
  return randAugment(mirrored ? flip(resized) : resized, steps, fill);
}

/** Half of a whole number, rounded as Python's round does. */
function halfToEven(margin: number): number {
  return margin % 4 === 3 ? (margin + 1) / 2 : Math.floor(margin / 2);
}

/**
 * The region of timm's and torchvision's random resized crop: area in `scale`, aspect ratio log-uniform in `ratio`;
 * after ten misses the largest centred region of a permitted ratio. (Of images a pixel or two wide timm may draw a region
 * without a pixel; here that counts as a miss.)
 */
export function resizedCropRect(
  width: number,
  height: number,
  random: Random,
  scale: readonly [number, number] = SCALE,
  ratio: readonly [number, number] = RATIO,
): Rect {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = random.uniform(scale[0], scale[1]) * width * height;
    const aspect = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = Math.round(Math.sqrt(area * aspect));
    const h = Math.round(Math.sqrt(area / aspect));
    if (w > 0 && h > 0 && w <= width && h <= height) {
      return { x: random.int(width - w + 1), y: random.int(height - h + 1), width: w, height: h };
    }
  }
  const w = Math.min(width, Math.max(1, Math.round(height * ratio[1])));
  const h = Math.min(height, Math.max(1, Math.round(width / ratio[0])));
  return { x: Math.floor((width - w) / 2), y: Math.floor((height - h) / 2), width: w, height: h };
}

/** The mean colour in 0 … 255, which timm fills with: min(255, round(255 · mean)). */
export function fillColor(mean: Rgb): Rgb {
  const level = (value: number): number => Math.min(255, Math.round(255 * value));
  return [level(mean[0]), level(mean[1]), level(mean[2])];
}

/**
 * (pixel / 255 − mean) / std in single precision, [N, 3, H, W]; every bit as transformers' Pillow backend.
 *
 * @param images N images of one size
 * @param out where to write (N·3·H·W values); a new array by default
 * @throws S3aError `SHAPE` when the sizes differ
 */
export function normalise(images: readonly RgbImage[], mean: Rgb, std: Rgb, out?: Float32Array): Float32Array {
  if (images.length === 0) return out ?? new Float32Array(0);
  const { width, height } = images[0];
  const odd = images.find(image => image.width !== width || image.height !== height);
  if (odd) {
    throw new S3aError('SHAPE', `normalise: ${odd.width}×${odd.height} beside ${width}×${height} in one batch`);
  }
  const [pixels, length] = [width * height, 3 * width * height];
  const result = out ?? new Float32Array(images.length * length);
  // Whole vectors: a plane's rest is not looked at.
  const planeBytes = 4 * PIXELS * Math.ceil(pixels / PIXELS);
  const from = 3 * planeBytes;
  const kernel = normaliseKernel(from + length + 16);
  const memory = new Uint8Array(kernel.memory.buffer);
  for (const [n, { data }] of images.entries()) {
    memory.set(data, from);
    kernel.planes(from, from + length, 0, planeBytes, ...mean, ...std);
    for (const c of [0, 1, 2]) {
      result.set(new Float32Array(memory.buffer, c * planeBytes, pixels), n * length + c * pixels);
    }
  }
  return result;
}
