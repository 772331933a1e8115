/** The whole method on tiny random SigLIPs: both kinds of tokenizers, squashed images, a trained image tower. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadCheckpoint } from '../src/clip/checkpoint/checkpoint.ts';
import { fit, predict } from '../src/index.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { readTable } from '../src/io/table.ts';
import { drawImages } from './drawn-images.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-siglip-'));
  await drawImages(join(folder, 'images'), 20);
  await writeFile(
    join(folder, 'names.txt'),
    'disc: round, filled\nsquare: four corners\nstripes: lines\nring: hollow\ncloud',
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(['siglip', 'siglip2'])(
  'names, labels and trains with %s, and leaves a model that says the same',
  async name => {
    const model = fileURLToPath(new URL(`goldens/clip/${name}`, import.meta.url));
    const out = join(folder, name);
    const vocab = join(folder, 'names.txt');
    const settings = { k: 4, nInit: 2, epochs: 1, batchSize: 10, threads: 1, workers: 0 };
    const { images, classes } = await fit({ images: join(folder, 'images'), model, vocab, out, ...settings });
    expect(images).toBe(20);
    expect(classes.reduce((n, { count }) => n + count, 0)).toBe(20);
    const metrics = (await readJsonl(join(out, 'metrics.jsonl'))) as {
      step: number;
      loss: number;
      gradientNorm: number;
    }[];
    expect(metrics.at(-1)).toMatchObject({ step: 2 });
    expect(metrics.every(({ loss, gradientNorm }) => Number.isFinite(loss) && gradientNorm > 0)).toBe(true);

    // The teacher follows its student, the pooling head included; texts and scale are as they were.
    const [before, after] = [await loadCheckpoint(model), await loadCheckpoint(join(out, 'model'))];
    expect(after.preprocess).toEqual(before.preprocess);
    expect(after.tokenizerFiles).toEqual(before.tokenizerFiles);
    const names = ['vision_model.head.probe', 'vision_model.embeddings.patch_embedding.bias'];
    const kept = ['text_model.head.weight', 'logit_scale', 'logit_bias'];
    const [old, tuned] = [await before.readWeights([...names, ...kept]), await after.readWeights([...names, ...kept])];
    for (const weight of names) expect(tuned[weight], weight).not.toEqual(old[weight]);
    for (const weight of kept) expect(tuned[weight], weight).toEqual(old[weight]);

    const rows = await readTable(join(out, 'labels.parquet'));
    const predicted = await predict(out, join(folder, 'images'), { wholeVocabulary: true, threads: 1 });
    const labelOf = new Map(predicted.map(({ file_name, label }) => [file_name, label]));
    for (const { file_name, teacher } of rows) expect(labelOf.get(String(file_name))).toBe(teacher);
  },
  120_000,
);
