/** What the reader of a format makes of a model's files: the model in our terms, and where each weight lies. */
import { sameShape, showShape } from '../../engine/shape.ts';
import { S3aError } from '../../errors.ts';
import type { TensorFile } from '../../io/tensor-file.ts';
import type { Preprocess } from '../preprocess.ts';
import type { ClipConfig } from '../towers/config.ts';
import type { Parameter } from '../towers/parameters.ts';

/** A model on this machine: a folder, or one file of weights in it. */
export interface ModelPlace {
  readonly folder: string;
  /** Name of the file of weights, when it was given or is known; else the format finds it in the folder. */
  readonly file?: string;
  /** open_clip's name of the architecture, when it was given. */
  readonly architecture?: string;
  /** Folder of the tokenizer, where it is another one. */
  readonly tokenizer?: string;
}

/** The parsed tokenizer files, kept as they are so that they can be written again. */
export interface TokenizerFiles {
  readonly tokenizer: unknown;
  readonly tokenizerConfig: unknown;
  /** The bytes of spiece.model, which transformers' SiglipTokenizer needs; `tokenizer` says the same. */
  readonly sentencepiece?: Uint8Array;
}

/** Where one of our weights lies in a file. The parts apply in this order. */
export interface WeightSource {
  readonly name: string;
  /** Rows [start, end) of the first axis, as of joined query, key and value matrices. */
  readonly rows?: readonly [start: number, end: number];
  /** The file has the matrix as [in, out]. */
  readonly transposed?: boolean;
  /** The file's shape has leading extents of 1 that ours lacks. */
  readonly squeezed?: boolean;
}

export interface ModelSource {
  readonly config: ClipConfig;
  readonly preprocess: Preprocess;
  readonly tokenizerFiles: TokenizerFiles;
  /** Where the tokenizer comes from, for messages. */
  readonly tokenizerPlace: string;
  /** Files whose bytes make the model; they identify it. */
  readonly identity: readonly string[];
  /** What a user should know about these files, a sentence each. */
  readonly notes?: readonly string[];
  /** Opens the weights; whoever calls closes them. */
  openWeights(): Promise<TensorFile>;
  /** Where a weight of `clipParameters(config)` lies. */
  locate(name: string): WeightSource;
  /** Whether a tensor in the file is no weight of the model, and may be left over. */
  isExtra(name: string): boolean;
}

/** One way to keep a model on disk. */
export interface ModelFormat {
  /** For messages: what the format is called and by which file it is known. */
  readonly name: string;
  readonly mark: string;
  /** The model at a place, or undefined when the place does not hold this format. Throws S3aError for a broken one. */
  open(place: ModelPlace): Promise<ModelSource | undefined>;
}

/**
 * Checks that the weights are exactly those that the config asks for.
 * @throws S3aError WEIGHTS that names the first that are missing, left over or of another shape
 */
export async function checkWeights(source: ModelSource, parameters: readonly Parameter[]): Promise<void> {
  const file = await source.openWeights();
  try {
    const bad = (what: string): S3aError =>
      new S3aError(
        'WEIGHTS',
        `${file.path} ${what}`,
        'Its configuration describes another model, or the file is incomplete.',
      );
    const sources = parameters.map(({ name }) => source.locate(name).name);
    const missing = sources.filter(name => !file.has(name));
    if (missing.length > 0) throw bad(`lacks ${someWeights(missing)}`);
    const known = new Set(sources);
    const extra = file.names.filter(name => !known.has(name) && !source.isExtra(name));
    if (extra.length > 0) throw bad(`holds ${someWeights(extra)}, which its configuration has no place for`);
    for (const { name, shape } of parameters) {
      const from = source.locate(name);
      const found = file.info(from.name).shape;
      const ours = shapeOf(from, found);
      if (!ours || !sameShape(ours, shape)) {
        const wanted = storedShape(from, found, shape);
        throw bad(`has ${from.name} of shape ${showShape(found)}, not ${showShape(wanted)}`);
      }
    }
  } finally {
    await file.close();
  }
}

/** Takes one weight after the other; the next one is read when the promise is fulfilled. */
export type TakeWeight = (name: string, data: Float32Array<ArrayBuffer>) => Promise<void> | void;

/**
 * Hands over weights by our names as float32, one at a time, in the order of the names; each tensor of the file is read
 * once, however many of ours lie in it.
 * @throws S3aError WEIGHTS for a name that the file lacks, READ
 */
export async function eachWeight(source: ModelSource, names: readonly string[], take: TakeWeight): Promise<void> {
  const byTensor = new Map<string, string[]>();
  for (const name of names) {
    const tensor = source.locate(name).name;
    byTensor.set(tensor, [...(byTensor.get(tensor) ?? []), name]);
  }
  const file = await source.openWeights();
  try {
    for (const [tensor, ours] of byTensor) {
      if (!file.has(tensor)) throw new S3aError('WEIGHTS', `${file.path} lacks the weight ${tensor}`);
      const { shape } = file.info(tensor);
      const data = await file.readFloat32(tensor);
      for (const name of ours) await take(name, arranged(data, shape, source.locate(name)));
    }
  } finally {
    await file.close();
  }
}

/** The first few of a list of weights, in words. */
export function someWeights(names: readonly string[]): string {
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `the weight${names.length > 1 ? 's' : ''} ${names.slice(0, 3).join(', ')}${rest}`;
}

/** The shape that a weight has with us, when the file has it as `stored`; undefined where the source does not fit it. */
function shapeOf({ rows, transposed, squeezed }: WeightSource, stored: readonly number[]): number[] | undefined {
  let shape = [...stored];
  if (rows) {
    if (!(rows[1] <= shape[0])) return undefined;
    shape[0] = rows[1] - rows[0];
  }
  if (transposed) shape.reverse();
  while (squeezed && shape[0] === 1) shape = shape.slice(1);
  return shape;
}

/** The shape that a file should have had, for messages. */
function storedShape({ rows, transposed }: WeightSource, found: readonly number[], ours: readonly number[]): number[] {
  const shape = transposed ? ours.toReversed() : [...ours];
  if (rows) shape[0] = Math.max(rows[1], found[0] ?? 0);
  return shape;
}

function arranged(
  data: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  { rows, transposed }: WeightSource,
): Float32Array<ArrayBuffer> {
  const perRow = data.length / (shape[0] ?? 1);
  const part = rows ? data.slice(rows[0] * perRow, rows[1] * perRow) : data;
  return transposed ? turned(part, shape[1]) : part;
}

/** The transposed of a matrix [rows, columns]. */
export function turned<T extends Float32Array | Int8Array>(matrix: T, columns: number): T {
  const rows = matrix.length / columns;
  const out = matrix.slice() as T;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j];
  return out;
}
