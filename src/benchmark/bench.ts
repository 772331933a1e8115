/** A benchmark from beginning to end: methods and ablations over seeds, on one protocol. */
import { join } from 'node:path';
import { type Config, type ConfigInput, parseConfig } from '../config/schema.ts';
import { messageOf, S3aError } from '../errors.ts';
import { createSemanticScorer, type SemanticScorer } from '../evaluate/semantic.ts';
import { openSentenceEncoder } from '../evaluate/sentence-encoder.ts';
import { loadProtocol, type ProtocolData } from '../protocols/load.ts';
import type { RunHooks } from '../run/events.ts';
import { loadVocabulary, type Vocabulary } from '../vocab/vocabulary.ts';
import { ablationOf } from './ablations/index.ts';
import { type CellResult, keyOfCell, readCell, type ScoredOutcome, writeCell } from './cells.ts';
import { openContext } from './context.ts';
import { type BenchSplit, type EmbeddedSplit, embedSplit, openSplit, partOf } from './data.ts';
import { type BenchOrder, keepOrder, readOrder } from './folder.ts';
import { DEFAULT_METHODS, methodOf } from './methods/index.ts';
import { createPace } from './pace.ts';
import { type Cell, type Plan, planCells } from './plan.ts';
import { type BenchResults, type Computed, resultsOf } from './results.ts';
import { figuresOf, hashOfLabels, namesOfClasses } from './score.ts';
import { smallerVocabulary, vocabularySpec } from './vocabularies.ts';
import { writeResults } from './write.ts';

export interface BenchOptions extends Omit<BenchOrder, 'settings'> {
  /** Name of a protocol, or a .json file. */
  protocol: string;
  /** Settings that differ from the defaults; K is the protocol's unless it is given. */
  settings?: ConfigInput;
  /** Folder of the results. */
  out: string;
  /** Go on with the benchmark that is in `out`. */
  resume?: boolean;
  /** Keep the run folders of trained cells, which hold their models. */
  keepRuns?: boolean;
}

/** Everything that is the same for the cells of a seed. */
interface SeedData {
  data: ProtocolData;
  train: BenchSplit;
  /** Splits that are embedded, by their images. */
  embedded: Map<string, EmbeddedSplit>;
  test: { split: BenchSplit; embedded: EmbeddedSplit } | undefined;
  dispose(): Promise<void>;
}

/**
 * Runs the methods and ablations that are not finished yet and sums all of them up: `results.json`, `table.md`, `plots/`.
 *
 * A cell that fails is told and left out; it is tried again the next time.
 * @throws S3aError for what is wrong with the order or the data, and after an abort
 */
export async function bench(
  { protocol, out, resume = false, keepRuns = false, settings = {}, ...given }: BenchOptions,
  hooks: RunHooks = {},
): Promise<BenchResults> {
  // A mistyped word should end it before anything is written.
  const check = (order: BenchOrder): { methods: string[]; seeds: number[] } => {
    const { methods = [...DEFAULT_METHODS], ablations = [], seeds = [0] } = order;
    methods.forEach(methodOf);
    ablations.forEach(ablationOf);
    if (seeds.length === 0 || new Set(seeds).size < seeds.length) throw new S3aError('CONFIG', 'seeds come twice');
    return { methods, seeds };
  };
  check({ ...given, settings });
  const order = await readOrder(out, { ...given, settings }, resume);
  const { methods, seeds } = check(order);
  const load = (seed: number): Promise<ProtocolData> =>
    loadProtocol(protocol, order.data, { seed, partial: order.partial });
  const first = await load(seeds[0]);
  await keepOrder(out, order);
  const began = performance.now();

  const spec = await vocabularySpec(order.settings.vocab ?? first.vocab ?? 'in21k', join(out, 'vocabularies'));
  const base = parseConfig({ k: first.k, ...first.settings, ...order.settings, vocab: spec });
  const vocabularies = new Map<string, Vocabulary>();
  const vocabularyAt = async (path: string): Promise<Vocabulary> => {
    const found = vocabularies.get(path) ?? (await loadVocabulary(path));
    vocabularies.set(path, found);
    return found;
  };
  const plan = planCells(methods.map(methodOf), (order.ablations ?? []).map(ablationOf), seeds, {
    config: base,
    k: typeof base.k === 'number' ? base.k : first.k,
    names: (await vocabularyAt(spec)).names.length,
    trained: order.trained ?? false,
  });

  const quiet = quieter(hooks);
  let current: SeedData | undefined;
  let drawnFor: number | undefined;
  const dataOf = async (seed: number): Promise<SeedData> => {
    // Data sets that lie on the disk are the same for all seeds.
    if (current && (drawnFor === seed || !first.drawn)) return current;
    await current?.dispose();
    current = undefined;
    const data = seed === seeds[0] ? first : await load(seed);
    const place = { out, cache: first.drawn ? order.data : undefined, hooks };
    const test = data.splits.test && (await openSplit(data.splits.test, place));
    const embedded = new Map<string, EmbeddedSplit>();
    const unseen = test && (await embedSplit(test, base, quiet));
    if (unseen) embedded.set(test.images, unseen);
    current = {
      data,
      embedded,
      train: await openSplit(data.splits.train, place),
      test: test && unseen && { split: test, embedded: unseen },
      async dispose() {
        for (const split of embedded.values()) await split.dispose();
      },
    };
    drawnFor = seed;
    return current;
  };

  const { semanticModel } = order;
  const encoder =
    semanticModel === undefined
      ? undefined
      : await openSentenceEncoder(semanticModel, {
          threads: base.threads,
          signal: hooks.signal,
          onProgress: ({ file, done, total }) =>
            hooks.onEvent?.({ type: 'progress', stage: 'download', done, total, unit: 'bytes', detail: { file } }),
          onWarning: message => hooks.onEvent?.({ type: 'warning', message }),
        });
  const scorer = encoder && createSemanticScorer(encoder);

  const computed: Computed[] = [];
  const failures: BenchResults['failures'] = [];
  const pace = createPace(plan.cells);
  const sum = (): Promise<BenchResults> =>
    summed({
      protocol: first,
      plan,
      order,
      base,
      spec,
      vocabulary: vocabularies.get(spec)!,
      computed,
      failures,
      out,
      began,
    });
  try {
    for (const [i, cell] of plan.cells.entries()) {
      hooks.signal?.throwIfAborted();
      const { seed, variant, ablation } = cell;
      const at = await dataOf(seed);
      try {
        const result = await compute(cell, at, {
          base,
          out,
          keepRuns,
          vocabularyAt,
          hooks: quiet,
          scorer,
          semanticModel,
        });
        computed.push({ cell, result: result.cell, images: result.images, vocabulary: result.vocabulary });
        pace.done(i, result.fresh ? result.cell.seconds : 0);
        hooks.onEvent?.({ type: 'note', message: pace.line(i, cell, result) });
        if (result.fresh) await sum();
      } catch (error) {
        if (hooks.signal?.aborted) throw error;
        pace.done(i, 0);
        failures.push({ seed, variant: variant.name, ...(ablation && { ablation }), reason: messageOf(error) });
        hooks.onEvent?.({
          type: 'warning',
          message: `${variant.method.name}, seed ${seed}, failed: ${messageOf(error)}`,
        });
        if (process.env.S3A_DEBUG) throw error;
      }
    }
  } finally {
    await current?.dispose();
    await encoder?.dispose();
  }
  if (computed.length === 0)
    throw new S3aError('BENCH', `no method could be run: ${failures[0]?.reason ?? 'none given'}`);
  return sum();
}

