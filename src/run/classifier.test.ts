/** An open classifier says of each image what `predict` says, whoever asks, and ends cleanly. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openClassifier } from './classifier.ts';
import { type Prediction, predict } from './predict.ts';

// A tiny random CLIP written by transformers, and images written by Pillow.
const model = fileURLToPath(new URL('../../test/goldens/clip/quick_gelu', import.meta.url));
const pictures = fileURLToPath(new URL('../../test/goldens/images/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-classifier-'));
const vocab = join(folder, 'names.txt');
const files = ['photo.jpg', 'rgb.png', 'cmyk.jpg'].map(name => join(folder, name));
let predicted: Prediction[];

beforeAll(async () => {
  for (const name of ['photo.jpg', 'rgb.png', 'cmyk.jpg']) cpSync(join(pictures, name), join(folder, name));
  writeFileSync(join(folder, 'broken.png'), 'text');
  writeFileSync(vocab, 'cat\ndog\nbird\nfish');
  predicted = await predict(model, files, { vocab, threads: 1, top: 3 });
});
afterAll(() => rmSync(folder, { recursive: true }));

it.each([1, 4])(
  'says what predict says, %i at once, of paths and of bytes, broken ones between them',
  async embedBatch => {
    const classifier = await openClassifier(model, { vocab, threads: 1, top: 3, embedBatch });
    expect(classifier.names).toEqual(['cat', 'dog', 'bird', 'fish']);
    const rounds = Array.from({ length: 5 }, () => files).flat();
    const bytes = await Promise.all(files.map(file => readFile(file)));
    // A view of a larger buffer, as a server has it that reads several files of one request.
    const view = Buffer.concat([Buffer.alloc(7), bytes[1], Buffer.alloc(5)]).subarray(7, 7 + bytes[1].length);
    const asked = [...rounds, bytes[0], view].map(image => classifier.classify(image));
    const broken = [join(folder, 'broken.png'), join(folder, 'gone.png'), Buffer.from('text')].map(image =>
      expect(classifier.classify(image)).rejects.toMatchObject({ code: 'BAD_IMAGE' }),
    );
    const given = await Promise.all(asked);
    await Promise.all(broken);
    await classifier.dispose();
    [...rounds.map(path => files.indexOf(path)), 0, 1].forEach((file, i) => {
      const { label, confidence, top } = predicted.find(({ file_name }) => files[file].endsWith(file_name))!;
      expect(given[i].label).toBe(label);
      expect(given[i].top.map(({ name }) => name)).toEqual(top.map(({ name }) => name));
      // Four digits are kept, of sums that another number of rows may round otherwise.
      expect(given[i].confidence).toBeCloseTo(confidence!, 3);
    });
  },
);

it('takes nothing after dispose and rejects what waits', async () => {
  const classifier = await openClassifier(model, { vocab, threads: 1 });
  await classifier.classify(files[0]);
  const asked = files.map(file => classifier.classify(file).catch((error: unknown) => error));
  await Promise.all([classifier.dispose(), classifier.dispose()]);
  for (const outcome of await Promise.all(asked)) {
    expect(outcome instanceof Error ? (outcome as { code?: string }).code : 'done').toMatch(/^(DISPOSED|done)$/);
  }
  await expect(classifier.classify(files[0])).rejects.toMatchObject({ code: 'DISPOSED' });
});

it('of wrong options, or without names, is one clear line', async () => {
  await expect(openClassifier(model, { vocab, top: 0 })).rejects.toThrow('top is 0');
  await expect(openClassifier(model, { vocab, embedBatch: 1.5 })).rejects.toThrow('embedBatch is 1.5');
  await expect(openClassifier(model)).rejects.toMatchObject({ code: 'PREDICT' });
});
