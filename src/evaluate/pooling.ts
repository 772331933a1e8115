/** One vector of the features of a text's tokens, as sentence-transformers' Pooling makes it. */

export const POOLING_MODES = ['cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken'] as const;
export type PoolingMode = (typeof POOLING_MODES)[number];

/**
 * Pools the first `length` rows of `tokens` [≥ length, width], the text's own tokens, into `out` [modes · width].
 *
 * The weights of `weightedmean` are 1, 2, …: the position of the token.
 */
export function pool(
  tokens: Float32Array,
  length: number,
  width: number,
  modes: readonly PoolingMode[],
  out: Float32Array,
): void {
  for (const [i, mode] of modes.entries()) {
    for (let j = 0; j < width; j++) out[i * width + j] = pooled(tokens, length, width, mode, j);
  }
}

function pooled(tokens: Float32Array, length: number, width: number, mode: PoolingMode, j: number): number {
  if (mode === 'cls') return tokens[j];
  if (mode === 'lasttoken') return tokens[(length - 1) * width + j];
  let [sum, most] = [0, Number.NEGATIVE_INFINITY];
  for (let t = 0; t < length; t++) {
    const value = tokens[t * width + j];
    sum += mode === 'weightedmean' ? (t + 1) * value : value;
    most = Math.max(most, value);
  }
  if (mode === 'max') return most;
  if (mode === 'mean') return sum / length;
  return mode === 'mean_sqrt_len_tokens' ? sum / Math.sqrt(length) : sum / ((length * (length + 1)) / 2);
}
