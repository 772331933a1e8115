/** An exported run gives the labels of `s3a predict` in a browser: transformers.js with ONNX Runtime Web in headless Chromium. */
import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromium, whilePageIsOpen } from './browser/chromium.ts';
import { agreement, blocksOf, type Exported, makeExport, TEMPLATE } from './export-fixture.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

const SETS = [
  { dtype: 'fp32', set: 'sized', share: 1 },
  { dtype: 'fp16', set: 'sized', share: 1 },
  // 8 bits move an image that lies between two names; and so does the canvas, which does not resize as Pillow does.
  { dtype: 'q8', set: 'sized', share: 0.9 },
  { dtype: 'fp32', set: 'images', share: 0.8 },
] as const;

interface Found {
  error?: string;
  results: { pipeline: string[]; prototypes: string[] }[];
  printed: string[];
}

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.png': 'image/png',
};

/** Where the file of a URL lies; undefined outside the folders that are served. */
function pathOf(url: string, folder: string): string | undefined {
  if (url === '/') return join(root, 'test/browser/labels.html');
  if (url === '/photo.png') return join(folder, 'photo.png');
  const path = normalize(url);
  if (path.startsWith('/node_modules/')) return join(root, path);
  if (path.startsWith('/models/')) return join(folder, path.slice('/models/'.length));
  return /^\/(images|sized)\//.test(path) ? join(folder, path) : undefined;
}

async function sendFile(path: string | undefined, response: ServerResponse): Promise<void> {
  const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
  if (path === undefined || !found?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  const type = TYPES[extname(path)] ?? 'application/octet-stream';
  response.writeHead(200, { 'content-type': type, 'content-length': found.size });
  createReadStream(path).pipe(response);
}

/** Opens the page with its task and waits for its result. */
async function runPage(folder: string, task: object, snippet: string): Promise<Found> {
  let take: (result: Found) => void;
  const result = new Promise<Found>(resolve => {
    take = resolve;
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = decodeURIComponent((request.url ?? '/').split('?')[0]);
    if (url === '/result') {
      const chunks = (await request.toArray()) as Buffer[];
      response.end();
      take(JSON.parse(Buffer.concat(chunks).toString('utf8')) as Found);
    } else if (url === '/task.json') response.end(JSON.stringify(task));
    else if (url === '/snippet.js') response.writeHead(200, { 'content-type': TYPES['.js'] }).end(snippet);
    else await sendFile(pathOf(url, folder), response);
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve));
  try {
    return await whilePageIsOpen(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, result, 180);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

describe.skipIf(!chromium)('headless Chromium (needs `chromium`, or S3A_CHROMIUM with its path)', () => {
  let made: Exported;
  let found: Found;
  beforeAll(async () => {
    made = await makeExport();
    const snippets = (await blocksOf('export.md', 'js')).filter(block => block.includes("device: 'wasm'"));
    expect(snippets.length).toBe(1);
    const sets = SETS.map(({ dtype, set }) => ({
      dtype,
      urls: made.predictions.map(({ file_name }) => `/${set}/${file_name}`),
    }));
    const task = { sets, names: made.names, template: TEMPLATE, snippet: '/snippet.js' };
    found = await runPage(made.folder, task, snippets[0]);
  }, 300_000);
  afterAll(() => rm(made.folder, { recursive: true, force: true }));

  it('loads the model without an error', () => {
    expect(found.error).toBeUndefined();
  });

  it.each(SETS.map((set, i) => ({ ...set, i })))('$dtype, $set: labels as s3a predict', ({ set, share, i }) => {
    const wanted = set === 'sized' ? made.sized : made.predictions;
    expect(agreement(found.results[i].pipeline, wanted)).toBeGreaterThanOrEqual(share);
    expect(agreement(found.results[i].prototypes, wanted)).toBeGreaterThanOrEqual(share);
  });

  it('runs the snippet of docs/export.md', () => {
    expect(found.printed).toEqual([made.predictions[0].label]);
  });
});
