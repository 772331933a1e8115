import { expect, it } from 'vitest';
import { random } from '../random.ts';
import { nameProbabilities } from './probability.ts';

function unitRows(rows: number, width: number, seed: number): Float32Array {
  const rng = random(seed);
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const values = Array.from({ length: width }, () => rng.normal());
    const norm = Math.hypot(...values);
    out.set(
      values.map(v => v / norm),
      row * width,
    );
  }
  return out;
}

it('equals a softmax in float64', async () => {
  const [images, names, width, scale] = [37, 19, 6, 20];
  const z = unitRows(images, width, 1);
  const h = unitRows(names, width, 2);
  const labels = Int32Array.from({ length: images }, (_, i) => (i * 7) % names);
  const expected = Array.from(labels, (label, i) => {
    const logits = Array.from({ length: names }, (_, w) => {
      let dot = 0;
      for (let d = 0; d < width; d++) dot += z[i * width + d] * h[w * width + d];
      return Math.exp(scale * dot);
    });
    return logits[label] / logits.reduce((a, b) => a + b);
  });
  // Exponents of up to 40 times float32 rounding.
  const { own } = await nameProbabilities(z, h, labels, { width, scale, threads: 1 });
  expect(own).toBeAllclose(expected, { rtol: 2e-5 });
});
