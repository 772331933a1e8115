/** True labels are out of reach of everything but the evaluator: who imports the opener, what a seal shows, what a run can read. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config/schema.ts';
import { evaluateSealed, originOf, trueNames } from '../src/evaluate/evaluate-sealed.ts';
import { sealLabels } from '../src/evaluate/sealed-labels.ts';
import { discover } from '../src/index.ts';
import { readTable } from '../src/io/table.ts';
import { loadProtocol } from '../src/protocols/load.ts';
import { findProtocol, protocolNames } from '../src/protocols/registry.ts';
import { drawImages } from './drawn-images.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 's3a-leak-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('the opener', () => {
  const OPENER = 'src/evaluate/open-labels.ts';
  const UNSEALED = 'src/evaluate/evaluate-sealed.ts';

  /** Files of src outside tests that import `target`, in any way. */
  function importers(sources: ReadonlyMap<string, string>, target: string): string[] {
    return [...sources]
      .filter(([file, text]) =>
        [...text.matchAll(/['"](\.[^'"\n]*)['"]/g)].some(
          ([, path]) => join(dirname(file), path).split(sep).join('/').replace(/\.js$/, '.ts') === target,
        ),
      )
      .map(([file]) => file)
      .sort();
  }

  const sources = new Map(
    readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .map(file => [`src/${file.split(sep).join('/')}`, readFileSync(join(root, 'src', file), 'utf8')]),
  );

  it('is imported by the evaluator alone', () => {
    expect(importers(sources, OPENER)).toEqual([UNSEALED, 'src/evaluate/sealed-labels.ts']);
    // What passes on must not pass on the opener, nor everything.
    expect(sources.get('src/evaluate/sealed-labels.ts')).not.toMatch(/openLabels|export \*/);
  });

  it('and nothing that finds, names, labels or trains imports the evaluator of sealed labels', () => {
    const stages = /^src\/(engine|io|vocab|images|hub|clip|llm|discover|train|protocols|config)\//;
    expect(importers(sources, UNSEALED).filter(file => stages.test(file))).toEqual([]);
    const run = ['embed', 'prototypes', 'cluster', 'vote', 'prompt', 'realign', 'label', 'train', 'fit', 'scan'];
    expect(
      importers(sources, UNSEALED).filter(file => run.includes(/^src\/run\/(.*)\.ts$/.exec(file)?.[1] ?? '')),
    ).toEqual([]);
  });

  it('and of a benchmark only what scores imports it, and no method imports what scores', () => {
    const ofBench = importers(sources, UNSEALED).filter(file => file.startsWith('src/benchmark/'));
    expect(ofBench).toEqual(['src/benchmark/score.ts']);
    const knows = importers(sources, 'src/benchmark/score.ts');
    expect(knows).toContain('src/benchmark/compute.ts');
    const unaware = /^src\/benchmark\/(methods\/|ablations\/|method|context|shared-run|nearest|tuned|data|seed-data)/;
    expect(knows.filter(file => unaware.test(file))).toEqual([]);
    // Nor do methods get at the labels by another way: a sealed split is named by the orchestrator and its data alone.
    const seals = importers(sources, 'src/evaluate/sealed-labels.ts').filter(file => file.startsWith('src/benchmark/'));
    expect(seals).toEqual(['src/benchmark/data.ts', 'src/benchmark/score.ts']);
    const data = importers(sources, 'src/benchmark/data.ts');
    expect(data.filter(file => file.startsWith('src/benchmark/methods/'))).toEqual([]);
  });

  it('is noticed wherever it is imported', () => {
    const wrong = new Map([
      ['src/run/vote.ts', "import { openLabels as o } from '../evaluate/open-labels.ts';"],
      ['src/discover/x.ts', "const all = await import('../evaluate/open-labels.ts');"],
      ['src/protocols/y.ts', "export * from '../evaluate/open-labels.js';"],
    ]);
    expect(importers(wrong, OPENER)).toEqual(['src/discover/x.ts', 'src/protocols/y.ts', 'src/run/vote.ts']);
  });
});

