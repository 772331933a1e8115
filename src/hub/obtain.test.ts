/** A name becomes a folder: which files come, where they lie, and what the cache is good for without a network. */
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commitOf, type Fixture, fixture, IMPATIENT, MODELS } from '../../test/hub-fixture.ts';
import { gitSha1, sha256 } from '../../test/hub-server.ts';
import type { S3aError } from '../errors.ts';
import { filesIn } from './cache.ts';
import { type DownloadProgress, type ModelPlace, type ResolveOptions, resolveModel } from './index.ts';

let at: Fixture;
beforeEach(async () => {
  at = await fixture();
});
afterEach(() => at.close());

function get(spec: string, options: ResolveOptions = {}): Promise<ModelPlace> {
  return resolveModel(spec, { env: at.env, patience: IMPATIENT, ...options });
}

async function failure(spec: string, options: ResolveOptions = {}): Promise<S3aError> {
  const error = await get(spec, options).then(
    () => undefined,
    (thrown: S3aError) => thrown,
  );
  expect(error).toMatchObject({ name: 'S3aError' });
  // One line each.
  expect(`${error?.message}${error?.hint}`).not.toMatch(/[\r\n]/);
  return error as S3aError;
}

async function namesIn(folder: string): Promise<string[]> {
  return [...(await filesIn(folder)).keys()].sort();
}

/** Whether a file is the one that the hub has; a comparison of large buffers by `toEqual` takes seconds. */
async function same(folder: string, name: string): Promise<boolean> {
  return clip[name].equals(await readFile(join(folder, name)));
}

const clip = MODELS['acme/clip'];
const commit = commitOf('acme/clip');

