/** The text towers: CLIP's, a causal transformer whose state at the end-of-text token is the embedding, and SigLIP's. */
import { add, constant, gather, input, linear, reshape, slice, type Tensor } from '../../engine/index.ts';
import type { ClipConfig, TextConfig } from './config.ts';
import { type Parameter, type Parameters, recordParameters } from './parameters.ts';
import { siglipTextTower } from './siglip.ts';
import { encoder, norm } from './transformer.ts';

/**
 * Text embeddings after the projection, not normalised (transformers' `get_text_features`).
 *
 * What follows the end-of-text token of CLIP cannot reach it through the causal mask, so padding needs no mask of its own.
 * @param ids int32 [B, T], T at most `max_position_embeddings`, for SigLIP just that
 * @param ends int32 [B], the position of each row's end-of-text token (`endPositions`); SigLIP does not read it
 * @returns [B, D]
 */
export function textTower(config: ClipConfig, params: Parameters, ids: Tensor, ends: Tensor): Tensor {
  if (config.model_type === 'siglip') return siglipTextTower(config, params, ids);
  const { text_config: text, projection_dim: dimension } = config;
  const [batch, tokens] = ids.shape;
  const rowStarts = constant(
    Int32Array.from({ length: batch }, (_, row) => row * tokens),
    [batch],
  );
  const positions = add(ends, rowStarts);
  const mask = causalMask(tokens);
  // Of the last block nothing but the end-of-text tokens is wanted, and the norm works row by row.
  const atEnds = {
    rows: (hidden: Tensor) =>
      reshape(gather(reshape(hidden, [batch * tokens, text.hidden_size]), positions), [batch, 1, text.hidden_size]),
    mask: reshape(gather(mask, ends), [batch, 1, 1, tokens]),
  };
  const hidden = encoder(text, params, 'text_model', textEmbeddings(text, params, ids), mask, atEnds);
  const pooled = reshape(hidden, [batch, text.hidden_size]);
  const normed = norm(text, params, 'text_model.final_layer_norm', pooled);
  return linear(normed, params('text_projection.weight', [dimension, text.hidden_size]));
}

/** Token and position embeddings of CLIP: ids int32 [B, T] → [B, T, W]. */
export function textEmbeddings(config: TextConfig, params: Parameters, ids: Tensor): Tensor {
  const { hidden_size: width, vocab_size: words, max_position_embeddings: positions } = config;
  const name = 'text_model.embeddings';
  const embedded = gather(params(`${name}.token_embedding.weight`, [words, width]), ids);
  return add(embedded, slice(params(`${name}.position_embedding.weight`, [positions, width]), 0, 0, ids.shape[1]));
}

/** 0 where a token may look (itself and before), the lowest float elsewhere; [T, T]. */
export function causalMask(tokens: number): Tensor {
  const lowest = -3.4028234663852886e38;
  const data = Float32Array.from({ length: tokens * tokens }, (_, i) =>
    i % tokens > Math.floor(i / tokens) ? lowest : 0,
  );
  return constant(data, [tokens, tokens]);
}

/**
 * Where each row ends: its first end-of-text token, or, for the files that name token 2 although it is not the end (as
 * OpenAI's do), its largest id, as in transformers.
 * @param ids [N, length], row-major
 * @returns [N]; 0 for a row that has no end
 */
export function endPositions(ids: Int32Array, length: number, endToken: number): Int32Array {
  return Int32Array.from({ length: ids.length / length }, (_, row) => {
    const tokens = ids.subarray(row * length, (row + 1) * length);
    if (endToken === 2) return tokens.indexOf(tokens.reduce((a, b) => Math.max(a, b)));
    return Math.max(tokens.indexOf(endToken), 0);
  });
}

/** The weights of the text tower, by transformers' names. */
export function textParameters(config: ClipConfig): Parameter[] {
  const length = config.text_config.max_position_embeddings;
  return recordParameters(params =>
    textTower(config, params, input('ids', 'int32', [1, length]), input('ends', 'int32', [1])),
  );
}
