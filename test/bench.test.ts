/** A benchmark from end to end on a tiny random CLIP: every method, an ablation, a kill, a resume, and nothing of the labels in a run. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BenchOptions, bench } from '../src/benchmark/bench.ts';
import { METHODS } from '../src/benchmark/methods/index.ts';
import type { BenchResults } from '../src/benchmark/results.ts';
import { tunedFeatures } from '../src/benchmark/tuned.ts';
import { readNpyFloat32 } from '../src/io/npy.ts';
import { embed } from '../src/run/embed.ts';
import { reopenRun } from '../src/run/store.ts';
import { drawImages } from './drawn-images.ts';
import { s3a } from './run-cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-bench-'));
const model = fileURLToPath(new URL('goldens/clip/quick_gelu', import.meta.url));
// Two classes are in the vocabulary, two are words that can come from nowhere but the labels.
const classes = ['disc', 'square', 'zyxquark', 'wombleflox'];
const [protocol, data] = [join(scratch, 'shapes.json'), join(scratch, 'data')];

beforeAll(async () => {
  await drawImages(join(scratch, 'drawn'), 48);
  const rows: Record<string, string[]> = { train: ['file_name,label'], test: ['file_name,label'] };
  for (let i = 0; i < 48; i++) {
    const file = `image-${String(i).padStart(3, '0')}.png`;
    const split = i < 32 ? 'train' : 'test';
    mkdirSync(join(data, split), { recursive: true });
    renameSync(join(scratch, 'drawn', file), join(data, split, file));
    rows[split].push(`${file},${classes[i % 4]}`);
  }
  for (const [split, lines] of Object.entries(rows)) writeFileSync(join(data, `${split}.csv`), `${lines.join('\n')}\n`);
  const split = (name: string) => ({ list: `${name}.csv`, images: name });
  const splits = { train: split('train'), test: split('test') };
  writeFileSync(protocol, JSON.stringify({ name: 'shapes', splits, settings: { threshold: 0.01 } }));
  writeFileSync(
    join(scratch, 'names.txt'),
    'disc: round, filled\nsquare: four corners\nstripes: lines\nring\ncloud\ntree\n',
  );
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const settings = () => ({
  ...{
    model,
    vocab: join(scratch, 'names.txt'),
    nInit: 1,
    epochs: 2,
    batchSize: 16,
    renewFrom: 1,
    threads: 1,
    workers: 0,
  },
});
const order = (out: string, more: Partial<BenchOptions> = {}): BenchOptions => ({
  ...{ protocol, data, out: join(scratch, out), settings: settings() },
  ...more,
});
/** What does not depend on the clock. */
const figures = ({ table, ablations, hashes, vocabulary }: BenchResults) => ({ table, ablations, hashes, vocabulary });

