/** The vote stage: clusters get names by the vote of METHOD §2.2–2.3, or as `--method auto` does it. */
import { join } from 'node:path';
import { z } from 'zod';
import { autoNames } from '../discover/auto.ts';
import { NameSearch } from '../discover/nearest.ts';
import {
  countVotes,
  vote as holdVote,
  type NameScores,
  nameScores,
  type Partition,
  partitionOf,
} from '../discover/vote.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJson } from '../io/json.ts';
import type { Embedded } from './embed.ts';
import { autoParts, logitScaleOf } from './method.ts';
import { neighboursOf } from './neighbours.ts';
import type { Named } from './prototypes.ts';
import type { Run } from './store.ts';
import { readColumns, writeColumns } from './tables.ts';

/** What the vote gives to the prompt step and to the report. */
export interface Voted {
  /** [N] the nearest name in the whole vocabulary. */
  zeroShot: Int32Array;
  /** Labels [N] after each step, by its name in tables: `vote_1` … of METHOD, `vote` and `smoothed` of auto. */
  steps: Readonly<Record<string, Int32Array>>;
  /** The partition that was counted last, with its votes. */
  counted: { partition: Partition; votes: NameScores[] };
}

const votesSchema = z.array(
  z
    .object({ names: z.array(z.int().min(0)), scores: z.array(z.number()) })
    .refine(row => row.names.length === row.scores.length),
);

/** Names of a group that are kept; the prompt step asks about a few of them. */
const KEPT_NAMES = 50;

/** `votes.parquet`: the nearest name, the label after each step, and the group that was counted last; with auto, `votes.json`. */
export function vote(run: Run, embedded: Embedded, named: Named, clusters: Int32Array): Promise<Voted> {
  return run.config.method === 's3a'
    ? byMethod(run, embedded, named, clusters)
    : byParts(run, embedded, named, clusters);
}

async function byMethod(
  run: Run,
  { files, features, width }: Embedded,
  { prototypes }: Named,
  clusters: Int32Array,
): Promise<Voted> {
  const { rounds, threads, device } = run.config;
  const inputs = { cluster: run.keyOf('cluster'), prototypes: run.keyOf('prototypes'), rounds };
  await run.stage('vote', inputs, ['votes.parquet'], async () => {
    const search = new NameSearch(width, { threads, device });
    try {
      const nearest = (await search.nearest(features, prototypes)).indices;
      const result = await holdVote(features, prototypes, clusters, { width, rounds, nearest, search });
      await writeColumns(run.path('votes.parquet'), files, {
        zero_shot: nearest,
        ...Object.fromEntries(result.rounds.map(({ labels }, r) => [`vote_${r + 1}`, labels])),
        counted: result.counted.partition.clusters,
      });
      return { names: new Set(result.rounds.at(-1)!.labels).size, fixedPoint: result.fixedPoint ?? null };
    } finally {
      await search.dispose();
    }
  });
  return readVotes(run.folder);
}

async function byParts(
  run: Run,
  { files, features, width }: Embedded,
  { prototypes }: Named,
  clusters: Int32Array,
): Promise<Voted> {
  const { threads, device } = run.config;
  const parts = autoParts(run.config);
  const scale = await logitScaleOf(run);
  const inputs = { cluster: run.keyOf('cluster'), prototypes: run.keyOf('prototypes'), parts, scale };
  await run.stage('vote', inputs, ['votes.parquet', 'votes.json'], async () => {
    const smoothed = parts.neighbours > 0 && parts.smoothing > 0;
    const { zeroShot, named, labels, counted } = await autoNames(features, prototypes, clusters, {
      ...parts,
      ...(smoothed && { graph: await neighboursOf(run, { features, width }, clusters, parts.neighbours) }),
      ...{ width, scale, threads, device },
      onProgress: (done, total) => run.progress('vote', done, total),
    });
    const kept = counted.votes.map(({ names, scores }) => ({
      names: [...names.subarray(0, KEPT_NAMES)],
      scores: [...scores.subarray(0, KEPT_NAMES)],
    }));
    await writeAtomic(run.path('votes.json'), `${JSON.stringify(kept)}\n`);
    const columns = { zero_shot: zeroShot, vote: named, smoothed: labels, counted: counted.partition.clusters };
    await writeColumns(run.path('votes.parquet'), files, columns);
    const unknown = labels.filter(label => label < 0).length;
    return { names: new Set(labels).size - (unknown > 0 ? 1 : 0), ...(unknown > 0 ? { unknown } : {}) };
  });
  return readVotes(run.folder);
}

/** What the vote stage of a run left; `votes.json` is there for auto, METHOD's votes are counted again. */
export async function readVotes(folder: string): Promise<Voted> {
  const { zero_shot: zeroShot, counted: clusters, ...steps } = await readColumns(join(folder, 'votes.parquet'));
  const partition = partitionOf(clusters);
  if ('vote_1' in steps) return { zeroShot, steps, counted: { partition, votes: countVotes(zeroShot, partition) } };
  const path = join(folder, 'votes.json');
  const kept = votesSchema.safeParse(await readJson(path));
  if (!kept.success) throw new S3aError('RUN', `${path} does not hold the votes of a run`, 'Run s3a vote on it again.');
  return {
    zeroShot,
    steps,
    counted: {
      partition,
      votes: kept.data.map(({ names, scores }) => nameScores(names.map((name, i) => [name, scores[i]]))),
    },
  };
}
