/** Compiled towers that embed any number of images or texts, batch by batch, as unit rows. */
import { setImmediate } from 'node:timers/promises';
import {
  compile,
  type Device,
  input,
  l2Normalize,
  program,
  type Session,
  type SessionOptions,
  state,
  type Tensor,
} from '../engine/index.ts';
import { S3aError } from '../errors.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import type { ClipTokenizer, TokenBatch } from './tokenizer/tokenizer.ts';
import type { ClipConfig } from './towers/config.ts';
import type { Parameters } from './towers/parameters.ts';
import { textTower } from './towers/text.ts';
import { visionTower } from './towers/vision.ts';

/**
 * Rows from which weights are no constants. Constants are laid out for products, which beside the weights themselves takes two
 * more copies of them, and a transformer gains little by it: ViT-B/32 a seventh of the time for one image, 3 % for 8 or 32.
 * Convolutions gain much at any number.
 */
const MANY = 8;

/**
 * Tokens that a transformer computes at once on the processor. Beyond some number a product is slower, as its factor leaves the cache
 * next to a core: with 32 images at once ViT-B/32 embeds 5 % fewer images a second than with 16, ViT-B/16 14 % fewer than with 4.
 */
const TOKENS = 800;

/** How many of `batch` images one run of a session for embedding computes; the others follow in runs of their own. */
export function imagesAtOnce({ vision_config: vision }: ClipConfig, batch: number, device: Device = 'cpu'): number {
  if (device !== 'cpu' || vision.model_type === 's3a_resnet') return batch;
  const tokens = (vision.image_size / vision.patch_size) ** 2;
  return Math.min(batch, 2 ** Math.max(0, Math.floor(Math.log2(TOKENS / tokens))));
}

/** Whether an image tower's weights are constants of a session that embeds `batch` images. */
export function areConstants({ vision_config: vision }: ClipConfig, batch: number): boolean {
  return vision.model_type === 's3a_resnet' || batch < MANY;
}

export interface EncoderOptions extends SessionOptions {
  /** Rows computed at once, of images at most; default 32 images or 64 texts. */
  batch?: number;
}

type Weights = Readonly<Record<string, Float32Array>>;

/** Weights by transformers' names; those that a function makes are handed over to the session and held only once. */
export type TunedWeights = Weights | (() => Promise<Weights>);

/** Called after each batch with the number of rows done and of all rows. */
export type OnProgress = (done: number, total: number) => void;

export interface ImageEncoder {
  /**
   * Unit image embeddings.
   * @param pixels [N, 3, S, S], preprocessed; any N
   * @returns [N, D]
   */
  embed(pixels: Float32Array, onProgress?: OnProgress): Promise<Float32Array>;
  dispose(): Promise<void>;
}