describe('a benchmark', () => {
  let whole: BenchResults;

  it('compares all methods, and keeps what is needed to repeat it', async () => {
    const methods = METHODS.map(({ name }) => name);
    const notes: string[] = [];
    whole = await bench(order('all', { methods, keepRuns: true }), {
      onEvent: event => event.type === 'note' && notes.push(event.message),
    });
    expect(whole.failures).toEqual([]);
    expect(whole.protocol).toMatchObject({ name: 'shapes', k: 4, classes: 4, images: { train: 32, test: 16 } });
    expect(whole.config).toMatchObject({ k: 4, threshold: 0.01, epochs: 2 });
    const lines = whole.table.filter(({ step }) => !step).map(({ method, part }) => `${method} ${part}`.trim());
    expect(lines).toEqual([
      ...['bound', 'clip', 'kmeans-vote', 'scd', 'must student', 'must teacher', 's3a-discovery discovery'],
      ...['s3a discovery', 's3a student', 's3a teacher', 'auto-discovery discovery'],
      ...['auto discovery', 'auto student', 'auto teacher', 'auto renewed'],
    ]);
    for (const { train, test, seeds, interval } of whole.table.filter(({ step }) => !step)) {
      expect(seeds).toEqual([0]);
      for (const summary of [train, test]) {
        expect(summary?.top1).toMatchObject({ runs: 1 });
        for (const measure of ['top1', 'clustering', 'nmi', 'nameRecall'] as const) {
          expect(summary?.[measure]?.mean).toBeGreaterThanOrEqual(0);
          expect(summary?.[measure]?.mean).toBeLessThanOrEqual(1);
        }
      }
      expect(interval.train.high).toBeGreaterThanOrEqual(interval.train.low);
    }
    const top1 = (method: string): number => whole.table.find(line => line.method === method)!.train.top1!.mean;
    // Half of the classes are in no vocabulary but that of the bound.
    expect(top1('clip')).toBeLessThanOrEqual(0.5);
    expect(whole.table.find(({ method }) => method === 'bound')!.train.nameRecall!.mean).toBeGreaterThan(0);
    // The same step by another way: discovery alone is a part of the whole method.
    const s3a = whole.table.filter(({ part }) => part === 'discovery');
    expect(s3a[0]).toMatchObject({ method: 's3a-discovery', train: s3a[1].train, test: s3a[1].test });
    expect(notes.at(-1)).toMatch(/^\[9\/9\] auto, seed 0: renewed top-1 /);
  }, 300_000);

  it('sees test images by the very weights that the training has ended with', async () => {
    const lora = await bench(
      order('lora', { methods: ['s3a'], keepRuns: true, settings: { ...settings(), tune: 'lora', epochs: 1 } }),
    );
    for (const [name, { runs }] of Object.entries({ all: whole, lora })) {
      const { key } = runs.find(({ method }) => method === 's3a')!;
      const run = await reopenRun(join(scratch, name, 'runs', key.slice(0, 24)), {}, {});
      try {
        for (const role of ['student', 'teacher'] as const) {
          const { data: kept } = await readNpyFloat32(run.path(`embeddings/${role}.npy`));
          expect(await tunedFeatures(run, await embed(run), role)).toBeAllclose(kept, { rtol: 0, atol: 1e-6 });
        }
      } finally {
        await run.dispose();
      }
    }
  }, 300_000);

  it('writes a table and plots that can be drawn', async () => {
    const folder = join(scratch, 'all');
    expect(JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(whole)));
    const markdown = readFileSync(join(folder, 'table.md'), 'utf8');
    expect(markdown).toContain('| S³A, teacher | ');
    expect(markdown).not.toContain('Incomplete');
    const { width = 0, height = 0 } = await sharp(join(folder, 'plots', 'table.svg')).metadata();
    expect(Math.min(width, height)).toBeGreaterThan(200);
  });

  it('leaves no label where a stage could read it', () => {
    const folder = join(scratch, 'all');
    const texts = ['shared', 'runs', 'vocabularies', 'lists'].flatMap(part => {
      try {
        return readdirSync(join(folder, part), { recursive: true, withFileTypes: true });
      } catch {
        return [];
      }
    });
    const files = texts.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name));
    expect(files.length).toBeGreaterThan(50);
    for (const file of files) {
      const bytes = readFileSync(file, 'latin1');
      expect(/zyxquark|wombleflox/.test(bytes + file), file).toBe(false);
    }
  });

  it('computes nothing twice', async () => {
    const cells = join(scratch, 'all', 'cells');
    const times = () => readdirSync(cells).map(name => [name, statSync(join(cells, name)).mtimeMs]);
    const before = times();
    const notes: string[] = [];
    const again = await bench(
      { protocol, out: join(scratch, 'all'), resume: true },
      { onEvent: event => event.type === 'note' && notes.push(event.message) },
    );
    expect(times()).toEqual(before);
    expect(notes).toHaveLength(9);
    for (const note of notes) expect(note).toContain('done before');
    expect(figures(again)).toEqual(figures(whole));
    await expect(bench(order('all'))).rejects.toMatchObject({ code: 'RUN_EXISTS' });
  }, 300_000);

  it('ends in the same figures when it is stopped again and again', async () => {
    const some = { methods: ['clip', 's3a'], seeds: [1, 0], settings: { ...settings(), epochs: 1 } };
    const expected = await bench(order('once', some));
    let stops = 0;
    let last: BenchResults | undefined;
    for (let after = 3; !last && stops < 60; after += 2) {
      const stop = new AbortController();
      let events = 0;
      const hooks = {
        signal: stop.signal,
        onEvent: () => void (++events === after && stop.abort(new Error('enough'))),
      };
      last = await bench(order('stopped', { ...some, resume: true }), hooks).catch(error => {
        if (!stop.signal.aborted) throw error;
        stops++;
        return undefined;
      });
    }
    expect(stops).toBeGreaterThan(1);
    expect(figures(last!)).toEqual(figures(expected));
  }, 300_000);

  it.each(['all', 'once'])('embeds once for all methods (%s)', name => {
    const shared = join(scratch, name, 'shared');
    const tables = readdirSync(shared, { recursive: true, encoding: 'utf8' }).filter(path =>
      path.endsWith('images.npy'),
    );
    // Two splits; everything else is links to the same file.
    expect(new Set(tables.map(path => statSync(join(shared, path)).ino)).size).toBe(2);
    expect(tables.length).toBeGreaterThan(3);
  });
});

