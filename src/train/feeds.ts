/** Between loader and graph: a batch as the inputs of a step, and what the runs of a step report, as numbers. */
import { type Program, sizeOf, type TensorData } from '../engine/index.ts';
import type { SourceBatch } from './source.ts';

/** The returned outputs of one run, scalars all. */
export interface StepReport extends Record<string, TensorData> {
  loss: Float32Array;
  instanceLoss: Float32Array;
  structuralLoss: Float32Array;
  maskShare: Float32Array;
  agreement: Float32Array;
  gradientNorm: Float32Array;
}

/** Structural labels as a graph takes them. */
export interface FedLabels {
  /** [N] labels of all images, −1 where there is none. */
  readonly structural: Int32Array;
  /** Of the graph's input `instanceNames` [V], where it has one. */
  readonly instanceNames?: Float32Array;
}

// Far below any logit: scaled cosines are some hundreds at most.
const CLOSED = -1e4;

/**
 * The structural labels with the names that they leave to the teacher: those that some image has, all where none has one.
 * @param structural [N]
 */
export function labelsFor(graph: Program, structural: Int32Array): FedLabels {
  const names = graph.inputs.get('instanceNames');
  if (!names) return { structural };
  const found = structural.filter(label => label >= 0);
  const instanceNames = new Float32Array(sizeOf(names.shape)).fill(found.length > 0 ? CLOSED : 0);
  for (const label of found) instanceNames[label] = 0;
  return { structural, instanceNames };
}

/**
 * Inputs of the graph of `stepProgram`; rows of images that could not be read are zeros, and not present.
 * @param labels of all images
 * @param rows B
 * @param graph that is fed
 */
export function feedsOf(
  { indices, inputs }: SourceBatch,
  { structural, instanceNames }: FedLabels,
  rows: number,
  graph: Program,
  scalars: Readonly<Record<string, number>>,
): Record<string, TensorData> {
  const filled = (name: string, data: TensorData): TensorData => {
    if (indices.length === rows) return data;
    const length = sizeOf(graph.inputs.get(name)!.shape);
    const all = data instanceof Int32Array ? new Int32Array(length) : new Float32Array(length);
    // Activations of zero may have a direction of no length; what stands in these rows counts for nothing.
    if (name.includes('.')) all.fill(1);
    all.set(data as Float32Array);
    return all;
  };
  const labels = new Int32Array(rows).fill(-1);
  indices.forEach((index, row) => {
    labels[row] = structural[index];
  });
  return {
    ...Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, filled(name, data)])),
    structural: labels,
    present: new Float32Array(rows).fill(1, 0, indices.length),
    ...(instanceNames ? { instanceNames } : {}),
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, Float32Array.of(value)])),
  };
}

/** Means over the runs of a step; the norm is that of the last run, which holds all gradients. */
export function meanOf(parts: readonly StepReport[]): Record<keyof StepReport, number> {
  const mean = (name: string): number => parts.reduce((sum, part) => sum + Number(part[name][0]), 0) / parts.length;
  const names = ['loss', 'instanceLoss', 'structuralLoss', 'maskShare', 'agreement'];
  const means = Object.fromEntries(names.map(name => [name, mean(name)]));
  return { ...means, gradientNorm: Number(parts.at(-1)!.gradientNorm[0]) };
}