describe('files', () => {
  test('the best weights, configs and the tokenizer, and nothing else', async () => {
    const place = await get('acme/clip');
    expect(place).toEqual({
      folder: join(at.home, 'hub', 'models--acme--clip', 'snapshots', commit),
      weights: 'model.safetensors',
      repo: 'acme/clip',
      revision: commit,
    });
    const names = [
      'config.json',
      'model.safetensors',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ];
    expect(await namesIn(place.folder)).toEqual(names);
    for (const name of names) expect(await same(place.folder, name)).toBe(true);
  });

  test.each<[string, string | undefined, string[]]>([
    [
      'acme/sharded',
      'model.safetensors.index.json',
      [
        'config.json',
        'merges.txt',
        'model-00001-of-00002.safetensors',
        'model-00002-of-00002.safetensors',
        'model.safetensors.index.json',
        'vocab.json',
      ],
    ],
    [
      'acme/pickled',
      'pytorch_model.bin',
      ['config.json', 'pytorch_model.bin', 'tokenizer.json', 'tokenizer_config.json'],
    ],
    [
      'timm/vit_base_patch32_clip_224.openai',
      'open_clip_model.safetensors',
      ['config.json', 'open_clip_config.json', 'open_clip_model.safetensors'],
    ],
    [
      'acme/browser',
      undefined,
      [
        'config.json',
        'onnx/text_model.onnx',
        'onnx/vision_model.onnx',
        'onnx/vision_model.onnx_data',
        'tokenizer.json',
        'tokenizer_config.json',
      ],
    ],
  ])('of %s', async (repo, weights, names) => {
    const place = await get(repo);
    expect(place.weights).toBe(weights);
    expect(await namesIn(place.folder)).toEqual(names);
  });

  test('a name of open_clip brings its architecture and its kind of weights', async () => {
    expect(await get('ViT-B/32', { pretrained: 'OpenAI' })).toMatchObject({
      repo: 'timm/vit_base_patch32_clip_224.openai',
      weights: 'open_clip_model.safetensors',
      architecture: 'ViT-B-32-quickgelu',
    });
  });

  test('a tokenizer that open_clip keeps in another repository comes along', async () => {
    const place = await get('ViT-L-16-SigLIP-256', { pretrained: 'webli' });
    expect(place).toMatchObject({ weights: 'open_clip_pytorch_model.bin', architecture: 'ViT-L-16-SigLIP-256' });
    expect(await namesIn(place.tokenizer ?? '')).toEqual(['tokenizer.json', 'tokenizer_config.json']);
    // And without a network, too.
    const again = await get('ViT-L-16-SigLIP-256', { pretrained: 'webli', env: { ...at.env, HF_HUB_OFFLINE: '1' } });
    expect(again).toEqual(place);
  });

  test('the address of one file brings that file', async () => {
    const place = await get(`${at.hub.url}/acme/clip/blob/main/pytorch_model.bin`);
    expect(place.weights).toBe('pytorch_model.bin');
    expect(await namesIn(place.folder)).not.toContain('model.safetensors');
  });

  test('a model of another kind is refused before its weights come', async () => {
    at.hub.repos.set('acme/clip', { files: { ...clip, 'config.json': Buffer.from('{"model_type": "bert"}') }, commit });
    expect(await failure('acme/clip')).toMatchObject({
      code: 'MODEL',
      message: 'acme/clip is no CLIP or SigLIP: the model_type of its config.json is bert',
    });
    expect(at.hub.requests.filter(({ path }) => path.includes('model.safetensors'))).toEqual([]);
  });

  test('entries of the list that no disk should hold are left out', async () => {
    const entry = { type: 'file', oid: '0'.repeat(40), size: 3 };
    at.hub.extraEntries = [
      { ...entry, path: '../../escape' },
      { ...entry, path: '/etc/passwd' },
      { ...entry, path: 'a\\..\\config.json' },
      { ...entry, path: 'config.json', size: -1 },
      { ...entry, path: 'config.json', size: 1e300 },
      { type: 'directory', path: 'onnx' },
      null,
      'config.json',
    ];
    expect((await get('acme/clip')).weights).toBe('model.safetensors');
  });

  test('a config of a size that no config has is not downloaded', async () => {
    at.hub.extraEntries = [{ type: 'file', oid: '0'.repeat(40), size: 10e9, path: 'tokenizer.json' }];
    const { 'tokenizer.json': _, ...files } = clip;
    at.hub.repos.set('acme/clip', { files, commit });
    expect((await failure('acme/clip')).message).toBe(
      'acme/clip lists tokenizer.json with 10000000000 bytes, which is no tokenizer.json',
    );
  });

  test('a long list comes in pages, and an endless one is given up', async () => {
    at.hub.pageSize = 2;
    expect((await get('acme/clip')).weights).toBe('model.safetensors');
    at.hub.intercept = ({ path }, response) => {
      if (!path.includes('/tree/')) return false;
      response.writeHead(200, {
        link: `<${at.hub.url}${path.split('?')[0]}?cursor=${at.hub.requests.length}>; rel="next"`,
      });
      response.end('[]');
      return true;
    };
    expect((await failure('acme/sharded')).message).toContain('it lists too many files');
  });

  test.each([
    ['names a file outside', { a: '../../secret.safetensors' }],
    ['names no file', {}],
    ['names something else', { a: 7 }],
  ])('an index of shards that %s is refused', async (_, weight_map) => {
    const files = {
      ...MODELS['acme/sharded'],
      'model.safetensors.index.json': Buffer.from(JSON.stringify({ weight_map })),
    };
    at.hub.repos.set('acme/sharded', { files, commit });
    expect(await failure('acme/sharded')).toMatchObject({
      code: 'MODEL',
      message: expect.stringContaining('model.safetensors.index.json is not an index of weights'),
    });
  });

  test('a repository without weights, or with a shard missing, says so', async () => {
    expect((await failure('acme/nothing')).message).toBe(
      'acme/nothing holds no weights of CLIP or SigLIP in a layout that s3a knows',
    );
    const { 'model-00002-of-00002.safetensors': _, ...files } = MODELS['acme/sharded'];
    at.hub.repos.set('acme/sharded', { files, commit });
    expect((await failure('acme/sharded')).message).toBe(
      'acme/sharded lacks model-00002-of-00002.safetensors, which its model.safetensors.index.json names',
    );
  });
});

