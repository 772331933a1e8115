/** An ONNX graph that is being prepared for a file: its weights are made only when they are written. */
import {
  type FreeExtent,
  type OnnxValue,
  onnxGraph,
  type Program,
  sizeOf,
  type TensorData,
} from '../../engine/index.ts';
import type { DATA_TYPE, NodeFields } from '../../engine/proto.ts';
import { S3aError } from '../../errors.ts';

/** Weights by transformers' names. */
export type Weights = Readonly<Record<string, Float32Array>>;

type WeightType = keyof typeof DATA_TYPE;

/** A constant of the graph. */
export interface Weight {
  readonly name: string;
  readonly type: WeightType;
  readonly shape: readonly number[];
  /** Makes the values; called once for each file that holds them. */
  data(): TensorData | Int8Array;
}

export interface Graph {
  readonly nodes: readonly NodeFields[];
  readonly weights: readonly Weight[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

const WIDTHS: Record<WeightType, number> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  int32: 4,
  int64: 8,
  bool: 1,
  float16: 2,
  float64: 8,
};

/** Size of a weight in bytes. */
export function bytesOf({ type, shape }: Weight): number {
  return sizeOf(shape) * WIDTHS[type];
}

/**
 * The graph of a program whose state inputs are weights, in standard ONNX operators.
 * @throws S3aError WEIGHTS when one is missing or of another size
 */
export function graphOf(program: Program, weights: Weights, free: readonly FreeExtent[]): Graph {
  const { nodes, constants, inputs, outputs } = onnxGraph(program, { free, standard: true });
  const given: Weight[] = [];
  for (const [name, { shape, source }] of program.inputs) {
    if (source.kind !== 'input' || !source.state) continue;
    const data = weights[name];
    if (data?.length !== sizeOf(shape)) {
      throw new S3aError('WEIGHTS', `cannot export: ${data ? `${data.length} values of` : 'no'} weight ${name}`);
    }
    given.push({ name, type: 'float32', shape, data: () => data });
  }
  const known = new Set(given.map(({ name }) => name));
  return {
    nodes: withoutUnused(nodes, outputs),
    weights: [...given, ...constants.map(({ data, ...rest }) => ({ ...rest, data: () => data }))],
    inputs: inputs.filter(({ name }) => !known.has(name)),
    outputs,
  };
}

/** Without trailing outputs that nothing reads, such as what a layer norm saves for its gradient. */
function withoutUnused(nodes: readonly NodeFields[], outputs: readonly OnnxValue[]): NodeFields[] {
  const read = new Set([...nodes.flatMap(node => node.inputs), ...outputs.map(({ name }) => name)]);
  return nodes.map(node => {
    const last = node.outputs.findLastIndex(name => read.has(name));
    return { ...node, outputs: node.outputs.slice(0, last + 1) };
  });
}

/** The graph with other names for its inner values, its inputs and its outputs; weights keep theirs. */
function renamed({ nodes, weights, inputs, outputs }: Graph, rename: (name: string) => string): Graph {
  const kept = new Set(weights.map(({ name }) => name).filter(name => !isInner(name)));
  const of = (name: string): string => (kept.has(name) ? name : rename(name));
  return {
    nodes: nodes.map(node => ({ ...node, inputs: node.inputs.map(of), outputs: node.outputs.map(of) })),
    weights: weights.map(weight => ({ ...weight, name: of(weight.name) })),
    inputs: inputs.map(value => ({ ...value, name: rename(value.name) })),
    outputs: outputs.map(value => ({ ...value, name: rename(value.name) })),
  };
}

/** Whether a name was made by a program and not given to it. */
function isInner(name: string): boolean {
  return name.startsWith(':');
}

/**
 * Two or more graphs as one: the last reads what the others give.
 * @param towers their names set their inner values apart; their outputs become inner values `:name`
 * @param head reads inputs named as the towers
 */
export function joined(towers: Readonly<Record<string, Graph>>, head: Graph): Graph {
  const parts = Object.entries(towers).map(([name, tower]) => {
    const result = tower.outputs[0].name;
    const inputs = new Set(tower.inputs.map(value => value.name));
    return renamed(tower, inner => (inner === result ? `:${name}` : inputs.has(inner) ? inner : `:${name}${inner}`));
  });
  const last = renamed(head, name => (name in towers ? `:${name}` : isInner(name) ? `:head${name}` : name));
  return {
    nodes: [...parts.flatMap(({ nodes }) => nodes), ...last.nodes],
    weights: [...parts.flatMap(({ weights }) => weights), ...last.weights],
    inputs: parts.flatMap(({ inputs }) => inputs),
    outputs: last.outputs,
  };
}
