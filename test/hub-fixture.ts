/** A hub with small models in every form, and a cache of its own, for the tests of where models come from. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Environment, Patience } from '../src/hub/index.ts';
import { random } from '../src/random.ts';
import { type HubServer, hubServer } from './hub-server.ts';

export interface Fixture {
  readonly hub: HubServer;
  /** HF_HOME. */
  readonly home: string;
  /** The environment that points to both. */
  readonly env: Environment;
  close(): Promise<void>;
}

/** No waiting to speak of between attempts. */
export const IMPATIENT: Patience = { retries: 3, backoffMs: 1, maxWaitMs: 100 };

/** Bytes that depend on the name alone. */
export function bytes(name: string, length: number): Buffer {
  const values = random(1, 'hub', name);
  return Buffer.from(Uint8Array.from({ length }, () => values.int(256)));
}

export function json(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

/** A commit id that depends on the name alone. */
export function commitOf(name: string): string {
  return createHash('sha1').update(name).digest('hex');
}

const tokenizer = { 'tokenizer.json': json({ version: '1.0' }), 'tokenizer_config.json': json({}) };
const config = json({ model_type: 'clip', architectures: ['CLIPModel'] });
const other = {
  'README.md': Buffer.from('# A model\n'),
  '.gitattributes': Buffer.from('*.bin filter=lfs\n'),
  'flax_model.bin': bytes('flax', 500),
};

/** By name, the files of models in every form that is known. */
export const MODELS: Readonly<Record<string, Record<string, Buffer>>> = {
  'acme/clip': {
    'config.json': config,
    'preprocessor_config.json': json({ crop_size: 224 }),
    ...tokenizer,
    'vocab.json': json({}),
    'merges.txt': Buffer.from('#version: 0.2\n'),
    'model.safetensors': bytes('clip', 300_000),
    'pytorch_model.bin': bytes('clip.bin', 300_100),
    ...other,
  },
  'acme/sharded': {
    'config.json': config,
    'vocab.json': json({}),
    'merges.txt': Buffer.from('#version: 0.2\n'),
    'model.safetensors.index.json': json({
      metadata: { total_size: 3000 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00002-of-00002.safetensors',
        c: 'model-00001-of-00002.safetensors',
      },
    }),
    'model-00001-of-00002.safetensors': bytes('one', 2000),
    'model-00002-of-00002.safetensors': bytes('two', 1000),
    'model-00001-of-00003.safetensors': bytes('stale', 1000),
  },
  'acme/pickled': { 'config.json': config, ...tokenizer, 'pytorch_model.bin': bytes('pickled', 3000) },
  // As timm keeps them: config.json and model.safetensors are about the image tower alone.
  'timm/vit_base_patch32_clip_224.openai': {
    'config.json': json({ architecture: 'vit_base_patch32_clip_224' }),
    'model.safetensors': bytes('tower', 2000),
    'open_clip_config.json': json({ model_cfg: { embed_dim: 512, quick_gelu: true, text_cfg: {} } }),
    'open_clip_model.safetensors': bytes('open_clip', 3000),
    'open_clip_pytorch_model.bin': bytes('open_clip.bin', 3000),
  },
  'timm/ViT-L-16-SigLIP-256': {
    'open_clip_config.json': json({ model_cfg: { text_cfg: { hf_tokenizer_name: 'timm/ViT-B-16-SigLIP' } } }),
    'open_clip_pytorch_model.bin': bytes('siglip', 3000),
  },
  'timm/ViT-B-16-SigLIP': {
    ...tokenizer,
    'open_clip_config.json': json({}),
    'open_clip_pytorch_model.bin': bytes('b', 99),
  },
  'acme/browser': {
    'config.json': config,
    ...tokenizer,
    'onnx/vision_model.onnx': bytes('vision', 500),
    'onnx/vision_model.onnx_data': bytes('vision data', 700),
    'onnx/text_model.onnx': bytes('text', 400),
    'onnx/vision_model_fp16.onnx': bytes('vision fp16', 250),
    'onnx/text_model_fp16.onnx': bytes('text fp16', 200),
  },
  'acme/nothing': { 'README.md': Buffer.from('# Soon\n'), 'config.json': config },
};

/** Starts a hub with all of MODELS, and makes an empty cache. */
export async function fixture(more: Environment = {}): Promise<Fixture> {
  const hub = await hubServer();
  for (const [name, files] of Object.entries(MODELS)) hub.repos.set(name, { files, commit: commitOf(name) });
  const home = await mkdtemp(join(tmpdir(), 's3a-hub-'));
  const env = {
    HF_HOME: home,
    HF_ENDPOINT: hub.url,
    HF_HUB_ETAG_TIMEOUT: '20',
    HF_HUB_DOWNLOAD_TIMEOUT: '20',
    ...more,
  };
  const close = async (): Promise<void> => {
    await hub.close();
    await rm(home, { recursive: true, force: true });
  };
  return { hub, home, env, close };
}
