/** Every way in which a hub says no is one line with what to do, and no line shows a token. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Fixture, fixture, IMPATIENT } from '../../test/hub-fixture.ts';
import type { S3aError } from '../errors.ts';
import { type Environment, resolveModel } from './index.ts';

let at: Fixture;
beforeEach(async () => {
  at = await fixture();
});
afterEach(() => at.close());

async function failure(spec: string, more: Environment = {}): Promise<Pick<S3aError, 'code' | 'message' | 'hint'>> {
  const error: unknown = await resolveModel(spec, { env: { ...at.env, ...more }, patience: IMPATIENT }).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: 'S3aError' });
  const { code, message, hint } = error as S3aError;
  expect(`${message}${hint}`).not.toMatch(/[\r\n]|hf_/);
  return { code, message: message.replaceAll(at.hub.url, 'HUB'), hint: hint?.replaceAll(at.hub.url, 'HUB') };
}

test('a name that the hub does not know', async () => {
  expect(await failure('no/such')).toEqual({
    code: 'HUB_AUTH',
    message: 'there is no public model no/such@main, and no folder of that name',
    hint: 'Check the name and the revision at HUB/no/such; if the model is private or gated, set HF_TOKEN.',
  });
  expect((await failure('no/such', { HF_TOKEN: 'hf_stale' })).message).toBe(
    'there is no public model no/such@main, and no folder of that name; the token is refused',
  );
  at.hub.intercept = (_, response) => {
    response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
    return true;
  };
  expect(await failure('no/such')).toMatchObject({
    code: 'MODEL',
    message: 'there is no public model no/such@main, and no folder of that name',
  });
});

test('a revision and a file that are not there', async () => {
  expect(await failure('acme/clip@v9')).toEqual({
    code: 'MODEL',
    message: 'acme/clip has no revision v9',
    hint: 'Its branches and tags are listed at HUB/acme/clip.',
  });
  expect(await failure(`${at.hub.url}/acme/clip/blob/main/none.safetensors`)).toMatchObject({
    code: 'MODEL',
    message: 'the model has no file none.safetensors',
  });
  // The list has it, and the hub does not.
  at.hub.intercept = ({ method }, response) => {
    if (method !== 'HEAD') return false;
    response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    return true;
  };
  expect(await failure('acme/pickled')).toMatchObject({
    code: 'MODEL',
    message: 'acme/pickled has no file config.json',
  });
});

test('a gated model', async () => {
  const repo = at.hub.repos.get('acme/clip');
  if (repo) at.hub.repos.set('acme/clip', { ...repo, gated: true });
  expect(await failure('acme/clip')).toEqual({
    code: 'HUB_AUTH',
    message: 'acme/clip is gated, and no token is set',
    hint: 'Accept its terms at HUB/acme/clip and set HF_TOKEN to a token of that account.',
  });
  expect((await failure('acme/clip', { HF_TOKEN: 'hf_other' })).message).toBe(
    'acme/clip is gated, and the token gives no access',
  );
  const place = await resolveModel('acme/clip', { env: { ...at.env, HF_TOKEN: at.hub.token }, patience: IMPATIENT });
  expect(place.weights).toBe('model.safetensors');
});

test('a gated model whose list of files is public', async () => {
  at.hub.intercept = ({ method }, response) => {
    if (method !== 'HEAD') return false;
    response.writeHead(401, { 'x-error-code': 'GatedRepo' }).end();
    return true;
  };
  expect(await failure('acme/clip')).toMatchObject({
    code: 'HUB_AUTH',
    message: 'acme/clip is gated, and no token is set',
  });
});

test('a firewall that lets the hub through, but not the place of its files', async () => {
  at.hub.intercept = ({ origin }, response) => {
    if (origin !== 'cdn') return false;
    response.writeHead(403).end('<html>Blocked by policy</html>');
    return true;
  };
  const { host } = new URL(at.hub.cdn);
  expect(await failure('acme/clip')).toMatchObject({
    code: 'HUB_UNREACHABLE',
    message: `${host}, where the files of acme/clip are, answers 403`,
    hint: expect.stringMatching(`^Does a proxy or a firewall block ${host}\\? Without the hub: `),
  });
});

test('a model of open_clip that cannot be had says which files it needs', async () => {
  await at.hub.close();
  const error: unknown = await resolveModel('ViT-B-32', {
    pretrained: 'openai',
    env: at.env,
    patience: IMPATIENT,
  }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    hint: expect.stringContaining(
      'open_clip_config.json and open_clip_model.safetensors of timm/vit_base_patch32_clip_224.openai into a folder',
    ),
  });
});

test.each([
  [500, 'HUB_UNREACHABLE', 'HUB fails with status 500'],
  [429, 'HUB_RATE', 'HUB says that it is asked too often'],
  [403, 'HUB_AUTH', 'acme/clip is gated, and no token is set'],
  [418, 'HUB_ANSWER', 'HUB answers 418 about acme/clip'],
  [204, 'HUB_ANSWER', /cannot be used: it is not JSON$/],
])('status %i', async (status, code, message) => {
  at.hub.intercept = (_, response) => {
    response.writeHead(status).end();
    return true;
  };
  const found = await failure('acme/clip');
  expect(found.code).toBe(code);
  expect(found.message).toMatch(message);
});

test('settings that cannot be meant', async () => {
  const wrong: [Environment, string][] = [
    [{ HF_ENDPOINT: 'huggingface.co' }, 'HF_ENDPOINT is not a plain http(s) address'],
    [{ HF_ENDPOINT: 'http://user:secret@host' }, 'HF_ENDPOINT is not a plain http(s) address'],
    [{ HF_TOKEN: 'hf_with space' }, 'the token in HF_TOKEN holds characters that no token has'],
    [{ HF_HUB_DOWNLOAD_TIMEOUT: 'soon' }, 'HF_HUB_DOWNLOAD_TIMEOUT = soon is not a number of seconds'],
    [{ HF_HUB_ETAG_TIMEOUT: '-1' }, 'HF_HUB_ETAG_TIMEOUT = -1 is not a number of seconds'],
    [{ HTTP_PROXY: 'socks5://localhost:1080' }, 'HTTP_PROXY does not name an http(s) proxy'],
  ];
  for (const [env, message] of wrong)
    expect(await failure('acme/clip', env)).toMatchObject({ code: 'CONFIG', message });
  expect(at.hub.requests).toEqual([]);
});