export interface TextEncoder {
  /** Unit text embeddings [N, D] of any number of texts; what exceeds the model's length is cut. */
  embed(texts: readonly string[], onProgress?: OnProgress): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/**
 * The image tower of a checkpoint, compiled.
 * @param weights instead of the checkpoint's (a tuned student or teacher)
 * @throws S3aError DEVICE, READ, SAFETENSORS
 */
export async function createImageEncoder(
  checkpoint: Checkpoint,
  { batch = 32, ...options }: EncoderOptions = {},
  weights?: TunedWeights,
): Promise<ImageEncoder> {
  const { config } = checkpoint;
  const size = config.vision_config.image_size;
  const pixelsOf = 3 * size * size;
  const atOnce = imagesAtOnce(config, batch, options.device);
  const session = await compileTower(
    checkpoint,
    { frozen: areConstants(config, batch) || 'cuda', ...options },
    weights,
    params => visionTower(config, params, input('pixels', 'float32', [atOnce, 3, size, size])),
  );
  return {
    async embed(pixels, onProgress) {
      if (pixels.length % pixelsOf !== 0) {
        throw new S3aError('SHAPE', `${pixels.length} values are not whole images of [3, ${size}, ${size}]`);
      }
      return batched(pixels.length / pixelsOf, atOnce, config.projection_dim, onProgress, async (start, end) => {
        const part = new Float32Array(atOnce * pixelsOf);
        part.set(pixels.subarray(start * pixelsOf, end * pixelsOf));
        return (await session.run({ pixels: part })).embedding as Float32Array;
      });
    },
    dispose: () => session.dispose(),
  };
}

/**
 * The text tower of a checkpoint, compiled when it is first used.
 *
 * Names are short and what follows the end of a text does not matter to CLIP, so texts run at the shortest of a few lengths
 * that holds them; each length that occurs has a session of its own. SigLIP sees the padding, so all its texts have one length.
 * @throws S3aError DEVICE, READ, SAFETENSORS when embedding
 */
export function createTextEncoder(
  checkpoint: Checkpoint,
  { batch = 64, ...options }: EncoderOptions = {},
): TextEncoder {
  const { config, tokenizer } = checkpoint;
  const longest = config.text_config.max_position_embeddings;
  const anyLength = config.model_type === 'clip';
  const lengths = [...(anyLength ? [16, 32].filter(length => length < longest) : []), longest];
  const sessions = new Map<number, Promise<Session>>();
  const sessionOf = (length: number): Promise<Session> => {
    const known = sessions.get(length);
    if (known) return known;
    const made = compileTower(checkpoint, { frozen: batch < MANY || 'cuda', ...options }, undefined, params =>
      textTower(config, params, input('ids', 'int32', [batch, length]), input('ends', 'int32', [batch])),
    );
    sessions.set(length, made);
    // One that failed must not stand in the way of `dispose` or of another try.
    made.catch(() => sessions.delete(length));
    return made;
  };
  return {
    async embed(texts, onProgress) {
      const dimension = config.projection_dim;
      const { ids, ends } = await encodeInSlices(tokenizer, texts, longest);
      const out = new Float32Array(texts.length * dimension);
      let done = 0;
      for (const [i, length] of lengths.entries()) {
        const rows = [...ends.keys()].filter(row => ends[row] < length && (i === 0 || ends[row] >= lengths[i - 1]));
        if (rows.length === 0) continue;
        const session = await sessionOf(length);
        const report: OnProgress = part => onProgress?.(done + part, texts.length);
        const found = await batched(rows.length, batch, dimension, report, async (start, end) => {
          const feeds = { ids: new Int32Array(batch * length), ends: new Int32Array(batch) };
          rows.slice(start, end).forEach((row, at) => {
            feeds.ids.set(ids.subarray(row * longest, row * longest + length), at * length);
            feeds.ends[at] = ends[row];
          });
          const { embedding } = await session.run(anyLength ? feeds : { ids: feeds.ids });
          return embedding as Float32Array;
        });
        rows.forEach((row, at) => {
          out.set(found.subarray(at * dimension, (at + 1) * dimension), row * dimension);
        });
        done += rows.length;
      }
      return out;
    },
    async dispose() {
      for (const session of sessions.values()) await (await session).dispose();
      sessions.clear();
    },
  };
}

/** As `tokenizer.encode`, letting timers fire in between: a large vocabulary takes seconds. */
async function encodeInSlices(tokenizer: ClipTokenizer, texts: readonly string[], length: number): Promise<TokenBatch> {
  const ids = new Int32Array(texts.length * length);
  const ends = new Int32Array(texts.length);
  const slice = 512;
  for (let start = 0; start < texts.length; start += slice) {
    const part = tokenizer.encode(texts.slice(start, start + slice), length);
    ids.set(part.ids, start * length);
    ends.set(part.ends, start);
    await setImmediate();
  }
  return { ids, ends };
}

/** A session whose output `embedding` is the normalised result of a tower, with its weights set. */
async function compileTower(
  checkpoint: Checkpoint,
  options: SessionOptions,
  weights: TunedWeights | undefined,
  tower: (params: Parameters) => Tensor,
): Promise<Session> {
  const names: string[] = [];
  const embedding = tower((name, shape) => {
    names.push(name);
    return state(name, shape);
  });
  const session = await compile(program({ embedding: l2Normalize(embedding) }), options);
  const of = (all: Weights): Weights => Object.fromEntries(names.map(name => [name, all[name]]));
  try {
    if (typeof weights === 'function') await session.setState(of(await weights()), { move: true });
    else if (weights) await session.setState(of(weights));
    else await checkpoint.eachWeight(names, (name, data) => session.setState({ [name]: data }, { move: true }));
  } catch (error) {
    await session.dispose();
    throw error;
  }
  return session;
}

/** Rows [0, total) in batches; `run` gives at least the rows [start, end) it is asked for. */
async function batched(
  total: number,
  batch: number,
  width: number,
  onProgress: OnProgress | undefined,
  run: (start: number, end: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const out = new Float32Array(total * width);
  for (let start = 0; start < total; start += batch) {
    const end = Math.min(start + batch, total);
    out.set((await run(start, end)).subarray(0, (end - start) * width), start * width);
    onProgress?.(end, total);
  }
  return out;
}
