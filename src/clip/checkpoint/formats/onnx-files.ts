/** Which ONNX files of a folder make a model: one of each tower, or one of both, in the best precision that is there. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { S3aError } from '../../../errors.ts';
import type { ModelPlace } from '../source.ts';

/** Endings of the names as transformers.js has them, best first. The 8-bit kinds come as the floats they stand for. */
const PRECISIONS = ['', '_fp16', '_quantized', '_int8', '_uint8'];

/** Kinds of 4 bits, which are refused by name so that nobody wonders why they are not found. */
const COARSE = ['_q4', '_q4f16', '_bnb4'];

const TOWERS = ['vision_model', 'text_model'];

export interface OnnxPlace {
  /** Folder of config.json. */
  readonly folder: string;
  /** The image tower and the text tower, or both in one file. */
  readonly paths: readonly string[];
}

/**
 * The ONNX files at a place; undefined when it has none. They are in the folder `onnx`, or beside config.json.
 * @throws S3aError MODEL when only one tower is there, or only in 4 bits
 */
export function onnxPlace({ folder, file }: ModelPlace): OnnxPlace | undefined {
  if (file !== undefined) {
    if (!file.endsWith('.onnx')) return undefined;
    const root = basename(folder) === 'onnx' && !existsSync(join(folder, 'config.json')) ? dirname(folder) : folder;
    const [, , precision] = /^(vision_model|text_model)(.*)\.onnx$/.exec(file) ?? [];
    if (precision === undefined) return { folder: root, paths: [join(folder, file)] };
    const paths = TOWERS.map(tower => join(folder, `${tower}${precision}.onnx`));
    if (!paths.every(path => existsSync(path))) throw lone(join(folder, file), file.startsWith('vision'), precision);
    return { folder: root, paths };
  }
  if (!existsSync(join(folder, 'config.json'))) return undefined;
  return found(folder, join(folder, 'onnx')) ?? found(folder, folder);
}

/** The best of what a folder has; `root` is that of config.json. */
function found(root: string, folder: string): OnnxPlace | undefined {
  const at = (name: string, precision: string): string => join(folder, `${name}${precision}.onnx`);
  const has = (name: string) => (precision: string) => existsSync(at(name, precision));
  for (const precision of PRECISIONS) {
    // The file of both towers comes first: it alone has the scale of the logits.
    if (has('model')(precision)) return { folder: root, paths: [at('model', precision)] };
    if (TOWERS.every(tower => has(tower)(precision)))
      return { folder: root, paths: TOWERS.map(tower => at(tower, precision)) };
  }
  const [vision, text] = TOWERS.map(tower => PRECISIONS.find(has(tower)));
  if (vision !== undefined && text !== undefined)
    return { folder: root, paths: [at('vision_model', vision), at('text_model', text)] };
  if (vision !== undefined || text !== undefined) throw lone(root, vision !== undefined, vision ?? text ?? '');
  const coarse = ['vision_model', 'model'].flatMap(name => COARSE.filter(has(name)).map(kind => at(name, kind)))[0];
  if (coarse === undefined) return undefined;
  throw new S3aError(
    'MODEL',
    `${coarse} has weights of 4 bits, which are too coarse to be trained`,
    'Use the float32, float16 or 8-bit files of the same model.',
  );
}

function lone(asked: string, isVision: boolean, precision: string): S3aError {
  const [present, absent] = isVision ? ['image', 'text'] : ['text', 'image'];
  return new S3aError(
    'MODEL',
    `${asked} has ONNX weights of the ${present} tower, but none of the ${absent} tower`,
    `Put ${isVision ? 'text_model' : 'vision_model'}${precision}.onnx beside it.`,
  );
}
