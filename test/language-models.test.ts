/** Whole runs that ask a language model: what is sent, what is kept, and what a failure costs. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { promptClusters } from '../src/discover/prompt-clusters.ts';
import { discover, type RunEvent, runStep } from '../src/index.ts';
import { readJson } from '../src/io/json.ts';
import { readJsonl } from '../src/io/jsonl.ts';
import { gguf } from '../src/llm/gguf.ts';
import { openAiCompatible } from '../src/llm/openai-compatible.ts';
import { estimateBound, estimateRun } from '../src/run/prompt-estimate.ts';
import { type ChatServer, chatServer, goodAnswer, type Handler, say, sendJson } from './chat-server.ts';
import { drawImages } from './drawn-images.ts';
import { importNodeLlamaCpp } from './node-llama-cpp.ts';
import { writeTinyGguf } from './tiny-gguf.ts';

// The embedded model tells the drawn shapes apart, so that there are several clusters to ask about.
const model = 'demo';
const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
const vocabulary = [
  ...[
    'disc: round, filled',
    'square: four corners',
    'stripes: lines',
    'ring: round, hollow',
    'cloud',
    'tree: green leaves',
  ],
  ...[
    'apple: red or green fruit',
    'ball: round toy',
    'window: glass in a frame',
    'flag: coloured cloth',
    'fish',
    'cat',
  ],
  ...['button: small round fastener', 'moon: pale in the night', 'sun: yellow disc', 'dog', 'book', 'door', 'wheel'],
];
const kept = { method: 's3a', llm: 'openai', llmModel: 'tiny', model, k: 8, nInit: 2, threads: 1, workers: 0 } as const;

let folder: string;
let server: ChatServer | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-zq-llm-'));
  // Every name that is this machine's or the user's own holds zq, which no word of the vocabulary does.
  await drawImages(join(folder, 'zqholiday in xanadu'), 40);
  for (const name of await readdir(join(folder, 'zqholiday in xanadu'))) {
    await rename(join(folder, 'zqholiday in xanadu', name), join(folder, 'zqholiday in xanadu', `IMG_zq${name}`));
  }
  await writeFile(join(folder, 'zqnames.txt'), vocabulary.join('\n'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open = async (handler: Handler, port = 0): Promise<string> => {
  server = await chatServer(handler, port);
  return server.baseUrl;
};
const good: Handler = (response, request) => say(response, goodAnswer(request));
const options = (run: string, llmBaseUrl: string) => ({
  ...kept,
  images: join(folder, 'zqholiday in xanadu'),
  vocab: join(folder, 'zqnames.txt'),
  out: join(folder, run),
  llmBaseUrl,
});
const phrasesOf = (run: string): Promise<string> => readFile(join(folder, run, 'phrases.json'), 'utf8');
const labelsOf = (run: string): Promise<string> => readFile(join(folder, run, 'labels.csv'), 'utf8');
const stageOf = async (run: string): Promise<Record<string, unknown>> => {
  const manifest = (await readJson(join(folder, run, 'manifest.json'))) as {
    stages: Record<string, { info: Record<string, unknown> }>;
  };
  return manifest.stages.prompt.info;
};

/** The command line in a process of its own, whose environment has names of the user's in it. */
function spawnDiscover(run: string, baseUrl: string, more: readonly string[] = []) {
  const args = ['discover', 'zqholiday in xanadu', '--model', model, '--vocab', 'zqnames.txt', '--out', run];
  args.push(
    '--method',
    's3a',
    '--k',
    '8',
    '--n-init',
    '2',
    '--threads',
    '1',
    '--workers',
    '0',
    '--llm',
    'openai',
    '--llm-model',
    'tiny',
  );
  const home = join(folder, 'zqhome');
  const env = { PATH: process.env.PATH, HOME: home, USER: 'zquser', LOGNAME: 'zquser', HOSTNAME: 'zqhost' };
  const child = spawn(process.execPath, [main, ...args, '--llm-base-url', baseUrl, ...more], { cwd: folder, env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (output += text));
  const ended = new Promise<string>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0 || signal === 'SIGKILL') resolve(output);
      else reject(new Error(`exit ${code}: ${output}`));
    });
  });
  return { child, ended };
}

