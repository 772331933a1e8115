/** The whole method, first of all tests: a tiny random CLIP, forty drawn images, every artefact of a run. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fit, predict, type RunEvent } from '../src/index.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { readNpyFloat32 } from '../src/io/npy.ts';
import { readTable } from '../src/io/table.ts';
import { drawImages } from './drawn-images.ts';

const model = fileURLToPath(new URL('goldens/clip/quick_gelu', import.meta.url));
const vocabulary = [
  'disc: round, filled',
  'square: four corners',
  'stripes: lines',
  'ring: round, hollow',
  'cloud',
  'tree',
];
let folder: string;
const options = () => ({
  images: join(folder, 'images'),
  model,
  vocab: join(folder, 'names.txt'),
  k: 4,
  nInit: 2,
  epochs: 3,
  batchSize: 16,
  threads: 1,
  workers: 0,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-tiny-'));
  await drawImages(join(folder, 'images'), 40);
  await writeFile(join(folder, 'images', 'broken.png'), 'this is no image');
  await writeFile(join(folder, 'names.txt'), vocabulary.join('\n'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('names, labels and trains, and leaves everything in the run folder', async () => {
  const events: RunEvent[] = [];
  const out = join(folder, 'run');
  const summary = await fit({ ...options(), out }, { onEvent: event => events.push(event) });
  expect(summary).toMatchObject({ folder: out, images: 40, skipped: 1 });
  expect(summary.classes.reduce((n, { count }) => n + count, 0)).toBe(40);
  const names = vocabulary.map(line => line.split(':')[0]);
  for (const { name } of summary.classes) expect(names).toContain(name);

  const rows = await readTable(join(out, 'labels.parquet'));
  expect(rows).toHaveLength(40);
  expect(Object.keys(rows[0])).toEqual([
    'file_name',
    'label',
    'synset',
    'confidence',
    'margin',
    'top_5',
    'cluster',
    'zero_shot',
    'vote',
    'smoothed',
    'structural',
    'student',
    'teacher',
    'renewed',
  ]);
  expect(await readTable(join(out, 'labels.csv'))).toHaveLength(40);
  // A seventh more than --k, rounded up: clusters of one name are merged.
  expect(new Set(rows.map(row => row.cluster)).size).toBe(5);
  expect(await readJsonl(join(out, 'skipped.jsonl'))).toMatchObject([{ file_name: 'broken.png' }]);
  expect((await readNpyFloat32(join(out, 'embeddings', 'images.npy'))).shape[0]).toBe(40);
  expect((await readNpyFloat32(join(out, 'embeddings', 'prototypes.npy'))).shape[0]).toBe(6);

  // Two steps an epoch of 16 images, the last partial batch dropped; three epochs.
  const metrics = (await readJsonl(join(out, 'metrics.jsonl'))) as { step: number; loss: number }[];
  expect(metrics.at(-1)).toMatchObject({ step: 6 });
  expect(metrics.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  expect(
    events.filter(event => event.type === 'stage' && event.state === 'end').map(e => 'stage' in e && e.stage),
  ).toEqual(['scan', 'embed', 'prototypes', 'cluster', 'vote', 'prompt', 'realign', 'train', 'label']);
}, 120_000);

it('resumes without computing anything again, and predicts with the tuned model what the run says', async () => {
  const out = join(folder, 'run');
  const labels = await readFile(join(out, 'labels.csv'), 'utf8');
  const summary = await fit({ ...options(), out, resume: true });
  expect(Object.values(summary.stages).every(stage => stage.skipped)).toBe(true);
  expect(await readFile(join(out, 'labels.csv'), 'utf8')).toBe(labels);

  const rows = await readTable(join(out, 'labels.parquet'));
  const predicted = await predict(out, join(folder, 'images'), { wholeVocabulary: true, threads: 1 });
  const labelOf = new Map(predicted.map(({ file_name, label }) => [file_name, label]));
  for (const { file_name, teacher } of rows) expect(labelOf.get(String(file_name))).toBe(teacher);
  expect(predicted.find(({ file_name }) => file_name === 'broken.png')).toMatchObject({ label: null });
}, 120_000);

it('does it as the paper has it', async () => {
  const out = join(folder, 'paper');
  const { stages } = await fit({ ...options(), method: 's3a', epochs: 1, out });
  expect(stages.cluster.info).toMatchObject({ k: 4 });
  const [row] = await readTable(join(out, 'labels.parquet'));
  const steps = ['zero_shot', 'vote_1', 'vote_2', 'vote_3', 'structural', 'student', 'teacher'];
  expect(Object.keys(row).slice(7)).toEqual(steps);
}, 120_000);

it('leaves a model that knows its names', async () => {
  const [{ label }] = await predict(join(folder, 'run', 'model'), join(folder, 'images', 'image-000.png'), {
    threads: 1,
  });
  const rows = await readTable(join(folder, 'run', 'labels.parquet'));
  const found = new Set(rows.map(row => row.label));
  expect(found).toContain(label);
  // What is the best of the whole vocabulary is the best of those that were found, if it is among them.
  const { teacher } = rows.find(row => row.file_name === 'image-000.png')!;
  if (found.has(teacher)) expect(label).toBe(teacher);
});

it('is not in the way of a second try when it failed at once', async () => {
  const out = join(folder, 'mistyped');
  await expect(fit({ ...options(), images: join(folder, 'nothing'), out })).rejects.toThrow(/nothing/);
  await expect(fit({ ...options(), images: join(folder, 'nothing'), out })).rejects.not.toThrow(/already/);
});

it('refuses a folder that holds a run already', async () => {
  await expect(fit({ ...options(), out: join(folder, 'run') })).rejects.toThrow(/holds a run already/);
});