describe('the command', () => {
  const common = () => ['--data', data, '--model', model, '--vocab', join(scratch, 'names.txt'), '--n-init', '1'];

  it('prints a table, or the results', async () => {
    const out = join(scratch, 'command');
    const some = ['bench', protocol, ...common(), '--methods', 'clip,scd', '--ablation', 'k', '--seeds', '0,1'];
    const sentences = fileURLToPath(new URL('goldens/semantic/mpnet', import.meta.url));
    const table = await s3a(...some, '--workers', '0', '--semantic-model', sentences, '--out', out);
    expect(table).toMatchObject({ code: 0 });
    expect(table.out).toMatch(/shapes: 32 training, 16 test images, K = 4/);
    expect(table.out).toMatch(/CLIP, all names +\d+\.\d ± 0\.0 /);
    expect(table.out).toMatch(/-20 % +discovery /);
    expect(table.out).toMatch(/^method .* semantic .* test semantic$/m);
    expect(table.err).toMatch(/\[20\/20\] k: \+50 %, seed 1: /);
    const { code, out: json } = await s3a('bench', protocol, '--out', out, '--resume', '--json', '--quiet');
    expect(code).toBe(0);
    const results = JSON.parse(json) as BenchResults;
    expect(results.cells).toEqual({ wanted: 20, done: 20 });
    expect(results.semanticModel).toBe(sentences);
    // Wrong names are nearer in meaning than not at all, and no random model takes them for the same.
    const { mean } = results.table[0].train.semantic!;
    expect(mean).toBeGreaterThan(results.table[0].train.top1!.mean);
    expect(mean).toBeLessThan(1);
    const [{ axis, variants }] = results.ablations;
    expect(axis?.title).toBe('error of K in %');
    expect(variants.map(({ value, settings: { k } }) => [value, k])).toEqual([
      ...[
        [-30, 3],
        [-20, 3],
        [-10, 4],
        [0, 4],
        [10, 4],
        [20, 5],
        [30, 5],
        [50, 6],
      ],
    ]);
    expect(variants[0].lines.find(({ part }) => part === 'discovery')?.train.top1).toMatchObject({ runs: 2 });
    expect(readdirSync(join(out, 'plots')).sort()).toEqual(['k.svg', 'table.svg']);
  }, 300_000);

  it.each([
    [['bench', 'nothing', '--methods', 'clip'], 'there is no protocol "nothing"'],
    [['bench', 'living17', '--methods', 'magic'], "there is no method 'magic' to compare"],
    [['bench', 'living17', '--ablation', 'magic'], "there is no ablation 'magic'"],
    [['bench', 'living17', '--seeds', '1,1'], 'seeds come twice'],
    [['bench', 'living17', '--seeds', 'x'], 'It must be whole numbers from 0'],
    [['bench', 'living17'], 'Living17 needs the folder that its files lie in'],
  ])('%j is one clear line', async (args, message) => {
    const { code, err } = await s3a(...args, '--out', join(scratch, 'never'));
    expect(code).toBeGreaterThan(0);
    expect(err).toContain(message);
  });
});
