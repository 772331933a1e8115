/** A benchmark from beginning to end: methods and ablations over seeds, on one protocol. */
import { join } from 'node:path';
import { type Config, type ConfigInput, parseConfig } from '../config/schema.ts';
import { messageOf, S3aError } from '../errors.ts';
import { createSemanticScorer } from '../evaluate/semantic.ts';
import { openSentenceEncoder, type SentenceEncoder } from '../evaluate/sentence-encoder.ts';
import { loadProtocol, type ProtocolData } from '../protocols/load.ts';
import type { RunHooks } from '../run/events.ts';
import { loadVocabulary, type Vocabulary } from '../vocab/vocabulary.ts';
import { ablationOf } from './ablations/index.ts';
import { compute } from './compute.ts';
import { type BenchOrder, keepOrder, readOrder } from './folder.ts';
import { DEFAULT_METHODS, methodOf } from './methods/index.ts';
import { createPace } from './pace.ts';
import { planCells } from './plan.ts';
import { type BenchResults, type Computed, resultsOf } from './results.ts';
import { openSeeds } from './seed-data.ts';
import { vocabularySpec } from './vocabularies.ts';
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

/**
 * Runs the methods and ablations that are not finished yet and sums all of them up: `results.json`, `table.md`, `plots/`.
 *
 * A cell that fails is told and left out; it is tried again the next time.
 * @throws S3aError for what is wrong with the order or the data, BENCH when every cell failed, and after an abort
 */
export async function bench(
  { protocol, out, resume = false, keepRuns = false, settings = {}, ...given }: BenchOptions,
  hooks: RunHooks = {},
): Promise<BenchResults> {
  // A mistyped word should end it before anything is written.
  checkWords({ ...given, settings });
  const order = await readOrder(out, { ...given, settings }, resume);
  const { methods, ablations, seeds } = checkWords(order);
  const load = (seed: number): Promise<ProtocolData> =>
    loadProtocol(protocol, order.data, { seed, partial: order.partial });
  const first = await load(seeds[0]);
  await keepOrder(out, order);
  const began = performance.now();

  // What all cells have in common.
  const spec = await vocabularySpec(order.settings.vocab ?? first.vocab ?? 'in21k', join(out, 'vocabularies'));
  const base = parseConfig({ k: first.k, ...first.settings, ...order.settings, vocab: spec });
  const vocabularyAt = remembered(loadVocabulary);
  const vocabulary = await vocabularyAt(spec);
  const k = typeof base.k === 'number' ? base.k : first.k;
  const about = { config: base, k, names: vocabulary.names.length, trained: order.trained ?? false };
  const plan = planCells(methods.map(methodOf), ablations.map(ablationOf), seeds, about);
  const quiet = quieter(hooks);
  const source = openSeeds({ first, seeds, load, out, cache: order.data, base, hooks: quiet });

  const computed: Computed[] = [];
  const failures: BenchResults['failures'] = [];
  const pace = createPace(plan.cells);
  const sum = async (): Promise<BenchResults> => {
    const results = resultsOf({ protocol: first, plan, order, base, vocabulary, computed, failures, began });
    await writeResults(out, results);
    return results;
  };
  const { semanticModel } = order;
  let encoder: SentenceEncoder | undefined;
  try {
    encoder = semanticModel === undefined ? undefined : await openEncoder(semanticModel, base, hooks);
    const scorer = encoder && createSemanticScorer(encoder);
    const common = { base, out, keepRuns, vocabularyAt, hooks: quiet, scorer, semanticModel };
    for (const [i, cell] of plan.cells.entries()) {
      hooks.signal?.throwIfAborted();
      const data = await source.at(cell.seed);
      try {
        const { fresh, ...done } = await compute(cell, data, common);
        computed.push(done);
        pace.done(i, fresh ? done.result.seconds : 0);
        hooks.onEvent?.({ type: 'note', message: pace.line(i, cell, { cell: done.result, fresh }) });
        if (fresh) await sum();
      } catch (error) {
        if (hooks.signal?.aborted || process.env.S3A_DEBUG) throw error;
        const { seed, variant, ablation } = cell;
        const reason = messageOf(error);
        failures.push({ seed, variant: variant.name, ...(ablation && { ablation }), reason });
        hooks.onEvent?.({ type: 'warning', message: `${variant.method.name}, seed ${seed}, failed: ${reason}` });
      }
    }
  } finally {
    await source.dispose();
    await encoder?.dispose();
  }
  if (computed.length > 0) return sum();
  throw new S3aError('BENCH', `no method could be run: ${failures[0]?.reason ?? 'none was asked for'}`);
}

/** What is asked for, with defaults. Throws S3aError CONFIG for words that nothing is called by, and for seeds that come twice. */
function checkWords({ methods = [...DEFAULT_METHODS], ablations = [], seeds = [0] }: BenchOrder): {
  methods: string[];
  ablations: string[];
  seeds: number[];
} {
  methods.forEach(methodOf);
  ablations.forEach(ablationOf);
  if (seeds.length === 0) throw new S3aError('CONFIG', 'there is no seed');
  if (new Set(seeds).size < seeds.length) throw new S3aError('CONFIG', 'seeds come twice');
  return { methods, ablations, seeds };
}

function openEncoder(model: string, { threads }: Config, { onEvent, signal }: RunHooks): Promise<SentenceEncoder> {
  return openSentenceEncoder(model, {
    threads,
    signal,
    onProgress: ({ file, done, total }) =>
      onEvent?.({ type: 'progress', stage: 'download', done, total, unit: 'bytes', detail: { file } }),
    onWarning: message => onEvent?.({ type: 'warning', message }),
  });
}

function remembered(read: (path: string) => Promise<Vocabulary>): (path: string) => Promise<Vocabulary> {
  const known = new Map<string, Promise<Vocabulary>>();
  return path => {
    const found = known.get(path) ?? read(path);
    known.set(path, found);
    return found;
  };
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
