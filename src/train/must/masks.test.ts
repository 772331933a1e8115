/** Masks: as many whole squares as asked for, the same by seed, whatever the batch. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseClipConfig } from '../../clip/towers/config.ts';
import { drawMasks, maskGrid } from './masks.ts';
import { patchSize } from './patches.ts';

const vit = (image_size: number, patch_size: number) => parseClipConfig({ vision_config: { image_size, patch_size } });
const resnet = parseClipConfig({
  projection_dim: 128,
  vision_config: {
    model_type: 's3a_resnet',
    image_size: 48,
    stem_width: 64,
    widths: [64, 128, 256],
    blocks: [2, 1, 1],
    block: 'basic',
    pool: 'attention',
    num_attention_heads: 4,
  },
});
const siglip = parseClipConfig({
  model_type: 'siglip',
  text_config: { hidden_size: 768 },
  vision_config: { image_size: 224, patch_size: 16 },
});

describe('the grid', () => {
  it('is that of the published settings', () => {
    // train_configs.json of salesforce/MUST: imagenet_ViT-B/16 and imagenet_ViT-L/14; MaskGenerator takes the ceiling.
    expect(maskGrid(vit(224, 16), 0.3)).toEqual({ side: 14, square: 2, masked: 15 });
    expect(maskGrid(vit(224, 14), 0.3, 56)).toEqual({ side: 16, square: 4, masked: 5 });
    expect(maskGrid(vit(224, 32), 0.3)).toEqual({ side: 7, square: 1, masked: 15 });
  });

  it('of a residual tower is that of its last stage', () => {
    expect(patchSize(resnet)).toBe(16);
    expect(maskGrid(resnet, 0.3)).toEqual({ side: 3, square: 1, masked: 3 });
  });

  it('refuses what cannot be masked', () => {
    expect(() => maskGrid(siglip, 0.3)).toThrow('not siglip_vision_model');
    expect(() => maskGrid(vit(224, 16), 0.3, 24)).toThrow('squares of 24 pixels cannot be masked');
    expect(() => maskGrid(vit(224, 16), 0.3, 48)).toThrow('squares of 48 pixels cannot be masked');
    expect(() => maskGrid(vit(224, 16), 0)).toThrow('a share of 0 of 49 squares');
    expect(() => maskGrid(vit(224, 16), 0.99)).toThrow('a share of 0.99 of 49 squares');
    expect(() => maskGrid(vit(224, 16), Number.NaN)).toThrow('a share of NaN');
  });
});

describe('masks', () => {
  it('hide as many whole squares of each image as asked for', () => {
    const grids = fc.record({
      squares: fc.integer({ min: 2, max: 6 }),
      square: fc.integer({ min: 1, max: 3 }),
      part: fc.double({ min: 0.01, max: 0.7, noNaN: true }),
      images: fc.array(fc.nat(1000), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(grids, ({ squares, square, part, images }) => {
        const side = squares * square;
        const masked = Math.ceil(part * squares ** 2);
        const masks = drawMasks({ side, square, masked }, images, images.length + 1, { seed: 1, epoch: 2 });
        expect(masks).toHaveLength((images.length + 1) * side ** 2);
        images.forEach((_, row) => {
          const at = (y: number, x: number): number => masks[(row * side + y) * side + x];
          let [hidden, torn] = [0, 0];
          for (let y = 0; y < side; y++) {
            for (let x = 0; x < side; x++) {
              hidden += at(y, x);
              if (at(y, x) !== at(y - (y % square), x - (x % square))) torn++;
            }
          }
          expect([hidden, torn]).toEqual([masked * square ** 2, 0]);
        });
        // A row without an image hides nothing.
        expect(masks.subarray(images.length * side ** 2).every(value => value === 0)).toBe(true);
      }),
      { seed: 3, numRuns: 30 },
    );
  });

  it('come from seed, epoch and image alone', () => {
    const grid = maskGrid(vit(224, 16), 0.3);
    const draw = (indices: number[], seed = 0, epoch = 0) => [
      ...drawMasks(grid, indices, indices.length, { seed, epoch }),
    ];
    const [first, second] = [draw([7]), draw([9])];
    expect(draw([9, 7])).toEqual([...second, ...first]);
    expect(first).not.toEqual(second);
    expect(draw([7], 1)).not.toEqual(first);
    expect(draw([7], 0, 1)).not.toEqual(first);
  });

  it('hide every square equally often', () => {
    const grid = maskGrid(vit(32, 8), 0.25);
    const images = 500;
    const masks = drawMasks(
      grid,
      Array.from({ length: images }, (_, i) => i),
      images,
      { seed: 5, epoch: 0 },
    );
    const cells = grid.side ** 2;
    for (let cell = 0; cell < cells; cell++) {
      let hidden = 0;
      for (let i = 0; i < images; i++) hidden += masks[i * cells + cell];
      // A quarter, within six deviations of a binomial share.
      expect(Math.abs(hidden / images - 0.25)).toBeLessThan(6 * Math.sqrt((0.25 * 0.75) / images));
    }
  });
});
