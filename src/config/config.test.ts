import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import { PRESET_NAMES } from './presets.ts';
import { findConfigFile, resolveConfig, resolveOverrides } from './resolve.ts';
import { learningRates, parseConfig, parsePartialConfig } from './schema.ts';
import { SETTINGS } from './settings.ts';
import { nearest } from './suggest.ts';

function failure(work: () => unknown): S3aError {
  try {
    work();
  } catch (error) {
    if (error instanceof S3aError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the schema', () => {
  test('the preset paper is METHOD', async () => {
    const config = await resolveConfig({ preset: 'paper' });
    // METHOD §2.1, §2, §2.4, §3, §4, in this order.
    expect(config).toMatchObject({
      vocab: 'in21k',
      method: 's3a',
      k: 'estimate',
      nInit: 17,
      maxIterations: 1000,
      seed: 0,
      rounds: 3,
    });
    expect(config).toMatchObject({ candidates: 3, llmRepeats: 3, kMin: 50, kMax: 2000 });
    expect(config).toMatchObject({ epochs: 30, batchSize: 128, maxStepsPerEpoch: 1000, weightDecay: 0.05 });
    expect(config).toMatchObject({ layerDecay: 0.65, threshold: 0.5, instanceWeight: 1, structuralWeight: 0.25 });
    expect(config).toMatchObject({ emaStart: 0.999, emaEnd: 0.9998, emaSteps: 2000, renewFrom: 2 });
    expect(config.templates).toHaveLength(7);
    const { peak, floor } = learningRates(config);
    expect([peak, floor]).toBeAllclose([1e-5, 5e-7], { rtol: 1e-12, atol: 0 });
  });

  test('every setting has a flag of its own, a group and a text', () => {
    expect(new Set(SETTINGS.map(({ flag }) => flag)).size).toBe(SETTINGS.length);
    for (const { flag, group, description, allowed } of SETTINGS) {
      expect(flag).toMatch(/^[a-z][a-z-]*$/);
      expect(['model', 'run', 'discover', 'llm', 'train']).toContain(group);
      expect(description).not.toBe('');
      expect(allowed).not.toMatch(/undefined|9007199254740991/);
    }
  });

  test.each([
    [{ k: 0 }, 'k = 0, but it must be a whole number from 1 to 1000000 or estimate or auto'],
    [{ k: 'many' }, 'k = "many", but it must be a whole number from 1 to 1000000 or estimate or auto'],
    [{ lr: -1 }, 'lr = -1, but it must be a number above 0 to 1 or null'],
    [{ epochs: Number.NaN }, 'epochs = NaN, but it must be a whole number from 1 to 100000'],
    [{ batchSize: 1.5 }, 'batchSize = 1.5, but it must be a whole number from 1 to 65536'],
    [{ device: 'gpu' }, 'device = "gpu", but it must be one of cpu, webgpu, cuda, auto'],
    [{ recursive: 'yes' }, 'recursive = "yes", but it must be true or false'],
    [{ model: '' }, 'model = "", but it must be a text that is not empty'],
    [{ templates: [] }, 'templates = [], but it must be a list with at least one text'],
    [{ templates: ['a cat'] }, 'templates.0 = "a cat", but it must be a text with {} where the name goes'],
    [{ track: ['wandb'] }, 'track.0 = "wandb", but it must be one of tensorboard, mlflow'],
    [{ phraseFormats: ['{name}'] }, 'phraseFormats.0 = "{name}", but it must be a text with {name} and {phrase} in it'],
    [{ llm: 'openai' }, 'llm = "openai" needs llmModel'],
    [{ llm: 'replay' }, 'llm = "replay" needs llmReplay'],
    [
      { llm: 'replay', llmReplay: 'p.jsonl', embeddings: 'z.npy', prototypes: 'h.npy', names: 'n.json' },
      'llm = "replay" has no use with embeddings',
    ],
    [{ kMin: 60, kMax: 50 }, 'kMin = 60 is more than kMax = 50'],
    [{ lr: 0.1, minLr: 0.2 }, 'minLr = 0.2 is more than lr = 0.1'],
    [{ minLr: 0.2 }, 'minLr = 0.2 is more than lr = 0.00001'],
    [{ x: 'y'.repeat(1000) }, `unknown setting x = "${'y'.repeat(79)}…`],
    [[], 'the settings are not an object of keys and values: []'],
    [null, 'the settings are not an object of keys and values: null'],
  ])('%j is one clear line', (input, message) => {
    expect(failure(() => parseConfig(input))).toMatchObject({ code: 'CONFIG', message });
  });

  test('a mistyped key names the one that was meant', () => {
    expect(failure(() => parseConfig({ batch_size: 3 }, 's3a.json'))).toMatchObject({
      message: 's3a.json: unknown setting batch_size = 3',
      hint: 'Did you mean batchSize?',
    });
    expect(failure(() => parseConfig({ epohcs: 3 })).hint).toBe('Did you mean epochs?');
    expect(failure(() => parseConfig({ qqqqqqq: 3 })).hint).toContain('The settings are model, pretrained, device,');
    expect(failure(() => parseConfig({ preset: 'cpu' })).hint).toContain('...PRESETS.cpu');
  });

  test('whatever is given, it is settings or one line of CONFIG', () => {
    const keys = fc.constantFrom(...SETTINGS.map(({ key }) => key), 'other');
    fc.assert(
      fc.property(fc.dictionary(keys, fc.jsonValue({ maxDepth: 1 })), input => {
        try {
          expect(parseConfig(parseConfig(input))).toEqual(parseConfig(input));
        } catch (error) {
          expect(error).toMatchObject({ code: 'CONFIG' });
          expect((error as S3aError).message).not.toMatch(/\n|undefined/);
        }
      }),
      { seed: 5 },
    );
  });

  test('partial settings stay partial', () => {
    expect(parsePartialConfig({ k: 5, lr: undefined })).toEqual({ k: 5 });
    expect(() => parsePartialConfig({ k: -5 })).toThrow('k = -5');
  });
});

describe('where settings come from', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-config-'));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test('flags over file over preset over defaults', async () => {
    const file = write('a.json', '{"epochs": 3, "batchSize": 16, "preset": "paper"}');
    const config = await resolveConfig({ preset: 'quick', file, flags: { batchSize: 8 } });
    expect([config.batchSize, config.epochs, config.threshold, config.weightDecay]).toEqual([8, 3, 0.7, 0.05]);
    expect(await resolveOverrides({ file })).toEqual({ method: 's3a', k: 'estimate', epochs: 3, batchSize: 16 });
    const quick = write('quick.json', '{"preset": "quick"}');
    expect((await resolveConfig({ file: quick })).emaSteps).toBe(50);
  });

  test.each(PRESET_NAMES)('the preset %s is valid', async preset => {
    const { peak, floor } = learningRates(await resolveConfig({ preset }));
    expect(floor / peak).toBeCloseTo(1 / 20, 12);
  });

  test('paper differs from the defaults in how discovery goes alone', async () => {
    expect(await resolveConfig({ preset: 'paper' })).toEqual({ ...parseConfig({}), method: 's3a', k: 'estimate' });
  });

  test('what is wrong with a preset or a file is one line', async () => {
    await expect(resolveConfig({ preset: 'quik' })).rejects.toMatchObject({
      message: "there is no preset 'quik'",
      hint: 'Did you mean quick? The presets are paper, cpu, quick.',
    });
    const named = write('preset.json', '{"preset": "quik"}');
    await expect(resolveConfig({ file: named })).rejects.toThrow(`${named}: there is no preset 'quik'`);
    await expect(resolveConfig({ preset: 'toString' })).rejects.toMatchObject({ code: 'CONFIG' });
    const typo = write('typo.json', '{"epocs": 3}');
    await expect(resolveConfig({ file: typo })).rejects.toThrow(`${typo}: unknown setting epocs = 3`);
    await expect(resolveConfig({ file: write('list.json', '[]') })).rejects.toThrow('is not a JSON object of settings');
    await expect(resolveConfig({ file: write('p.json', '{"preset": 3}') })).rejects.toThrow('preset = 3, but it must');
    await expect(resolveConfig({ file: write('bad.json', '{') })).rejects.toMatchObject({ code: 'JSON' });
    await expect(resolveConfig({ file: join(folder, 'none.json') })).rejects.toMatchObject({ code: 'READ' });
  });

  test('s3a.json is found where it is', () => {
    expect(findConfigFile(folder)).toBeUndefined();
    expect(findConfigFile(join(write('s3a.json', '{}'), '..'))).toBe(join(folder, 's3a.json'));
  });
});

test('suggestions: swapped, missing and extra letters, but nothing far away', () => {
  const known = ['threshold', 'seed', 'k', 'batchSize'];
  expect(['treshold', 'thershold', 'seeds', 'batch-size', 'size', 'zebra'].map(word => nearest(word, known))).toEqual([
    'threshold',
    'threshold',
    'seed',
    'batchSize',
    undefined,
    undefined,
  ]);
});
