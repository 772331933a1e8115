/** The label stage: what every image is called, by every step so far, and how sure that is, in three formats. */
import { type Rows, takeRows } from '../discover/row-pass.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { writeNpy } from '../io/npy.ts';
import { type Column, writeTable } from '../io/table.ts';
import type { Vocabulary } from '../vocab/vocabulary.ts';
import { isBrought } from './brought.ts';
import type { Embedded } from './embed.ts';
import { logitScaleOf, relabelOf } from './method.ts';
import { writeModelCard } from './model-card.ts';
import { neighboursOf } from './neighbours.ts';
import { drawOverview } from './overview.ts';
import type { Named } from './prototypes.ts';
import { synsetsOf } from './senses.ts';
import type { Run } from './store.ts';
import { UNKNOWN_LABEL } from './tables.ts';
import type { Trained } from './train.ts';
import { type Trust, trustOf } from './trust.ts';
import type { Voted } from './vote.ts';

// Those whose agreement confidences look at: as many as smoothing has by default, and as they were calibrated with.
const NEIGHBOURS = 10;

/** Labels of the steps of discovery, vocabulary indices [N]. */
export interface Discovered {
  clusters: Int32Array;
  voted: Voted;
  structural: Int32Array;
}

/** A name that was found, with its number of images. */
export interface FoundClass {
  name: string;
  count: number;
}

/**
 * `labels.csv`, `labels.jsonl`, `labels.parquet`, `classes.json` and `overview.png`.
 *
 * An image's label is its structural label, after training by METHOD the teacher's name for it, and after training by auto
 * its structural label renewed from the teacher's features; `unknown` where there is none or its confidence is below
 * `minConfidence`. `confidence` is the probability that the label is right, `margin` and `top_5` are the tuned model's.
 */
export async function label(
  run: Run,
  { root, files, features, width }: Embedded,
  { vocabulary, prototypes }: Named,
  { clusters, voted, structural }: Discovered,
  trained?: Trained,
): Promise<void> {
  const drawn = !isBrought(run.config);
  const { minConfidence, threads, device } = run.config;
  const scale = await logitScaleOf(run);
  const inputs = {
    ...{ realign: run.keyOf('realign'), scale, minConfidence },
    ...(trained ? { train: run.keyOf('train') } : {}),
  };
  const artefacts = [
    ...['labels.csv', 'labels.jsonl', 'labels.parquet', 'classes.json'],
    ...(drawn ? ['overview.png'] : []),
    ...(trained ? ['model/prototypes.npy', 'model/classes.json', 'model/README.md'] : []),
  ];
  await run.stage('label', inputs, artefacts, async () => {
    const seen: Float32Array | Rows = trained?.teacher.features ?? features;
    const relabel = await relabelOf(run, prototypes, width);
    const renewed = trained && relabel && (await relabel(trained.teacher.features, clusters));
    const given = renewed ?? trained?.teacher.labels ?? structural;
    const trust = await trustOf(seen, prototypes, given, {
      // A model that was tuned on its own labels is sure of them; the one before says how probable they are.
      ...{ width, scale, threads, device, witness: features },
      graph: await neighboursOf(run, { features, width }, clusters, NEIGHBOURS),
      onProgress: (done, total) => run.progress('label', done, total),
    });
    const final = given.map((index, i) => (trust.confidence[i] < minConfidence ? -1 : index));
    const classes = countClasses(final, vocabulary.names);
    const encodeTexts = drawn ? async (texts: string[]) => (await run.clip()).embedTexts(texts) : undefined;
    const synsets = await synsetsOf(seen, width, final, vocabulary.entries, encodeTexts);
    const named = (name: string, labels: Int32Array): Column => ({
      name,
      type: 'text',
      values: Array.from(labels, index => (index < 0 ? null : vocabulary.names[index])),
    });
    const columns: Column[] = [
      { name: 'file_name', type: 'text', values: files },
      { name: 'label', type: 'text', values: Array.from(final, i => vocabulary.names[i] ?? UNKNOWN_LABEL) },
      { name: 'synset', type: 'text', values: Array.from(final, index => synsets.get(index) ?? null) },
      ...trustColumns(trust, vocabulary),
      { name: 'cluster', type: 'integer', values: clusters },
      named('zero_shot', voted.zeroShot),
      ...Object.entries(voted.steps).map(([step, labels]) => named(step, labels)),
      named('structural', structural),
      ...(trained ? [named('student', trained.student.labels), named('teacher', trained.teacher.labels)] : []),
      ...(renewed ? [named('renewed', renewed)] : []),
    ];
    for (const format of ['csv', 'jsonl', 'parquet']) await writeTable(run.path(`labels.${format}`), columns);
    const unknown = final.filter(index => index < 0).length;
    const found = { names: classes.map(c => c.name), counts: classes.map(c => c.count), unknown };
    await writeAtomic(run.path('classes.json'), `${JSON.stringify(found, null, 1)}\n`);
    if (trained) await writeModelCard(run, classes);
    if (trained) await writeModelNames(run, found, takeRows(prototypes, width, indicesOf(classes, vocabulary)), width);
    const onProgress = (done: number, total: number): void => run.progress('label', done, total);
    if (drawn) await writeAtomic(run.path('overview.png'), await drawOverview(run.folder, { root, onProgress }));
    return { classes: classes.length, ...(unknown > 0 ? { unknown } : {}) };
  });
}

/** Confidence, margin and the best names of every image with their probabilities. */
function trustColumns({ confidence, margin, top, names, probabilities }: Trust, vocabulary: Vocabulary): Column[] {
  const short = (value: number): number => Number(value.toPrecision(4));
  return [
    { name: 'confidence', type: 'float', values: Array.from(confidence, short) },
    { name: 'margin', type: 'float', values: Array.from(margin, short) },
    {
      name: 'top_5',
      type: 'list',
      values: Array.from(confidence, (_, i) =>
        Array.from({ length: top }, (_, t) => ({
          name: vocabulary.names[names[i * top + t]],
          probability: short(probabilities[i * top + t]),
        })),
      ),
    },
  ];
}

/** The found names beside the tuned model, so that classifying by them is one matrix product. */
async function writeModelNames(
  run: Run,
  { names, counts }: { names: string[]; counts: number[] },
  rows: Float32Array,
  width: number,
): Promise<void> {
  await writeNpy(run.path('model/prototypes.npy'), '<f4', [names.length, width], rows);
  await writeAtomic(run.path('model/classes.json'), `${JSON.stringify({ names, counts }, null, 1)}\n`);
}

function indicesOf(classes: readonly FoundClass[], { names }: Vocabulary): Int32Array {
  const indexOf = new Map(names.map((name, index) => [name, index]));
  return Int32Array.from(classes, ({ name }) => indexOf.get(name)!);
}

/** The names that occur, most images first, equal ones in the vocabulary's order. */
function countClasses(labels: Int32Array, names: readonly string[]): FoundClass[] {
  const counts = new Map<number, number>();
  for (const index of labels) if (index >= 0) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || a - b).map(([index, count]) => ({ name: names[index], count }));
}
