/** `s3a vocab`: what is in a vocabulary. */
import { Command, InvalidArgumentError } from 'commander';
import { S3aError } from '../../errors.ts';
import { hierarchyOf } from '../../vocab/hierarchy.ts';
import { type TreeNode, type TreeStep, type WordTree, wordTrees } from '../../vocab/tree.ts';
import { loadVocabulary, normalizeName, type Vocabulary, type VocabularyEntry } from '../../vocab/vocabulary.ts';
import { addCommon, type CommonOptions, type Context, perform } from '../context.ts';
import { count, counted, printable } from '../format.ts';

const MOST = 50;
const MOST_LINES = 200;
const MOST_STEPS = 40;
const MOST_LEVELS = 30;

interface VocabOptions extends CommonOptions {
  search?: string;
  tree?: string;
  depth: number;
}

/** `s3a vocab`, which prints names, or the trees of a word. */
export function vocabCommand(context: Context): Command {
  const command = new Command('vocab')
    .description('Show the names of a vocabulary, what they mean, and what is broader and narrower.')
    .argument('<vocabulary>', 'in21k, in1k, wordnet, demo, or a .txt, .csv or .json file')
    .option('--search <text>', 'Only names and synonyms with this text in them')
    .option('--tree <word>', 'What is above and below a word, by its name, a synonym or its synset')
    .option('--depth <n>', 'Levels below the word of --tree', levels, 3)
    .addHelpText(
      'after',
      `
Examples:
  s3a vocab in21k --search terrier
  s3a vocab wordnet --tree crane --depth 1
  s3a vocab in21k --tree n02084071 --json
  s3a vocab names.txt

In a tree, * marks the names that are in the vocabulary. With --json everything is printed, not only the first.`,
    );
  return addCommon(command).action(async (spec: string, options: VocabOptions) => {
    const { tree, search } = options;
    if (tree === undefined) {
      await perform(context, options, undefined, async () => list(await loadVocabulary(spec), search), showList);
    } else {
      const { depth } = options;
      await perform(context, options, undefined, async () => grow(await loadVocabulary(spec), tree, depth), showTrees);
    }
  });
}

function levels(text: string): number {
  const n = Number(text);
  if (Number.isInteger(n) && n >= 0 && n <= MOST_LEVELS) return n;
  throw new InvalidArgumentError(`It must be a whole number from 0 to ${MOST_LEVELS}.`);
}

interface List {
  id: string;
  names: number;
  merged: number;
  entries: VocabularyEntry[];
}

function list({ id, entries, merged }: Vocabulary, search = ''): List {
  const wanted = normalizeName(search);
  return { id, names: entries.length, merged, entries: entries.filter(entry => mentions(entry, wanted)) };
}

function mentions({ name, synsets }: VocabularyEntry, text: string): boolean {
  return (
    name.includes(text) || synsets.some(({ synonyms }) => synonyms.some(word => normalizeName(word).includes(text)))
  );
}

function showList({ id, names, merged, entries }: List): string {
  const lines = entries.slice(0, MOST).map(({ name, synsets }) => {
    const glosses = synsets.map(({ gloss }) => gloss).filter(gloss => gloss !== undefined);
    return `${printable(name)}${glosses.length > 0 ? `: ${printable(glosses.join(' | '))}` : ''}\n`;
  });
  const more = entries.length > MOST ? `… and ${counted(entries.length - MOST, 'more name')}\n` : '';
  const repeats = merged > 0 ? `; ${counted(merged, 'repeat')} merged` : '';
  return `${lines.join('')}${more}\n${printable(id)}: ${counted(names, 'name')}${repeats}\n`;
}

interface Trees {
  id: string;
  word: string;
  meanings: WordTree[];
}

function grow(vocabulary: Vocabulary, word: string, depth: number): Trees {
  const meanings = wordTrees(hierarchyOf(vocabulary), word, { depth });
  if (meanings.length > 0) return { id: vocabulary.id, word, meanings };
  throw new S3aError(
    'VOCABULARY',
    `${vocabulary.id} has no concept called ${JSON.stringify(word)}`,
    'Names with a part of it are found by --search.',
  );
}

function showTrees({ id, meanings }: Trees): string {
  const parts = meanings.map(({ name, synset, synonyms, gloss, paths, tree, inVocabulary }) => {
    const others = synonyms.filter(word => normalizeName(word) !== name);
    const lines = [
      `${mark({ name, inVocabulary })}${synset === undefined ? '' : ` (${printable(synset)})`}${gloss === undefined ? '' : `: ${printable(gloss)}`}`,
      ...(others.length > 0 ? [`also called ${printable(others.join(', '))}`] : []),
      ...paths.filter(path => path.length > 1).map(path => `above: ${trail(path)}`),
      `below: ${tree.below === 0 ? 'nothing' : counted(tree.below, 'concept')}`,
      ...branches(tree, '  '),
    ];
    const more = lines.length > MOST_LINES ? `… and ${counted(lines.length - MOST_LINES, 'more line')}\n` : '';
    return `${lines.slice(0, MOST_LINES).join('\n')}\n${more}`;
  });
  return `${parts.join('\n')}\n* is in ${printable(id)}\n`;
}

function trail(path: readonly TreeStep[]): string {
  const cut = path.length > MOST_STEPS ? `… > ` : '';
  return cut + path.slice(-MOST_STEPS).map(mark).join(' > ');
}

function mark({ name, inVocabulary }: TreeStep): string {
  return `${printable(name)}${inVocabulary ? '*' : ''}`;
}

/** A line a node below the root; where the tree was cut, how much is missing. */
function branches({ children = [] }: TreeNode, indent: string): string[] {
  return children.flatMap(child => {
    const rest = child.children === undefined && child.below > 0 ? ` (${count(child.below)} below)` : '';
    return [`${indent}${mark(child)}${rest}`, ...branches(child, `${indent}  `)];
  });
}
