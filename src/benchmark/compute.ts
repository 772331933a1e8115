/** One cell: read when it is finished, else computed and compared with the labels. */
import { join } from 'node:path';
import { type Config, parseConfig } from '../config/schema.ts';
import type { SemanticScorer } from '../evaluate/semantic.ts';
import type { RunHooks } from '../run/events.ts';
import type { Vocabulary } from '../vocab/vocabulary.ts';
import { keyOfCell, readCell, type ScoredOutcome, writeCell } from './cells.ts';
import { openContext } from './context.ts';
import { partOf } from './data.ts';
import type { Cell } from './plan.ts';
import type { Computed } from './results.ts';
import { figuresOf, hashOfLabels, namesOfClasses } from './score.ts';
import type { SeedData } from './seed-data.ts';
import { smallerVocabulary } from './vocabularies.ts';

export interface ComputeOptions {
  base: Config;
  /** Folder of the benchmark. */
  out: string;
  keepRuns: boolean;
  vocabularyAt: (path: string) => Promise<Vocabulary>;
  hooks: RunHooks;
  scorer: SemanticScorer | undefined;
  semanticModel: string | undefined;
}

/**
 * The figures of a cell.
 * @returns also whether they were computed now
 * @throws what the method and the comparison throw
 */
export async function compute(
  cell: Cell,
  { data, train: whole, test, embedded }: SeedData,
  { base, out, keepRuns, vocabularyAt, hooks, scorer, semanticModel }: ComputeOptions,
): Promise<Computed & { fresh: boolean }> {
  const { seed, variant } = cell;
  const { method } = variant;
  const train = variant.images === undefined ? whole : await partOf(whole, data, variant.images, out);
  let { vocab } = base;
  const all = await vocabularyAt(vocab);
  if (variant.names !== undefined && variant.names < all.names.length) {
    const wanted = namesOfClasses(whole.labels, all);
    vocab = await smallerVocabulary(all, wanted, variant.names, seed, join(out, 'vocabularies'));
  }
  const config = parseConfig({ ...base, ...method.settings, ...variant.settings, vocab, seed });
  const vocabulary = await vocabularyAt(vocab);
  const { key: imagesKey, hashes: own } = await embedded(train);
  const hashes = { model: own.model, train: own.images, ...(test && { test: test.embedded.hashes.images }) };
  const key = keyOfCell({
    method,
    config,
    images: imagesKey,
    test: test?.embedded.key ?? null,
    vocabulary: vocabulary.hash,
    labels: hashOfLabels(train.labels),
    ...(semanticModel !== undefined && { semanticModel }),
  });
  const before = await readCell(out, key);
  if (before) return { cell, result: before, hashes, fresh: false };

  const began = performance.now();
  const trueNames = (): string[] => namesOfClasses(whole.labels, vocabulary);
  const context = openContext({ method, config, protocol: data.name, train, test, out, key, trueNames, hooks });
  try {
    const outcomes: ScoredOutcome[] = [];
    for (const { part, step, train: seen, test: unseen } of await method.run(context)) {
      outcomes.push({
        part,
        ...(step && { step }),
        train: await figuresOf(seen, train.labels, vocabulary, scorer),
        ...(unseen && test && { test: await figuresOf(unseen, test.split.labels, vocabulary, scorer) }),
      });
    }
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const result = { key, method: method.name, seed, seconds, finished: new Date().toISOString(), outcomes };
    await writeCell(out, result);
    if (!keepRuns) await context.remove();
    return { cell, result, hashes, fresh: true };
  } finally {
    await context.dispose();
  }
}