describe('cache', () => {
  const repo = (...parts: string[]): string => join(at.home, 'hub', 'models--acme--clip', ...parts);

  test('is laid out as huggingface_hub lays it out', async () => {
    await get('acme/clip');
    expect(await readlink(repo('snapshots', commit, 'config.json'))).toBe(
      `../../blobs/${gitSha1(clip['config.json'])}`,
    );
    expect(await readlink(repo('snapshots', commit, 'model.safetensors'))).toBe(
      `../../blobs/${sha256(clip['model.safetensors'])}`,
    );
    expect(await readFile(repo('refs', 'main'), 'utf8')).toBe(commit);
    expect((await readdir(repo('blobs'))).filter(name => !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name))).toEqual([]);
    expect(await readdir(join(at.home, 'hub', '.locks', 'models--acme--clip'))).toEqual([]);
    // Deeper files point further up.
    const { folder } = await get('acme/browser');
    expect(await readlink(join(folder, 'onnx', 'text_model.onnx'))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
  });

  test('works without symbolic links', async () => {
    const env = { ...at.env, HF_HUB_DISABLE_SYMLINKS: '1' };
    const { folder } = await get('acme/clip', { env });
    expect((await lstat(join(folder, 'model.safetensors'))).isFile()).toBe(true);
    expect(await same(folder, 'model.safetensors')).toBe(true);
    const before = at.hub.requests.length;
    await get('acme/clip', { env: { ...env, HF_HUB_OFFLINE: '1' } });
    expect(at.hub.requests.length).toBe(before);
  });

  test('serves again without downloading, and other commits with the same content without downloading', async () => {
    await get('acme/clip');
    at.hub.requests.length = 0;
    await get('acme/clip');
    // One question each: the commit, and its files.
    expect(at.hub.requests.map(({ path }) => path.split('?')[0])).toEqual([
      '/api/models/acme/clip/revision/main',
      `/api/models/acme/clip/tree/${commit}`,
    ]);
    const next = commitOf('next');
    at.hub.repos.set('acme/clip', {
      files: { ...clip, 'config.json': Buffer.from('{"model_type": "clip"}') },
      commit: next,
    });
    at.hub.requests.length = 0;
    expect((await get('acme/clip')).revision).toBe(next);
    expect(at.hub.requests.filter(({ origin }) => origin === 'cdn')).toEqual([]);
    expect(await readFile(repo('refs', 'main'), 'utf8')).toBe(next);
  });

  test('a commit that is there is not asked about', async () => {
    await get('acme/clip');
    at.hub.requests.length = 0;
    expect((await get(`acme/clip@${commit}`)).revision).toBe(commit);
    expect(at.hub.requests).toEqual([]);
  });

  test('keeps branches with a slash, tags and commits', async () => {
    at.hub.repos.set('acme/clip', { files: clip, commit, revisions: ['refs/pr/1', 'v1.0', commit.slice(0, 7)] });
    for (const revision of ['refs/pr/1', 'v1.0', commit.slice(0, 7), commit]) {
      expect((await get(`acme/clip@${revision}`)).revision).toBe(commit);
    }
    expect(await readFile(repo('refs', 'refs', 'pr', '1'), 'utf8')).toBe(commit);
    expect((await get('hf-hub:acme/clip@v1.0', { env: { ...at.env, HF_HUB_OFFLINE: '1' } })).revision).toBe(commit);
  });

  test('another form of the weights that is there is used instead of a download', async () => {
    await get(`${at.hub.url}/acme/clip/blob/main/pytorch_model.bin`);
    at.hub.requests.length = 0;
    expect((await get('acme/clip')).weights).toBe('pytorch_model.bin');
    expect(at.hub.requests.filter(({ origin }) => origin === 'cdn')).toEqual([]);
  });

  test('ONNX files of 8 bits that are there do not stand in for the weights', async () => {
    const coarse = {
      'onnx/vision_model_quantized.onnx': Buffer.alloc(9),
      'onnx/text_model_quantized.onnx': Buffer.alloc(8),
    };
    const { 'model.safetensors': _, 'pytorch_model.bin': __, ...small } = clip;
    at.hub.repos.set('acme/clip', { files: { ...small, ...coarse }, commit });
    const { folder } = await get('acme/clip');
    at.hub.repos.set('acme/clip', { files: { ...clip, ...coarse }, commit });
    expect((await get(`acme/clip@${commit}`)).weights).toBe('model.safetensors');
    await rm(join(folder, 'model.safetensors'));
    // Without a network they are better than nothing.
    expect((await get('acme/clip', { env: { ...at.env, HF_HUB_OFFLINE: '1' } })).weights).toBe(undefined);
  });

  test('a broken link, a blob that lost its end, and a missing small file are mended', async () => {
    const { folder } = await get('acme/clip');
    await rm(join(folder, 'tokenizer.json'));
    await truncate(repo('blobs', sha256(clip['model.safetensors'])), 1000);
    await rm(repo('blobs', gitSha1(clip['config.json'])));
    await get('acme/clip');
    for (const name of ['tokenizer.json', 'model.safetensors', 'config.json']) {
      expect(await same(folder, name)).toBe(true);
    }
  });

  test.skipIf(process.getuid?.() === 0)('that cannot be written is one line', async () => {
    await mkdir(join(at.home, 'hub'));
    await chmod(join(at.home, 'hub'), 0o500);
    expect(await failure('acme/clip')).toMatchObject({ code: 'WRITE', hint: expect.stringContaining('HF_HOME') });
    await chmod(join(at.home, 'hub'), 0o700);
  });

  test('that is a file is one line', async () => {
    await writeFile(join(at.home, 'hub'), '');
    expect(await failure('acme/clip')).toMatchObject({ code: 'WRITE', hint: expect.stringContaining('HF_HOME') });
  });
});

