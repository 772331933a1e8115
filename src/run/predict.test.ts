import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadClip } from '../clip/clip.ts';
import { prototypes, TEMPLATES } from '../clip/prototypes.ts';
import { createLoader } from '../images/loader.ts';
import { writeNpy } from '../io/npy.ts';
import type { RunEvent } from './events.ts';
import { predict } from './predict.ts';

// A tiny random CLIP written by transformers, and images written by Pillow.
const model = new URL('../../test/goldens/clip/quick_gelu', import.meta.url).pathname;
const pictures = new URL('../../test/goldens/images/', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 's3a-predict-'));
const images = join(folder, 'images');
mkdirSync(images);
for (const name of ['photo.jpg', 'rgb.png', 'cmyk.jpg']) copyFileSync(join(pictures, name), join(images, name));
writeFileSync(join(images, 'broken.png'), 'text');
const names = ['cat', 'dog', 'bird', 'fish'];
const vocab = join(folder, 'names.txt');
writeFileSync(vocab, names.join('\n'));

describe('a plain model with a vocabulary', () => {
  test('gives softmax(scale · cos) of the names; a broken image is a row', async () => {
    const rows = await predict(model, images, { vocab, top: 3, embedBatch: 2, threads: 1 });
    expect(rows.map(row => row.file_name)).toEqual(['broken.png', 'cmyk.jpg', 'photo.jpg', 'rgb.png']);
    const [broken, ...good] = rows;
    expect(broken).toMatchObject({
      label: null,
      confidence: null,
      top: [],
      error: 'not an image file (it holds text)',
    });

    const clip = await loadClip(model, { threads: 1 });
    const head = await prototypes(names, TEMPLATES, clip.embedTexts);
    const files = good.map(row => row.file_name);
    const loader = createLoader({ ...clip.preprocess, root: images, files });
    for await (const { views } of loader.batches({ batchSize: 3, views: ['evaluation'] })) {
      const features = await clip.embedImages(views.evaluation);
      const width = clip.config.projection_dim;
      good.forEach((row, i) => {
        const logits = names.map((_, n) => {
          let dot = 0;
          for (let d = 0; d < width; d++) dot += features[i * width + d] * head[n * width + d];
          return clip.logitScale * dot;
        });
        const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);
        const expected = names.map((name, n) => ({ name, confidence: Math.exp(logits[n]) / total }));
        expected.sort((a, b) => b.confidence - a.confidence);
        expect(row.top.map(({ name }) => name)).toEqual(expected.slice(0, 3).map(({ name }) => name));
        // Four digits are kept.
        expect(row.top.map(best => best.confidence)).toBeAllclose(
          expected.slice(0, 3).map(best => best.confidence),
          { rtol: 1e-3, atol: 0 },
        );
        expect([row.label, row.confidence, row.error]).toEqual([row.top[0].name, row.top[0].confidence, null]);
      });
    }
    await loader.dispose();
    await clip.dispose();
  });

  test('a path that is missing beside others is a row; alone it is an error', async () => {
    const gone = join(folder, 'gone.jpg');
    const rows = await predict(model, [join(images, 'rgb.png'), gone], { vocab, threads: 1 });
    expect(rows.map(({ file_name, error }) => [file_name, error === null])).toEqual([
      ['rgb.png', true],
      [gone, false],
    ]);
    expect(rows[0].top).toHaveLength(4);
    await expect(predict(model, gone, { vocab })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('without names it says what to give', async () => {
    await expect(predict(model, images)).rejects.toMatchObject({
      code: 'PREDICT',
      message: expect.stringContaining('has no names to choose from'),
      hint: expect.stringContaining('--vocab'),
    });
  });
});

describe('a run', () => {
  test('chooses from the names it found, or from all, with its own model where it has one', async () => {
    const run = join(folder, 'run');
    const clip = await loadClip(model, { threads: 1 });
    const head = await prototypes(names, ['{}'], clip.embedTexts);
    await writeNpy(join(run, 'embeddings/prototypes.npy'), '<f4', [4, clip.config.projection_dim], head);
    await clip.dispose();
    const json = (name: string, value: unknown) => writeFileSync(join(run, name), JSON.stringify(value));
    json('embeddings/names.json', names);
    const done = (finished: string) => ({ key: '', seconds: 1, finished, info: {} });
    const stages = { realign: done('2026-01-02T00:00:00.000Z'), train: done('2026-01-03T00:00:00.000Z') };
    const manifest = { format: 1, versions: {}, created: '2026-01-01T00:00:00.000Z', stages };
    json('manifest.json', manifest);
    json('config.json', { model: 'nowhere', templates: ['{}'], images: ['x'] });
    await expect(predict(run, images)).rejects.toMatchObject({ code: 'MODEL' });
    await cp(model, join(run, 'model'), { recursive: true });
    await expect(predict(run, images)).rejects.toThrow('classes.json is missing');
    json('classes.json', { names: ['fish', 'dog'], counts: [2, 1] });

    const image = join(images, 'rgb.png');
    const [found] = await predict(run, image, { threads: 1 });
    expect(found.top.map(({ name }) => name).sort()).toEqual(['dog', 'fish']);
    const [all] = await predict(run, image, { threads: 1, wholeVocabulary: true });
    const [again] = await predict(run, image, { threads: 1, vocab });
    // The same four names with the run's templates, from its file and made anew.
    expect(again.top.map(best => best.confidence)).toBeAllclose(
      all.top.map(best => best.confidence),
      { rtol: 1e-3, atol: 0 },
    );
    // Among two names each has the share that it has of the two among four.
    const share = (name: string) => all.top.find(best => best.name === name)!.confidence;
    expect(found.top[0].confidence).toBeCloseTo(share(found.label!) / (share('dog') + share('fish')), 2);

    const warnings: string[] = [];
    const onEvent = (event: RunEvent): void => void (event.type === 'warning' && warnings.push(event.message));
    await predict(run, image, { threads: 1 }, { onEvent });
    expect(warnings).toEqual([]);
    json('manifest.json', { ...manifest, stages: { ...stages, realign: done('2026-01-04T00:00:00.000Z') } });
    await predict(run, image, { threads: 1 }, { onEvent });
    expect(warnings).toEqual([expect.stringContaining('found anew after its model was trained')]);

    json('classes.json', { names: ['unicorn'], counts: [1] });
    await expect(predict(run, images)).rejects.toThrow("'unicorn' is not in the run's vocabulary");
    json('embeddings/names.json', names.slice(1));
    await expect(predict(run, images)).rejects.toThrow('there are 3 names');
  });
});
