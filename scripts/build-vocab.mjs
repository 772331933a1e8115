/**
 * Makes src/vocab/data/nouns.br and glosses.br from the nouns of WordNet 3.0 and the two lists of ImageNet ids.
 *
 *   apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wn
 *   node scripts/build-vocab.mjs wn imagenet21k_ids.txt imagenet1k_ids.txt
 *
 * The synsets stand in the order of their offsets. nouns.br is UTF-8 text of four columns, each all synsets, parted by form
 * feeds, so that one column can be read without the others:
 *   sets      one digit a synset: 1 for ImageNet-1k, 2 for ImageNet-21k, 3 for both, 0 for neither
 *   lemmas    a line a synset, joined by "|"
 *   offsets   a line a synset, in base 36: how much larger the offset is than the one before
 *   parents   a line a synset, in base 36, joined by ",": how many lines above (below: with a minus sign) its hypernyms stand
 * glosses.br is a line a synset, without its example sentences.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const [wordnet, list21k, list1k] = process.argv.slice(2);
if (!list1k) throw new Error('usage: node scripts/build-vocab.mjs <unpacked wordnet-base> <21k ids> <1k ids>');

/** @type {{offset: number, lemmas: string[], parents: number[], gloss: string}[]} */
const nouns = [];
for (const line of readFileSync(join(wordnet, 'usr/share/wordnet/data.noun'), 'utf8').split('\n')) {
  if (!/^\d{8} /.test(line)) continue;
  const bar = line.indexOf(' | ');
  const fields = line.slice(0, bar).split(' ');
  const lemmaCount = Number.parseInt(fields[3], 16);
  const lemmas = Array.from({ length: lemmaCount }, (_, i) => fields[4 + 2 * i].replaceAll('_', ' '));
  const pointers = fields.slice(5 + 2 * lemmaCount);
  const parents = [];
  for (let at = 0; at + 3 < pointers.length; at += 4) {
    if ((pointers[at] === '@' || pointers[at] === '@i') && pointers[at + 2] === 'n') {
      parents.push(Number(pointers[at + 1]));
    }
  }
  // Example sentences follow the definition in quotes.
  const gloss = line
    .slice(bar + 3)
    .trim()
    .replace(/\s*[;:,]\s*".*$/, '');
  nouns.push({ offset: Number(fields[0]), lemmas, parents, gloss });
}
nouns.sort((a, b) => a.offset - b.offset);
const lineOf = new Map(nouns.map(({ offset }, line) => [offset, line]));

const sets = new Uint8Array(nouns.length);
for (const [path, bit] of [
  [list1k, 1],
  [list21k, 2],
]) {
  for (const id of readFileSync(path, 'utf8').split('\n')) {
    if (id === '') continue;
    const line = lineOf.get(Number(id.slice(1)));
    if (line === undefined) throw new Error(`${id} is not a noun of WordNet 3.0`);
    sets[line] |= bit;
  }
}

const columns = [
  sets.join(''),
  nouns.map(({ lemmas }) => lemmas.join('|')).join('\n'),
  nouns.map(({ offset }, line) => (offset - (nouns[line - 1]?.offset ?? 0)).toString(36)).join('\n'),
  nouns.map(({ parents }, line) => parents.map(p => (line - lineOf.get(p)).toString(36)).join(',')).join('\n'),
];

function write(name, content) {
  const text = Buffer.from(content);
  const data = brotliCompressSync(text, {
    params: {
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
    },
  });
  writeFileSync(new URL(`../src/vocab/data/${name}`, import.meta.url), data);
  console.log(`${name}: ${text.length} bytes, ${data.length} compressed`);
}
write('nouns.br', columns.join('\f'));
write('glosses.br', nouns.map(({ gloss }) => gloss).join('\n'));

// The licence asks that its text go with every copy.
const copyright = readFileSync(join(wordnet, 'usr/share/doc/wordnet-base/copyright'), 'utf8');
const licence = /License: WordNet3\.0\n([\s\S]*?)\n\n/.exec(copyright)?.[1];
if (!licence) throw new Error('the WordNet licence was not found in the copyright file of the package');
const plain = licence
  .split('\n')
  .map(line => line.replace(/^ \.?/, ''))
  .join('\n');
writeFileSync(new URL('../src/vocab/data/WORDNET-LICENSE', import.meta.url), `${plain}\n`);
console.log(`${nouns.length} synsets, ${sets.filter(set => set > 0).length} of them ImageNet's`);
