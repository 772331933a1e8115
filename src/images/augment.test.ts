/** RandAugment's operators against timm's recorded bytes, its sampling against its definition, and the views. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compare, pattern, type Recorded } from '../../test/images.ts';
import { type Random, random } from '../random.ts';
import { fillColor, makeView, normalise, resizedCropRect } from './augment.ts';
import { crop } from './crop.ts';
import type { RgbImage } from './image.ts';
import { applyStep, drawSteps, OPERATORS, type Step } from './randaugment.ts';
import { resize } from './resize.ts';

const golden = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../test/goldens/images/${name}.json`, import.meta.url), 'utf8'));

const FILL = [123, 117, 104] as const;

const IMAGES: Record<string, RgbImage> = {
  small: pattern(24, 18),
  large: pattern(224, 224),
  flat: { data: Uint8Array.from({ length: 9 * 7 * 3 }, (_, i) => [10, 200, 77][i % 3]), width: 9, height: 7 },
  dim: { ...pattern(24, 18), data: pattern(24, 18).data.map(v => Math.floor(v / 3) + 40) },
  pixel: pattern(1, 1),
  tall: pattern(2, 90),
};

describe('operators', () => {
  const cases = golden('operators') as (Recorded & Step & { image: string })[];

  it('are all recorded', () => {
    expect(new Set(cases.map(({ operator }) => operator))).toEqual(new Set(OPERATORS));
  });

  for (const operator of OPERATORS) {
    it(`${operator} equals timm with Pillow in every byte`, () => {
      for (const step of cases.filter(item => item.operator === operator)) {
        const [actual, expected] = compare(applyStep(IMAGES[step.image], step, FILL).data, step);
        expect(actual, `${step.image}, magnitude ${step.magnitude}, negative ${step.negative}`).toEqual(expected);
      }
    });
  }
});

describe('drawSteps', () => {
  const n = 20_000;
  const drawn = Array.from({ length: n }, (_, i) => drawSteps(random(7, 'steps', i)));
  const steps = drawn.flat();

  it('keeps each of two operators with probability one half', () => {
    // Binomial(2, ½): ¼, ½, ¼; five standard deviations of 20,000 draws are 0.018.
    const share = (count: number): number => drawn.filter(({ length }) => length === count).length / n;
    expect(Math.abs(share(0) - 0.25)).toBeLessThan(0.018);
    expect(Math.abs(share(1) - 0.5)).toBeLessThan(0.018);
    expect(Math.abs(share(2) - 0.25)).toBeLessThan(0.018);
  });

  it('chooses operators and directions uniformly', () => {
    // χ² with 14 degrees of freedom is over 42 once in 10,000 times; the seed is fixed.
    const expected = steps.length / OPERATORS.length;
    const counts = OPERATORS.map(name => steps.filter(({ operator }) => operator === name).length);
    expect(counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(42);
    expect(Math.abs(steps.filter(({ negative }) => negative).length / steps.length - 0.5)).toBeLessThan(0.02);
  });

  it('draws magnitudes from N(9, 0.5) clipped to 0 … 10', () => {
    const magnitudes = steps.map(({ magnitude }) => magnitude).sort((a, b) => a - b);
    const below = (value: number): number => magnitudes.filter(m => m < value).length / magnitudes.length;
    expect(magnitudes.at(-1)).toBe(10);
    expect(magnitudes[0]).toBeGreaterThan(6);
    expect(Math.abs(below(9) - 0.5)).toBeLessThan(0.02);
    expect(Math.abs(below(8.5) - 0.1587)).toBeLessThan(0.015);
    expect(Math.abs(below(10) - 0.9772)).toBeLessThan(0.008);
  });
});

describe('resizedCropRect', () => {
  it('equals timm for given draws, fallback included', () => {
    const cases = golden('regions') as { from: [number, number]; draw: number; rect: number[] }[];
    for (const { from, draw, rect } of cases) {
      const fixed: Random = {
        ...random(0),
        uniform: (low, high) => low + (high - low) * draw,
        int: n => Math.floor(draw * n),
      };
      const { x, y, width, height } = resizedCropRect(...from, fixed);
      expect([x, y, width, height], `${from.join('×')}, draw ${draw}`).toEqual(rect);
    }
  });

  it('covers 0.3 to 1 of the area evenly and stays inside', () => {
    const areas = Array.from({ length: 4000 }, (_, i) => {
      const { x, y, width, height } = resizedCropRect(400, 400, random(1, i));
      expect(x >= 0 && y >= 0 && x + width <= 400 && y + height <= 400).toBe(true);
      // Rounding to whole pixels moves a ratio by at most a pixel a side.
      expect(width / height).toBeGreaterThan(0.74);
      expect(width / height).toBeLessThan(1.35);
      return (width * height) / 160_000;
    });
    expect(Math.min(...areas)).toBeGreaterThan(0.295);
    expect(Math.min(...areas)).toBeLessThan(0.32);
    expect(Math.max(...areas)).toBeGreaterThan(0.95);
  });
});

describe('makeView', () => {
  const image = pattern(90, 61);
  // The short side becomes 32, the long side ⌊32 · 90 / 61⌋.
  const resized = resize(image, 47, 32);

  it('makes the evaluation view of resize and centre crop alone', () => {
    expect(makeView(image, 'evaluation', 32, random(1), FILL)).toEqual(
      crop(resized, { x: 7, y: 0, width: 32, height: 32 }),
    );
  });

  it('squashes for a model that wants that, in every bit as SiglipImageProcessor with Pillow', () => {
    const cases = golden('../clip/siglip-images') as (Recorded &
      Record<'width' | 'height' | 'size' | 'resample', number>)[];
    expect(new Set(cases.map(({ resample }) => resample))).toEqual(new Set([2, 3]));
    for (const { width, height, size, resample, ...recorded } of cases) {
      const geometry = { resize: 'squash', interpolation: resample === 2 ? 'bilinear' : 'bicubic' } as const;
      const view = makeView(pattern(width, height), 'evaluation', size, random(1), FILL, geometry);
      const [actual, expected] = compare(normalise([view], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]), recorded);
      expect(actual, `${width}×${height} to ${size}`).toEqual(expected);
    }
  });

  it('draws the same views with another filter, and training views of the same shape when it squashes', () => {
    for (const view of ['weak', 'strong'] as const) {
      const plain = makeView(image, view, 32, random(1, 4), FILL);
      expect(makeView(image, view, 32, random(1, 4), FILL, { resize: 'squash' })).toEqual(plain);
      const bilinear = makeView(image, view, 32, random(1, 4), FILL, { interpolation: 'bilinear' });
      const distance = bilinear.data.reduce((sum, value, i) => sum + Math.abs(value - plain.data[i]), 0);
      expect(distance).toBeGreaterThan(0);
      // Another crop would be about 60 levels away.
      expect(distance / plain.data.length).toBeLessThan(20);
    }
  });

  it('makes the weak view a crop of the resized image, at every place', () => {
    const lefts = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const view = makeView(image, 'weak', 32, random(1, i), FILL);
      const at = Array.from({ length: resized.width - 31 }, (_, x) => x).find(x =>
        Buffer.from(crop(resized, { x, y: 0, width: 32, height: 32 }).data).equals(view.data),
      );
      expect(at).toBeDefined();
      lefts.add(at!);
    }
    expect(lefts.size).toBe(resized.width - 31);
  });

  it('makes strong views that depend on the generator alone', () => {
    const views = Array.from({ length: 8 }, (_, i) => makeView(image, 'strong', 32, random(1, i), FILL));
    expect(new Set(views.map(({ data }) => Buffer.from(data).toString('hex'))).size).toBe(8);
    expect(makeView(image, 'strong', 32, random(1, 3), FILL)).toEqual(views[3]);
  });

  it('takes the most elongated images without making the long side', () => {
    for (const view of ['evaluation', 'weak', 'strong'] as const) {
      expect(makeView(pattern(30_000, 1), view, 224, random(1), FILL).data.length).toBe(224 * 224 * 3);
      expect(makeView(pattern(1, 30_000), view, 224, random(1), FILL).data.length).toBe(224 * 224 * 3);
    }
  });
});

describe('normalise', () => {
  it('gives channels of (pixel / 255 − mean) / std', () => {
    const images = [
      { data: Uint8Array.of(0, 51, 255, 102, 0, 0), width: 2, height: 1 },
      { data: Uint8Array.of(255, 255, 255, 0, 0, 0), width: 2, height: 1 },
    ];
    // By hand; tolerance of float32.
    expect(normalise(images, [0.5, 0, 0.25], [0.5, 1, 0.25])).toBeAllclose([
      -1, -0.2, 0.2, 0, 3, -1, 1, -1, 1, 0, 3, -1,
    ]);
  });

  it('refuses images of different sizes', () => {
    expect(() => normalise([pattern(2, 2), pattern(2, 3)], [0, 0, 0], [1, 1, 1])).toThrow('2×3 beside 2×2');
  });

  it('fills with the mean colour', () => {
    expect(fillColor([0.48145466, 0.4578275, 1.2])).toEqual([123, 117, 255]);
  });
});