describe('without a network', () => {
  const offline = (): ResolveOptions => ({ env: { ...at.env, HF_HUB_OFFLINE: '1' } });

  test('a complete copy is used without any request', async () => {
    const place = await get('acme/clip');
    at.hub.requests.length = 0;
    expect(await get('acme/clip', offline())).toEqual(place);
    expect(at.hub.requests).toEqual([]);
  });

  test('what is missing is named', async () => {
    expect((await failure('acme/clip', offline())).message).toBe(
      `acme/clip@main is not in ${join(at.home, 'hub')}, and HF_HUB_OFFLINE is set`,
    );
    const { folder } = await get('acme/sharded');
    await rm(join(folder, 'model-00002-of-00002.safetensors'));
    expect((await failure('acme/sharded', offline())).message).toBe(
      'the cached copy of acme/sharded lacks model-00002-of-00002.safetensors, and HF_HUB_OFFLINE is set',
    );
    const whole = await get('acme/clip');
    await rm(join(whole.folder, 'model.safetensors'));
    expect((await failure('acme/clip', offline())).message).toContain('lacks its weights, such as model.safetensors');
    await rm(join(whole.folder, 'config.json'));
    expect((await failure('acme/clip', offline())).message).toContain('lacks config.json');
  });

  test('a copy is used when the hub does not answer, with a word about it', async () => {
    const place = await get('acme/clip');
    await at.hub.close();
    const warnings: string[] = [];
    expect(await get('acme/clip', { onWarning: message => warnings.push(message) })).toEqual(place);
    expect(warnings).toEqual([
      `cannot reach ${at.hub.url} (ECONNREFUSED) for acme/clip; using the copy of acme/clip in the cache`,
    ]);
  });

  test.each([500, 503, 401, 403, 429])('a copy is used when the hub answers %i', async status => {
    const place = await get('acme/clip');
    at.hub.intercept = (_, response) => {
      response.writeHead(status).end();
      return true;
    };
    const warnings: string[] = [];
    expect(await get('acme/clip', { onWarning: message => warnings.push(message) })).toEqual(place);
    expect(warnings).toHaveLength(1);
  });

  test('an older copy is used when the new one cannot be downloaded', async () => {
    const place = await get('acme/clip');
    const files = { ...clip, 'model.safetensors': Buffer.alloc(1000, 1) };
    at.hub.repos.set('acme/clip', { files, commit: commitOf('next') });
    at.hub.sending = () => ({ cutAfter: 0 });
    expect(await get('acme/clip')).toEqual(place);
    expect(await get('acme/clip', offline())).toEqual(place);
  });

  test('a hub that cannot be reached says how to do without', async () => {
    await at.hub.close();
    const { code, message, hint } = await failure('acme/clip');
    expect([code, message]).toEqual(['HUB_UNREACHABLE', `cannot reach ${at.hub.url} (ECONNREFUSED) for acme/clip`]);
    expect(hint).toBe(
      'Without the hub: put config.json, tokenizer.json, preprocessor_config.json and model.safetensors of acme/clip ' +
        'into a folder, and give that folder with --model; --model demo needs no network.',
    );
    expect(
      (await failure('acme/clip', { env: { ...at.env, HF_ENDPOINT: 'http://no-such-host.invalid' } })).message,
    ).toMatch(/^cannot reach http:\/\/no-such-host\.invalid \((ENOTFOUND|EAI_AGAIN)\) for acme\/clip$/);
  });
});

