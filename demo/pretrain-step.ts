/**
 * The training step of the tiny CLIP as one graph.
 *
 * A contrastive loss alone learns little from so few images, so each image and each caption is also classified against a
 * learned table of all concepts, which is thrown away afterwards.
 */
import { runningAverages } from '../src/clip/towers/batch-norm.ts';
import type { ClipConfig, ResnetConfig } from '../src/clip/towers/config.ts';
import { initialise } from '../src/clip/towers/initialise.ts';
import { resnetParameters, resnetTower } from '../src/clip/towers/resnet.ts';
import { textParameters, textTower } from '../src/clip/towers/text.ts';
import {
  adamW,
  add,
  argMax,
  cast,
  clipGradients,
  constant,
  crossEntropy,
  equal,
  exp,
  gradient,
  input,
  l2Normalize,
  matMul,
  mean,
  minimum,
  mul,
  type Program,
  program,
  reshape,
  sizeOf,
  state,
  type Tensor,
  transpose,
  where,
} from '../src/engine/index.ts';
import { random } from '../src/random.ts';
import type { Concept } from './concepts.ts';

/** Weight of the contrastive loss and of the captions' classification, beside the images' classification. */
const contrastiveWeight = 0.5;
const textWeight = 0.5;
/** CLIP clips its logit scale at 100. */
export const maxLogScale = Math.log(100);

/**
 * Inputs: `pixels` [B, 3, S, S], `ids` [B, T], `ends` [B], `labels` [B], `rate`, `step`. Outputs: `loss`, `image`,
 * `contrast`, `text` (its three parts), `accuracy` of the images against the table, `norm` of the gradient; state: the
 * weights, running statistics and moments.
 */
export function pretrainStep(config: ClipConfig, concepts: number, batch: number): Program {
  const { image_size: size } = config.vision_config;
  const pixels = input('pixels', 'float32', [batch, 3, size as number, size as number]);
  const ids = input('ids', 'int32', [batch, config.text_config.max_position_embeddings]);
  const ends = input('ends', 'int32', [batch]);
  const labels = input('labels', 'int32', [batch]);
  const rate = input('rate', 'float32', []);
  const step = input('step', 'float32', []);

  const weights: Record<string, Tensor> = {};
  const params = (name: string, shape: readonly number[]): Tensor => (weights[name] ??= state(name, shape));
  const tower = resnetTower(config.vision_config as ResnetConfig, config.projection_dim, params, pixels, 'train');
  const images = l2Normalize(tower.embedding); // [B, D]
  const texts = l2Normalize(textTower(config, params, ids, ends)); // [B, D]
  const table = l2Normalize(params('table', [concepts, config.projection_dim])); // [C, D]
  const scale = exp(minimum(params('logit_scale', []), maxLogScale));

  const against = (rows: Tensor): Tensor => mul(matMul(rows, table, { transB: true }), scale); // [B, C]
  const imageLogits = against(images);
  const imageLoss = mean(crossEntropy(imageLogits, labels));
  const textLoss = mean(crossEntropy(against(texts), labels));
  const contrast = contrastiveLoss(mul(matMul(images, texts, { transB: true }), scale), labels);
  const loss = add(imageLoss, add(mul(contrast, contrastiveWeight), mul(textLoss, textWeight)));

  const { gradients, norm } = clipGradients(gradient(loss, weights), 1);
  const accuracy = mean(cast(equal(argMax(imageLogits), labels), 'float32'));
  return program({
    loss,
    image: imageLoss,
    contrast,
    text: textLoss,
    accuracy,
    norm,
    ...adamW(weights, gradients, rate, step),
    ...runningAverages(tower.statistics, state, 0.05),
  });
}

/** Both directions of CLIP's loss; other captions of the same concept are true as well and are masked. */
function contrastiveLoss(logits: Tensor, labels: Tensor): Tensor {
  const [batch] = labels.shape;
  const own = constant(
    Int32Array.from({ length: batch }, (_, i) => i),
    [batch],
  );
  const same = equal(reshape(labels, [batch, 1]), reshape(labels, [1, batch]));
  const diagonal = equal(reshape(own, [batch, 1]), reshape(own, [1, batch]));
  const masked = where(diagonal, logits, where(same, -1e4, logits));
  return mul(add(mean(crossEntropy(masked, own)), mean(crossEntropy(transpose(masked), own))), 0.5);
}

/** Starting state: CLIP's initialisation, the table from the words of names and tags, variances of one. */
export function initialState(
  config: ClipConfig,
  concepts: readonly Concept[],
  seed: number,
): Record<string, Float32Array> {
  const vision = config.vision_config as ResnetConfig;
  const parameters = [...resnetParameters(vision, config.projection_dim, 'train'), ...textParameters(config)];
  const values = initialise(config, [...parameters, { name: 'logit_scale', shape: [] }], seed);
  for (const { name, shape } of parameters) {
    if (!name.endsWith('.norm.weight')) continue;
    const layer = name.slice(0, -'.weight'.length);
    values[`${layer}.running_mean`] = new Float32Array(sizeOf(shape));
    values[`${layer}.running_var`] = new Float32Array(sizeOf(shape)).fill(1);
  }
  values.table = conceptTable(concepts, config.projection_dim, seed);
  return values;
}

/** Unit rows [C, D]: sums of one random vector a word, so that concepts which share words start near each other. */
function conceptTable(concepts: readonly Concept[], dimension: number, seed: number): Float32Array {
  const table = new Float32Array(concepts.length * dimension);
  concepts.forEach(({ name, tags }, row) => {
    const sum = table.subarray(row * dimension, (row + 1) * dimension);
    const addWords = (text: string, weight: number): void => {
      for (const word of text.split(/[^a-z0-9]+/).filter(Boolean)) {
        const rng = random(seed, 'concept word', word);
        for (let i = 0; i < dimension; i++) sum[i] += weight * rng.normal();
      }
    };
    addWords(name, 1);
    for (const tag of tags) addWords(tag, 0.5);
    const norm = Math.hypot(...sum);
    for (let i = 0; i < dimension; i++) sum[i] /= norm;
  });
  return table;
}
