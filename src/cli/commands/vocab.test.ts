import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Outcome, s3a } from '../../../test/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-vocab-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const zoo = join(folder, 'zoo.csv');
writeFileSync(
  zoo,
  `name,synonyms,gloss,parent,synset
Animal,,,,a1
bird,,a feathered animal,animal,
crane,wader|Grus grus,\u001b[2Jwhite bird,bird,b1
crane,,lifts heavy things,machine,
bird,,,,
`,
);

const vocab = (...args: string[]): Promise<Outcome> => s3a('vocab', ...args);

test('lists names with their glosses, harmless to a terminal', async () => {
  expect(await vocab(zoo)).toEqual({
    code: 0,
    out: `animal
bird: a feathered animal
crane: \\u001b[2Jwhite bird | lifts heavy things

zoo: 3 names; 2 repeats merged
`,
    err: '',
  });
  expect((await vocab(zoo, '--search', 'GRUS')).out).toMatch(/^crane: .*\n\nzoo: 3 names/);
  const { out } = await vocab('wordnet', '--search', 'dog');
  expect(out).toMatch(/… and \d{3} more names\n\nwordnet: 67,186 names; 14,929 repeats merged\n$/);
});

test('shows what is above and below a word', async () => {
  expect((await vocab(zoo, '--tree', 'crane')).out).toBe(`crane* (b1): \\u001b[2Jwhite bird
also called wader, Grus grus
above: animal* > bird* > crane*
below: nothing

crane*: lifts heavy things
above: machine > crane*
below: nothing

* is in zoo
`);
  expect((await vocab(zoo, '--tree', 'animal', '--depth', '1')).out).toBe(`animal* (a1)
below: 2 concepts
  bird* (1 below)

* is in zoo
`);
  expect((await vocab('in1k', '--tree', 'n02075296', '--depth', '0')).out).toMatch(
    /^carnivore \(n02075296\): a terrestrial .*\nabove: entity > .* > placental > carnivore\nbelow: 158 concepts\n\n/,
  );
});

test('gives all of it as JSON', async () => {
  const { out } = await vocab(zoo, '--tree', 'Bird', '--json');
  expect(JSON.parse(out)).toEqual({
    id: 'zoo',
    word: 'Bird',
    meanings: [
      {
        name: 'bird',
        synonyms: ['bird'],
        gloss: 'a feathered animal',
        inVocabulary: true,
        paths: [
          [
            { name: 'animal', synset: 'a1', inVocabulary: true },
            { name: 'bird', inVocabulary: true },
          ],
        ],
        tree: {
          name: 'bird',
          inVocabulary: true,
          below: 1,
          children: [{ name: 'crane', synset: 'b1', inVocabulary: true, below: 0 }],
        },
      },
    ],
  });
});

test.each<[string[], number, string]>([
  [[zoo, '--tree', 'dragon'], 1, 'error: zoo has no concept called "dragon"\nNames with a part of it are found by'],
  [[zoo, '--tree', 'bird', '--depth', '-1'], 2, 'It must be a whole number from 0 to 30.'],
  [['in22k'], 1, 'there is no vocabulary "in22k"\nBuilt in: in21k, in1k, wordnet, demo; or give'],
])('%j is one clear line', async (args, code, message) => {
  const outcome = await vocab(...args);
  expect(outcome).toMatchObject({ code, out: '', err: expect.stringContaining(message) as string });
});
