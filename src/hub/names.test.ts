/** Names are read as people write them, and none of them leaves its folder or its address. */
import { resolve, sep } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { repoCache } from './cache.ts';
import { hubSettings } from './environment.ts';
import { isFilePath, isRepoName, isRevision, looksLikePath, parseRepoName, shown } from './names.ts';

const sha = '0123456789abcdef0123456789abcdef01234567';

describe('forms', () => {
  test.each([
    ['openai/clip-vit-base-patch16', { repo: 'openai/clip-vit-base-patch16', revision: 'main' }],
    ['a/b@v1.0', { repo: 'a/b', revision: 'v1.0' }],
    ['a/b@refs/pr/3', { repo: 'a/b', revision: 'refs/pr/3' }],
    [`hf-hub:a/b@${sha}`, { repo: 'a/b', revision: sha }],
    ['timm/vit_base_patch32_clip_224.openai', { repo: 'timm/vit_base_patch32_clip_224.openai', revision: 'main' }],
    ['https://huggingface.co/a/b', { repo: 'a/b', revision: 'main' }],
    ['https://huggingface.co/a/b/', { repo: 'a/b', revision: 'main' }],
    ['https://hf.co/a/b/tree/v2?x=1#files', { repo: 'a/b', revision: 'v2' }],
    ['https://huggingface.co/a/b/tree/refs%2Fpr%2F7', { repo: 'a/b', revision: 'refs/pr/7' }],
    ['https://huggingface.co/a/b/tree/refs/pr/7', { repo: 'a/b', revision: 'refs/pr/7' }],
    [`https://huggingface.co/a/b/commit/${sha}`, { repo: 'a/b', revision: sha }],
    ['https://huggingface.co/a/b/blob/main/w.bin', { repo: 'a/b', revision: 'main', file: 'w.bin' }],
    ['https://huggingface.co/a/b/resolve/v1/x/y.bin?download=true', { repo: 'a/b', revision: 'v1', file: 'x/y.bin' }],
  ])('%s', (spec, name) => {
    expect(parseRepoName(spec)).toEqual(name);
  });

  test.each([
    'a',
    'a/b/c@v',
    '',
    '@',
    'a/b@',
    'a/b@..',
    'a/b@x/../y',
    'a/b@.hidden/..',
    'a/b@x.lock',
    'a/b@x y',
    'a/b@\n',
    '../b',
    'a/..',
    '-a/b',
    'a/b-',
    'a--b/c',
    'a/b..c',
    'a/b.git',
    'a/b%2f..',
    `${'a'.repeat(97)}/b`,
    'hf-hub:a',
    'hf-hub:/etc/passwd',
    'https://example.com/a/b',
    'https://huggingface.co.example.com/a/b',
    'https://huggingface.co/gpt2',
    'https://huggingface.co/datasets/a/b',
    'https://huggingface.co/a/b/tree/main/folder',
    'https://huggingface.co/a/b/blob/main',
    'https://huggingface.co/a/b/blob/main/..%2f..%2fx',
    'ftp://huggingface.co/a/b',
  ])('%j is none', spec => {
    expect(() => parseRepoName(spec)).toThrow(expect.objectContaining({ code: 'MODEL' }));
  });

  test('paths', () => {
    for (const path of ['.', '..', './a', '../a', '/a', '~/a', '~', 'C:\\a', 'c:/a', 'a\\b', 'a/', 'a.pt', 'a/b/c']) {
      expect(looksLikePath(path)).toBe(true);
    }
    for (const name of ['a/b', 'a/b@refs/pr/1', 'ViT-B-32', 'hf-hub:a/b', 'openai/clip-vit-base-patch16']) {
      expect(looksLikePath(name)).toBe(false);
    }
  });
});

test('what is taken stays below the cache, whatever it is', () => {
  const settings = hubSettings({ HF_HUB_CACHE: '/cache' });
  const pieces = fc.constantFrom('a', 'b-c', '..', '.', '/', '\\', '@', '--', ':', '%2e', ' ', '\0', '~', '.lock', 'é');
  const text = fc.oneof(
    fc.array(pieces, { maxLength: 9 }).map(parts => parts.join('')),
    fc.string(),
  );
  const pair = fc.tuple(text, text).map(([org, name]) => `${org}/${name}`);
  let taken = 0;
  fc.assert(
    fc.property(pair, text, text, (repo, revision, file) => {
      const inside = (path: string): boolean => resolve(path).startsWith(`${sep}cache${sep}models--`);
      if (isRepoName(repo)) {
        taken++;
        expect(inside(repoCache(settings, repo).folder)).toBe(true);
      }
      if (isRevision(revision)) expect(inside(`/cache/models--a--b/refs/${revision}`)).toBe(true);
      if (isFilePath(file)) {
        expect(resolve('/cache/models--a--b/snapshots', file).startsWith('/cache/models--a--b/snapshots/')).toBe(true);
      }
    }),
    { seed: 7, numRuns: 5000 },
  );
  expect(taken).toBeGreaterThan(10);
});

test('what is shown is short and on one line', () => {
  expect(shown('a\n\u001b[31mb')).toBe('a??[31mb');
  expect(shown('x'.repeat(500))).toHaveLength(121);
  expect(shown('')).toBe('""');
});