describe('a seal', () => {
  const classes = [{ name: 'zyxquark' }, { name: 'wombleflox' }];
  const sealed = sealLabels({
    files: ['1.jpg', '2.jpg', '3.jpg'],
    classes,
    labels: [0, 1, 1],
    origins: i => `origin ${i}`,
  });

  it('shows how many labels there are, and no more', () => {
    const shown = [
      JSON.stringify({ sealed }),
      String(sealed),
      inspect(sealed, { showHidden: true, depth: 9 }),
      JSON.stringify(structuredClone(sealed)),
      JSON.stringify(Object.getOwnPropertyDescriptors(sealed)),
      JSON.stringify({ ...sealed }),
      Reflect.ownKeys(sealed).join(),
      Reflect.ownKeys(Object.getPrototypeOf(sealed).constructor).join(),
    ].join('\n');
    expect(shown).toContain('sealed labels of 3 images');
    expect(shown).not.toMatch(/zyxquark|wombleflox|origin|open|\.jpg/);
  });

  it('is opened by the evaluator, in whatever order the predictions come', () => {
    const report = evaluateSealed({ files: ['3.jpg', '1.jpg'], names: ['Wombleflox', 'cat'] }, sealed);
    expect(report).toMatchObject({ images: 2, unpredicted: 1, accuracy: { 1: 0.5 } });
    expect(trueNames(sealed)).toEqual(['wombleflox', 'zyxquark']);
    expect(originOf(sealed, '2.jpg')).toBe('origin 1');
    expect(() => evaluateSealed({ files: ['3.jpg', '3.jpg'], names: ['a', 'b'] }, sealed)).toThrow('predicted twice');
    expect(() => evaluateSealed({ files: ['x.jpg'], names: ['a'] }, sealed)).toThrow('no image of this split');
  });

  it.each([
    [[0], 'labels for 2 images'],
    [[0, 2], 'has the label 2'],
    [[0, Number.NaN], 'has the label NaN'],
  ])('is not put on wrong labels %j', (labels, message) => {
    const truth = { files: ['a', 'b'], classes, labels, origins: String };
    expect(() => sealLabels(truth)).toThrow(message);
  });
});

describe('a run', () => {
  const words = ['zyxquark', 'wombleflox', 'brindlewock'];

  /** A data set whose files and folders name classes that no vocabulary has. */
  async function dataset(name: string, classOf: (i: number) => number): Promise<[protocol: string, data: string]> {
    const folder = join(scratch, name);
    await drawImages(join(folder, 'drawn'), 24);
    const rows = ['file_name,label'];
    for (let i = 0; i < 24; i++) {
      const file = `${String(i).padStart(3, '0')}.png`;
      mkdirSync(join(folder, 'images'), { recursive: true });
      renameSync(join(folder, 'drawn', `image-${file}`), join(folder, 'images', file));
      rows.push(`${file},${words[classOf(i)]}`);
    }
    writeFileSync(join(folder, 'labels.csv'), `${rows.join('\n')}\n`);
    const splits = { train: { list: 'labels.csv', images: 'images' } };
    writeFileSync(join(folder, 'protocol.json'), JSON.stringify({ name: 'zyxquarks', splits }));
    return [join(folder, 'protocol.json'), folder];
  }

  const settings = {
    model: fileURLToPath(new URL('goldens/clip/quick_gelu', import.meta.url)),
    k: 3,
    nInit: 1,
    threads: 1,
    workers: 0,
  };

  it('leaves no trace of a class, and is the same whatever the labels are', async () => {
    const vocab = join(scratch, 'names.txt');
    writeFileSync(vocab, 'disc: round\nsquare: four corners\nstripes: lines\nring: hollow\ncloud\n');
    const runs = [];
    for (const [name, classOf] of [
      ['one', (i: number) => i % 3],
      ['two', (i: number) => (i * i + 1) % 3],
    ] as const) {
      const [protocol, data] = await dataset(name, classOf);
      const { splits } = await loadProtocol(protocol, data);
      const images = await splits.train.images.materialise({ cache: join(scratch, `cache-${name}`) });
      const out = join(scratch, `run-${name}`);
      await discover({ ...settings, vocab, images, out });
      const texts = readdirSync(out, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile())
        .map(entry => [
          relative(out, join(entry.parentPath, entry.name)),
          readFileSync(join(entry.parentPath, entry.name), 'latin1'),
        ]);
      expect(texts.length).toBeGreaterThan(8);
      for (const text of texts.flat()) expect(text).not.toMatch(new RegExp(words.join('|')));
      expect(images.slice(scratch.length)).not.toMatch(new RegExp(words.join('|')));
      const rows = await readTable(join(out, 'labels.parquet'));
      runs.push({ rows, splits });
    }
    expect(runs[1].rows).toEqual(runs[0].rows);
    // The same predictions, other labels: the seals do hold something.
    const reports = runs.map(({ rows, splits }) =>
      evaluateSealed(
        { files: rows.map(row => String(row.file_name)), names: rows.map(row => String(row.label)) },
        splits.train.labels,
      ),
    );
    expect(reports[0].clustering).not.toEqual(reports[1].clustering);
  });
});

it('settings of the protocols are settings of a run', () => {
  for (const name of protocolNames()) {
    const { settings = {} } = findProtocol(name);
    expect(parseConfig(settings, name)).toMatchObject(settings);
  }
});
