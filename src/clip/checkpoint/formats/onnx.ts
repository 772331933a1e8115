/** Models exported to ONNX, as transformers.js has them: the weights are read back out of the graphs. */
import { join } from 'node:path';
import { S3aError } from '../../../errors.ts';
import { readJson } from '../../../io/json.ts';
import { type OnnxFile, openOnnxFile } from '../../../io/onnx-file.ts';
import type { TensorFile } from '../../../io/tensor-file.ts';
import { type ClipConfig, parseClipConfig } from '../../towers/config.ts';
import type { Parameter } from '../../towers/parameters.ts';
import { textParameters } from '../../towers/text.ts';
import { visionParameters } from '../../towers/vision.ts';
import type { ModelFormat, WeightSource } from '../source.ts';
import { besideConfig } from './beside-config.ts';
import { onnxPlace } from './onnx-files.ts';
import { locateWeights } from './onnx-weights.ts';

const PREFIXES = ['vision_model.', 'text_model.'];

/** What nearly every trained CLIP ends with, because training clips it there. */
const LOGIT_SCALE = Math.log(100);

/** config.json with ONNX files of both towers, in float32, float16 or 8 bits. */
export const onnxFormat: ModelFormat = {
  name: 'ONNX',
  mark: 'config.json with onnx/vision_model.onnx and onnx/text_model.onnx, or onnx/model.onnx',
  async open(place) {
    const found = onnxPlace(place);
    if (!found) return undefined;
    const path = join(found.folder, 'config.json');
    const config = parseClipConfig(await readJson(path), path);
    const { map, notes, files } = await mapOf(found.paths, config);
    const { files: own, ...beside } = await besideConfig({ ...found, tokenizer: place.tokenizer }, config);
    return {
      config,
      ...beside,
      identity: [path, ...own, ...found.paths, ...files],
      notes: [...beside.notes, ...notes],
      openWeights: () => openMapped(found.paths, map),
      locate: name => ({ ...map.get(name)?.source, name }),
      // What the files have beside weights are numbers of the graphs; `locateWeights` refuses weights that are left over.
      isExtra: () => false,
    };
  },
};

/** Which of the files has a weight, where, and how the stored numbers become it. */
interface Mapped {
  readonly file: number;
  readonly source: WeightSource;
  readonly of: 'logarithm' | undefined;
}

/** Where everything lies, what there is to say about it, and the files beside the ONNX files. */
async function mapOf(
  paths: readonly string[],
  config: ClipConfig,
): Promise<{ map: Map<string, Mapped>; notes: string[]; files: string[] }> {
  const map = new Map<string, Mapped>();
  const notes: string[] = [];
  const files: string[] = [];
  const quantised: string[] = [];
  const towers = [visionParameters(config), textParameters(config)];
  const rest = config.model_type === 'siglip' ? ['logit_scale', 'logit_bias'] : ['logit_scale'];
  const sets = paths.length === 1 ? [[...towers.flat().map(nameOf), ...rest]] : towers.map(tower => tower.map(nameOf));
  for (const [index, path] of paths.entries()) {
    const file = await openOnnxFile(path);
    try {
      const theirs = paths.length === 1 ? sets[index] : namesIn(file, PREFIXES[index], sets[index]);
      const { places, logitFactor } = locateWeights(file, theirs);
      for (const [i, name] of sets[index].entries()) {
        const source = places.get(theirs[i]);
        if (!source) continue;
        const of = name === 'logit_scale' && source.name === logitFactor ? 'logarithm' : undefined;
        map.set(name, { file: index, source, of });
      }
      files.push(...file.externalFiles);
      if ([...places.values()].some(({ name }) => file.isQuantised(name))) quantised.push(path);
    } finally {
      await file.close();
    }
  }
  if (quantised.length > 0) {
    notes.push(
      `${quantised.join(' and ')} ${quantised.length > 1 ? 'have' : 'has'} weights of 8 bits: the floats that they stand for are near those of the model, not equal to them.`,
    );
  }
  if (!map.has('logit_scale')) {
    if (config.model_type === 'siglip') {
      throw new S3aError(
        'WEIGHTS',
        `${paths.join(' and ')} have no logit_scale and logit_bias, which a SigLIP needs`,
        'Put model.onnx beside them, which has both towers and these.',
      );
    }
    notes.push(
      'The ONNX files have no logit_scale; similarities are multiplied by 100, as in nearly all trained CLIPs.',
    );
  }
  return { map, notes, files };
}

/** The names as a file has them that was exported from the tower alone, inside which its own name is not said. */
function namesIn(file: OnnxFile, prefix: string, names: readonly string[]): readonly string[] {
  if (file.names.some(name => name.startsWith(prefix))) return names;
  return names.map(name => (name.startsWith(prefix) ? name.slice(prefix.length) : name));
}

function nameOf({ name }: Parameter): string {
  return name;
}

/** The files as one with our names; a scale of the logits that they lack is ln 100. */
async function openMapped(paths: readonly string[], map: ReadonlyMap<string, Mapped>): Promise<TensorFile> {
  const path = paths.join(' and ');
  const files: OnnxFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map(file => file.close()));
  };
  try {
    for (const path of paths) files.push(await openOnnxFile(path));
  } catch (error) {
    await close();
    throw error;
  }
  const of = (name: string): { file: OnnxFile; stored: string; how: Mapped['of'] } => {
    const mapped = map.get(name);
    if (!mapped) throw new S3aError('WEIGHTS', `${path} lacks the weight ${name}`);
    return { file: files[mapped.file], stored: mapped.source.name, how: mapped.of };
  };
  const isAssumed = (name: string): boolean => name === 'logit_scale' && !map.has(name);
  return {
    path,
    names: [...new Set([...map.keys(), 'logit_scale'])],
    has: name => map.has(name) || isAssumed(name),
    info: name => {
      if (isAssumed(name)) return { dtype: 'F32', shape: [] };
      const { file, stored } = of(name);
      return { dtype: 'F32', shape: file.info(stored).shape };
    },
    readFloat32: async name => {
      if (isAssumed(name)) return Float32Array.of(LOGIT_SCALE);
      const { file, stored, how } = of(name);
      const values = await file.readFloat32(stored);
      return how === 'logarithm' ? values.map(Math.log) : values;
    },
    close,
  };
}
