/** OpenAI's files (ViT-B-32.pt): a TorchScript archive or its state dict, whose architecture its shapes tell. */
import { join } from 'node:path';
import { S3aError } from '../../../errors.ts';
import type { TensorFile } from '../../../io/tensor-file.ts';
import { openClipArchitectures, openClipModelConfig } from '../architectures.ts';
import type { ModelFormat } from '../source.ts';
import { openClipVit } from './open-clip.ts';
import { peek } from './weights-file.ts';

/** A file of weights by itself. */
export const openAiFormat: ModelFormat = {
  name: "OpenAI's CLIP",
  mark: 'a file such as ViT-B-32.pt',
  async open({ folder, file, tokenizer }) {
    if (file === undefined || file.endsWith('.onnx')) return undefined;
    const weights = join(folder, file);
    const model = await peek(weights, inferred);
    return openClipVit({
      folder,
      tokenizerFolder: tokenizer ?? folder,
      model,
      preprocess: {},
      where: weights,
      weights,
      identity: [weights],
      quickGelu: true,
    });
  },
};

/**
 * The model_cfg that open_clip's build_model_from_openai_state_dict finds.
 * @throws S3aError MODEL when the file holds another model, or does not say which activation it was trained with
 */
function inferred(file: TensorFile): Record<string, unknown> {
  const bad = (what: string, hint: string): S3aError => new S3aError('MODEL', `${file.path} ${what}`, hint);
  const known =
    "A file of weights by itself is known as OpenAI's CLIP, or with the architecture of open_clip's as --model.";
  if (file.names.some(name => /^(?:vision|text)_model\./.test(name))) {
    throw bad(
      'has the weights of transformers, but there is no config.json beside it',
      'Put the config.json beside it.',
    );
  }
  if (file.has('visual.layer1.0.conv1.weight')) {
    throw bad('has a ResNet as its image tower; only vision transformers are known', 'Use one of the ViT models.');
  }
  const lacking = NEEDED.find(name => !file.has(name));
  if (lacking) throw bad(`is no CLIP of OpenAI's: it has no ${lacking}`, known);
  const model = shapesOf(file);
  if (file.has('input_resolution')) return model;
  const same = openClipArchitectures().filter(name => fits(openClipModelConfig(name), model));
  const names = same.length > 0 ? same.map(name => `${name} or ${name}-quickgelu`).join(', ') : "open_clip's name";
  throw bad(
    'does not say whether it was trained with GELU or QuickGELU',
    `Give it with its architecture: --model ${names}, --pretrained ${file.path}.`,
  );
}

const NEEDED = [
  'visual.proj',
  'visual.conv1.weight',
  'visual.positional_embedding',
  'text_projection',
  'positional_embedding',
  'token_embedding.weight',
  'ln_final.weight',
];

function shapesOf(file: TensorFile) {
  const [vision, patches, projection, words, positions] = [
    'visual.conv1.weight',
    'visual.positional_embedding',
    'text_projection',
    'token_embedding.weight',
    'positional_embedding',
  ].map(name => file.info(name).shape);
  const layers = (prefix: string): number =>
    file.names.filter(
      name => name.startsWith(`${prefix}transformer.resblocks.`) && name.endsWith('.attn.in_proj_weight'),
    ).length;
  const patch = vision[3];
  return {
    embed_dim: projection[1],
    vision_cfg: {
      layers: layers('visual.'),
      width: vision[0],
      patch_size: patch,
      image_size: patch * Math.round(Math.sqrt(patches[0] - 1)),
    },
    text_cfg: {
      layers: layers(''),
      width: words[1],
      heads: Math.floor(words[1] / 64),
      context_length: positions[0],
      vocab_size: words[0],
    },
  };
}

/** Whether all sizes that shapes tell are those of an architecture. */
function fits(architecture: Record<string, unknown> | undefined, model: ReturnType<typeof shapesOf>): boolean {
  const has = (theirs: unknown, ours: Record<string, unknown>): boolean =>
    Object.entries(ours).every(([key, value]) => {
      const other = (theirs as Record<string, unknown>)[key];
      return typeof value === 'object' ? has(other, value as Record<string, unknown>) : other === value;
    });
  return has(architecture, model);
}
