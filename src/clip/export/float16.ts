/** A graph in half precision with inputs and outputs in single precision, as transformers.js's fp16 models are. */
import { DATA_TYPE, type NodeFields } from '../../engine/proto.ts';
import { float32ToFloat16 } from '../../io/float16.ts';
import type { Graph, Weight } from './graph.ts';

const LARGEST = 65504;

/**
 * The graph with float16 where it had float32; values beyond its range become its largest. What is made of weights alone stays
 * float32: ONNX Runtime computes it once when it loads the model, and has few float16 kernels for that.
 */
export function toFloat16({ nodes, weights, inputs, outputs }: Graph): Graph {
  const early = nodesOfWeights(nodes, weights);
  const late = nodes.filter(node => !early.has(node));
  const read = {
    early: new Set([...early].flatMap(node => node.inputs)),
    late: new Set(late.flatMap(node => node.inputs)),
  };
  const floats = (values: Graph['inputs']): string[] =>
    values.filter(({ type }) => type === 'float32').map(({ name }) => name);
  const given = [...floats(inputs), ...[...early].flatMap(node => node.outputs).filter(name => read.late.has(name))];
  const results = floats(outputs);
  const both = weights.filter(({ type, name }) => type === 'float32' && read.early.has(name) && read.late.has(name));
  const halved = new Set([...given, ...results, ...both.map(({ name }) => name)]);
  const rename = (name: string): string => (halved.has(name) ? half(name) : name);
  return {
    inputs,
    outputs,
    nodes: [
      ...early,
      ...given.map(name => cast(name, half(name), 'float16')),
      ...late.map(node => ({ ...halfNode(node), inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) })),
      ...results.map(name => cast(half(name), name, 'float32')),
    ],
    weights: [
      ...weights.map(weight => (read.early.has(weight.name) ? weight : halfWeight(weight, weight.name))),
      ...both.map(weight => halfWeight(weight, half(weight.name))),
    ],
  };
}

/** Nodes that compute with weights and nothing else. */
function nodesOfWeights(nodes: readonly NodeFields[], weights: readonly Weight[]): Set<NodeFields> {
  const known = new Set(weights.map(({ name }) => name));
  const found = new Set<NodeFields>();
  for (const node of nodes) {
    if (!node.inputs.every(name => known.has(name))) continue;
    found.add(node);
    for (const name of node.outputs) known.add(name);
  }
  return found;
}

function half(name: string): string {
  return `:${name}:float16`;
}

function cast(from: string, to: string, type: 'float16' | 'float32'): NodeFields {
  return { type: 'Cast', inputs: [from], outputs: [to], attributes: { to: DATA_TYPE[type] } };
}

/** What became a float32 becomes a float16. */
function halfNode(node: NodeFields): NodeFields {
  if (node.type !== 'Cast' || node.attributes?.to !== DATA_TYPE.float32) return node;
  return { ...node, attributes: { to: DATA_TYPE.float16 } };
}

function halfWeight(weight: Weight, name: string): Weight {
  if (weight.type !== 'float32') return weight;
  return { ...weight, name, type: 'float16', data: () => halfValues(weight.data() as Float32Array) };
}

function halfValues(values: Float32Array): Uint16Array {
  const fits = values.every(value => Math.abs(value) <= LARGEST);
  return float32ToFloat16(fits ? values : values.map(value => Math.max(-LARGEST, Math.min(LARGEST, value))));
}
