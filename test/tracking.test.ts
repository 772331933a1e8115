/** A training that reports to TensorBoard and MLflow: every line of metrics.jsonl once, also after a stop, and the same weights. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { type FitOptions, fit, type RunEvent, type RunHooks } from '../src/index.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { drawImages } from './drawn-images.ts';
import { eventFiles, shownEvents } from './event-reader.ts';
import { type MlflowServer, mlflowServer } from './mlflow-server.ts';

let folder: string;
let server: MlflowServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-tracking-'));
  await drawImages(join(folder, 'images'), 32);
  await writeFile(join(folder, 'names.txt'), 'disc\nsquare\nstripes\nring\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  server = await mlflowServer();
});
afterEach(() => server.close());

async function run(name: string, more: Partial<FitOptions>, hooks: RunHooks = {}): Promise<string> {
  const out = join(folder, name);
  const model = fileURLToPath(new URL('goldens/clip/quick_gelu', import.meta.url));
  const small = { k: 4, nInit: 2, epochs: 6, batchSize: 8, threads: 1, workers: 0 };
  const vocab = join(folder, 'names.txt');
  await fit({ images: join(folder, 'images'), model, vocab, out, ...small, ...more }, hooks);
  return out;
}

/** The figures of metrics.jsonl by step, without the one that is a matter of time. */
async function figuresOf(out: string): Promise<[step: number, figures: Record<string, number>][]> {
  const lines = (await readJsonl(join(out, 'metrics.jsonl'))) as Record<string, number>[];
  return lines.map(({ step, imagesPerSecond: _, ...figures }) => [step, figures]);
}

it('gets each step once though the training was stopped and went on', async () => {
  const plain = await run('plain', {});
  const tracked = { track: ['tensorboard', 'mlflow'] as const, mlflowUri: server.uri };
  const stop = new AbortController();
  const onEvent = (event: RunEvent): void => {
    // In the middle of an epoch: that epoch's end is logged after the stop.
    if (event.type === 'progress' && event.stage === 'train' && event.done === 14) stop.abort();
  };
  const options = { ...tracked, track: [...tracked.track] };
  await expect(run('tracked', options, { onEvent, signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  const [mlflow] = [...server.runs.values()];
  expect(mlflow.status).toBe('KILLED');
  const warnings: RunEvent[] = [];
  const out = await run(
    'tracked',
    { ...options, resume: true },
    {
      onEvent: event => void (event.type === 'warning' && warnings.push(event)),
    },
  );
  expect(warnings).toEqual([]);

  const weights = (at: string): Promise<Buffer> => readFile(join(at, 'model', 'model.safetensors'));
  expect((await weights(out)).equals(await weights(plain))).toBe(true);
  const expected = await figuresOf(out);
  expect(expected).toEqual(await figuresOf(plain));
  expect(expected.length).toBeGreaterThan(5);

  expect(eventFiles(join(out, 'tensorboard')).length).toBe(2);
  const shown = shownEvents(join(out, 'tensorboard')).filter(({ scalars }) => scalars.length > 0);
  expect(shown.map(({ step }) => step)).toEqual(expected.map(([step]) => step));
  shown.forEach(({ scalars }, i) => {
    const { imagesPerSecond, ...figures } = Object.fromEntries(scalars);
    expect(imagesPerSecond).toBeGreaterThan(0);
    expect(Object.keys(figures)).toEqual(Object.keys(expected[i][1]));
    expect(Object.values(figures)).toBeAllclose(Object.values(expected[i][1]), { rtol: 1e-6, atol: 0 });
  });

  expect(server.runs.size).toBe(1);
  expect(mlflow.status).toBe('FINISHED');
  expect(mlflow).toMatchObject({ name: 'tracked' });
  const losses = mlflow.metrics.filter(({ key }) => key === 'loss').map(({ step, value }) => [step, value]);
  expect(losses).toEqual(expected.map(([step, { loss }]) => [step, loss]));
  expect(Object.fromEntries(mlflow.params)).toMatchObject({ k: '4', epochs: '6', batchSize: '8', run: 'tracked' });
});

it('ends as it would without them when the server dies: one warning', async () => {
  const warnings: string[] = [];
  server.intercept = async ({ path }) => {
    if (path === 'runs/log-batch') await server.close();
    return false;
  };
  const onEvent = (event: RunEvent): void => {
    if (event.type === 'warning') warnings.push(event.message);
  };
  const out = await run('dead', { track: ['mlflow'], mlflowUri: server.uri, epochs: 2 }, { onEvent });
  expect(warnings).toEqual([expect.stringMatching(/^MLflow at 127\.0\.0\.1.* metrics\.jsonl has them all$/)]);
  expect((await figuresOf(out)).length).toBe(2);
});

it('refuses an address before any work is done', async () => {
  await expect(run('nowhere', { track: ['mlflow'], mlflowUri: 'mlruns' })).rejects.toMatchObject({ code: 'TRACK' });
  await expect(run('unknown', { track: ['wandb'] as never })).rejects.toMatchObject({ code: 'CONFIG' });
});
