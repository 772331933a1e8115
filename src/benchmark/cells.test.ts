import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ConfigInput, parseConfig } from '../config/schema.ts';
import { ABLATIONS } from './ablations/index.ts';
import { type CellResult, keyOfCell, readCell, writeCell } from './cells.ts';
import { METHODS, methodOf } from './methods/index.ts';
import { createPace } from './pace.ts';
import { planCells } from './plan.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-cells-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('the key of a cell', () => {
  const key = (method: string, settings: ConfigInput = {}, more: { images?: string; labels?: string } = {}): string =>
    keyOfCell({
      ...{ method: methodOf(method), config: parseConfig({ k: 5, ...settings }) },
      ...{ images: 'a', test: null, vocabulary: 'v', labels: 'l', ...more },
    });

  it.each<[string, ConfigInput, boolean]>([
    ['s3a', { epochs: 3 }, true],
    ['s3a', { k: 6 }, true],
    ['s3a', { seed: 1 }, true],
    ['s3a', { llmRepeats: 1 }, true],
    ['s3a', { threads: 3, workers: 0, cacheBytes: 0, llmConcurrency: 1, track: ['tensorboard'] }, false],
    ['scd', { k: 6 }, true],
    ['scd', { epochs: 3 }, false],
    ['must', { epochs: 3 }, true],
    ['must', { k: 6 }, false],
    ['clip', { k: 6, epochs: 3, seed: 1 }, false],
    ['clip', { templates: ['a {}'] }, true],
  ])('of %s with %j: another one: %s', (method, settings, differs) => {
    expect(key(method, settings) !== key(method)).toBe(differs);
  });

  it('is another one for other images, labels and methods', () => {
    const keys = [key('clip'), key('bound'), key('clip', {}, { images: 'b' }), key('clip', {}, { labels: 'm' })];
    expect(new Set(keys).size).toBe(4);
  });
});

it('a cell is read when it is whole and its own', async () => {
  const cell = { key: 'f'.repeat(64), method: 'clip', seed: 0, seconds: 1, finished: '', outcomes: [] } as CellResult;
  await writeCell(scratch, cell);
  expect(await readCell(scratch, cell.key)).toEqual(cell);
  // The file's name is a part of the key only.
  expect(await readCell(scratch, `${'f'.repeat(63)}0`)).toBeUndefined();
  writeFileSync(join(scratch, 'cells', `${'f'.repeat(24)}.json`), '{"key": "fff');
  expect(await readCell(scratch, cell.key)).toBeUndefined();
});

describe('a plan', () => {
  const config = parseConfig({ k: 20 });
  const base = { config, k: 20, names: 1500, trained: false };

  it('goes seed by seed, the table first', () => {
    const { cells } = planCells([methodOf('clip'), methodOf('s3a')], [ABLATIONS[2]], [4, 5], base);
    const words = cells.map(({ seed, variant, ablation = 'table' }) => `${seed} ${ablation} ${variant.name}`);
    expect(words.slice(0, 5)).toEqual(['4 table clip', '4 table s3a', '5 table clip', '5 table s3a', '4 tau 0']);
    expect(words).toHaveLength(14);
  });

  it.each(ABLATIONS.map(ablation => [ablation.name, ablation] as const))(
    '%s has variants that can be run',
    (_, one) => {
      for (const trained of [false, true]) {
        const variants = one.variants({ ...base, trained });
        expect(variants.length).toBeGreaterThan(3);
        expect(new Set(variants.map(({ name }) => name)).size).toBe(variants.length);
        const configs = variants.map(({ method, settings }) =>
          parseConfig({ ...config, ...method.settings, ...settings }),
        );
        // No two variants are the same thing, but for the one that is as set.
        const keys = variants.map(({ method, images, names }, i) =>
          keyOfCell({
            ...{ method, config: configs[i], vocabulary: String(names), labels: '', test: null },
            images: String(images),
          }),
        );
        expect(new Set(keys).size).toBeGreaterThanOrEqual(variants.length - 1);
        if (one.axis) for (const { value } of variants) expect(value).toBeTypeOf('number');
      }
    },
  );

  it('trains in ablations of discovery when that is asked for', () => {
    const k = ABLATIONS.find(({ name }) => name === 'k')!;
    expect(k.variants(base).map(({ method }) => method.name)).toEqual(Array(8).fill('s3a-discovery'));
    expect(k.variants({ ...base, trained: true })[0].method.name).toBe('s3a');
    expect(k.variants(base).map(({ settings }) => settings.k)).toEqual([14, 16, 18, 20, 22, 24, 26, 30]);
  });
});

it('methods have names of their own and say in a sentence what they do', () => {
  expect(new Set(METHODS.map(({ name }) => name)).size).toBe(METHODS.length);
  for (const { about } of METHODS) expect(about).toMatch(/^[A-Z].*\.$/);
  expect(METHODS.filter(({ knowsNames }) => knowsNames).map(({ name }) => name)).toEqual(['bound']);
});

it('the time that is left is that of the same methods before', () => {
  const { cells } = planCells([methodOf('clip'), methodOf('s3a')], [], [0, 1, 2], {
    ...{ config: parseConfig({ k: 2 }), k: 2, names: 9, trained: false },
  });
  const pace = createPace(cells);
  const result = (seconds: number) => ({
    fresh: true,
    cell: { seconds, outcomes: [{ part: 'teacher', train: { accuracy: { 1: 0.5 } } }] } as unknown as CellResult,
  });
  pace.done(0, 10);
  expect(pace.line(0, cells[0], result(10))).toBe('[1/6] clip, seed 0: teacher top-1 50.0, 10 s; about 50 s left');
  pace.done(1, 600);
  expect(pace.line(1, cells[1], result(600))).toContain('10 min; about 20 min left');
  expect(pace.line(5, cells[5], result(600))).not.toContain('left');
  pace.done(2, 30);
  pace.done(3, 5400);
  // 20 s and 3,000 s, as they took on average.
  expect(pace.line(3, cells[3], result(6000))).toContain('1 h 40 min; about 50 min left');
  const other = createPace(cells);
  other.done(0, 10);
  other.done(2, 30);
  expect(other.line(2, cells[2], result(30))).toContain('about 60 s left');
});
