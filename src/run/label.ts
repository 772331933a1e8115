/** The label stage: what every image is called, by every step so far, in three formats. */
import { labelProbabilities } from '../discover/probability.ts';
import { takeRows } from '../discover/row-pass.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { writeNpy } from '../io/npy.ts';
import { type Column, writeTable } from '../io/table.ts';
import type { Vocabulary } from '../vocab/vocabulary.ts';
import { isBrought } from './brought.ts';
import type { Embedded } from './embed.ts';
import { writeModelCard } from './model-card.ts';
import { drawOverview } from './overview.ts';
import type { Named } from './prototypes.ts';
import type { Run } from './store.ts';
import type { Trained } from './train.ts';
import type { Voted } from './vote.ts';

// What nearly every CLIP has learnt, for features that come without a model.
const USUAL_SCALE = 100;

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
 * An image's label is the teacher's name for it, or its structural label when there was no training; the confidence is
 * that name's probability among all names.
 */
export async function label(
  run: Run,
  { root, files, features, width }: Embedded,
  { vocabulary, prototypes }: Named,
  { clusters, voted, structural }: Discovered,
  trained?: Trained,
): Promise<FoundClass[]> {
  const final = trained?.teacher.labels ?? structural;
  const classes = countClasses(final, vocabulary.names);
  const drawn = !isBrought(run.config);
  const inputs = {
    realign: run.keyOf('realign'),
    logitScale: run.config.logitScale,
    ...(trained ? { train: run.keyOf('train') } : {}),
  };
  const artefacts = [
    ...['labels.csv', 'labels.jsonl', 'labels.parquet', 'classes.json'],
    ...(drawn ? ['overview.png'] : []),
    ...(trained ? ['model/prototypes.npy', 'model/classes.json', 'model/README.md'] : []),
  ];
  await run.stage('label', inputs, artefacts, async () => {
    const { threads, device, logitScale } = run.config;
    const confidence = await labelProbabilities(trained?.teacher.features ?? features, prototypes, final, {
      width,
      scale: logitScale ?? (drawn ? (await run.clip()).logitScale : USUAL_SCALE),
      threads,
      device,
    });
    const named = (name: string, labels: Int32Array): Column => ({
      name,
      type: 'text',
      values: Array.from(labels, index => vocabulary.names[index]),
    });
    const columns: Column[] = [
      { name: 'file_name', type: 'text', values: files },
      named('label', final),
      { name: 'confidence', type: 'float', values: Array.from(confidence, p => Number(p.toPrecision(4))) },
      { name: 'cluster', type: 'integer', values: clusters },
      named('zero_shot', voted.zeroShot),
      ...voted.rounds.map((labels, r) => named(`vote_${r + 1}`, labels)),
      named('structural', structural),
      ...(trained ? [named('student', trained.student.labels), named('teacher', trained.teacher.labels)] : []),
    ];
    for (const format of ['csv', 'jsonl', 'parquet']) await writeTable(run.path(`labels.${format}`), columns);
    const found = { names: classes.map(c => c.name), counts: classes.map(c => c.count) };
    await writeAtomic(run.path('classes.json'), `${JSON.stringify(found, null, 1)}\n`);
    if (trained) await writeModelCard(run, classes);
    if (trained) await writeModelNames(run, found, takeRows(prototypes, width, indicesOf(classes, vocabulary)), width);
    const onProgress = (done: number, total: number): void => run.progress('label', done, total);
    if (drawn) await writeAtomic(run.path('overview.png'), await drawOverview(run.folder, { root, onProgress }));
    return { classes: classes.length };
  });
  return classes;
}

/** The found names beside the tuned model, so that classifying by them is one matrix product. */
async function writeModelNames(
  run: Run,
  found: { names: string[]; counts: number[] },
  rows: Float32Array,
  width: number,
): Promise<void> {
  await writeNpy(run.path('model/prototypes.npy'), '<f4', [found.names.length, width], rows);
  await writeAtomic(run.path('model/classes.json'), `${JSON.stringify(found, null, 1)}\n`);
}

function indicesOf(classes: readonly FoundClass[], { names }: Vocabulary): Int32Array {
  const indexOf = new Map(names.map((name, index) => [name, index]));
  return Int32Array.from(classes, ({ name }) => indexOf.get(name)!);
}

/** The names that occur, most images first, equal ones in the vocabulary's order. */
function countClasses(labels: Int32Array, names: readonly string[]): FoundClass[] {
  const counts = new Map<number, number>();
  for (const index of labels) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || a - b).map(([index, count]) => ({ name: names[index], count }));
}
