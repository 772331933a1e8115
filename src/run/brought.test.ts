import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson } from '../io/json.ts';
import { readNpyFloat32, writeNpy } from '../io/npy.ts';
import { readTable } from '../io/table.ts';
import { random } from '../random.ts';
import type { RunEvent, RunSummary } from './events.ts';
import { discover, fit } from './fit.ts';
import { predict } from './predict.ts';
import { runStep } from './steps.ts';

const [KINDS, EACH, WIDTH] = [4, 30, 16];
const NAMES = ['Ant', 'bee', 'crab', 'deer', 'eel', 'fox'];
let folder: string;
let summary: RunSummary;
const at = (name: string): string => join(folder, name);

/** Rows around directions, `spread` wide and `scale` long: [kinds * each, WIDTH]. */
function around(kinds: number, each: number, spread: number, scale: number, seed: number): Float32Array {
  const noise = random(seed, 'noise');
  return Float32Array.from({ length: kinds * each * WIDTH }, (_, i) => {
    const kind = Math.floor(i / (each * WIDTH));
    return scale * ((i % WIDTH === kind * 2 ? 1 : 0) + spread * noise.normal());
  });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-brought-'));
  const rows = KINDS * EACH;
  await writeNpy(at('z.npy'), '<f4', [rows, WIDTH], around(KINDS, EACH, 0.05, 3, 1));
  await writeNpy(at('half.npy'), '<f2', [rows, WIDTH], around(KINDS, EACH, 0.05, 3, 1));
  await writeNpy(at('h.npy'), '<f4', [NAMES.length, WIDTH], around(NAMES.length, 1, 0.02, 7, 2));
  await writeFile(at('names.json'), JSON.stringify(NAMES));
  await writeFile(at('rows.json'), JSON.stringify(Array.from({ length: rows }, (_, i) => `image-${i}.jpg`)));
  summary = await discover({ ...files(), ...small, rows: at('rows.json'), out: at('run') });
});
afterAll(() => rm(folder, { recursive: true }));

const files = () => ({ embeddings: at('z.npy'), prototypes: at('h.npy'), names: at('names.json') });
const small = { k: KINDS, nInit: 4, threads: 1 };
const labelsOf = async (run: string) => (await readTable(join(run, 'labels.parquet'))).map(row => row.label);
const expected = Array.from({ length: KINDS * EACH }, (_, i) => NAMES[Math.floor(i / EACH)].toLowerCase());

describe('features of another encoder', () => {
  test('are named, clustered and labelled without images or a model', async () => {
    const out = at('run');
    const { images, classes, stages } = summary;
    expect(images).toBe(KINDS * EACH);
    expect(classes.map(({ name }) => name).sort()).toEqual(['ant', 'bee', 'crab', 'deer']);
    expect(Object.keys(stages)).toEqual(['embed', 'prototypes', 'cluster', 'vote', 'prompt', 'realign', 'label']);
    const rows = await readTable(join(out, 'labels.csv'));
    expect(rows.map(row => row.label)).toEqual(expected);
    expect(rows[7].file_name).toBe('image-7.jpg');
    for (const row of rows) expect(Number(row.confidence)).toBeGreaterThan(0.99);
    const { data } = await readNpyFloat32(join(out, 'embeddings/images.npy'));
    expect(Math.hypot(...data.subarray(WIDTH, 2 * WIDTH))).toBeCloseTo(1, 6);
  });

  test('may be half precision; rows are numbered when nothing says their names', async () => {
    const out = at('half');
    await discover({ ...files(), ...small, embeddings: at('half.npy'), out });
    expect(await labelsOf(out)).toEqual(expected);
    expect((await readTable(join(out, 'labels.csv')))[3].file_name).toBe('3');
  });

  test('a step alone goes on with them, and what did not change is kept', async () => {
    const out = at('run');
    await runStep(out, 'realign', { method: 's3a', k: KINDS });
    const { stages } = await runStep(out, 'realign', { logitScale: 1 });
    expect(Object.entries(stages).flatMap(([name, { skipped }]) => (skipped ? [] : [name]))).toEqual(['label']);
    const [{ top_5, margin }] = await readTable(join(out, 'labels.jsonl'));
    // Six names, the right one at a cosine of about 1 and the others at about 0: e / (e + 5) and 1 / (e + 5).
    const [first, second] = top_5 as unknown as { name: string; probability: number }[];
    expect(first.name).toBe('ant');
    expect(first.probability).toBeCloseTo(Math.E / (Math.E + 5), 1);
    expect(second.probability).toBeCloseTo(1 / (Math.E + 5), 1);
    expect(Number(margin)).toBeCloseTo(first.probability - second.probability, 3);
  });

  test('the number of clusters is estimated, with a warning where nothing is clustered', async () => {
    const estimated = { ...files(), threads: 1, nInit: 2, kMin: 2, kMax: 12 };
    const told: string[] = [];
    const onEvent = (event: RunEvent) => void (event.type === 'warning' && told.push(event.message));
    const { stages } = await discover({ ...estimated, out: at('estimated') }, { onEvent });
    expect(stages.cluster.info).toMatchObject({ estimate: KINDS, flat: false, k: Math.ceil(1.15 * KINDS) });
    expect(told).toEqual([]);
    await writeNpy(at('noise.npy'), '<f4', [200, WIDTH], around(1, 200, 10, 5, 1));
    const noise = { ...estimated, embeddings: at('noise.npy'), out: at('noise') };
    const { stages: of } = await discover(noise, { onEvent });
    expect(of.cluster.info).toMatchObject({ flat: true });
    expect(told).toEqual([
      expect.stringMatching(/^the number of clusters, \d+, is little more than a guess: .*silhouette/),
    ]);
    expect(await readJson(join(at('noise'), 'silhouette.json'))).toMatchObject({ verdict: { flat: true } });
  });

  test('what is less sure than it has to be is unknown', async () => {
    const out = at('unsure');
    const { classes, unknown } = await discover({ ...files(), ...small, minConfidence: 1, out });
    expect([classes, unknown]).toEqual([[], KINDS * EACH]);
    expect(await labelsOf(out)).toEqual(expected.map(() => 'unknown'));
    const [{ synset, structural }] = await readTable(join(out, 'labels.jsonl'));
    expect([synset, structural]).toEqual([null, 'ant']);
  });
});

