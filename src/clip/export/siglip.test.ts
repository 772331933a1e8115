import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoTokenizer, env, SiglipModel, SiglipTextModel, SiglipVisionModel, Tensor } from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { worstCosine } from '../../../test/cosine.ts';
import { readJson } from '../../io/json.ts';
import { openSafetensors } from '../../io/safetensors.ts';
import { clipParameters, loadCheckpoint } from '../checkpoint/checkpoint.ts';
import { PRECISIONS } from './onnx.ts';
import { writeRepo } from './repo.ts';

const goldens = new URL('../../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-export-'));
  env.allowRemoteModels = false;
  env.localModelPath = folder;
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(['siglip', 'siglip2'])('%s in transformers.js', name => {
  let truth: Record<string, Float32Array>;
  let inputs: Record<string, Tensor>;
  let width: number;
  beforeAll(async () => {
    const checkpoint = await loadCheckpoint(goldens + name);
    const weights = await checkpoint.readWeights(clipParameters(checkpoint.config).map(p => p.name));
    await writeRepo(join(folder, name), { ...checkpoint, weights }, { onnx: PRECISIONS });
    const file = await openSafetensors(`${goldens}${name}/golden.safetensors`);
    truth = {};
    for (const key of ['image', 'text', 'logits', 'pixels']) truth[key] = await file.readFloat32(key);
    const ids = (await file.read('ids')) as Int32Array;
    inputs = {
      input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), file.info('ids').shape),
      pixel_values: new Tensor('float32', truth.pixels, file.info('pixels').shape),
    };
    await file.close();
    width = checkpoint.config.projection_dim;
  });

  test.each([
    ['fp32', 1e-6],
    ['fp16', 1e-5],
    ['q8', 1e-2],
  ] as const)('%s: embeddings and logits equal PyTorch', async (dtype, tolerance) => {
    const options = { dtype, device: 'cpu' } as const;
    const [vision, text, both] = await Promise.all([
      SiglipVisionModel.from_pretrained(name, options),
      SiglipTextModel.from_pretrained(name, options),
      SiglipModel.from_pretrained(name, options),
    ]);
    const image = ((await vision(inputs)) as { pooler_output: Tensor }).pooler_output;
    expect(worstCosine(image.data as Float32Array, truth.image, width)).toBeLessThan(tolerance);
    const words = ((await text(inputs)) as { pooler_output: Tensor }).pooler_output;
    expect(worstCosine(words.data as Float32Array, truth.text, width)).toBeLessThan(tolerance);
    const { logits_per_image: logits } = (await both(inputs)) as { logits_per_image: Tensor };
    // Logits of cosines times about exp(2.3), and a cosine is off by at most √(2·tolerance) a side.
    const atol = dtype === 'fp32' ? 1e-4 : 20 * Math.sqrt(2 * tolerance);
    expect(logits.data as Float32Array).toBeAllclose(truth.logits, { rtol: 0, atol });
    for (const model of [vision, text, both]) await model.dispose();
  });

  // What Python's tokenizers do before tokenizer.json, lower case and for SigLIP no punctuation, transformers.js does not.
  test('its tokenizer gives the ids of transformers for plain texts', async () => {
    const golden = (await readJson(`${goldens}${name}/tokens.json`)) as { texts: string[]; padded: number[][] };
    const plain = [...golden.texts.entries()].filter(([, text]) => /^[a-z]+( [a-z]+){0,3}$/.test(text)).map(([i]) => i);
    expect(plain.length).toBeGreaterThan(2);
    const tokenizer = await AutoTokenizer.from_pretrained(name);
    for (const i of plain) {
      const { input_ids } = tokenizer([golden.texts[i]], { padding: 'max_length', truncation: true }) as {
        input_ids: Tensor;
      };
      expect(Array.from(input_ids.data as BigInt64Array, Number), golden.texts[i]).toEqual(golden.padded[i]);
    }
  });
});
