import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { bench } from '../src/benchmark/bench.ts';
import { loadProtocol } from '../src/protocols/load.ts';
import { registerProtocol } from '../src/protocols/registry.ts';
import { loadVocabulary } from '../src/vocab/vocabulary.ts';
import { ICON_KINDS, iconsProtocol, registerIcons } from './icons-protocol.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-icons-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const few = { ...ICON_KINDS[0], name: 'icons-few', classes: 5, images: () => 8, testImages: 3 };

it('has the kinds it speaks of, each of classes that its vocabulary names', async () => {
  registerIcons();
  const names = new Set((await loadVocabulary('demo')).names);
  expect(ICON_KINDS.map(({ name }) => name)).toEqual([
    ...['icons', 'icons-long-tailed', 'icons-animals', 'icons-small', 'icons-large'],
  ]);
  for (const kind of ICON_KINDS) {
    for (const name of kind.from) expect(names).toContain(name);
    const { k, splits, drawn, vocab } = await loadProtocol(kind.name, undefined, { seed: 3 });
    expect({ k, drawn, test: splits.test?.images.count }).toEqual({ k: 24, drawn: true, test: 240 });
    if (Array.isArray(vocab)) expect(vocab.length).toBeLessThan(200);
    const { classes } = await iconsProtocol(kind).read('.', 3);
    const vocabulary = Array.isArray(vocab) ? vocab.map(({ synonyms: [name] }) => name) : [...names];
    for (const { name } of classes) expect(vocabulary).toContain(name);
  }
});

it('has a long tail', async () => {
  const { splits } = await iconsProtocol(ICON_KINDS[1]).read('.', 0);
  const counts = new Map<number, number>();
  for (const label of Array.from(splits.train.labels)) counts.set(label, (counts.get(label) ?? 0) + 1);
  expect([...counts.values()].slice(0, 4)).toEqual([150, 75, 50, 38]);
  expect(Math.min(...counts.values())).toBe(6);
});

it('draws the same for a seed, other classes for another, and other images to test on', async () => {
  registerProtocol(iconsProtocol(few));
  const bytes = async (seed: number, cache: string): Promise<string[][]> => {
    const { splits } = await loadProtocol('icons-few', undefined, { seed });
    return Promise.all(
      [splits.train, splits.test!].map(async ({ images }) => {
        const folder = await images.materialise({ cache: join(scratch, cache) });
        return images.files.map(file => readFileSync(join(folder, file), 'latin1'));
      }),
    );
  };
  const [train, test] = await bytes(0, 'a');
  expect([train.length, test.length]).toEqual([40, 15]);
  expect(new Set([...train, ...test]).size).toBe(55);
  expect(await bytes(0, 'b')).toEqual([train, test]);
  const [other] = await bytes(1, 'a');
  expect(other.filter(image => train.includes(image))).toEqual([]);
}, 300_000);

it('is a benchmark in which knowing the names helps', async () => {
  registerProtocol(iconsProtocol({ ...few, name: 'icons-few-small', vocab: 'nouns' }));
  const { table, protocol } = await bench({
    protocol: 'icons-few-small',
    methods: ['bound', 'clip'],
    settings: { model: 'demo', threads: 1, workers: 0 },
    data: join(scratch, 'drawn'),
    out: join(scratch, 'bench'),
  });
  expect(protocol).toMatchObject({ classes: 5, drawn: true, k: 5 });
  const [bound, clip] = table.map(({ train, test }) => ({ train: train.top1!.mean, test: test!.top1!.mean }));
  // Labels that came in another order than the images would be right by chance alone, a fifth of the time.
  expect(bound.train).toBeGreaterThan(0.6);
  expect(bound.test).toBeGreaterThan(0.4);
  expect(bound.train).toBeGreaterThan(clip.train);
  expect(clip.train).toBeGreaterThan(0.2);
}, 300_000);