describe('on this machine', () => {
  test('a folder or a file wins over the hub', async () => {
    const folder = join(at.home, 'mine');
    await mkdir(folder);
    await writeFile(join(folder, 'weights.pt'), '');
    expect(await get(folder)).toEqual({ folder });
    expect(await get(`local-dir:${folder}`)).toEqual({ folder });
    expect(await get(join(folder, 'weights.pt'))).toEqual({ folder, weights: 'weights.pt' });
    expect(await get('ViT-B-16', { pretrained: join(folder, 'weights.pt') })).toEqual({
      folder,
      weights: 'weights.pt',
      architecture: 'ViT-B-16',
    });
    expect((await get('ViT-L/14@336px', { pretrained: folder })).architecture).toBe('ViT-L-14-336');
    // A link to a folder is one.
    await symlink(folder, join(at.home, 'link'));
    expect(await get(join(at.home, 'link'))).toEqual({ folder: join(at.home, 'link') });
    expect(at.hub.requests).toEqual([]);
  });

  test.each(['./nothing', '/nothing/here', '~/no such folder', 'a/b/c', 'model.safetensors', 'models/', '..\\x'])(
    '%s is a path that does not exist',
    async spec => {
      expect(await failure(spec)).toMatchObject({ code: 'MODEL', message: `there is no file or folder ${spec}` });
      expect(at.hub.requests).toEqual([]);
    },
  );

  test('a name of the hub that ends as a file does is one with hf-hub:', async () => {
    at.hub.repos.set('acme/clip.onnx', { files: clip, commit });
    expect(await failure('acme/clip.onnx')).toMatchObject({ message: 'there is no file or folder acme/clip.onnx' });
    expect((await get('hf-hub:acme/clip.onnx')).repo).toBe('acme/clip.onnx');
  });

  test('names that are none say what was meant', async () => {
    expect(await failure('clip-vit-base-patch16')).toMatchObject({
      hint: 'Did you mean openai/clip-vit-base-patch16?',
    });
    expect((await failure('ViT-B-32')).hint).toMatch(
      /^Give one of these with --pretrained: openai, .*metaclip_fullcc\.$/,
    );
    expect((await failure('ViT-B-16-SigLIP', { pretrained: 'laion2b' })).hint).toBe(
      'Give one of these with --pretrained: webli.',
    );
    expect(await failure('acme/clip', { pretrained: 'openai' })).toMatchObject({ code: 'CONFIG' });
    expect(await failure('acme/clip@a..b/../c')).toMatchObject({ code: 'MODEL' });
    expect(at.hub.requests).toEqual([]);
  });
});

test('progress begins with the size of the whole download and ends with all of it', async () => {
  const seen: DownloadProgress[] = [];
  await get('acme/sharded', { onProgress: progress => seen.push(progress) });
  expect(seen[0]).toMatchObject({ repo: 'acme/sharded', done: 0, total: expect.any(Number) });
  expect(new Set(seen.map(({ total }) => total)).size).toBe(1);
  expect(seen.at(-1)).toMatchObject({ done: seen[0].total });
  expect(seen[0].total).toBeGreaterThanOrEqual(3000);
  expect((await stat(join(at.home, 'hub'))).isDirectory()).toBe(true);
  seen.length = 0;
  await get('acme/sharded', { onProgress: progress => seen.push(progress) });
  expect(seen).toEqual([]);
});