describe('what is sent', () => {
  it('is names and glosses: no file, folder, run, user, host or machine, in any byte', async () => {
    const baseUrl = await open(good);
    const chunks: Buffer[] = [];
    const sockets = new Set<Socket>();
    const relay: Server = createServer(socket => {
      const onward = connect(Number(new URL(baseUrl).port), '127.0.0.1');
      socket.on('data', chunk => chunks.push(chunk));
      socket.pipe(onward).pipe(socket);
      for (const each of [socket, onward]) sockets.add(each.on('error', () => {}));
    });
    await new Promise<void>(resolve => relay.listen(0, '127.0.0.1', resolve));
    const { port } = relay.address() as { port: number };
    await mkdir(join(folder, 'zqhome'), { recursive: true });
    await spawnDiscover('zqrun', `http://127.0.0.1:${port}/v1`, ['--quiet']).ended;
    relay.close();
    for (const socket of sockets) socket.destroy();

    const bytes = Buffer.concat(chunks).toString('latin1');
    expect(bytes).toContain('concept: square\\ngloss: four corners');
    expect(bytes.toLowerCase()).not.toContain('zq');
    for (const own of [tmpdir(), folder, hostname(), process.version, process.execPath, 'xanadu', '.png']) {
      expect(bytes).not.toContain(own);
      expect(bytes).not.toContain(Buffer.from(own).toString('base64').replace(/=+$/, '').slice(0, -1));
    }

    const headers = ['accept', 'accept-encoding', 'accept-language', 'connection', 'content-length', 'content-type'];
    headers.push('host', 'sec-fetch-mode', 'user-agent');
    // What may be said about the names, apart from their own words.
    const said = new Set<string>();
    for (const { headers: sent, body } of server!.received) {
      expect(headers).toEqual(expect.arrayContaining(Object.keys(sent)));
      expect(sent['user-agent']).toMatch(/^OpenAI\/JS [\d.]+$/);
      const fields = ['max_tokens', 'messages', 'model', 'response_format', 'seed', 'temperature'];
      expect(Object.keys(body).sort()).toEqual(fields);
      for (const line of body.messages.at(-1)!.content.split('\n')) said.add(line);
    }
    const known = vocabulary.flatMap(line => {
      const [name, gloss] = line.split(': ');
      return [`concept: ${name}`, ...(gloss ? [`gloss: ${gloss}`] : [])];
    });
    expect(['', ...known]).toEqual(expect.arrayContaining([...said]));
  }, 120_000);
});

describe('with --method auto', () => {
  it('is asked about the groups whose candidates are close, and about no other', async () => {
    const baseUrl = await open(good);
    const auto = { ...options('auto', baseUrl), method: 'auto', llmRepeats: 1 } as const;
    const { stages } = await discover(auto);
    const votes = (await readJson(join(folder, 'auto', 'votes.json'))) as { scores: number[] }[];
    const close = votes.filter(({ scores: [first, second = 0] }) => second > 0.5 * first).length;
    expect(close).toBeGreaterThan(0);
    expect(close).toBeLessThan(votes.length);
    expect(stages.prompt.info).toMatchObject({ clusters: close });
    expect(server!.received.length).toBe(close);
    const none = await discover({ ...auto, promptMargin: 0, resume: true });
    expect(none.stages.prompt.info).toMatchObject({ clusters: 0, requests: 0 });
    expect(server!.received.length).toBe(close);
  }, 120_000);
});

