/** Writes a model as a folder that `loadCheckpoint` and transformers read. */
import { join } from 'node:path';
import { showShape, sizeOf } from '../../engine/shape.ts';
import { S3aError } from '../../errors.ts';
import { writeAtomic } from '../../io/atomic-write.ts';
import { type TensorToWrite, writeSafetensors } from '../../io/safetensors.ts';
import { type Preprocess, preprocessJson } from '../preprocess.ts';
import { type ClipConfig, clipConfigText } from '../towers/config.ts';
import { clipParameters } from './checkpoint.ts';
import { someWeights, type TokenizerFiles } from './source.ts';

export interface CheckpointContents {
  readonly config: ClipConfig;
  /** Every weight of `clipParameters(config)`, and no others. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly tokenizerFiles: TokenizerFiles;
  readonly preprocess: Preprocess;
  /** How the weights are stored; default float32. */
  readonly dtype?: 'float32' | 'float16';
}

/**
 * Writes a model folder that `loadCheckpoint` and, for a vision transformer, transformers read. Each file appears whole,
 * config.json last, so that a folder with a config.json is complete.
 * @throws S3aError WEIGHTS when a weight is missing, of the wrong size or unknown; WRITE
 */
export async function saveCheckpoint(folder: string, contents: CheckpointContents): Promise<void> {
  const { config, weights, tokenizerFiles, preprocess, dtype = 'float32' } = contents;
  const tensors: Record<string, TensorToWrite> = {};
  for (const { name, shape } of clipParameters(config)) {
    const data = weights[name];
    if (data?.length !== sizeOf(shape)) {
      throw new S3aError(
        'WEIGHTS',
        `cannot save ${name} ${showShape(shape)}: ${data ? `${data.length} values` : 'no such weight'}`,
      );
    }
    tensors[name] = { dtype: dtype === 'float16' ? 'F16' : 'F32', shape, data };
  }
  const extra = Object.keys(weights).filter(name => !(name in tensors));
  if (extra.length > 0)
    throw new S3aError('WEIGHTS', `cannot save ${someWeights(extra)}: the config has no place for it`);
  const json = (name: string, value: unknown): Promise<void> =>
    writeAtomic(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  await json('tokenizer.json', tokenizerFiles.tokenizer);
  await json('tokenizer_config.json', tokenizerFiles.tokenizerConfig);
  const { sentencepiece } = tokenizerFiles;
  if (sentencepiece) await writeAtomic(join(folder, 'spiece.model'), sentencepiece);
  await json('preprocessor_config.json', preprocessJson(preprocess));
  await writeAtomic(join(folder, 'config.json'), clipConfigText({ ...config, dtype }));
}
