/** SigLIPs as open_clip saves them, against what open_clip and timm compute (scripts/goldens/siglip_open_clip.py). */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tensorsToWrite } from '../../../../test/tensors.ts';
import { readJson } from '../../../io/json.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../../../io/safetensors.ts';
import { loadClip } from '../../clip.ts';
import { clipParameters, loadCheckpoint } from '../checkpoint.ts';
import { saveCheckpoint } from '../save.ts';

const goldens = new URL('../../../../test/goldens/clip/', import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-open-clip-siglip-'));
});
afterAll(() => rm(folder, { recursive: true }));

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => value / Math.hypot(...x.subarray(i - (i % width), i - (i % width) + width)));
}

describe.each(['open_clip_siglip', 'open_clip_siglip2'])('%s', name => {
  test('embeds images and texts as open_clip, also after it was saved', async () => {
    const file = await openSafetensors(`${goldens}${name}/golden.safetensors`);
    const [pixels, image, text, logits] = await Promise.all(
      ['pixels', 'image', 'text', 'logits'].map(key => file.readFloat32(key)),
    );
    await file.close();
    const { texts } = (await readJson(`${goldens}${name}/tokens.json`)) as { texts: string[] };
    const original = await loadCheckpoint(goldens + name);
    expect(original.preprocess).toMatchObject({ resize: 'squash', mean: [0.5, 0.5, 0.5] });
    const weights = await original.readWeights(clipParameters(original.config).map(p => p.name));
    await saveCheckpoint(join(folder, name), { ...original, weights });
    for (const place of [goldens + name, join(folder, name)]) {
      const clip = await loadClip(place, { threads: 1, batch: 6 });
      const width = clip.config.projection_dim;
      // Tiny float32 towers against float64 rounded once.
      const images = await clip.embedImages(pixels);
      const rows = await clip.embedTexts(texts.slice(0, 6));
      expect(images).toBeAllclose(unit(image, width), { rtol: 1e-5, atol: 3e-6 });
      expect(rows).toBeAllclose(unit(text, width), { rtol: 1e-5, atol: 3e-6 });
      const bias = (await clip.checkpoint.readWeights(['logit_bias'])).logit_bias[0];
      const found = Array.from({ length: 30 }, (_, at) => {
        const [i, j] = [Math.floor(at / 6) * width, (at % 6) * width];
        const cosine = images.subarray(i, i + width).reduce((sum, value, k) => sum + value * rows[j + k], 0);
        return clip.logitScale * cosine + bias;
      });
      expect(found).toBeAllclose(logits, { rtol: 1e-5, atol: 1e-4 });
      await clip.dispose();
    }
  });

  test('token ids are those of open_clip, whose texts lose punctuation first', async () => {
    const { tokenizer } = await loadCheckpoint(goldens + name);
    const golden = (await readJson(`${goldens}${name}/tokens.json`)) as { texts: string[]; padded: number[][] };
    expect(golden.texts.length).toBeGreaterThan(150);
    golden.texts.forEach((text, row) => {
      expect.soft([...tokenizer.encode([text], 12).ids], JSON.stringify(text)).toEqual(golden.padded[row]);
    });
  });
});

test('what SiglipModel has no equal for is one clear line', async () => {
  const path = join(folder, 'changed');
  await cp(`${goldens}open_clip_siglip`, path, { recursive: true });
  const config = join(path, 'open_clip_config.json');
  const { model_cfg, preprocess_cfg } = JSON.parse(await readFile(config, 'utf8'));
  const { vision_cfg: vision, text_cfg: text } = model_cfg;
  const refused: [object, string][] = [
    [{ vision_cfg: { ...vision, timm_pool: 'avg' } }, 'model_cfg.vision_cfg.timm_pool: only attention pooling'],
    [{ vision_cfg: { ...vision, timm_model_name: 'vit_base_patch16_siglip_gap_224' } }, 'siglip_gap_224": not known'],
    [{ vision_cfg: { ...vision, image_size: 40 } }, 'has visual.trunk.pos_embed of shape [1, 9, 24], not [25, 24]'],
    [{ text_cfg: { ...text, no_causal_mask: false } }, 'model_cfg.text_cfg.no_causal_mask: SigLIP has no causal mask'],
    [{ text_cfg: { ...text, proj_type: 'none' } }, 'a text tower without its linear head is not known'],
    [{ text_cfg: { ...text, embed_cls: true } }, 'model_cfg.text_cfg.embed_cls: no field that is known'],
    [{ text_cfg: { ...text, tokenizer_kwargs: {} } }, "model_cfg.text_cfg.tokenizer_kwargs.clean: only 'canonicalize'"],
  ];
  for (const [change, message] of refused) {
    await writeFile(config, JSON.stringify({ model_cfg: { ...model_cfg, ...change }, preprocess_cfg }));
    await expect(loadCheckpoint(path)).rejects.toThrow(message);
  }
  await writeFile(config, JSON.stringify({ model_cfg, preprocess_cfg }));
  await rm(join(path, 'tokenizer.json'));
  await expect(loadCheckpoint(path)).rejects.toThrow('has neither tokenizer.json nor spiece.model');
});

test('weights that do not fit are one clear line', async () => {
  const path = join(folder, 'reshaped');
  await cp(`${goldens}open_clip_siglip`, path, { recursive: true });
  const weights = join(path, 'open_clip_model.safetensors');
  const tensors = await tensorsToWrite(weights);
  const pool = 'visual.trunk.attn_pool';
  const zeros = (...shape: number[]): TensorToWrite => {
    return { dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
  };
  const { [`${pool}.kv.weight`]: _, ...without } = tensors;
  const cases: [Record<string, TensorToWrite>, string][] = [
    [
      { ...tensors, [`${pool}.kv.weight`]: zeros(48, 30) },
      `has ${pool}.in_proj_weight of shape [48, 30], not [72, 24]`,
    ],
    [without, `lacks the weight ${pool}.in_proj_weight`],
    [
      { ...tensors, 'visual.trunk.patch_embed.proj.weight': zeros(24) },
      'has no visual.trunk.patch_embed.proj.weight of 4',
    ],
    [{ ...tensors, 'visual.trunk.fc_norm.weight': zeros(24) }, 'holds the weight visual.trunk.fc_norm.weight'],
  ];
  for (const [changed, message] of cases) {
    await writeSafetensors(weights, changed);
    await expect(loadCheckpoint(path)).rejects.toThrow(message);
  }
});
