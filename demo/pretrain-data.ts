/** Batches of the pre-training: drawings of concepts in the training styles, with captions, by step. */
import type { ClipTokenizer } from '../src/clip/tokenizer/tokenizer.ts';
import { random } from '../src/random.ts';
import { captionOf } from './captions.ts';
import type { Concept } from './concepts.ts';
import { type Difficulty, drawBatch } from './draw.ts';
import type { Sprites } from './sprites.ts';
import { imageSize, textLength } from './tiny-clip.ts';

/** Feeds of one training step. */
export interface PretrainBatch {
  pixels: Float32Array; // [B, 3, S, S]
  ids: Int32Array; // [B, T]
  ends: Int32Array; // [B]
  labels: Int32Array; // [B]
  [name: string]: Float32Array | Int32Array;
}

/** Curriculum: backgrounds grow from white to random over the first 30 %, geometry and noise until half-way. */
function difficultyAt(share: number): Difficulty {
  const grown = Math.min(1, share / 0.5);
  return { background: Math.min(1, share / 0.3), geometry: grown, noise: grown };
}

/** The batch of a step depends only on (seed, step), so a resumed run sees what it would have seen. */
export function pretrainBatch(
  concepts: readonly Concept[],
  styles: readonly Sprites[],
  tokenizer: ClipTokenizer,
  { seed, step, batch, share }: { seed: number; step: number; batch: number; share: number },
): PretrainBatch {
  const rng = random(seed, 'pretrain', step);
  const labels = Int32Array.from({ length: batch }, () => rng.int(concepts.length));
  const picks = [...labels].map(concept => {
    const drawn = styles.filter(style => style.ofConcept[concept].length > 0);
    const sprites = drawn[rng.int(drawn.length)];
    const choices = sprites.ofConcept[concept];
    return { sprites, sprite: choices[rng.int(choices.length)] };
  });
  const pixels = new Float32Array(batch * 3 * imageSize * imageSize);
  drawBatch(picks, i => random(seed, 'pretrain', step, i), pixels, {
    size: imageSize,
    difficulty: difficultyAt(share),
  });
  const captions = [...labels].map((concept, i) => captionOf(concepts[concept], random(seed, 'caption', step, i)));
  const { ids, ends } = tokenizer.encode(captions, textLength);
  return { pixels, ids, ends, labels };
}
