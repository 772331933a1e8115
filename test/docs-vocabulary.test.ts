/** docs/vocabulary.md is so: its files are vocabularies, its commands print what it says, its counts are right. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, test } from 'vitest';
import { loadVocabulary } from '../src/vocab/vocabulary.ts';
import { s3a } from './run-cli.ts';

const page = readFileSync(new URL('../docs/vocabulary.md', import.meta.url), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 's3a-docs-vocabulary-'));
const before = process.cwd();

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block);
}

beforeAll(() => {
  for (const language of ['txt', 'csv', 'json']) {
    const [block] = blocks(language);
    writeFileSync(join(folder, `animals.${language}`), block);
  }
  process.chdir(folder);
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

it('shows files that are vocabularies', async () => {
  const [txt, csv, json] = await Promise.all(['txt', 'csv', 'json'].map(end => loadVocabulary(`animals.${end}`)));
  expect(txt.names).toEqual(['animal', 'bird', 'crane', 'duck']);
  expect(csv.entries).toEqual(json.entries);
  expect(csv.names).toEqual(txt.names);
  expect(csv.entries[2].synsets.map(({ id }) => id)).toEqual(['n02012849', 'n03126707']);
});

it('shows what the commands print', async () => {
  const shown = blocks('console').map(block => /^\$ s3a ([^\n]*)\n(.*)$/s.exec(block)!.slice(1));
  expect(shown.length).toBeGreaterThanOrEqual(3);
  for (const [command, expected] of shown) {
    const args = [...command.matchAll(/"(.*?)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare);
    const { code, out } = await s3a(...args);
    expect(code).toBe(0);
    expect(out).toBe(expected);
  }
});

test.each(['in21k', 'in1k', 'wordnet', 'demo'])('counts %s right', async id => {
  const { names, merged } = await loadVocabulary(id);
  const [, nameCount, synsetCount] = new RegExp(`^\\| \`${id}\` \\|.*\\| ([\\d,]+) \\| ([\\d,]+) \\|$`, 'm').exec(
    page,
  )!;
  expect([nameCount, synsetCount]).toEqual([names.length, names.length + merged].map(n => n.toLocaleString('en-US')));
});
