/** The semantic score against sentence-transformers: token ids, pooled vectors and cosines of tiny random models. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commitOf, type Fixture, fixture, IMPATIENT } from '../../test/hub-fixture.ts';
import { random } from '../random.ts';
import { evaluateSealed, semanticSealed } from './evaluate-sealed.ts';
import { sealLabels } from './sealed-labels.ts';
import { createSemanticScorer } from './semantic.ts';
import { openSentenceEncoder, SEMANTIC_MODEL, type SentenceEncoderOptions } from './sentence-encoder.ts';
import { readSentenceFolder } from './sentence-folder.ts';
import { createSentenceTokenizer } from './sentence-tokens.ts';

interface Golden {
  texts: string[];
  models: { name: string; tokens: number[][]; vectors: number[][]; pairs: [number, number][]; cosines: number[] }[];
}

const goldens = fileURLToPath(new URL('../../test/goldens/semantic', import.meta.url));
const golden = JSON.parse(readFileSync(join(goldens, 'golden.json'), 'utf8')) as Golden;
const { texts } = golden;
const scratch = mkdtempSync(join(tmpdir(), 's3a-semantic-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function embed(spec: string, these = texts, options: SentenceEncoderOptions = {}) {
  const encoder = await openSentenceEncoder(spec, options);
  try {
    return await encoder.embed(these);
  } finally {
    await encoder.dispose();
  }
}

describe.each(golden.models)('$name as sentence-transformers has it', ({ name, tokens, vectors, pairs, cosines }) => {
  const folder = join(goldens, name);

  test('token ids, cut ones too', async () => {
    const tokenizer = createSentenceTokenizer(await readSentenceFolder(folder));
    expect(texts.map(text => tokenizer.encode(text))).toEqual(tokens);
  });

  test.each([1, 3, 32])('vectors, %i texts at once', async batch => {
    const found = await embed(folder, texts, { batch });
    expect(found.width).toBe(vectors[0].length);
    expect(found.vectors).toBeAllclose(vectors.flat(), { rtol: 0, atol: 1e-5 });
  });

  test('cosines and their mean', async () => {
    const encoder = await openSentenceEncoder(folder);
    // Texts as they are: `scores` would make names of them.
    const scorer = createSemanticScorer(encoder);
    const plain = pairs.filter(pair => pair.every(i => texts[i] === texts[i].trim().toLowerCase()));
    expect(plain.length).toBeGreaterThan(2);
    const found = await scorer.scores(
      plain.map(([a]) => texts[a]),
      plain.map(([, b]) => texts[b]),
    );
    const expected = plain.map(pair => cosines[pairs.indexOf(pair)]);
    expect(found).toBeAllclose(expected, { rtol: 0, atol: 1e-5 });
    await encoder.dispose();
  });
});

test('a name is encoded once, and no name scores 0', async () => {
  const encoder = await openSentenceEncoder(join(goldens, 'mpnet'));
  const asked: string[][] = [];
  const heard: [number, number][] = [];
  const counting = {
    ...encoder,
    embed: (these: readonly string[], onProgress?: (done: number, total: number) => void) => {
      asked.push([...these]);
      return encoder.embed(these, onProgress);
    },
  };
  const scorer = createSemanticScorer(counting, (done, total) => heard.push([done, total]));
  const scores = await scorer.scores(['dog', 'DOG', '', 'cat'], ['Dog', 'cat', 'cat', 'dog']);
  expect(asked).toEqual([['cat', 'dog']]);
  expect(heard).toEqual([[2, 2]]);
  expect(scores[0]).toBeCloseTo(1, 6);
  expect(scores[1]).toBe(scores[3]);
  expect(Math.abs(scores[1])).toBeLessThan(0.999);
  expect(scores[2]).toBe(0);
  await scorer.scores(['fox', 'dog'], ['cat', 'cat']);
  expect(asked[1]).toEqual(['fox']);
  await expect(scorer.scores(['a'], [])).rejects.toThrow('1 predicted names for 0 true names');
  await expect(scorer.scores([], [])).rejects.toThrow('there are no images');
  await encoder.dispose();
});

test('scores of labels under seal, and a report with them', async () => {
  const encoder = await openSentenceEncoder(join(goldens, 'mpnet'));
  const scorer = createSemanticScorer(encoder);
  const files = ['0.png', '1.png', '2.png'];
  const classes = [{ name: 'dog' }, { name: 'cat' }];
  const sealed = sealLabels({ files, classes, labels: [0, 1, 0], origins: String });
  const predicted = { files: ['2.png', '0.png'], names: ['dog', 'fox'] };
  const semantic = await semanticSealed(predicted, sealed, scorer);
  expect(semantic).toEqual(await scorer.scores(['dog', 'fox'], ['dog', 'dog']));
  const report = evaluateSealed({ ...predicted, semantic }, sealed, { bootstrap: { samples: 50 } });
  expect(report).toMatchObject({ unpredicted: 1, images: 2, semantic: (semantic[0] + semantic[1]) / 2 });
  expect(report.intervals?.semantic?.estimate).toBeCloseTo(report.semantic!, 12);
  const renamed = await semanticSealed(predicted, sealed, scorer, { nameOf: () => 'fox' });
  expect(renamed).toEqual(await scorer.scores(['dog', 'fox'], ['fox', 'fox']));
  await encoder.dispose();
});

describe('folders that cannot be followed are one clear line', () => {
  let folder: string;
  let count = 0;
  beforeEach(() => {
    folder = join(scratch, `bad-${count++}`);
    cpSync(join(goldens, 'bert-cls'), folder, { recursive: true });
  });
  const write = (name: string, value: unknown): void => writeFileSync(join(folder, name), JSON.stringify(value));

  test('without a graph or a tokenizer', async () => {
    rmSync(join(folder, 'tokenizer.json'));
    await expect(embed(folder)).rejects.toMatchObject({ code: 'MODEL', message: `${folder} has no tokenizer.json` });
    rmSync(join(folder, 'onnx'), { recursive: true });
    await expect(embed(folder)).rejects.toMatchObject({
      code: 'MODEL',
      message: `${folder} has no onnx/model.onnx`,
      hint: expect.stringContaining('optimum-cli export onnx'),
    });
    await expect(embed(join(folder, 'nowhere'))).rejects.toThrow('there is no folder');
  });

  test.each([
    [
      'another module',
      'modules.json',
      [
        { type: 'a.Transformer', path: '' },
        { type: 'a.Pooling', path: '1_Pooling' },
        { type: 'a.Dense', path: '2_Dense' },
      ],
      'lists Transformer, Pooling, Dense',
    ],
    [
      'a path out of the folder',
      'modules.json',
      [
        { type: 'a.Transformer', path: '' },
        { type: 'a.Pooling', path: '../x' },
      ],
      '"../x" is not a folder in it',
    ],
    ['no list', 'modules.json', {}, 'modules.json'],
    ['an unknown pooling', '1_Pooling/config.json', { pooling_mode: 'median' }, 'pooling_mode'],
    ['no room for a text', 'sentence_bert_config.json', { max_seq_length: 1 }, 'max_seq_length'],
    ['a tokenizer of another kind', 'tokenizer.json', { model: { type: 'Magic' } }, 'the tokenizer of'],
  ])('%s', async (_, file, value, message) => {
    write(file, value);
    await expect(embed(folder)).rejects.toThrow(message);
  });

  test('a graph that is none, of something else, or for fewer words', async () => {
    const graph = join(folder, 'onnx/model.onnx');
    const own = readFileSync(graph);
    writeFileSync(graph, own.subarray(0, 3000));
    await expect(embed(folder)).rejects.toMatchObject({ code: 'ONNX' });
    cpSync(fileURLToPath(new URL('../../test/goldens/onnx-file', import.meta.url)), join(scratch, 'onnx'), {
      recursive: true,
    });
    const other = readdirSync(join(scratch, 'onnx'), { recursive: true, encoding: 'utf8' }).find(n =>
      n.endsWith('.onnx'),
    );
    cpSync(join(scratch, 'onnx', other ?? ''), graph);
    await expect(embed(folder)).rejects.toMatchObject({ name: 'S3aError' });
    writeFileSync(graph, own);
    const json = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')) as {
      model: { vocab: Record<string, number> };
    };
    json.model.vocab.dog = 4000;
    write('tokenizer.json', json);
    await expect(embed(folder)).rejects.toMatchObject({
      code: 'ONNX',
      message: expect.stringContaining('cannot be run'),
    });
  });

  test('damaged files are an S3aError or are read, and nothing else happens', async () => {
    const names = [
      'tokenizer.json',
      'modules.json',
      '1_Pooling/config.json',
      'sentence_bert_config.json',
      'config.json',
    ];
    let refused = 0;
    for (let i = 0; i < 120; i++) {
      const name = names[i % names.length];
      const path = join(folder, name);
      const own = readFileSync(path);
      const rng = random('damaged sentence model', i);
      const text = own.toString();
      const places = [...text.matchAll(/"[^"]*"|\d+|true|false/g)];
      const { index, 0: part } = places[rng.int(places.length)];
      const other = ['null', '-1', '1e308', '[]', '{}', '"x"', 'true', '""'][rng.int(8)];
      writeFileSync(path, text.slice(0, index) + other + text.slice(index + part.length));
      try {
        const tokenizer = createSentenceTokenizer(await readSentenceFolder(folder));
        for (const ids of texts.map(tokenizer.encode)) expect(ids.every(Number.isSafeInteger)).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ name: 'S3aError' });
        refused++;
      }
      writeFileSync(path, own);
    }
    expect(refused).toBeGreaterThan(15);
    expect(refused).toBeLessThan(115);
  });

  test('without modules.json the mean, as sentence-transformers does', async () => {
    rmSync(join(folder, 'modules.json'));
    expect(await readSentenceFolder(folder)).toMatchObject({ pooling: ['mean'], normalise: false });
  });
});

describe('from the hub', () => {
  let at: Fixture;
  const folder = join(goldens, 'mpnet');
  const files = Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(name => /\.\w+$/.test(name))
      .map(name => [name.replaceAll('\\', '/'), readFileSync(join(folder, name))]),
  );
  const commit = commitOf(SEMANTIC_MODEL);
  beforeEach(async () => {
    at = await fixture();
    const more = {
      'README.md': Buffer.from('x'),
      'onnx/model_O4.onnx': Buffer.from('x'),
      'model.safetensors': Buffer.from('x'),
    };
    at.hub.repos.set(SEMANTIC_MODEL, { files: { ...files, ...more }, commit });
  });
  afterEach(() => at.close());
  const options = () => ({ env: at.env, patience: IMPATIENT });

  test('the default, with what it needs and nothing else; a second time without the network', async () => {
    const told: number[] = [];
    const encoder = await openSentenceEncoder(undefined, { ...options(), onProgress: ({ done }) => told.push(done) });
    const { vectors } = await encoder.embed(['dog']);
    await encoder.dispose();
    expect(vectors).toEqual((await embed(folder, ['dog'])).vectors);
    expect(told[0]).toBe(0);
    const snapshot = join(at.home, 'hub', 'models--sentence-transformers--all-mpnet-base-v2', 'snapshots', commit);
    expect(existsSync(join(snapshot, 'README.md'))).toBe(false);
    expect(readdirSync(join(snapshot, 'onnx'))).toEqual(['model.onnx']);
    await at.hub.close();
    const warned: string[] = [];
    await embed(SEMANTIC_MODEL, ['dog'], { ...options(), onWarning: message => warned.push(message) });
    expect(warned.join()).toContain('using the copy of sentence-transformers/all-mpnet-base-v2 in the cache');
    await embed(SEMANTIC_MODEL, ['dog'], { env: { ...at.env, HF_HUB_OFFLINE: '1' } });
    await embed(`${SEMANTIC_MODEL}@${commit}`, ['dog'], options());
  });

  test('a repository without a graph, and a hub that is not there', async () => {
    at.hub.repos.set('acme/words', { files: { 'config.json': files['config.json'] }, commit: commitOf('acme/words') });
    await expect(embed('acme/words', texts, options())).rejects.toMatchObject({
      code: 'MODEL',
      message: 'acme/words has no onnx/model.onnx',
      hint: expect.stringContaining('optimum-cli export onnx'),
    });
    await expect(embed('nobody/nothing', texts, options())).rejects.toMatchObject({ code: 'HUB_AUTH' });
    await expect(embed(SEMANTIC_MODEL, texts, { env: { ...at.env, HF_HUB_OFFLINE: '1' } })).rejects.toMatchObject({
      code: 'HUB_OFFLINE',
      hint: expect.stringContaining('--semantic-model'),
    });
  });
});
