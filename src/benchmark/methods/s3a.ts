/** S³A: discovery, and the student and teacher that are trained on what it found. */
import type { ConfigInput } from '../../config/schema.ts';
import { embed } from '../../run/embed.ts';
import { find } from '../../run/fit.ts';
import { relabelOf } from '../../run/method.ts';
import type { Run } from '../../run/store.ts';
import { readColumn, writeColumns } from '../../run/tables.ts';
import { train } from '../../run/train.ts';
import type { Method, MethodContext, Outcome } from '../method.ts';
import { byDiscovery, byNearest, distinct, named as namesOf } from '../nearest.ts';
import { tunedFeatures } from '../tuned.ts';

/** A way of going through the method. */
export interface S3aOptions extends Pick<Method, 'name' | 'title' | 'about'> {
  settings: ConfigInput;
  /** The labels that the structural loss learns from: those of discovery, of its vote before the phrases, or of CLIP alone. */
  labels?: 'realign' | 'vote' | 'zero_shot';
  /** Without it discovery is all. */
  trained: boolean;
}

/** S³A with some of its parts. */
export function s3aWith({ name, title, about, settings, labels = 'realign', trained }: S3aOptions): Method {
  return {
    name,
    title,
    about,
    settings,
    reads: trained ? ['discover', 'llm', 'train'] : ['discover', 'llm'],
    async run(context) {
      const found = await discovery(context, labels);
      return trained ? [...found, ...(await training(context, labels))] : found;
    },
  };
}

export const s3a: Method = s3aWith({
  name: 's3a',
  title: 'S³A',
  about: "Discovery and self-training with the paper's settings.",
  settings: { method: 's3a' },
  trained: true,
});

export const s3aDiscovery: Method = s3aWith({
  name: 's3a-discovery',
  title: 'S³A',
  about: "Discovery alone with the paper's settings.",
  settings: { method: 's3a' },
  trained: false,
});

type Labels = NonNullable<S3aOptions['labels']>;

/** The labels that the steps give, and the last one's names for images that were not there. */
async function discovery(context: MethodContext, labels: Labels): Promise<Outcome[]> {
  const { embedded, named, discovered } = await find(await context.run('discovery'));
  const { names } = named.vocabulary;
  const { clusters, voted } = discovered;
  const files = context.filesOf(embedded);
  const chosen = labels === 'realign' ? discovered.structural : votesOf(voted, labels);
  return [
    ...Object.entries(voted.steps).map(([part, step]) => ({
      part,
      step: true,
      train: { files, names: namesOf(step, names) },
    })),
    await byDiscovery(context, { embedded, named }, { clusters, labels: chosen, part: 'discovery' }),
  ];
}

/** Student and teacher; they choose from the whole vocabulary, as their head has it (METHOD §3). */
async function training({ config, run, filesOf, test: unseen }: MethodContext, labels: Labels): Promise<Outcome[]> {
  const own = await run('training');
  const { embedded, named, discovered } = await find(own);
  const structural = await replaced(own, discovered.voted, labels, discovered.structural);
  const trained = await train(own, embedded, named, { ...discovered, structural });
  const table = { names: named.vocabulary.names, prototypes: named.prototypes };
  const outcomes: Outcome[] = [];
  for (const part of ['student', 'teacher'] as const) {
    const { features } = trained[part];
    const tuned = unseen && (await tunedFeatures(own, unseen, part));
    const { width } = embedded;
    outcomes.push({
      part,
      train: await byNearest(filesOf(embedded), { features, width }, table, config),
      ...(tuned && { test: await byNearest(filesOf(unseen), { features: tuned, width }, table, config) }),
    });
  }
  // What such a run calls its images in the end.
  const relabel = await relabelOf(own, named.prototypes, embedded.width);
  if (relabel) {
    const labels = await relabel(trained.teacher.features, discovered.clusters);
    const names = namesOf(labels, named.vocabulary.names);
    const tuned = unseen && { features: await tunedFeatures(own, unseen, 'teacher'), width: embedded.width };
    outcomes.push({
      part: 'renewed',
      train: { files: filesOf(embedded), names, clusters: discovered.clusters },
      ...(tuned && { test: await byNearest(filesOf(unseen), tuned, table, config, distinct(labels)) }),
    });
  }
  return outcomes;
}

type Voted = Awaited<ReturnType<typeof find>>['discovered']['voted'];

function votesOf({ steps, zeroShot }: Voted, labels: Labels): Int32Array {
  return labels === 'zero_shot' ? zeroShot : Object.values(steps).at(-1)!;
}

/** Puts other labels in the place of those of realign, with a key of their own. */
async function replaced(run: Run, voted: Voted, labels: Labels, structural: Int32Array): Promise<Int32Array> {
  if (labels === 'realign') return structural;
  const { files } = await embed(run);
  await run.stage('realign', { labels, vote: run.keyOf('vote') }, ['structural.parquet'], async () => {
    await writeColumns(run.path('structural.parquet'), files, { structural: votesOf(voted, labels) });
    return { labels };
  });
  return readColumn(run.path('structural.parquet'), 'structural');
}
