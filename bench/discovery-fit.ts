/** Fits the constants of confidence (src/discover/confidence.ts) on draws with known truth. */
import { autoNames } from '../src/discover/auto.ts';
import { overClustered } from '../src/discover/cluster.ts';
import { type Calibration, evidence } from '../src/discover/confidence.ts';
import { labelShares } from '../src/discover/probability.ts';
import { type Bench, openContext } from './discovery-context.ts';
import type { DrawKind } from './discovery-draws.ts';
import { AUTO } from './discovery-variants.ts';

// Weights of log-odds are held to sizes that a bin of labels can support.
const RIDGE = 1e-3;
const ROUNDS = 30;

/** The logistic regression of "the label of `auto` is right" on the three log-odds; every draw weighs the same. */
export async function fitCalibration(
  bench: Bench,
  seeds: readonly number[],
  kinds: readonly DrawKind[],
): Promise<Calibration & { labels: number }> {
  const rows: { x: number[]; right: number; weight: number }[] = [];
  for (const seed of seeds) {
    for (const kind of kinds) {
      const context = await openContext(bench, seed, kind);
      const { features, prototypes, answers } = context;
      const options = { width: bench.width, scale: bench.scale, threads: bench.threads };
      const graph = await context.graph(AUTO.neighbours);
      const clusters = await context.clusters(overClustered(context.k, AUTO.overCluster));
      const { labels } = await autoNames(features, prototypes, clusters, { ...options, ...AUTO, graph });
      const found = evidence(labels, await labelShares(features, prototypes, labels, options), graph);
      labels.forEach((label, i) => {
        if (label < 0) return;
        const x = [1, found.own[i], found.group[i], found.neighbours[i]];
        rows.push({ x, right: label === answers[i] ? 1 : 0, weight: 1000 / labels.length });
      });
      process.stderr.write(`\r${seed} ${kind.name}          `);
    }
  }
  process.stderr.write('\n');
  const [bias, own, group, neighbours] = logistic(rows).map(value => Number(value.toFixed(2)));
  return { bias, own, group, neighbours, labels: rows.length };
}

/** Newton's method. */
function logistic(rows: readonly { x: number[]; right: number; weight: number }[]): number[] {
  const size = rows[0].x.length;
  let beta = new Array<number>(size).fill(0);
  for (let round = 0; round < ROUNDS; round++) {
    const gradient = beta.map(value => RIDGE * value);
    const hessian = beta.map((_, a) => beta.map((_, b) => (a === b ? RIDGE : 0)));
    for (const { x, right, weight } of rows) {
      const p = 1 / (1 + Math.exp(-x.reduce((sum, value, a) => sum + value * beta[a], 0)));
      for (let a = 0; a < size; a++) {
        gradient[a] += weight * (p - right) * x[a];
        for (let b = 0; b < size; b++) hessian[a][b] += weight * p * (1 - p) * x[a] * x[b];
      }
    }
    const step = solve(hessian, gradient);
    beta = beta.map((value, a) => value - step[a]);
  }
  return beta;
}

/** Gaussian elimination of a small positive definite system. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, a) => [...row, right[a]]);
  rows.forEach((pivot, a) => {
    for (const row of rows) {
      if (row === pivot) continue;
      const factor = row[a] / pivot[a];
      for (let b = a; b < row.length; b++) row[b] -= factor * pivot[b];
    }
  });
  return rows.map((row, a) => row[row.length - 1] / row[a]);
}
