/** docs/benchmarks.md is so: its methods and ablations exist, its published figures are those of the program, its icons are drawn so. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ICON_KINDS } from '../demo/icons-protocol.ts';
import { nouns } from '../demo/nouns.ts';
import { ABLATIONS } from '../src/benchmark/ablations/index.ts';
import { METHODS } from '../src/benchmark/methods/index.ts';
import { publishedFigures } from '../src/benchmark/published.ts';
import { loadVocabulary } from '../src/vocab/vocabulary.ts';

const page = readFileSync(new URL('../docs/benchmarks.md', import.meta.url), 'utf8');
const protocols = readFileSync(new URL('../docs/protocols.md', import.meta.url), 'utf8');

/** The rows of the table under a heading, without its header. */
function rows(heading: string): string[][] {
  const section = page.slice(page.indexOf(`## ${heading}\n`)).split(/\n## /)[0];
  const lines = section.split('\n').filter(line => line.startsWith('| '));
  return lines.slice(2).map(line =>
    line
      .split('|')
      .map(cell => cell.trim())
      .slice(1, -1),
  );
}

it('methods and ablations are those of the program', () => {
  const named = rows('Methods').flatMap(([names]) => [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  expect(named.sort()).toEqual(METHODS.map(({ name }) => name).sort());
  expect(rows('Ablations').map(([name]) => name)).toEqual(ABLATIONS.map(({ name }) => `\`${name}\``));
});

it('published figures are those that tables stand beside', () => {
  const sets = ['stanford-dogs', 'imagenet-100', 'imagenet-1k', 'living17', 'nonliving26', 'entity13', 'entity30'];
  for (const set of sets) expect(protocols).toContain(`\`${set}\``);
  let seen = 0;
  for (const [, name, ...cells] of rows('Published figures')) {
    const found = METHODS.find(({ name: known }) => `\`${known}\`` === name)!;
    const part = ['must', 's3a'].includes(found.name) ? 'student' : '';
    cells.forEach((cell, i) => {
      const { top1, clustering } = publishedFigures(sets[i], found.name, part)!;
      expect([top1, ...(clustering === undefined ? [] : [clustering])].map(value => value.toFixed(1)).join('/')).toBe(
        cell,
      );
      seen++;
    });
  }
  expect(seen).toBe(42);
});

it('icons are drawn as the page says', async () => {
  const { names } = await loadVocabulary('demo');
  expect(page).toContain(`${names.length.toLocaleString('en-US')} names of emoji`);
  const said = rows('Icons').slice(0, ICON_KINDS.length);
  expect(said.map(([name]) => name)).toEqual(ICON_KINDS.map(({ name }) => `\`${name}\``));
  ICON_KINDS.forEach(({ classes, from, images, testImages }, i) => {
    const [, drawn, count] = said[i];
    const what = from.length === nouns.length ? 'nouns' : 'animals';
    expect(drawn).toBe(`${classes} of ${from.length} ${what}`);
    if (/^\d+$/.test(count)) expect(Number(count)).toBe(classes * images(0));
    else expect(images(0)).toBe(150);
    expect(testImages).toBe(10);
  });
});
