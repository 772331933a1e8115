/** Vocabularies of a benchmark: several merged into one, concepts of a protocol, and smaller ones that hold the true names. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashJson } from '../io/hash.ts';
import { random } from '../random.ts';
import { type Concept, loadVocabulary, makeVocabulary, normalizeName, type Vocabulary } from '../vocab/vocabulary.ts';

/**
 * What `--vocab` takes, for a vocabulary that is more than that: `demo+in21k` merges, concepts are written out.
 * @param folder where a vocabulary is written that has no file yet
 * @throws S3aError VOCABULARY for one that is not there
 */
export async function vocabularySpec(spec: string | readonly Concept[], folder: string): Promise<string> {
  if (typeof spec !== 'string') return written(makeVocabulary('names', spec), folder);
  // A file may well have a plus in its name.
  if (!spec.includes('+') || existsSync(spec)) return spec;
  const parts = await Promise.all(spec.split('+').map(part => loadVocabulary(part)));
  return written(makeVocabulary(spec.replaceAll(/[^\w+-]/g, '_'), parts.flatMap(conceptsOf)), folder);
}

/**
 * A vocabulary of `size` names: all of `wanted` and others of `all` at random, in the order of `all`, so that no place in it tells
 * which are which. What `all` lacks of `wanted` it lacks too.
 */
export async function smallerVocabulary(
  all: Vocabulary,
  wanted: readonly string[],
  size: number,
  seed: number,
  folder: string,
): Promise<string> {
  const keep = new Set(wanted);
  const others = random(seed, 'bench vocabulary').shuffle(all.names.filter(name => !keep.has(name)));
  const found = all.names.filter(name => keep.has(name)).length;
  for (const name of others.slice(0, Math.max(0, size - found))) keep.add(name);
  const entries = all.entries.filter(({ name }) => keep.has(name));
  return written(makeVocabulary(`names-${entries.length}`, conceptsOf({ entries })), folder);
}

/** Broader names are left out: no stage reads them. */
function conceptsOf({ entries }: Pick<Vocabulary, 'entries'>): Concept[] {
  return entries.flatMap(({ name, synsets }) =>
    (synsets.length > 0 ? synsets : [{ synonyms: [] }]).map(({ id, synonyms, gloss }: Concept) => ({
      ...(id !== undefined && { id }),
      synonyms: [name, ...synonyms.filter(word => normalizeName(word) !== name)],
      ...(gloss !== undefined && { gloss }),
    })),
  );
}

async function written({ id, entries }: Vocabulary, folder: string): Promise<string> {
  const lines = conceptsOf({ entries }).map(({ id: synset, synonyms: [name, ...synonyms], gloss }) =>
    JSON.stringify({ name, synset, gloss, ...(synonyms.length > 0 && { synonyms }) }),
  );
  const path = join(folder, `${id}-${hashJson(lines).slice(0, 12)}.json`);
  if (!existsSync(path)) await writeAtomic(path, `[\n${lines.join(',\n')}\n]\n`);
  return path;
}
