/** The best names of images by their features. */
import { compile, input, matMul, program, softmax, state, topK } from '../engine/index.ts';
import type { Chooser, ChooserOptions } from './chooser.ts';

/** A name with its probability among the names that there were to choose from, 0–1. */
export interface ScoredName {
  name: string;
  confidence: number;
}

export interface Scorer {
  /**
   * The best names of each image, best first.
   * @param features [N, D] of at most as many images as the scorer was made for
   */
  best(features: Float32Array): Promise<ScoredName[][]>;
  dispose(): Promise<void>;
}

/** softmax(scale · z · Hᵀ) of `batch` images at once, and the names of its `top` largest entries; at most as many as there are. */
export async function createScorer(
  { clip, names, prototypes }: Chooser,
  top: number,
  batch: number,
  { device, threads }: Pick<ChooserOptions, 'device' | 'threads'>,
): Promise<Scorer> {
  const width = clip.config.projection_dim;
  const count = Math.min(top, names.length);
  const head = state('prototypes', [names.length, width]);
  const logits = matMul(input('features', 'float32', [batch, width]), head, { transB: true, alpha: clip.logitScale });
  const { values, indices: columns } = topK(softmax(logits), count);
  const session = await compile(program({ values, columns }), { device, threads, frozen: 'cuda' });
  await session.setState({ prototypes });
  return {
    async best(features) {
      const padded = new Float32Array(batch * width);
      padded.set(features);
      const { values, columns } = await session.run({ features: padded });
      return Array.from({ length: features.length / width }, (_, row) =>
        Array.from({ length: count }, (_, j) => ({
          name: names[Number(columns[row * count + j])],
          confidence: Number(Number(values[row * count + j]).toPrecision(4)),
        })),
      );
    },
    dispose: () => session.dispose(),
  };
}
