/** What a program passes in and reads back: labels, a text model of its own, a tracker of its own. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  discover,
  type FitOptions,
  fit,
  type RunEvent,
  readLabels,
  type TextModel,
  type Tracker,
} from '../src/index.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { readTable } from '../src/io/table.ts';
import { chatServer, goodAnswer, say } from './chat-server.ts';
import { drawImages } from './drawn-images.ts';

let folder: string;
const names = ['disc: round, filled', 'square: four corners', 'stripes: lines', 'ring: round, hollow', 'ball', 'sun'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-library-'));
  await drawImages(join(folder, 'images'), 32);
  await writeFile(join(folder, 'names.txt'), names.join('\n'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options = (out: string): FitOptions => ({
  ...{ images: join(folder, 'images'), vocab: join(folder, 'names.txt'), out: join(folder, out), model: 'demo' },
  ...{ method: 's3a', k: 5, nInit: 2, threads: 1, workers: 0 },
});
const phrasesOf = (out: string): Promise<string> => readFile(join(folder, out, 'phrases.json'), 'utf8');

/** Answers as the server of the other tests does. */
function ownModel(): TextModel & { asked: number } {
  return {
    id: 'own',
    asked: 0,
    async complete({ messages }) {
      this.asked++;
      const text = messages.at(-1)!.content;
      const labels = [...text.matchAll(/^concept: (.+)$/gm)].map(([, label]) => label);
      return { text: labels.map(label => `${label}: ${label} colour; part of ${label}; shared shape`).join('\n') };
    },
    dispose() {
      throw new Error('it is not the run that closes it');
    },
  };
}

it('asks a text model of its own as it asks a server, and keeps the answers', async () => {
  const server = await chatServer((response, request) => say(response, goodAnswer(request)));
  await discover({ ...options('server'), llm: 'openai', llmModel: 'tiny', llmBaseUrl: server.baseUrl });
  await server.close();
  const textModel = ownModel();
  const { stages } = await discover(options('own'), { textModel });
  expect(textModel.asked).toBe(server.received.length);
  expect(textModel.asked).toBeGreaterThan(5);
  expect(stages.prompt.info).toMatchObject({ requests: textModel.asked, withoutPhrases: 0 });
  expect(await phrasesOf('own')).toBe(await phrasesOf('server'));
  const exchanges = (await readJsonl(join(folder, 'own', 'prompts.jsonl'))) as { model: string }[];
  expect(new Set(exchanges.map(({ model }) => model))).toEqual(new Set(['own']));
  // Gone on with, nothing is asked; without it, what the settings say is.
  const again = await discover({ ...options('own'), resume: true }, { textModel: ownModel() });
  expect(again.stages.prompt.skipped).toBe(true);
  const without = await discover({ ...options('own'), resume: true });
  expect(without.stages.prompt.skipped).toBe(false);
}, 120_000);

it('goes on without phrases where its text model fails, within the budget, and ends when it is aborted', async () => {
  const warnings: string[] = [];
  const onEvent = (event: RunEvent): void => void (event.type === 'warning' && warnings.push(event.message));
  const complete = async (): Promise<never> => {
    throw new Error('out of order');
  };
  const { stages } = await discover(options('failing'), { textModel: { id: 'broken', complete }, onEvent });
  expect(stages.prompt.info?.failure).toContain('The text model broken failed: out of order.');
  expect(warnings).toEqual([expect.stringContaining('the language model failed')]);

  const untold = { id: 'empty', complete: async () => ({}) as { text: string } };
  const limited = await discover({ ...options('limited'), llmMaxRequests: 2 }, { textModel: untold });
  expect(limited.stages.prompt.info?.failure).toContain('The budget of 2 requests to empty is used up.');

  const stop = new AbortController();
  const aborting = { id: 'slow', complete: async () => Promise.reject(stop.abort(new Error('enough'))) };
  await expect(discover(options('aborted'), { textModel: aborting, signal: stop.signal })).rejects.toThrow('enough');
}, 120_000);

it('tells a tracker of its own what metrics.jsonl holds, and reads labels back', async () => {
  const model = fileURLToPath(new URL('goldens/clip/quick_gelu', import.meta.url));
  const seen: [number, Readonly<Record<string, number>>][] = [];
  const rest: string[] = [];
  const tracker: Tracker = {
    log: (step, values) => void seen.push([step, values]),
    hparams: values => void rest.push(`epochs ${String(values.epochs)}`),
    text: () => undefined,
    close: async outcome => void rest.push(String(outcome)),
  };
  await expect(readLabels(join(folder, 'fit'))).rejects.toMatchObject({ code: 'RUN' });
  const { folder: run, images } = await fit({ ...options('fit'), model, epochs: 4, batchSize: 8 }, { tracker });
  const lines = (await readJsonl(join(run, 'metrics.jsonl'))) as Record<string, number>[];
  expect(lines.length).toBeGreaterThan(1);
  expect(seen.map(([step, { loss }]) => [step, loss])).toEqual(lines.map(({ step, loss }) => [step, loss]));
  expect(rest).toEqual(['epochs 4', 'finished']);

  const rows = await readLabels(run);
  const table = await readTable(join(run, 'labels.parquet'));
  expect(rows).toHaveLength(images);
  expect(rows.map(({ file_name, label, cluster, teacher }) => [file_name, label, cluster, teacher])).toEqual(
    table.map(row => [row.file_name, row.label, Number(row.cluster), row.teacher]),
  );
  for (const { confidence, top_5 } of rows) {
    expect(confidence).toBeGreaterThanOrEqual(0);
    expect(top_5[0].probability).toBeGreaterThanOrEqual(top_5.at(-1)!.probability);
  }
}, 120_000);
