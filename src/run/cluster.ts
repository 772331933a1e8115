/** The cluster stage (METHOD §2.1), with the number of clusters estimated when it is not given (§4). */
import { cluster as kMeans, overClustered } from '../discover/cluster.ts';
import { type Estimate, estimateK } from '../discover/estimate-k.ts';
import type { Rows } from '../discover/row-pass.ts';
import { S3aError } from '../errors.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import type { Embedded } from './embed.ts';
import type { Run } from './store.ts';
import { readColumn, writeColumns } from './tables.ts';

/** Cluster of every image, [N]: `clusters.parquet`, and `silhouette.json` when the number was estimated. */
export async function cluster(run: Run, { files, features, width }: Embedded): Promise<Int32Array> {
  const { method, k, overCluster, kMin, kMax, nInit, maxIterations, seed, threads, device } = run.config;
  const multiple = method === 'auto' || k === 'auto' ? overCluster : 1;
  const inputs = {
    embed: run.keyOf('embed'),
    k: typeof k === 'number' ? k : 'estimate',
    multiple,
    nInit,
    maxIterations,
    seed,
    ...(typeof k === 'number' ? {} : { kMin, kMax }),
  };
  await run.stage('cluster', inputs, ['clusters.parquet'], async () => {
    const common = { width, seed, threads, device };
    const estimated = typeof k === 'number' ? undefined : await estimate(run, features, common);
    const kinds = estimated?.k ?? Number(k);
    const count = Math.max(kinds, Math.min(features.count, overClustered(kinds, multiple)));
    const found = await kMeans(features, {
      ...common,
      k: count,
      nInit,
      maxIterations,
      onProgress: ({ start, starts, iteration, inertia }) =>
        run.progress('cluster', start - 1, starts, { iteration, inertia: inertia.toPrecision(6) }),
    });
    await writeColumns(run.path('clusters.parquet'), files, { cluster: found.labels });
    return {
      k: count,
      ...(estimated ? { estimate: estimated.k, flat: estimated.verdict.flat } : {}),
      ...{ inertia: found.inertia, iterations: found.iterations },
    };
  });
  return readColumn(run.path('clusters.parquet'), 'cluster');
}

async function estimate(
  run: Run,
  features: Rows,
  options: { width: number; seed: number; threads?: number; device: Run['config']['device'] },
): Promise<Estimate> {
  const images = features.count;
  if (images < 4) {
    const there = images === 1 ? 'there is 1 image' : `there are ${images} images`;
    throw new S3aError('CLUSTERS', `${there}, too few to estimate the number of clusters`, 'Give it with --k.');
  }
  const { kMin, kMax } = run.config;
  // METHOD §4 searches from 50 on; a small folder has fewer kinds of things.
  const low = Math.min(kMin, Math.max(2, Math.floor(images / 20)));
  const found = await estimateK(features, {
    ...options,
    low,
    high: kMax,
    onProgress: (point, round) =>
      run.progress('cluster', round - 1, 4, { k: point.k, silhouette: point.silhouette.toFixed(3) }),
  });
  const { verdict, k } = found;
  await writeAtomic(run.path('silhouette.json'), `${JSON.stringify(found, null, 2)}\n`);
  if (verdict.flat) {
    const why = verdict.edge
      ? `${k} is at the edge of what was tried`
      : `it is no better there than nearby (${verdict.rise.toFixed(4)} above, with an error of ${verdict.error.toFixed(4)})`;
    run.warn(
      `the number of clusters, ${k}, is little more than a guess: the silhouette is flat, ${why}. ` +
        `Give --k if you know it roughly; ${run.path('silhouette.json')} has the curve`,
    );
  }
  return found;
}
