import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseConfig } from '../config/schema.ts';
import { newManifest } from './manifest.ts';
import { type Card, hubName, lastMetrics, licenseOf, modelCard } from './model-card.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-card-'));
});
afterAll(() => rm(folder, { recursive: true }));

const recipe = (settings: object): Card['recipe'] => ({
  config: parseConfig(settings),
  manifest: newManifest(),
  metrics: { step: 10, loss: 0.123456789, lr: 1e-6 },
});
const card = (change: Partial<Card> = {}): string =>
  modelCard({
    base: 'openai/clip-vit-base-patch16',
    license: 'mit',
    role: 'teacher',
    classes: [],
    inPython: true,
    ...change,
  });
/** Lines of the YAML header. */
const header = (text: string): string[] => text.split('\n---\n')[0].split('\n').slice(1);

test('a model of the hub is the base model; a path is neither in the header nor in the text', () => {
  expect(header(card())).toEqual([
    'license: mit',
    'base_model: openai/clip-vit-base-patch16',
    'base_model_relation: finetune',
    'pipeline_tag: zero-shot-image-classification',
    'library_name: transformers',
    'tags:',
    '- clip',
    '- s3a',
    '- onnx',
    '- transformers.js',
  ]);
  expect(hubName('hf-hub:laion/CLIP-ViT-B-32@main')).toBe('laion/CLIP-ViT-B-32');
  expect(hubName('src/run')).toBeUndefined();
  const local = card({
    base: '/home/someone/models/my-clip',
    recipe: recipe({ vocab: '/home/someone/names.txt', k: 4 }),
  });
  expect(local).not.toContain('base_model');
  expect(local).not.toContain('/home');
  expect(local).toContain('# my-clip, tuned without labels');
  expect(local).toContain('`names.txt`');
});

test('names, templates and paths cannot leave their places', () => {
  const nasty = 'a | b\n---\n# <script>`x`';
  const text = card({
    base: `/x/${nasty.replaceAll('/', '')}`,
    license: 'x: y\nz',
    classes: [{ name: nasty, count: 3 }],
    recipe: recipe({ templates: [`${nasty} {}`], k: 4 }),
  });
  expect(header(text)[0]).toBe('license: "x: y\\nz"');
  expect(text.split('\n').filter(line => line === '---').length).toBe(2);
  const row = text.split('\n').find(line => line.startsWith('| a '))!;
  // One cell each for the name and its number.
  expect(row.match(/(?<!\\)\|/g)?.length).toBe(3);
  expect(row).toContain('\\<script\\>');
  expect(text.split('\n').filter(line => line.startsWith('# ')).length).toBe(1);
});

test('long lists are cut, figures are short, and a model without a run has no recipe', () => {
  const classes = Array.from({ length: 130 }, (_, i) => ({ name: `name ${i}`, count: 130 - i }));
  const text = card({ classes, recipe: recipe({ k: 'estimate' }) });
  expect(text).toContain('| name 99 | 31 |');
  expect(text).not.toContain('name 100 |');
  expect(text).toContain('and 30 more.');
  expect(text).toContain('| `loss` | 0.123457 |');
  expect(text).toContain('tuned by s3a on 8515 unlabelled images');
  const plain = card({ role: undefined, inPython: false });
  expect(plain).not.toContain('Recipe');
  expect(plain).toContain('library_name: transformers.js');
  expect(plain).toContain('transformers for Python does not have');
});

test('the licence is the one that the base model states', async () => {
  expect(await licenseOf('demo')).toBe('mit');
  expect(await licenseOf(folder)).toBe('unknown');
  await writeFile(join(folder, 'README.md'), '---\nlanguage: en\nlicense: "apache-2.0"\n---\n\nlicense: gpl\n');
  expect(await licenseOf(folder)).toBe('apache-2.0');
  await writeFile(join(folder, 'README.md'), 'license: gpl\n');
  expect(await licenseOf(folder)).toBe('unknown');
});

test('the last metrics leave out what differs from run to run', async () => {
  expect(await lastMetrics(folder)).toBeUndefined();
  await writeFile(
    join(folder, 'metrics.jsonl'),
    '{"step":1,"loss":2,"imagesPerSecond":3}\n{"step":2,"loss":1,"imagesPerSecond":4}\n',
  );
  expect(await lastMetrics(folder)).toEqual({ step: 2, loss: 1 });
});
