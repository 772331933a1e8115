import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ChatServer,
  chatServer,
  goodAnswer,
  type Handler,
  labelsOf,
  say,
  sendJson,
} from '../../test/chat-server.ts';
import { createBudget } from '../llm/budget.ts';
import { cached } from '../llm/cache.ts';
import { gloss } from '../llm/gloss.ts';
import { openAiCompatible } from '../llm/openai-compatible.ts';
import { replay } from '../llm/replay.ts';
import type { Candidate } from './prompt.ts';
import { type PromptProgress, promptClusters } from './prompt-clusters.ts';

const clusters: Candidate[][] = Array.from({ length: 12 }, (_, k) =>
  ['oak', 'elm', 'fir'].map((tree, i) => ({
    name: `${tree} ${k}`,
    meanings: [{ id: `${k}.${i}`, gloss: `tree number ${k}, ${tree} leaf` }],
  })),
);

let folder: string;
let server: ChatServer | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-prompt-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});
const open = async (handler: Handler, options = {}) => {
  server = await chatServer(handler);
  return openAiCompatible({
    model: 'tiny',
    baseUrl: server.baseUrl,
    timeoutMs: 1000,
    retries: 1,
    backoffMs: 5,
    environment: {},
    ...options,
  });
};
/** Good answers, each a little late, so that they come back in another order than they were asked in. */
const late: Handler = (response, request, n) => void setTimeout(() => say(response, goodAnswer(request)), (n * 7) % 20);

