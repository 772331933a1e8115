/** A sentence model: texts become vectors whose cosines say how near their meanings are. */
import { setImmediate } from 'node:timers/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { messageOf, S3aError } from '../errors.ts';
import { type ResolveOptions, resolveFiles } from '../hub/index.ts';
import { openOnnxFile } from '../io/onnx-file.ts';
import { pool } from './pooling.ts';
import { readSentenceFolder, SENTENCE_FILES, type SentenceFolder } from './sentence-folder.ts';
import { createSentenceTokenizer, type SentenceTokenizer } from './sentence-tokens.ts';

/** The model of METHOD §5. */
export const SEMANTIC_MODEL = 'sentence-transformers/all-mpnet-base-v2';

export interface SentenceEncoderOptions extends Omit<ResolveOptions, 'pretrained'> {
  readonly threads?: number;
  /** Texts computed at once; default 32. */
  readonly batch?: number;
}

export interface SentenceVectors {
  /** [N, width]; of unit length where the model's modules.json ends in a normalisation. */
  readonly vectors: Float32Array;
  readonly width: number;
}

export interface SentenceEncoder {
  /** Vectors of texts, those of sentence-transformers' `encode`; `onProgress` hears how many are done after each batch. */
  embed(texts: readonly string[], onProgress?: (done: number, total: number) => void): Promise<SentenceVectors>;
  dispose(): Promise<void>;
}

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];
const OUTPUTS = ['last_hidden_state', 'token_embeddings'];
const MAX_WIDTH = 65_536;

/**
 * Opens a sentence model of sentence-transformers' layout with an ONNX graph: a local folder, or a name on the hub.
 * @throws S3aError MODEL for what cannot be followed or lacks its graph, ONNX for a graph that is none; as `resolveFiles`
 */
export async function openSentenceEncoder(
  spec: string = SEMANTIC_MODEL,
  { threads, batch = 32, ...resolving }: SentenceEncoderOptions = {},
): Promise<SentenceEncoder> {
  const { folder } = await resolveFiles(spec, SENTENCE_FILES, resolving);
  const read = await readSentenceFolder(folder);
  const tokenizer = createSentenceTokenizer(read);
  const session = await openSession(read, threads);
  const { signal } = resolving;
  return {
    async embed(texts, onProgress) {
      const rows: { text: number; ids: number[] }[] = [];
      for (const [text, content] of texts.entries()) {
        if (text % 512 === 0) await setImmediate();
        rows.push({ text, ids: tokenizer.encode(content) });
      }
      // Texts of like lengths together: less padding to compute.
      rows.sort((a, b) => b.ids.length - a.ids.length || a.text - b.text);
      let vectors = new Float32Array(0);
      let width = 0;
      for (let start = 0; start < rows.length; start += batch) {
        signal?.throwIfAborted();
        const part = rows.slice(start, start + batch);
        const found = await embedBatch(
          session,
          read,
          tokenizer,
          part.map(({ ids }) => ids),
        );
        if (width === 0) {
          width = found.length / part.length;
          vectors = new Float32Array(texts.length * width);
        }
        part.forEach(({ text }, i) => {
          vectors.set(found.subarray(i * width, (i + 1) * width), text * width);
        });
        onProgress?.(start + part.length, rows.length);
        // A run blocks this thread; in between others have their turn.
        await setImmediate();
      }
      return { vectors, width };
    },
    dispose: () => session.release(),
  };
}

async function openSession({ model }: SentenceFolder, threads: number | undefined): Promise<InferenceSession> {
  // Sizes, and that no elements are taken from outside the folder.
  await (await openOnnxFile(model)).close();
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(model, {
      executionProviders: ['cpu'],
      logSeverityLevel: 4,
      ...(threads ? { intraOpNumThreads: threads } : {}),
    });
  } catch (error) {
    throw new S3aError('ONNX', `${model} cannot be opened: ${messageOf(error)}`, 'Download or export it again.');
  }
  const { inputNames, outputNames } = session;
  const strange = inputNames.find(name => !INPUTS.includes(name));
  if (strange === undefined && inputNames.includes('input_ids') && OUTPUTS.some(name => outputNames.includes(name))) {
    return session;
  }
  await session.release();
  const what = `it takes ${inputNames.join(', ')} and gives ${outputNames.join(', ')}`.slice(0, 300);
  const hint = `Needed are ${INPUTS.join(', ')}, and ${OUTPUTS.join(' or ')}: optimum-cli export onnx --task feature-extraction.`;
  throw new S3aError('MODEL', `${model} is not the graph of a sentence model: ${what}`, hint);
}

/** Vectors [rows, width] of one batch. */
async function embedBatch(
  session: InferenceSession,
  { model, pooling, normalise }: SentenceFolder,
  { padding }: SentenceTokenizer,
  rows: readonly number[][],
): Promise<Float32Array> {
  const length = Math.max(...rows.map(ids => ids.length));
  const shape = [rows.length, length];
  const size = rows.length * length;
  const data: Record<string, BigInt64Array> = {
    input_ids: new BigInt64Array(size).fill(BigInt(padding)),
    attention_mask: new BigInt64Array(size),
    token_type_ids: new BigInt64Array(size),
  };
  rows.forEach((ids, row) => {
    data.input_ids.set(ids.map(BigInt), row * length);
    data.attention_mask.fill(1n, row * length, row * length + ids.length);
  });
  const feeds = Object.fromEntries(session.inputNames.map(name => [name, new Tensor('int64', data[name], shape)]));
  const wanted = OUTPUTS.find(name => session.outputNames.includes(name)) ?? OUTPUTS[0];
  let output: Tensor;
  try {
    output = (await session.run(feeds, [wanted]))[wanted];
  } catch (error) {
    throw new S3aError('ONNX', `${model} cannot be run: ${messageOf(error)}`, 'Download or export it again.');
  }
  const [n, l, width] = output.dims;
  if (output.type !== 'float32' || output.dims.length !== 3 || n !== rows.length || l !== length || width > MAX_WIDTH) {
    const what = `${wanted} is ${output.type} [${output.dims.join(', ')}] for ${rows.length} texts of ${length} tokens`;
    throw new S3aError('MODEL', `${model}: ${what}`, 'Give the float32 graph of a sentence model.');
  }
  const tokens = output.data as Float32Array;
  const own = pooling.length * width;
  const vectors = new Float32Array(rows.length * own);
  rows.forEach((ids, row) => {
    const vector = vectors.subarray(row * own, (row + 1) * own);
    pool(tokens.subarray(row * length * width, (row + 1) * length * width), ids.length, width, pooling, vector);
    finish(vector, normalise, model);
  });
  return vectors;
}

function finish(vector: Float32Array, normalise: boolean, model: string): void {
  const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (!Number.isFinite(norm)) throw new S3aError('MODEL', `${model} gives a vector that is not finite`);
  if (!normalise) return;
  // As torch's normalize: a zero stays one.
  for (let i = 0; i < vector.length; i++) vector[i] /= Math.max(norm, 1e-12);
}