describe('a run that is killed', () => {
  it('repeats no request that was answered, and ends as if nothing had been', async () => {
    const whole = options('whole', await open(good));
    await discover(whole);
    const all = server!.received.map(({ raw }) => raw);
    await server!.close();

    let held = 0;
    const answered: string[] = [];
    let kill = (): void => {};
    const baseUrl = await open((response, request) => {
      if (answered.length < 5) {
        answered.push(request.raw);
        return say(response, goodAnswer(request));
      }
      // Both workers wait now, so each has kept the answer that it got before.
      if (++held === 2) kill();
    });
    const first = spawnDiscover('killed', baseUrl, ['--llm-concurrency', '2', '--quiet']);
    kill = () => first.child.kill('SIGKILL');
    await first.ended;
    await server!.close();
    expect(answered).toHaveLength(5);
    expect(existsSync(join(folder, 'killed', 'phrases.json'))).toBe(false);

    await open(good, Number(new URL(baseUrl).port));
    await spawnDiscover('killed', baseUrl, ['--resume', '--quiet']).ended;
    const later = server!.received.map(({ raw }) => raw);
    expect(later.filter(raw => answered.includes(raw))).toEqual([]);
    expect([...answered, ...later].sort()).toEqual(all.sort());
    expect(await phrasesOf('killed')).toBe(await phrasesOf('whole'));
    expect(await labelsOf('killed')).toBe(await labelsOf('whole'));
    expect(await readJsonl(join(folder, 'killed', 'prompts.jsonl'))).toHaveLength(all.length);
    expect(existsSync(join(folder, 'killed', 'prompts-cache.jsonl'))).toBe(false);
  }, 180_000);
});

describe('a language model that fails', () => {
  it('costs nothing: the run goes on, says which clusters were realigned, and resumes when it is back', async () => {
    const baseUrl = await open((response, request, n) =>
      n < 4 ? good(response, request, n) : sendJson(response, 402, { error: { message: 'no credit' } }),
    );
    const events: RunEvent[] = [];
    const hooks = { onEvent: (event: RunEvent) => events.push(event) };
    const summary = await discover({ ...options('failed', baseUrl), llmConcurrency: 1 }, hooks);
    expect(summary.classes.reduce((n, { count }) => n + count, 0)).toBe(40);
    const clusters = Number(summary.stages.prompt.info!.clusters);
    expect(summary.stages.prompt.info).toMatchObject({
      realigned: '0',
      withoutPhrases: clusters - 1,
      failure: expect.stringContaining('no credit'),
    });
    expect(await stageOf('failed')).toEqual(summary.stages.prompt.info);
    const [warning] = events.flatMap(event => (event.type === 'warning' ? [event.message] : []));
    expect(warning).toContain(`1 of ${clusters} clusters are realigned by its phrases (clusters 0)`);
    const again = await spawnDiscover('failed', baseUrl, ['--resume', '--llm-concurrency', '1']).ended;
    expect(again).toContain(`of ${clusters} clusters were realigned: 0\n`);
    const { length } = server!.received;
    await server!.close();

    // The server is back: only what is missing is asked, and what follows is made anew.
    await open(good, Number(new URL(baseUrl).port));
    const resumed = await discover({ ...options('failed', baseUrl), resume: true });
    expect(server!.received).toHaveLength(3 * clusters - 4);
    expect(length).toBe(4 + 1 + 1);
    expect(resumed.stages.prompt.info).toEqual({
      clusters,
      requests: 3 * clusters,
      withoutPhrases: 0,
      realigned: `0-${clusters - 1}`,
    });
    expect(resumed.stages.vote.skipped).toBe(true);
    expect(resumed.stages.realign.skipped).toBe(false);
    await discover(options('never-failed', baseUrl));
    expect(await phrasesOf('failed')).toBe(await phrasesOf('never-failed'));
    expect(await labelsOf('failed')).toBe(await labelsOf('never-failed'));
  }, 180_000);

  it('for some clusters only is asked about these again on resume', async () => {
    let broken = true;
    const baseUrl = await open((response, request, n) => {
      if (broken && request.raw.includes('concept: book')) sendJson(response, 429, {}, { 'retry-after': '7200' });
      else void good(response, request, n);
    });
    const { info } = (await discover(options('partly', baseUrl))).stages.prompt;
    expect(info).toMatchObject({ withoutPhrases: 1, failure: expect.stringContaining('asked too often') });
    const { length } = server!.received;
    broken = false;
    const resumed = await discover({ ...options('partly', baseUrl), resume: true });
    expect(resumed.stages.prompt.info).not.toHaveProperty('failure');
    expect(server!.received.slice(length).map(({ raw }) => raw.includes('concept: book'))).toEqual([true, true, true]);
  }, 120_000);

  it('to say anything of use is a warning', async () => {
    const baseUrl = await open(response => say(response, 'I cannot help with that.'));
    const warnings: string[] = [];
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'warning') warnings.push(event.message);
    };
    const { stages, images } = await discover(options('useless', baseUrl), { onEvent });
    const clusters = Number(stages.prompt.info!.clusters);
    expect(images).toBe(40);
    expect(warnings).toEqual([
      `${clusters} of ${clusters} clusters keep the vote's names, as they got no phrases (no answer was usable)`,
    ]);
    expect(server!.received).toHaveLength(9 * clusters);
  }, 120_000);

  it('by being gone keeps what it said before', async () => {
    const baseUrl = await open((response, request, n) => {
      if (n < 6) return good(response, request, n);
      response.destroy();
      void server!.close();
    });
    const textModel = openAiCompatible({ model: 'tiny', baseUrl, retries: 2, backoffMs: 5, environment: {} });
    const clusters = ['oak', 'elm', 'fir', 'ash', 'yew', 'box'].map(name => [{ name, meanings: [] }]);
    const found = await promptClusters(clusters, textModel, { concurrency: 1 });
    expect(found.failure).toMatchObject({ code: 'LLM_UNREACHABLE', scope: 'model' });
    expect(found.clusters.map(({ candidates }) => candidates[0].phrases.length > 0)).toEqual(
      clusters.map((_, k) => k < 2),
    );
  }, 60_000);

  it('for want of a budget gets no more requests until the budget is raised', async () => {
    const baseUrl = await open(good);
    const limited = { ...options('limited', baseUrl), llmMaxRequests: 5, llmConcurrency: 1 };
    await discover(limited);
    expect(server!.received).toHaveLength(5);
    const events: RunEvent[] = [];
    await discover({ ...limited, resume: true }, { onEvent: event => events.push(event) });
    expect(server!.received).toHaveLength(5);
    expect(events.flatMap(event => (event.type === 'note' ? [event.message] : []))[0]).toMatch(/5 answers are kept/);
    await discover({ ...limited, llmMaxRequests: 7, resume: true });
    expect(server!.received).toHaveLength(7);
    const { info } = (await discover({ ...limited, llmMaxRequests: 100, resume: true })).stages.prompt;
    expect(info).toMatchObject({ withoutPhrases: 0 });
    expect(new Set(server!.received.map(({ raw }) => raw)).size).toBe(server!.received.length);
  }, 120_000);
});

