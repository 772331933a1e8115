/** Resizing against Pillow's recorded bytes. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, pattern, type Recorded } from '../../test/images.ts';
import { crop, flip } from './crop.ts';
import type { Rect } from './image.ts';
import { type Filter, resize, shortSideSize, sourceRect } from './resize.ts';

interface Case extends Recorded {
  from: [number, number];
  to: [number, number];
  filter: Filter;
  box: [number, number, number, number] | null;
}

const cases = JSON.parse(
  readFileSync(new URL('../../test/goldens/images/resize.json', import.meta.url), 'utf8'),
) as Case[];

describe('resize', () => {
  for (const { from, to, filter, box, ...recorded } of cases) {
    it(`equals Pillow: ${from.join('×')} to ${to.join('×')}, ${filter}${box ? `, box ${box.join(' ')}` : ''}`, () => {
      const result = resize(pattern(...from), ...to, { filter, box: box ?? undefined });
      expect([result.width, result.height]).toEqual(to);
      const [actual, expected] = compare(result.data, recorded);
      expect(actual).toEqual(expected);
    });
  }

  it('computes any window of the result as the whole result has it', () => {
    const side = fc.integer({ min: 1, max: 40 });
    const source = fc.record({ width: side, height: fc.integer({ min: 1, max: 300 }), w: side, h: side });
    fc.assert(
      fc.property(source, fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }), ({ width, height, w, h }, draws) => {
        const x = draws[0] % w;
        const y = draws[1] % h;
        const window = { x, y, width: 1 + (draws[2] % (w - x)), height: 1 + (draws[3] % (h - y)) };
        const image = pattern(width, height);
        expect(resize(image, w, h, { window })).toEqual(crop(resize(image, w, h), window));
      }),
      { numRuns: 100 },
    );
  });

  it('resizes a region as if it had been cut out', () => {
    const side = fc.integer({ min: 1, max: 40 });
    const source = fc.record({ width: side, height: fc.integer({ min: 1, max: 300 }), w: side, h: side });
    fc.assert(
      fc.property(source, fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }), ({ width, height, w, h }, draws) => {
        const x = draws[0] % width;
        const y = draws[1] % height;
        const region = { x, y, width: 1 + (draws[2] % (width - x)), height: 1 + (draws[3] % (height - y)) };
        const image = pattern(width, height);
        expect(resize(image, w, h, { region })).toEqual(resize(crop(image, region), w, h));
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  it('needs no more of the image than it says', () => {
    const side = fc.integer({ min: 1, max: 60 });
    const source = fc.record({ width: side, height: fc.integer({ min: 1, max: 300 }), w: side, h: side });
    let [all, needed] = [0, 0];
    fc.assert(
      fc.property(
        source,
        fc.array(fc.nat(1000), { minLength: 8, maxLength: 8 }),
        fc.constantFrom<Filter>('bicubic', 'bilinear'),
        ({ width, height, w, h }, draws, filter) => {
          const within = (across: number, down: number, [a, b, c, d]: number[]): Rect => {
            const [x, y] = [a % across, b % down];
            return { x, y, width: 1 + (c % (across - x)), height: 1 + (d % (down - y)) };
          };
          const region = within(width, height, draws.slice(0, 4));
          const window = within(w, h, draws.slice(4));
          const image = pattern(width, height);
          const source = sourceRect(w, h, { filter, region, window });
          const here = { ...region, x: region.x - source.x, y: region.y - source.y };
          expect(resize(crop(image, source), w, h, { filter, region: here, window })).toEqual(
            resize(image, w, h, { filter, region, window }),
          );
          all += region.width * region.height;
          needed += source.width * source.height;
        },
      ),
      { numRuns: 300, seed: 1 },
    );
    expect(needed).toBeLessThan(0.8 * all);
  });

  it('refuses sizes, boxes and windows that make no sense, in one line', () => {
    const image = pattern(4, 3);
    expect(() => resize(image, 0, 3)).toThrow(/does not lie/);
    expect(() => resize(image, 2, 2, { box: [0, 0, 5, 3] })).toThrow(
      'box [0, 0, 5, 3] does not lie in the image of 4×3',
    );
    expect(() => resize(image, 2, 2, { window: { x: 1, y: 0, width: 2, height: 2 } })).toThrow(
      /window 2×2 at \(1, 0\)/,
    );
    expect(() => resize(image, 2, 2, { region: { x: 2, y: 0, width: 3, height: 1 } })).toThrow(
      /region 3×1 at \(2, 0\)/,
    );
    expect(() => resize(image, 2, 2, { region: { x: 0, y: 0.5, width: 3, height: 1 } })).toThrow(
      /region 3×1 at \(0, 0.5\)/,
    );
    expect(() => resize(image, 100_000, 100_000)).toThrow(/over the limit/);
  });
});

describe('short side and crops', () => {
  it('computes the long side as int(size * long / short)', () => {
    expect(shortSideSize(640, 427, 224)).toEqual([335, 224]);
    expect(shortSideSize(427, 640, 224)).toEqual([224, 335]);
    expect(shortSideSize(5, 5, 224)).toEqual([224, 224]);
  });

  it('mirrors', () => {
    const { data } = flip({ data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), width: 2, height: 2 });
    expect([...data]).toEqual([4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
    const image = pattern(7, 3);
    expect(flip(flip(image))).toEqual(image);
  });

  it('refuses a crop outside of the image', () => {
    expect(() => crop(pattern(4, 3), { x: 2, y: 0, width: 3, height: 1 })).toThrow('3×1 at (2, 0) does not lie');
  });
});