interface ComputeOptions {
  base: Config;
  out: string;
  keepRuns: boolean;
  vocabularyAt: (path: string) => Promise<Vocabulary>;
  hooks: RunHooks;
  scorer: SemanticScorer | undefined;
  semanticModel: string | undefined;
}

/** One cell: read, or computed and compared. */
async function compute(
  { seed, variant }: Cell,
  { data, train: whole, test, embedded: known }: SeedData,
  { base, out, keepRuns, vocabularyAt, hooks, scorer, semanticModel }: ComputeOptions,
): Promise<{ cell: CellResult; fresh: boolean; images: string; vocabulary: string }> {
  const { method } = variant;
  const train = variant.images === undefined ? whole : await partOf(whole, data, variant.images, out);
  let { vocab } = base;
  if (variant.names !== undefined && variant.names < (await vocabularyAt(vocab)).names.length) {
    const all = await vocabularyAt(vocab);
    const wanted = namesOfClasses(whole.labels, all);
    vocab = await smallerVocabulary(all, wanted, variant.names, seed, join(out, 'vocabularies'));
  }
  const config = parseConfig({ ...base, ...method.settings, ...variant.settings, vocab, seed });
  const vocabulary = await vocabularyAt(vocab);
  const embedded = known.get(train.images) ?? (await embedSplit(train, config, hooks));
  known.set(train.images, embedded);
  const key = keyOfCell({
    method,
    config,
    images: embedded.key,
    test: test?.embedded.key ?? null,
    vocabulary: vocabulary.hash,
    labels: hashOfLabels(train.labels),
    ...(semanticModel !== undefined && { semanticModel }),
  });
  const hashes = { images: embedded.key, vocabulary: vocabulary.hash };
  const before = await readCell(out, key);
  if (before) return { cell: before, fresh: false, ...hashes };

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
    const cell = { key, method: method.name, seed, seconds, finished: new Date().toISOString(), outcomes };
    await writeCell(out, cell);
    if (!keepRuns) await context.remove();
    return { cell, fresh: true, ...hashes };
  } finally {
    await context.dispose();
  }
}

interface ToSum {
  protocol: ProtocolData;
  plan: Plan;
  order: BenchOrder;
  base: Config;
  spec: string;
  vocabulary: Vocabulary;
  computed: Computed[];
  failures: BenchResults['failures'];
  out: string;
  began: number;
}

async function summed({ out, ...parts }: ToSum): Promise<BenchResults> {
  const results = resultsOf(parts);
  await writeResults(out, results);
  return results;
}

/** The stages of a cell in one line that is drawn again: their own lines would be a hundred times those of the table. */
function quieter({ onEvent, signal }: RunHooks): RunHooks {
  const told = new Set<string>();
  return {
    signal,
    onEvent(event) {
      if (event.type === 'progress') onEvent?.(event);
      if (event.type !== 'warning' || told.has(event.message)) return;
      told.add(event.message);
      onEvent?.(event);
    },
  };
}