describe('promptClusters', () => {
  it('gives the same result in the same order whatever the concurrency', async () => {
    const results = [];
    for (const concurrency of [1, 3, 50]) {
      const model = await open(late);
      const { clusters: found, requests } = await promptClusters(clusters, model, { concurrency });
      await server?.close();
      results.push(
        found.map(({ candidates, problems, exchanges }) => ({
          candidates,
          problems,
          requests: exchanges.map(of => of.request),
        })),
      );
      expect(requests).toBe(36);
      expect(found.map(({ candidates }) => candidates[0].name)).toEqual(clusters.map(([{ name }]) => name));
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  it('asks for no more clusters at a time than it may', async () => {
    let open_ = 0;
    let most = 0;
    const model = await open((response, request) => {
      most = Math.max(most, ++open_);
      setTimeout(() => {
        open_--;
        say(response, goodAnswer(request));
      }, 5);
    });
    await promptClusters(clusters, model, { concurrency: 3, repeats: 1 });
    expect(most).toBe(3);
  });

  it('tells how far it is', async () => {
    const seen: PromptProgress[] = [];
    await promptClusters(clusters, gloss(), { onProgress: progress => seen.push(progress) });
    expect(seen.map(({ done }) => done)).toEqual(clusters.map((_, k) => k + 1));
    expect(seen.at(-1)).toEqual({ done: 12, total: 12, requests: 36, withoutPhrases: 0 });
  });

  it('sends nothing when a finished run is resumed, and only the rest when a killed one is', async () => {
    const path = join(folder, 'cache.jsonl');
    const first = await cached(await open(late), path);
    const before = await promptClusters(clusters, first);
    await first.dispose();
    expect(server?.received).toHaveLength(36);
    await server?.close();
    // The place is part of the key, so the second server takes the first one's port.
    const port = Number(new URL(server!.baseUrl).port);
    const lines = (await readFile(path, 'utf8')).split('\n');
    for (const kept of [36, 20]) {
      await writeFile(path, `${lines.slice(0, kept).join('\n')}\n${kept < 36 ? '{"model":"openai:tiny@ht' : ''}`);
      server = await chatServer(late, port);
      const model = openAiCompatible({ model: 'tiny', baseUrl: server.baseUrl, environment: {} });
      const again = await cached(model, path);
      const after = await promptClusters(clusters, again, { concurrency: 2 });
      await again.dispose();
      expect(server.received).toHaveLength(36 - kept);
      expect(after).toEqual(before);
      await server.close();
    }
  });

  it('is replayed from the exchanges that it gave back', async () => {
    const recorded = await promptClusters(clusters, await open(late));
    const path = join(folder, 'prompts.jsonl');
    const exchanges = recorded.clusters.flatMap(of => of.exchanges);
    await writeFile(path, exchanges.map(exchange => `${JSON.stringify(exchange)}\n`).join(''));
    const replayed = await promptClusters(clusters, await replay(path));
    expect(replayed.clusters.map(of => of.candidates)).toEqual(recorded.clusters.map(of => of.candidates));
    const other = await promptClusters([...clusters, [{ name: 'ash', meanings: [] }]], await replay(path));
    expect(other.failure).toBeUndefined();
    expect(other.clusters[12].failure?.code).toBe('LLM_NOT_RECORDED');
    expect(other.clusters[11].candidates[0].phrases.length).toBeGreaterThan(0);
  });

  it('keeps what it has when the budget ends', async () => {
    const model = await open(late, { budget: createBudget(15) });
    const { clusters: found, failure } = await promptClusters(clusters, model, { concurrency: 1 });
    expect(failure?.code).toBe('LLM_BUDGET');
    expect(found.map(({ candidates }) => candidates[0].phrases.length > 0)).toEqual(clusters.map((_, k) => k < 5));
    expect(found[11].candidates[0].fallback).toContain('budget of 15');
    expect(server?.received).toHaveLength(15);
  });

  it('asks a wrong key once, and says so once a cluster', async () => {
    const model = await open(response => sendJson(response, 401, { error: { message: 'no' } }));
    const { clusters: found, failure } = await promptClusters(clusters, model, { concurrency: 1 });
    expect(failure?.code).toBe('LLM_AUTH');
    expect(server?.received).toHaveLength(1);
    expect(found).toHaveLength(12);
    expect(found[0].problems).toEqual([failure?.message]);
    expect(found[11].problems).toEqual(['not asked, as the text model had failed before']);
  });

  it('leaves a server alone that died half-way', async () => {
    const model = await open((response, request, n) => {
      if (n < 9) say(response, goodAnswer(request));
      else sendJson(response, 503, {});
    });
    const { clusters: found, failure } = await promptClusters(clusters, model, { concurrency: 1 });
    expect(failure?.code).toBe('LLM_SERVER');
    expect(found.map(({ candidates }) => candidates[0].phrases.length > 0)).toEqual(clusters.map((_, k) => k < 3));
    // Three clusters are tried, each request once more, and the other six are not.
    expect(server?.received).toHaveLength(9 + 3 * 2);
  });

  it('loses the one cluster that a server will not answer', async () => {
    const model = await open((response, request) => {
      if (labelsOf(request)[0] === 'oak 4') sendJson(response, 400, { error: { message: 'content policy' } });
      else say(response, goodAnswer(request));
    });
    const { clusters: found, failure } = await promptClusters(clusters, model);
    expect(failure).toBeUndefined();
    expect(found.map(({ failure: one }) => one?.code)).toEqual(
      clusters.map((_, k) => (k === 4 ? 'LLM_REFUSED' : undefined)),
    );
  });

  it('does not wait out a slow request once the model has failed', async () => {
    const model = await open(
      (response, _, n) => {
        if (n === 1) sendJson(response, 401, {});
      },
      { timeoutMs: 30_000 },
    );
    const started = Date.now();
    const { clusters: found, failure } = await promptClusters(clusters, model, { concurrency: 2 });
    expect(failure?.code).toBe('LLM_AUTH');
    expect(found.every(({ candidates }) => candidates.every(({ fallback }) => fallback === failure?.message))).toBe(
      true,
    );
    expect(Date.now() - started).toBeLessThan(5000);
  });

  it('stops with the reason of its signal', async () => {
    const model = await open(() => {}, { timeoutMs: 30_000 });
    const reason = new Error('enough');
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 50);
    await expect(promptClusters(clusters, model, { signal: controller.signal })).rejects.toBe(reason);
  });

  it('does with no clusters, and refuses a concurrency that is none', async () => {
    expect(await promptClusters([], gloss())).toEqual({ clusters: [], requests: 0 });
    await expect(promptClusters(clusters, gloss(), { concurrency: 0 })).rejects.toMatchObject({
      code: 'PROMPT_OPTION',
    });
  });
});