describe('a language model that cannot be opened', () => {
  it.each([
    ['a file that is no model', { llm: 'gguf', llmModel: 'zqnames.txt' }, 'LLM_GGUF'],
    ['a recording that is not there', { llm: 'replay', llmReplay: 'nothing.jsonl' }, 'READ'],
    ['an address that is none', { llmBaseUrl: 'nowhere' }, 'LLM_CONFIG'],
  ] as const)('such as %s ends a run before the images are embedded', async (_, settings, code) => {
    const given = Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [key, /\./.test(value) ? join(folder, value) : value]),
    );
    const stages: string[] = [];
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'stage') stages.push(event.stage);
    };
    const out = join(folder, 'unopened');
    await expect(
      discover({ ...options('unopened', ''), llmBaseUrl: undefined, ...given, out }, { onEvent }),
    ).rejects.toMatchObject({ code });
    expect(stages).toEqual([]);
  });
});

describe('an estimate', () => {
  it('says before the first request how many there will be', async () => {
    const notes: string[] = [];
    const baseUrl = await open(good);
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'note') notes.push(`${server!.received.length}: ${event.message}`);
    };
    const { stages } = await discover(options('estimated', baseUrl), { onEvent });
    const clusters = Number(stages.prompt.info!.clusters);
    expect(server!.received).toHaveLength(3 * clusters);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(new RegExp(`^0: ${3 * clusters} to ${12 * clusters} requests for ${clusters} clusters; `));

    const { requests, tokens } = await estimateRun(join(folder, 'estimated'));
    expect(requests).toEqual({ least: 3 * clusters, most: 12 * clusters });
    // Four characters a token: of what was really sent, messages and schema, without the words of the protocol.
    const characters = server!.received
      .map(({ body }) => body.messages.map(({ content }) => content).join('') + JSON.stringify(body.response_format))
      .reduce((sum, text) => sum + text.length, 0);
    expect(Math.abs(tokens.input - characters / 4) / tokens.input).toBeLessThan(0.1);

    const bound = await estimateBound({ ...kept, vocab: join(folder, 'zqnames.txt'), llmBaseUrl: baseUrl });
    expect(bound).toMatchObject({ clusters: 8, bound: true, requests: { least: 24, most: 96 } });
    expect(bound.requests.least).toBeGreaterThanOrEqual(requests.least);
  }, 120_000);

  it('by --dry-run sends nothing and writes nothing', async () => {
    const baseUrl = await open(good);
    await runStep(join(folder, 'estimated'), 'vote');
    const before = await hashesOf(join(folder, 'estimated'));
    const dry = (...args: string[]) =>
      new Promise<string>((resolve, reject) => {
        const child = spawn(process.execPath, [main, ...args, '--dry-run'], { cwd: folder });
        let output = '';
        for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (output += text));
        child.on('error', reject).on('exit', () => resolve(output));
      });
    const llm = ['--llm', 'openai', '--llm-model', 'tiny', '--llm-base-url', baseUrl];
    const out = JSON.parse(await dry('prompt', 'estimated', '--llm-repeats', '5', ...llm, '--json')) as object;
    expect(out).toEqual(await estimateRun(join(folder, 'estimated'), { llmRepeats: 5 }));
    expect(await dry('prompt', 'estimated', '--k', '7')).toMatch(/k may change the vote/);
    expect(await dry('prompt', 'nothing-here')).toMatch(/there is no vote in nothing-here/);
    expect(await dry('discover', 'zqholiday in xanadu', '--vocab', 'zqnames.txt', '--k', '50', ...llm)).toMatch(
      // A seventh more clusters than --k, as auto has them.
      /^174 to 696 requests for at most 58 clusters; about [\d,]+ tokens to read and [\d,]+ to write/,
    );
    expect(await dry('fit', 'zqholiday in xanadu', '--model', 'demo', '--vocab', 'zqnames.txt', '--k', '50')).toMatch(
      /^gloss sends nothing; a language/,
    );
    expect(await hashesOf(join(folder, 'estimated'))).toEqual(before);
    expect(existsSync(join(folder, 'runs'))).toBe(false);
    expect(server!.received).toEqual([]);
  }, 120_000);
});

