import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { Meaning } from './entries.ts';
import { hierarchyOf, hierarchyOfEntries } from './hierarchy.ts';
import { type TreeNode, wordTrees } from './tree.ts';
import { loadVocabulary, makeVocabulary } from './vocabulary.ts';

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/vocab.json', import.meta.url), 'utf8')) as {
  dog: { below: number; below21k: number; paths: string[][] };
};
const folder = mkdtempSync(join(tmpdir(), 's3a-tree-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function outline(node: TreeNode): unknown {
  return node.children ? { [node.name]: node.children.map(outline) } : node.name;
}

describe('WordNet', () => {
  test.each(['wordnet', 'in21k'] as const)('%s has the paths and the hyponyms that NLTK finds', async id => {
    const trees = wordTrees(hierarchyOf(await loadVocabulary(id)), 'n02084071', { depth: 1 });
    expect(trees).toHaveLength(1);
    const [{ paths, tree, gloss, inVocabulary }] = trees;
    expect(paths.map(path => path.map(({ name }) => name)).sort()).toEqual(golden.dog.paths);
    expect(tree.below).toBe(id === 'wordnet' ? golden.dog.below : golden.dog.below21k);
    expect([gloss?.slice(0, 27), inVocabulary]).toEqual(['a member of the genus Canis', true]);
    expect(tree.children?.map(({ name }) => name)).toContain('corgi');
  });

  test('a word is found in all its meanings, by any of its names', async () => {
    const all = hierarchyOf(await loadVocabulary('wordnet'));
    expect(wordTrees(all, ' Domestic  DOG', { depth: 0 }).map(({ synset }) => synset)).toEqual(['n02084071']);
    expect(wordTrees(all, 'dog', { depth: 0 })).toHaveLength(7);
    expect(wordTrees(all, 'xyzzy')).toEqual([]);
  });

  test('what is outside ImageNet is there only above it, and not marked', async () => {
    const in1k = hierarchyOf(await loadVocabulary('in1k'));
    const [{ paths, tree }] = wordTrees(in1k, 'tench');
    expect(paths[0].map(({ name }) => name).slice(-3)).toEqual(['cypriniform fish', 'cyprinid', 'tench']);
    expect(paths[0].filter(({ inVocabulary }) => inVocabulary).map(({ name }) => name)).toEqual(['tench']);
    expect(tree.below).toBe(0);
    const [{ tree: everything }] = wordTrees(in1k, 'entity', { depth: 2 });
    expect(everything.below).toBe(1000);
    // Abstractions have nothing of ImageNet-1k below them but what is a thing as well.
    expect(wordTrees(in1k, 'mathematics')).toEqual([]);
  });
});

describe('a file', () => {
  test('has the tree of its parents, by names or by synsets', async () => {
    const path = join(folder, 'zoo.json');
    writeFileSync(
      path,
      JSON.stringify([
        { name: 'Animal', synset: 'a1' },
        { name: 'bird', parents: ['animal'] },
        { name: 'crane', synset: 'c1', gloss: 'a bird', parents: ['Bird'] },
        { name: 'crane', synset: 'c2', gloss: 'a machine', parents: ['machine'] },
        { name: 'sarus', synonyms: ['Sarus crane'], parents: ['C1'] },
        { name: 'tower crane', parents: ['c2'] },
        { name: 'duck', parents: ['bird', 'game'] },
      ]),
    );
    const zoo = hierarchyOf(await loadVocabulary(path));
    const [animal] = wordTrees(zoo, 'a1');
    expect(outline(animal.tree)).toEqual({ animal: [{ bird: [{ crane: ['sarus'] }, 'duck'] }] });
    expect(animal.tree.below).toBe(4);
    expect(animal.paths).toEqual([[{ name: 'animal', synset: 'a1', inVocabulary: true }]]);
    expect(wordTrees(zoo, 'crane').map(({ tree }) => outline(tree))).toEqual([
      { crane: ['sarus'] },
      { crane: ['tower crane'] },
    ]);
    const [duck] = wordTrees(zoo, 'duck');
    expect(duck.paths.map(way => way.map(({ name, inVocabulary }) => name + (inVocabulary ? '*' : '')))).toEqual([
      ['animal*', 'bird*', 'duck*'],
      ['game', 'duck*'],
    ]);
    const [machine] = wordTrees(zoo, 'machine', { depth: 1 });
    expect(machine).toMatchObject({ inVocabulary: false, tree: { below: 2, children: [{ name: 'crane', below: 1 }] } });
    expect(machine.tree.children![0]).not.toHaveProperty('children');
  });

  test('a chain as long as the file and ways without number end', () => {
    const chain = Array.from({ length: 50_000 }, (_, i) => ({ synonyms: [`c${i}`], parents: [`c${i + 1}`] }));
    // Between each two levels there are two ways, so 2^60 in all.
    const diamonds = Array.from({ length: 60 }, (_, i) => [
      { synonyms: [`d${i}`], parents: [`l${i}`, `r${i}`] },
      { synonyms: [`l${i}`], parents: [`d${i + 1}`] },
      { synonyms: [`r${i}`], parents: [`d${i + 1}`] },
    ]).flat();
    const deep = hierarchyOfEntries('x', makeVocabulary('x', [...chain, ...diamonds]).entries);
    const [{ paths }] = wordTrees(deep, 'c0');
    expect([paths.length, paths[0].length]).toEqual([1, 50_001]);
    expect(wordTrees(deep, 'd0')[0].paths).toHaveLength(20);
    const [{ tree }] = wordTrees(deep, 'd60', { depth: 120, most: 100 });
    expect(tree.below).toBe(180);
    expect(JSON.stringify(tree).length).toBeLessThan(20_000);
  });

  test('a long circle is one short line', () => {
    const meanings = Array.from({ length: 1000 }, (_, i) => ({ synonyms: [`c${i}`], parents: [`c${(i + 1) % 1000}`] }));
    expect(() => hierarchyOfEntries('long.json', makeVocabulary('x', meanings).entries)).toThrow(
      'long.json: the parents go in a circle: c0 > c1 > c2 > c3 > c4 > c5 > c6 > … > c0',
    );
  });

  test('a graph is refused exactly when it has a circle', () => {
    const edges = fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 14 });
    fc.assert(
      fc.property(edges, pairs => {
        const meanings: Meaning[] = Array.from({ length: 8 }, (_, i) => ({
          synonyms: [`n${i}`],
          parents: pairs.filter(([from]) => from === i).map(([, to]) => `n${to}`),
        }));
        // Warshall's closure: a circle is a node that reaches itself.
        const reach = Array.from({ length: 8 }, () => new Array<boolean>(8).fill(false));
        for (const [from, to] of pairs) reach[from][to] = true;
        for (let k = 0; k < 8; k++)
          for (let i = 0; i < 8; i++) for (let j = 0; j < 8; j++) reach[i][j] ||= reach[i][k] && reach[k][j];
        const expected = reach.some((row, i) => row[i]);
        let refused = '';
        try {
          hierarchyOfEntries('x', makeVocabulary('x', meanings).entries);
        } catch (error) {
          refused = (error as Error).message;
        }
        expect(refused !== '').toBe(expected);
        const circle =
          refused
            .split(': ')[2]
            ?.split(' > ')
            .map(name => Number(name.slice(1))) ?? [];
        for (const [i, from] of circle.slice(0, -1).entries())
          if (!circle.includes(Number.NaN)) expect(pairs).toContainEqual([from, circle[i + 1]]);
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