describe('what does not fit together is one clear line', () => {
  const run = (changes: object) => discover({ ...files(), ...small, out: at('bad'), ...changes });

  test('settings', async () => {
    await expect(run({ names: undefined })).rejects.toThrow('names is missing');
    await expect(run({ images: 'photos' })).rejects.toThrow('images and --embeddings were given');
    await expect(fit({ ...files(), ...small, out: at('fit') })).rejects.toThrow('cannot be trained on');
    await writeFile(at('x.jpg'), '');
    await expect(predict(at('run'), at('x.jpg'))).rejects.toThrow('is about features of another encoder');
  });

  test('files', async () => {
    await writeFile(at('few.json'), '["a", "b"]');
    await expect(run({ names: at('few.json') })).rejects.toThrow('h.npy has 6 rows, but');
    await expect(run({ rows: at('few.json') })).rejects.toThrow('few.json has 2 lines, but');
    await writeFile(at('twice.json'), '["a", "b", "A ", "d", "e", "f"]');
    await expect(run({ names: at('twice.json') })).rejects.toThrow('rows 0 and 2 have one name, "A "');
    await writeFile(at('number.json'), '[1, 2, 3, 4, 5, 6]');
    await expect(run({ names: at('number.json') })).rejects.toThrow('is not a JSON array of texts');
    await expect(run({ names: at('none.json') })).rejects.toThrow(`there is no file ${at('none.json')}`);
    await writeNpy(at('wide.npy'), '<f4', [6, 2], new Float32Array(12).fill(1));
    await expect(run({ prototypes: at('wide.npy') })).rejects.toThrow('has rows of 16 values and');
    await writeNpy(at('flat.npy'), '<f4', [6], new Float32Array(6));
    await expect(run({ prototypes: at('flat.npy') })).rejects.toThrow('holds <f4 of shape (6)');
    await writeNpy(at('integers.npy'), '<i4', [6, 16], new Int32Array(96));
    await expect(run({ prototypes: at('integers.npy') })).rejects.toThrow('holds <i4 of shape (6, 16)');
  });

  test('rows without a direction', async () => {
    const rows = around(KINDS, EACH, 0.05, 1, 1);
    await writeNpy(at('zero.npy'), '<f4', [KINDS * EACH, WIDTH], rows.slice().fill(0, 5 * WIDTH, 6 * WIDTH));
    await expect(run({ embeddings: at('zero.npy') })).rejects.toThrow('zero.npy: row 5 is all zeros');
    await writeNpy(at('nan.npy'), '<f4', [KINDS * EACH, WIDTH], rows.slice().fill(Number.NaN, 40, 41));
    await expect(run({ embeddings: at('nan.npy') })).rejects.toThrow('nan.npy: row 2 has a value that is no finite');
  });
});
