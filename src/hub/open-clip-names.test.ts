/** The table of open_clip's names against open_clip's own, recorded by scripts/goldens/open_clip_names.py. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { KNOWN_MODELS } from './known-models.ts';
import { isRepoName } from './names.ts';
import { isOpenClipArchitecture, openClipName, openClipNames } from './open-clip-names.ts';

interface Recorded {
  repo: string;
  file: string;
  quickGelu: boolean;
  plain: boolean;
}

const golden = JSON.parse(
  readFileSync(new URL('../../test/goldens/hub/open-clip-names.json', import.meta.url), 'utf8'),
) as Record<string, Recorded>;

test('every name is one of open_clip, with its repository and its activation', () => {
  const names = openClipNames();
  expect(names.length).toBeGreaterThan(100);
  for (const { architecture, tag, repo, quickGelu } of names) {
    // An empty file name stands for open_clip's default, which is what is looked for.
    expect(golden[`${architecture}:${tag}`]).toEqual({ repo, quickGelu, file: '', plain: true });
    expect(isRepoName(repo)).toBe(true);
  }
});

test('what is left out is known', () => {
  const ours = new Set(openClipNames().map(({ architecture, tag }) => `${architecture}:${tag}`));
  const left = Object.entries(golden).filter(([name, { plain }]) => plain && !ours.has(name));
  const architectures = [...new Set(left.map(([name]) => name.split(':')[0]))];
  // ResNets, other text towers, the giant SigLIP 2, and a SigLIP without a text projection.
  const reason = /^RN|CLIPA|worldwide|gopt|SO400M-16-SigLIP-i18n|coca|nllb/;
  expect(architectures.filter(name => !reason.test(name))).toEqual([]);
});

test('spellings', () => {
  expect(openClipName('ViT-B-32', 'laion2b-s34b-b79K')).toEqual({
    architecture: 'ViT-B-32',
    tag: 'laion2b_s34b_b79k',
    repo: 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K',
  });
  expect(openClipName('ViT-L/14@336px', 'openai')).toMatchObject({ architecture: 'ViT-L-14-336-quickgelu' });
  expect(openClipName('ViT-B-16-quickgelu', 'dfn2b').repo).toBe('apple/DFN2B-CLIP-ViT-B-16');
  // Weights that were trained with GELU are none of the QuickGELU architecture.
  expect(() => openClipName('ViT-B-32-quickgelu', 'laion2b_s34b_b79k')).toThrow(
    expect.objectContaining({
      code: 'MODEL',
      hint: 'Give one of these with --pretrained: openai, laion400m_e31, laion400m_e32, metaclip_400m, metaclip_fullcc.',
    }),
  );
  expect(isOpenClipArchitecture('openai/clip-vit-base-patch16')).toBe(false);
});

test('the known models can be asked for', () => {
  for (const { model, pretrained } of KNOWN_MODELS) {
    if (pretrained === undefined) expect(isRepoName(model)).toBe(true);
    else expect(openClipName(model, pretrained).tag).toBe(pretrained);
  }
});