const installed = await importNodeLlamaCpp().then(
  () => true,
  () => false,
);
describe.skipIf(!installed)(`a GGUF model${installed ? '' : ' (skipped: node-llama-cpp is not installed)'}`, () => {
  it('gives phrases for every cluster', async () => {
    const path = join(folder, 'tiny.gguf');
    await writeTinyGguf(path);
    const textModel = await gguf({ path, load: importNodeLlamaCpp, threads: 1 });
    const clusters = [['oak', 'elm'], ['crane']].map(names =>
      names.map(name => ({ name, meanings: [{ id: name, gloss: `the gloss of ${name}` }] })),
    );
    const found = await promptClusters(clusters, textModel, { concurrency: 2 });
    await textModel.dispose?.();
    expect(found.failure).toBeUndefined();
    expect(found.clusters.flatMap(({ problems }) => problems)).toEqual([]);
    expect(found.clusters.every(({ candidates }) => candidates.every(({ phrases }) => phrases.length > 0))).toBe(true);
  }, 120_000);
});

async function hashesOf(root: string): Promise<string[]> {
  const files = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = files.filter(file => file.isFile()).map(file => join(file.parentPath, file.name));
  return Promise.all(
    paths.sort().map(
      async path =>
        `${path} ${createHash('sha256')
          .update(await readFile(path))
          .digest('hex')}`,
    ),
  );
}
